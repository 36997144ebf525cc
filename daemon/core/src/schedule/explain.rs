//! Explain: every candidate of a task with its score and cost, what excluded the others, and at which price or capacity the answer would be
//! another. The latter is found by asking the policy itself about the kept inputs with one offer changed, a bounded number of times.

mod answer;
mod perturb;
mod search;

use crate::{
    base::{
        names::DecisionId,
        units::{MicroUsd, Millis},
    },
    ports::plugin::Policy,
    schedule::placement::Recorded,
    spec::policy_call::PlacedOffer,
    state::decision::PriceQuote,
};

pub use answer::{Candidate, ExcludedOffer, Flip, OfferPlace, TaskExplanation};

use search::Search;

/// How many of the best that were not chosen are tried at lower prices.
const LOSERS: usize = 5;

/// What an explanation may cost.
#[derive(Clone, Copy)]
pub struct Bounds<'a> {
    /// Candidates, and excluded offers, that are listed.
    pub rows: usize,
    /// Calls of the policy.
    pub calls: u32,
    /// Says when it has taken too long.
    pub is_late: &'a (dyn Fn() -> bool + Sync),
}

/// Explains task `index` of a kept call. `policy` is the version that answered it; none: that is not there any more, for this reason.
pub async fn explain(
    id: &DecisionId,
    recorded: &Recorded,
    index: u32,
    policy: Result<&dyn Policy, String>,
    quote_ttl: Millis,
    bounds: Bounds<'_>,
) -> Option<TaskExplanation> {
    let task = recorded.request.tasks.get(index as usize)?;
    let (mut candidates, in_all) = (
        candidates(recorded, index, quote_ttl),
        recorded.request.candidates.of(task.shape).len(),
    );
    let (excluded, excluded_in_all) = excluded(recorded, task.shape, bounds.rows);
    let mut explanation = TaskExplanation {
        task: task.name.clone(),
        decision: id.clone(),
        at: recorded.at,
        policy: recorded.policy.clone(),
        replicas: task.replicas,
        candidates: Vec::new(),
        candidates_in_all: count(in_all),
        excluded,
        excluded_in_all: count(excluded_in_all),
        flips: Vec::new(),
        policy_calls: 0,
        note: String::new(),
    };
    match policy {
        Err(why) => explanation.note = why,
        Ok(policy) => {
            let losers: Vec<u32> = candidates
                .iter()
                .filter(|(_, c)| c.replicas == 0)
                .map(|(offer, _)| *offer)
                .take(LOSERS)
                .collect();
            let chosen: Vec<u32> = candidates
                .iter()
                .filter(|(_, c)| c.replicas > 0)
                .map(|(offer, _)| *offer)
                .collect();
            let mut search = Search::new(recorded, index, policy, bounds);
            explanation.note = search.flips(&chosen, &losers, &mut explanation.flips).await;
            explanation.policy_calls = search.calls();
        }
    }
    candidates.truncate(bounds.rows);
    explanation.candidates = candidates
        .into_iter()
        .map(|(_, candidate)| candidate)
        .collect();
    Some(explanation)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn place(placed: &PlacedOffer) -> OfferPlace {
    OfferPlace {
        provider: placed.provider.clone(),
        region: placed.offer.region.to_string(),
        size: placed.offer.size.to_string(),
        offer: placed.offer.id.to_string(),
    }
}

/// Replicas of a task on an offer, as answered.
fn replicas(recorded: &Recorded, task: u32, offer: u32) -> u32 {
    let answer = &recorded.answer;
    let rows = answer.task.iter().zip(&answer.offer).zip(&answer.replicas);
    rows.filter(|((t, o), _)| (**t, **o) == (task, offer))
        .map(|(_, n)| *n)
        .sum()
}

/// The offers with their rows, best first.
fn candidates(recorded: &Recorded, index: u32, quote_ttl: Millis) -> Vec<(u32, Candidate)> {
    let request = &recorded.request;
    let columns = &request.candidates;
    let range = request
        .tasks
        .get(index as usize)
        .map_or(0..0, |task| columns.of(task.shape));
    let view = |row: usize| {
        let offer = *columns.offer.get(row)?;
        let placed = request.offers.get(offer as usize)?;
        let cost = MicroUsd(columns.cost.get(row).copied()?);
        let view = Candidate {
            place: place(placed),
            replicas: replicas(recorded, index, offer),
            cost,
            expected_cost: columns.expected.get(row).copied().map_or(cost, MicroUsd),
            hourly: MicroUsd(columns.hourly.get(row).copied()?),
            score: recorded.answer.scores.get(row).copied(),
            price: placed.offer.price,
            price_unit: placed.offer.price_unit,
            quote: PriceQuote::of(&placed.offer, recorded.at, quote_ttl),
        };
        Some((offer, view))
    };
    let mut all: Vec<_> = range.filter_map(view).collect();
    all.sort_by(|(i, a), (j, b)| {
        let score = |c: &Candidate| c.score.unwrap_or(0.0);
        score(a)
            .total_cmp(&score(b))
            .then(a.expected_cost.cmp(&b.expected_cost))
            .then(i.cmp(j))
    });
    all
}

/// At most `rows` of the offers that are no candidates for a shape, and how many there are.
fn excluded(recorded: &Recorded, shape: u32, rows: usize) -> (Vec<ExcludedOffer>, usize) {
    let request = &recorded.request;
    let (Some(limits), Some(wanted)) = (
        recorded.limits.get(shape as usize),
        request.shapes.get(shape as usize),
    ) else {
        return (Vec::new(), 0);
    };
    let all = limits
        .excluded
        .iter()
        .flat_map(|e| e.offers.iter().map(move |offer| (e, offer)));
    let view = |(e, offer): (&crate::schedule::placement::recorded::Excluded, &u32)| {
        let placed = request.offers.get(*offer as usize)?;
        Some(ExcludedOffer {
            place: place(placed),
            reason: e.reason.clone(),
            value: e.measure.of(placed, wanted, recorded.at),
        })
    };
    let in_all = limits.excluded.iter().map(|e| e.offers.len()).sum();
    (all.take(rows).filter_map(view).collect(), in_all)
}

#[cfg(test)]
mod tests;
