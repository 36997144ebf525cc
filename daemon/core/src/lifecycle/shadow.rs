//! Shadow policies: what a candidate would have decided, compared with what was decided. Pure: who asks it, and when, is the controller's
//! business, and how it runs the plugin host's.

mod narrow;

pub use crate::state::shadow::{
    Comparison, Cost, Difference, Heard, Latency, Pick, Report, Samples, Tally,
};

use crate::{
    base::{
        names::{DecisionId, DeploymentName},
        units::{Instant, MicroUsd},
    },
    schedule::placement::{Choice, Placed},
    spec::policy_call::Request,
};

pub use narrow::narrow;

/// Two accepted answers to one request. `decision`: the one that a task belongs to.
pub fn compare(
    request: &Request,
    live: &[Placed],
    shadow: &[Placed],
    at: Instant,
    decision: impl Fn(&DeploymentName) -> Option<DecisionId>,
) -> Comparison {
    let mut all = Comparison {
        live: Cost::default(),
        shadow: Cost::default(),
        differing: Vec::new(),
    };
    for (task, (live, shadow)) in request.tasks.iter().zip(live.iter().zip(shadow)) {
        let (live_cost, shadow_cost) = (
            cost(request, task.shape, live),
            cost(request, task.shape, shadow),
        );
        (all.live, all.shadow) = (all.live.plus(live_cost), all.shadow.plus(shadow_cost));
        if in_order(live) != in_order(shadow) {
            all.differing.push(Difference {
                at,
                decision: decision(&task.deployment),
                deployment: task.deployment.clone(),
                task: task.name.clone(),
                live: picks(request, live),
                live_cost,
                shadow: picks(request, shadow),
                shadow_cost,
            });
        }
    }
    all
}

fn in_order(placed: &Placed) -> Vec<(u32, u32)> {
    let mut all: Vec<(u32, u32)> = placed
        .choices
        .iter()
        .map(|c| (c.offer, c.replicas))
        .collect();
    all.sort_unstable();
    all
}

fn cost(request: &Request, shape: u32, placed: &Placed) -> Cost {
    let range = request.candidates.of(shape);
    let column = request
        .candidates
        .offer
        .get(range.clone())
        .unwrap_or_default();
    let unplaced = placed.unplaced.as_ref().map_or(0, |(n, _)| u64::from(*n));
    let one = |choice: &Choice| {
        let row = range.start + column.binary_search(&choice.offer).ok()?;
        let of = |column: &[u64]| {
            MicroUsd(column.get(row).copied().unwrap_or(0))
                .saturating_mul(u64::from(choice.replicas))
        };
        Some(Cost {
            hourly: of(&request.candidates.hourly),
            estimated: of(&request.candidates.cost),
            unplaced: 0,
        })
    };
    placed.choices.iter().filter_map(one).fold(
        Cost {
            unplaced,
            ..Cost::default()
        },
        Cost::plus,
    )
}

fn picks(request: &Request, placed: &Placed) -> Vec<Pick> {
    let one = |choice: &Choice| {
        let place = request.offers.get(choice.offer as usize)?;
        Some(Pick {
            provider: place.provider.clone(),
            region: place.offer.region.to_string(),
            size: place.offer.size.to_string(),
            offer: place.offer.id.to_string(),
            replicas: choice.replicas,
        })
    };
    placed.choices.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests;
