//! A policy: a whole batch at the least total cost, with a proof of how far from the least it is.
//!
//! `search` tells the story; `model` is the batch as classes and columns, `relaxation` and `network` its bound,
//! `prices` a better one where rooms are shared, `polish` small changes, `program` the integer program.

mod model;
mod network;
mod polish;
mod prices;
mod program;
mod relaxation;
mod search;
mod trial;

use serde::Deserialize;
use tradewind_plugin_sdk::{Answer, Columns, Error, Policy, PolicyInfo, Request, register_policy};

/// The policy.
#[derive(Debug)]
pub struct Optimal;

/// Its settings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Replicas stay where they run, even where it would be cheaper elsewhere.
    #[serde(default = "yes")]
    sticky: bool,
    /// The most branches of one integer program.
    #[serde(default = "node_limit")]
    node_limit: u64,
}

fn yes() -> bool {
    true
}

fn node_limit() -> u64 {
    2000
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
    },
    "node-limit": {
      "type": "integer",
      "minimum": 0,
      "maximum": 1000000000,
      "default": 2000,
      "description": "The most branches that one integer program looks at. When it is reached the best answer so far is given, with its distance from the proven bound."
    }
  }
}"#;

impl Policy for Optimal {
    type Settings = Settings;

    fn info() -> PolicyInfo {
        let summary = "Places a whole batch at the least total cost, and proves it";
        let domains = Columns::PROVIDER | Columns::REGION | Columns::ZONE;
        PolicyInfo::new("optimal", env!("CARGO_PKG_VERSION"), summary)
            .schema(SCHEMA)
            .columns(domains)
    }

    fn place(settings: Settings, request: &Request) -> Result<Answer, Error> {
        let search::Result {
            best,
            bound,
            placed_most,
            nodes,
            trouble,
        } = search::run(request, settings.sticky, settings.node_limit);
        let note = note(best.cost, bound, placed_most, nodes, trouble);
        let mut ledger = best.ledger;
        // Nothing finds room any more, except after a search that was cut off; but the ledger learns what stands in the way.
        for task in request
            .tasks_by_priority()
            .filter(|task| task.replicas() > 0)
        {
            let mut candidates: Vec<_> = task
                .candidates()
                .filter(|_| ledger.missing(task) > 0)
                .collect();
            candidates.sort_by_key(|candidate| (candidate.cost(), candidate.row()));
            for candidate in candidates {
                ledger.place(task, candidate, u32::MAX);
            }
        }
        let mut answer = ledger.finish();
        answer.scores = request
            .candidates()
            .map(|candidate| candidate.cost_usd())
            .collect();
        answer.lower_bound = u64::try_from(bound).ok();
        answer.note = note;
        Ok(answer)
    }
}

fn note(cost: i64, bound: i64, placed_most: bool, nodes: u64, trouble: Option<String>) -> String {
    let usd = |micro: i64| micro as f64 / 1e6;
    let placed = if placed_most {
        ""
    } else {
        "; whether more replicas could be placed is not proven"
    };
    if cost <= bound {
        return format!(
            "${:.6} is the least possible cost, {nodes} branches{placed}",
            usd(cost)
        );
    }
    let gap = (cost - bound) as f64 / (bound.max(1)) as f64 * 100.0;
    let trouble = trouble.map_or_else(
        || format!("the search ended after {nodes} branches"),
        |trouble| format!("{trouble}, {nodes} branches"),
    );
    format!(
        "${:.6}, at most {gap:.3} % above the least possible cost, of which ${:.6} is proven: {trouble}{placed}",
        usd(cost),
        usd(bound)
    )
}

register_policy!(Optimal);
