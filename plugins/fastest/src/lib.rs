//! A policy: every task goes to the fastest machine, where a job is done soonest, and among equals where it costs least. The smallest useful plugin.

use serde::Deserialize;
use tradewind_plugin_sdk::{Columns, PolicyInfo, Score, policy::Candidate, register_score};

/// It has no settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fastest {}

impl Score for Fastest {
    fn info() -> PolicyInfo {
        PolicyInfo::new(
            "fastest",
            env!("CARGO_PKG_VERSION"),
            "Places every task on the fastest machine",
        )
        .columns(Columns::PERFORMANCE)
    }

    /// Hours for an hour of work, with a cost so small beside them that it only breaks ties: a million dollars weigh as much as four seconds.
    fn score(&self, candidate: Candidate<'_>) -> f64 {
        1.0 / candidate.offer().performance() + candidate.cost_usd() * 1e-9
    }
}

register_score!(Fastest);

#[cfg(test)]
mod tests {
    use tradewind_plugin_sdk::testing::{Batch, OfferSpec, TaskSpec};

    use super::*;

    #[test]
    fn speed_comes_first_and_then_the_cost() {
        let offer = |id: &str, usd: f64, performance: f64| {
            OfferSpec::new(id, usd).with(|offer| offer.performance = performance)
        };
        let batch = Batch::new()
            .offer(offer("cheap", 0.01, 1.0))
            .offer(offer("dear", 9.0, 4.0))
            .offer(offer("fair", 1.0, 4.0).capacity(2));
        // A service is not done sooner anywhere: it is the machine that is faster.
        for task in [TaskSpec::new("task", 3), TaskSpec::new("task", 3).job()] {
            let placed = batch.clone().task(task).rank::<Fastest>("{}").unwrap();
            assert_eq!(
                (
                    placed.choices["task"]["fair"],
                    placed.choices["task"]["dear"]
                ),
                (2, 1)
            );
        }
    }
}
