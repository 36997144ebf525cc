//! A policy: enough replicas survive the loss of any so many domains, as cheaply as that can be done.
//!
//! Of R replicas, S shall survive the loss of any F domains. So no domain gets more than ⌊(R − S) ÷ F⌋ of them. The rule is on top of the task's
//! own spread, and of every hard limit.

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Answer, Columns, Error, Policy, PolicyInfo, Ranking, Request,
    policy::{Placing, Spread as Over, Task},
    register_policy,
};

/// The policy.
#[derive(Debug)]
pub struct Spread;

/// Its settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What may be lost.
    #[serde(default)]
    domain: Domain,
    /// How many of them at once.
    #[serde(default = "one")]
    failures: u32,
    /// The share of a task's replicas that shall survive, 0 … 1; at least one does.
    #[serde(default = "half")]
    survivors: f64,
    /// Replicas that would break the rule get no place, unless they run already.
    #[serde(default = "yes")]
    strict: bool,
    /// Replicas stay where they run as long as the rule allows it.
    #[serde(default = "yes")]
    sticky: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Domain {
    Zone,
    #[default]
    Region,
    Provider,
}

fn one() -> u32 {
    1
}

fn half() -> f64 {
    0.5
}

fn yes() -> bool {
    true
}

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "domain": {
      "enum": ["zone", "region", "provider"],
      "default": "region",
      "description": "What may be lost."
    },
    "failures": {
      "type": "integer",
      "minimum": 1,
      "maximum": 4294967295,
      "default": 1,
      "description": "How many domains may be lost at once."
    },
    "survivors": {
      "type": "number",
      "minimum": 0,
      "maximum": 1,
      "default": 0.5,
      "description": "The share of a task's replicas that shall survive, rounded up; at least one does."
    },
    "strict": {
      "type": "boolean",
      "default": true,
      "description": "Replicas that would break the rule get no place, unless they run already. Otherwise they go where it is cheapest, and the decision's note says so."
    },
    "sticky": {
      "type": "boolean",
      "default": true,
      "description": "Replicas stay where they run as long as the rule allows it, even where it would be cheaper elsewhere."
    }
  }
}"#;

impl Settings {
    fn check(&self) -> Result<(), Error> {
        if !(0.0..=1.0).contains(&self.survivors) {
            return Err(
                Error::invalid(format!("the share is \"{}\": use 0 to 1", self.survivors))
                    .field("settings.survivors"),
            );
        }
        if self.failures == 0 {
            return Err(
                Error::invalid("the number is \"0\": use 1 or more").field("settings.failures")
            );
        }
        Ok(())
    }

    fn over(&self) -> Over {
        match self.domain {
            Domain::Zone => Over::Zone,
            Domain::Region => Over::Region,
            Domain::Provider => Over::Provider,
        }
    }

    /// How many of so many replicas shall survive.
    fn survivors(&self, replicas: u32) -> u32 {
        ((self.survivors * f64::from(replicas) - 1e-9).ceil() as u32).max(1)
    }

    /// Places a task, and says whether some of its replicas break the rule.
    fn place<'a>(&self, placing: &mut Placing<'a>, task: Task<'a>) -> bool {
        let (replicas, over) = (task.replicas(), self.over());
        let survivors = self.survivors(replicas);
        let most = replicas.saturating_sub(survivors) / self.failures;
        placing.ledger.limit(task, over, most);
        placing.keep(task, u32::MAX, |_| true);
        placing.fill(task, u32::MAX, |_| true);
        placing.ledger.lift(task);
        // What runs is better than nothing, wherever it is.
        let mut breaking = placing.keep(task, u32::MAX, |_| true);
        if !self.strict {
            breaking += placing.fill(task, u32::MAX, |_| true);
        } else if placing.ledger.missing(task) > 0 {
            let word = over.word();
            placing.ledger.explain(
                task,
                format!("at most {most} may run per {word} so that {survivors} of {replicas} survive the loss of {} ({word}), and no other has room", self.failures),
            );
        }
        breaking > 0
    }
}

impl Policy for Spread {
    type Settings = Settings;

