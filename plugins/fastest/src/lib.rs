//! A policy: every task goes where it is done soonest, and among equals where it costs least. The smallest useful plugin.

use serde::Deserialize;
use tradewind_plugin_sdk::{Columns, PolicyInfo, Score, policy::Candidate, register_score};

/// It has no settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fastest {}

impl Score for Fastest {
    fn info() -> PolicyInfo {
        PolicyInfo::new("fastest", env!("CARGO_PKG_VERSION"), "Places every task where it is done soonest").columns(Columns::TERMS)
    }

    /// Hours, with a cost so small beside them that it only breaks ties: a million dollars weigh as much as four seconds.
    fn score(&self, candidate: Candidate<'_>) -> f64 {
        candidate.hours() + candidate.cost_usd() * 1e-9
    }
}

register_score!(Fastest);
