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

impl Ranking {
    /// Scores every candidate; lower is better, NaN and infinity mean never.
    pub fn by<'a>(request: &'a Request, mut score: impl FnMut(Candidate<'a>) -> f64) -> Self {
        let bounded = |score: f64| if score.is_finite() { score } else { NEVER };
        Self { scores: request.candidates().map(|candidate| bounded(score(candidate))).collect(), sticky: true }
    }

    /// Whether replicas stay where they run as long as they may. Default: they do.
    #[must_use]
    pub fn sticky(mut self, sticky: bool) -> Self {
        self.sticky = sticky;
        self
    }

    /// Places every task on its best candidates, highest priority first.
    pub fn place(self, request: &Request) -> Answer {
        let mut ledger = Ledger::new(request);
        let mut orders: Vec<Order> = request.shapes().map(|shape| Order::new(shape.rows())).collect();
        for task in request.tasks_by_priority() {
            if self.sticky {
                self.keep(&mut ledger, task);
            }
            if let Some(order) = orders.get_mut(task.shape().index() as usize) {
                self.fill(request, &mut ledger, order, task);
            }
        }
        let mut answer = ledger.finish();
        answer.scores = self.scores;
        answer
    }

    fn score(&self, row: u32) -> f64 {
        self.scores.get(row as usize).copied().unwrap_or(NEVER)
    }

    /// Leaves replicas where they run, the best places first: when a task shrinks, the worst go.
    fn keep(&self, ledger: &mut Ledger<'_>, task: Task<'_>) {
        let mut current: Vec<(f64, Candidate<'_>, u32)> = task
            .current()
            .filter_map(|current| task.shape().candidate(current.offer().index()).map(|candidate| (candidate, current.replicas)))
            .map(|(candidate, replicas)| (self.score(candidate.row()), candidate, replicas))
            .filter(|(score, ..)| *score < NEVER)
            .collect();
        current.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.row().cmp(&b.1.row())));
        for (_, candidate, replicas) in current {
            ledger.place(task, candidate, replicas);
        }
    }

    fn fill(&self, request: &Request, ledger: &mut Ledger<'_>, order: &mut Order, task: Task<'_>) {
        // Without capacity of its own, a place the task holds may still be had: only then must full candidates be looked at again.
        let mut place = if task.current().next().is_some() { 0 } else { order.first_with_room() };
        while ledger.missing(task) > 0 {
            let Some(candidate) = order.get(place, &self.scores).and_then(|row| request.candidate(row)) else { break };
            if self.score(candidate.row()) >= NEVER {
                break;
            }
            ledger.place(task, candidate, u32::MAX);
            if ledger.free(task, candidate) == 0 {
                order.fill(place);
            }
            place += 1;
        }
        if ledger.missing(task) > 0 && place > 0 {
            ledger.note_shortage(task);
        }
    }
}
