//! A policy: every task goes where it costs least.
//!
//! The SDK's ranking does the placing; this crate says only what is good. It knows nothing of providers.

use serde::Deserialize;
use tradewind_plugin_sdk::{PolicyInfo, Score, policy::Candidate, register_score};

/// The settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cheapest {
    /// Replicas stay where they run, even where it would be cheaper elsewhere.
    #[serde(default = "yes")]
    sticky: bool,
}

fn yes() -> bool {
    true
}

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "sticky": {
      "type": "boolean",
      "default": true,
      "description": "Replicas stay where they run as long as they may, even where it would be cheaper elsewhere."
    }
  }
}"#;

impl Score for Cheapest {
    fn info() -> PolicyInfo {
        PolicyInfo::new(
            "cheapest",
            env!("CARGO_PKG_VERSION"),
            "Places every task where it costs least",
        )
        .schema(SCHEMA)
    }

    /// The cost of one replica for the whole estimated duration, in US dollars.
    fn score(&self, candidate: Candidate<'_>) -> f64 {
        candidate.cost_usd()
    }

    fn sticky(&self) -> bool {
        self.sticky
    }
}

register_score!(Cheapest);

#[cfg(test)]
mod tests {
    use tradewind_plugin_sdk::testing::{Batch, OfferSpec, TaskSpec};

    use super::*;

    #[test]
    fn the_least_cost_wins_and_not_the_least_price() {
        // Twice as dear, three times as fast: a job costs less there.
        let slow = OfferSpec::new("slow", 0.10);
        let fast = OfferSpec::new("fast", 0.20).with(|offer| offer.performance = 3.0);
        let batch = Batch::new()
            .offer(slow)
            .offer(fast)
            .task(TaskSpec::new("job", 2).job().hours(3.0).runs_on("slow", 1));
        let placed = batch.rank::<Cheapest>("{}").unwrap();
        assert_eq!(
            (placed.choices["job"]["slow"], placed.choices["job"]["fast"]),
            (1, 1)
        );
        assert_eq!(placed.answer.scores, [0.3, 0.2]);
        let moved = batch.rank::<Cheapest>(r#"{"sticky": false}"#).unwrap();
        assert_eq!(moved.choices["job"]["fast"], 2);
    }

    #[test]
    fn a_service_pays_for_every_hour_of_a_fast_machine() {
        let fast = OfferSpec::new("fast", 0.09).with(|offer| offer.performance = 2.0);
        let batch = Batch::new()
            .offer(fast)
            .offer(OfferSpec::new("plain", 0.05))
            .task(TaskSpec::new("web", 2).hours(730.0));
        let placed = batch.rank::<Cheapest>("{}").unwrap();
        assert_eq!(placed.choices["web"]["plain"], 2);
        assert_eq!(placed.answer.scores, [65.7, 36.5]);
    }
}
