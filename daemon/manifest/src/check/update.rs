//! How a service is updated: bounds that leave something to move, and stages that lead somewhere.

use super::Found;
use tradewind_core::{
    field::Path,
    manifest::UpdateSpec,
    rollout::{Percent, Strategy},
    units::Millis,
};

const DAY: Millis = Millis(86_400_000);

/// `all` is what the deployment says for every service.
pub(super) fn update(found: &mut Found, all: Option<&UpdateSpec>, own: &UpdateSpec, at: &Path) {
    let whole = UpdateSpec::resolve(all, Some(own));
    let strategy = whole.strategy;
    let bounded = all.is_none() || own.max_surge.is_some() || own.max_unavailable.is_some();
    found.require(
        !(bounded && whole.max_surge.is_none() && whole.max_unavailable.is_none()),
        || at.clone(),
        || "\"maxSurge\" and \"maxUnavailable\" are both 0, so that nothing could move: allow at least 1 of either".to_owned(),
    );
    for (field, value, least) in [
        ("minReady", own.min_ready, Millis(0)),
        ("deadline", own.deadline, Millis::from_secs(1)),
        ("drain", own.drain, Millis(0)),
        ("keep", own.keep, Millis(0)),
    ] {
        let Some(value) = value else { continue };
        let most = Millis(DAY.0.saturating_mul(30));
        found.require(
            (least..=most).contains(&value),
            || at.clone().key(field),
            || format!("{value} is out of range: write {least} to {most}"),
        );
    }
    let timed = all.is_none() || own.min_ready.is_some() || own.deadline.is_some();
    found.require(
        !timed || whole.min_ready < whole.deadline,
        || at.clone().key("minReady"),
        || {
            format!(
                "a replica would count after {}, but the update has failed after {}: raise \"deadline\"",
                whole.min_ready, whole.deadline
            )
        },
    );
    found.require(
        own.keep.is_none() || strategy == Strategy::BlueGreen,
        || at.clone().key("keep"),
        || format!("only blue-green keeps the old set, and the strategy is {strategy}: leave \"keep\" out"),
    );
    steps(
        found,
        strategy,
        own,
        &whole.steps.iter().map(|s| s.weight).collect::<Vec<_>>(),
        at,
    );
}

fn steps(found: &mut Found, strategy: Strategy, own: &UpdateSpec, weights: &[Percent], at: &Path) {
    let steps_at = || at.clone().key("steps");
    if strategy != Strategy::Canary {
        found.require(own.steps.is_empty(), steps_at, || {
            format!("only a canary has steps, and the strategy is {strategy}: leave them out")
        });
        return;
    }
    found.require(
        !weights.is_empty(),
        || at.clone(),
        || "a canary needs \"steps\", such as [{weight: 10%, hold: 5m}]".to_owned(),
    );
    found.require(weights.len() <= 20, steps_at, || {
        format!("{} steps are too many: at most 20", weights.len())
    });
    let mut before = Percent(0);
    for (i, step) in own.steps.iter().enumerate() {
        let within = step.weight > before && step.weight < Percent(100);
        found.require(
            within,
            || steps_at().index(i).key("weight"),
            || {
                format!(
                    "a weight of {} does not fit: weights grow from step to step, from 1% to 99%",
                    step.weight
                )
            },
        );
        before = step.weight;
        found.require(
            step.hold
                .is_none_or(|h| h <= Millis(DAY.0.saturating_mul(30))),
            || steps_at().index(i).key("hold"),
            || "a step lasts at most 30days: leave \"hold\" out to wait for a promotion".to_owned(),
        );
    }
}