    fn info() -> PolicyInfo {
        let summary =
            "Enough replicas survive the loss of a provider, region or zone, at the least cost";
        let domains = Columns::PROVIDER | Columns::REGION | Columns::ZONE;
        PolicyInfo::new("spread", env!("CARGO_PKG_VERSION"), summary)
            .schema(SCHEMA)
            .columns(domains)
    }

    fn place(settings: Settings, request: &Request) -> Result<Answer, Error> {
        settings.check()?;
        let mut placing = Ranking::by(request, |candidate| candidate.cost_usd())
            .sticky(settings.sticky)
            .start(request);
        let mut at_risk = Vec::new();
        for task in request.tasks_by_priority() {
            if settings.place(&mut placing, task) {
                at_risk.push(format!("\"{}/{}\"", task.deployment(), task.name()));
            }
        }
        let mut answer = placing.finish();
        let loss = format!(
            "the loss of {} ({})",
            settings.failures,
            settings.over().word()
        );
        answer.note = match at_risk.as_slice() {
            [] => format!("everything placed is spread for {loss}"),
            tasks => format!("not spread for {loss}: {}", tasks.join(", ")),
        };
        Ok(answer)
    }
}

register_policy!(Spread);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tradewind_plugin_sdk::testing::{Batch, OfferSpec, Placement, TaskSpec};

    use super::*;

    /// Two regions of one provider, one of another.
    fn world() -> Batch {
        let offer = |id: &str, usd, provider: &str, region: &str| {
            OfferSpec::new(id, usd)
                .provider(provider)
                .place(region, "a")
        };
        Batch::new()
            .offer(offer("n1", 0.1, "n", "1"))
            .offer(offer("n2", 0.2, "n", "2"))
            .offer(offer("s1", 0.3, "s", "1"))
    }

    fn on(placed: &Placement, offers: [&str; 3]) -> [u32; 3] {
        let none = BTreeMap::new();
        let choices = placed.choices.get("web").unwrap_or(&none);
        offers.map(|offer| choices.get(offer).copied().unwrap_or(0))
    }

    #[test]
    fn enough_survive_and_the_rest_is_cheap() {
        let cases = [
            (4, "{}", [2, 2, 0]),
            (5, "{}", [2, 2, 1]),
            (4, r#"{"domain": "provider"}"#, [2, 0, 2]),
            (4, r#"{"survivors": 0.25}"#, [3, 1, 0]),
            (3, r#"{"failures": 2, "survivors": 0}"#, [1, 1, 1]),
        ];
        for (replicas, settings, expected) in cases {
            let placed = world()
                .task(TaskSpec::new("web", replicas))
                .place::<Spread>(settings)
                .unwrap();
            assert_eq!(
                on(&placed, ["n1", "n2", "s1"]),
                expected,
                "{replicas} {settings}"
            );
        }
    }

    #[test]
    fn what_would_break_the_rule_is_left_or_told() {
        let one =
            |settings: &str, task: TaskSpec| world().task(task).place::<Spread>(settings).unwrap();
        let strict = one("{}", TaskSpec::new("web", 1));
        assert!(
            strict.unplaced["web"]
                .1
                .contains("so that 1 of 1 survive the loss of 1 (region)"),
            "{:?}",
            strict.unplaced
        );
        let lenient = one(r#"{"strict": false}"#, TaskSpec::new("web", 1));
        assert_eq!(on(&lenient, ["n1", "n2", "s1"]), [1, 0, 0]);
        assert!(
            lenient.answer.note.contains("\"test/web\""),
            "{}",
            lenient.answer.note
        );
        let running = one("{}", TaskSpec::new("web", 4).runs_on("n1", 4));
        assert_eq!(
            on(&running, ["n1", "n2", "s1"]),
            [2, 2, 0],
            "what runs makes room for the rule"
        );
        let alone = one("{}", TaskSpec::new("web", 4).runs_on("n1", 4).only(&["n1"]));
        assert_eq!(
            on(&alone, ["n1", "n2", "s1"]),
            [4, 0, 0],
            "but is never stopped for it"
        );
    }
}
