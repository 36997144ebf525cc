//! From a ranking of candidates to a whole decision: priority order, replicas that run already, capacity, spread, limits per hour.

use serde::de::DeserializeOwned;

use super::{Answer, Candidate, Ledger, PolicyInfo, Request, Task, order::Order};

/// A policy that only ranks candidates. Its fields are its settings; register it with [`register_score!`](crate::register_score).
///
/// ```
/// use serde::Deserialize;
/// use tradewind_plugin_sdk::{Columns, PolicyInfo, Score, policy::Candidate, register_score};
///
/// /// Prefers regions with clean power; `weight` is US dollars per gram of CO₂ equivalent per kWh.
/// #[derive(Deserialize)]
/// struct Green {
///     #[serde(default)]
///     weight: f64,
/// }
///
/// impl Score for Green {
///     fn info() -> PolicyInfo {
///         let schema = r#"{"type":"object","properties":{"weight":{"type":"number","minimum":0}},"additionalProperties":false}"#;
///         PolicyInfo::new("green", "0.1.0", "Cheapest, with a price on carbon").schema(schema).columns(Columns::CARBON)
///     }
///     fn score(&self, candidate: Candidate<'_>) -> f64 {
///         candidate.cost_usd() + self.weight * candidate.offer().carbon().max(0.0)
///     }
/// }
/// register_score!(Green);
/// ```
pub trait Score: DeserializeOwned {
    /// Who this is, and which columns the score reads.
    fn info() -> PolicyInfo;

    /// How good a candidate is: lower is better. NaN or infinity: never use it.
    fn score(&self, candidate: Candidate<'_>) -> f64;

    /// Whether replicas stay where they run as long as they may. Default: they do.
    fn sticky(&self) -> bool {
        true
    }
}

/// Candidates with their scores.
pub struct Ranking {
    scores: Vec<f64>,
    sticky: bool,
}

/// Worse than every real score. Finite, so that it survives every way of writing numbers down.
const NEVER: f64 = f64::MAX;
/// Candidates that are scored in one turn of the loop.
const BLOCK: usize = 8;

impl Ranking {
    /// Scores every candidate; lower is better, NaN and infinity mean never.
    pub fn by<'a>(request: &'a Request, mut score: impl FnMut(Candidate<'a>) -> f64) -> Self {
        let mut bounded = |row: usize| {
            let score = score(request.row(row as u32));
            if score.is_finite() { score } else { NEVER }
        };
        let count = request.candidates().len();
        let mut scores = Vec::with_capacity(count);
        // Several in one turn of the loop: at every turn a guest looks whether its time is over.
        while scores.len() + BLOCK <= count {
            let first = scores.len();
            scores.extend_from_slice(&std::array::from_fn::<f64, BLOCK, _>(|i| {
                bounded(first + i)
            }));
        }
        scores.extend((scores.len()..count).map(bounded));
        Self {
            scores,
            sticky: true,
        }
    }

    /// Whether replicas stay where they run as long as they may. Default: they do.
    #[must_use]
    pub fn sticky(mut self, sticky: bool) -> Self {
        self.sticky = sticky;
        self
    }

    /// Places every task on its best candidates, highest priority first.
    pub fn place(self, request: &Request) -> Answer {
        let mut placing = self.start(request);
        for task in request.tasks_by_priority() {
            placing.keep(task, u32::MAX, |_| true);
            placing.fill(task, u32::MAX, |_| true);
        }
        placing.finish()
    }

    /// Begins to place by this ranking, for policies with rules of their own about how many go where.
    pub fn start(self, request: &Request) -> Placing<'_> {
        let orders = request
            .shapes()
            .map(|shape| Order::new(shape.rows()))
            .collect();
        Placing {
            request,
            ranking: self,
            ledger: Ledger::new(request),
            orders,
        }
    }

    fn score(&self, row: u32) -> f64 {
        self.scores.get(row as usize).copied().unwrap_or(NEVER)
    }
}

/// A batch that is being placed by a [`Ranking`], step by step.
///
/// ```no_run
/// # use tradewind_plugin_sdk::policy::{Answer, Ranking, Request};
/// # fn f(request: &Request) -> Answer {
/// let mut placing = Ranking::by(request, |candidate| candidate.cost_usd()).start(request);
/// for task in request.tasks_by_priority() {
///     placing.keep(task, u32::MAX, |_| true);                          // what runs stays
///     placing.fill(task, 2, |candidate| !candidate.offer().spot());    // up to two more here
///     placing.fill(task, u32::MAX, |_| true);                          // the rest wherever it is best
/// }
/// placing.finish()
/// # }
/// ```
pub struct Placing<'a> {
    request: &'a Request,
    ranking: Ranking,
    /// What has been placed so far.
    pub ledger: Ledger<'a>,
    orders: Vec<Order>,
}

impl<'a> Placing<'a> {
    /// Leaves up to so many replicas where they run, the best places first: when a task shrinks, the worst go. Nothing stays when the
    /// ranking is not sticky. Returns how many stay.
    pub fn keep(
        &mut self,
        task: Task<'a>,
        most: u32,
        allowed: impl Fn(Candidate<'a>) -> bool,
    ) -> u32 {
        if !self.ranking.sticky {
            return 0;
        }
        let placed: Vec<(u32, u32)> = self.ledger.choices(task).collect();
        let mut current: Vec<(f64, Candidate<'a>, u32)> = task
            .current()
            .filter_map(|current| {
                task.shape()
                    .candidate(current.offer().index())
                    .map(|candidate| (candidate, current.replicas))
            })
            .filter(|(candidate, _)| allowed(*candidate))
            .map(|(candidate, replicas)| {
                let kept = placed
                    .iter()
                    .find(|(offer, _)| *offer == candidate.offer().index())
                    .map_or(0, |(_, kept)| *kept);
                (
                    self.ranking.score(candidate.row()),
                    candidate,
                    replicas.saturating_sub(kept),
                )
            })
            .filter(|(score, ..)| *score < NEVER)
            .collect();
        current.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.row().cmp(&b.1.row())));
        let mut left = most;
        for (_, candidate, replicas) in current {
            left -= self.ledger.place(task, candidate, replicas.min(left));
        }
        most - left
    }

    /// Places up to so many more replicas on the best candidates that are allowed. Returns how many.
    pub fn fill(
        &mut self,
        task: Task<'a>,
        most: u32,
        allowed: impl Fn(Candidate<'a>) -> bool,
    ) -> u32 {
        let Some(order) = self.orders.get_mut(task.shape().index() as usize) else {
            return 0;
        };
        // Without capacity of its own, a place the task holds may still be had: only then must full candidates be looked at again.
        let mut place = if task.current().next().is_some() {
            0
        } else {
            order.first_with_room()
        };
        let mut left = most;
        while left > 0 && self.ledger.missing(task) > 0 {
            let Some(candidate) = order
                .get(place, &self.ranking.scores)
                .and_then(|row| self.request.candidate(row))
            else {
                break;
            };
            if self.ranking.score(candidate.row()) >= NEVER {
                break;
            }
            if allowed(candidate) {
                left -= self.ledger.place(task, candidate, left);
            }
            if self.ledger.free(task, candidate) == 0 {
                order.fill(place);
            }
            place += 1;
        }
        if left > 0 && place > 0 && self.ledger.missing(task) > 0 {
            self.ledger.note_shortage(task);
        }
        most - left
    }

    /// The answer, with the ranking's scores.
    pub fn finish(self) -> Answer {
        let mut answer = self.ledger.finish();
        answer.scores = self.ranking.scores;
        answer
    }
}
