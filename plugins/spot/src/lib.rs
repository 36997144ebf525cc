//! A policy: spot capacity where it pays, and never fewer on-demand replicas than a floor.
//!
//! A spot replica is charged with what its interruptions are expected to cost: `interruption-rate` × hours of them, each of which loses
//! `lost-time` of paid work and costs `interruption-cost` besides.

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Answer, Columns, Error, Policy, PolicyInfo, Ranking, Request,
    policy::{Candidate, Placing, Task},
    register_policy,
    units::{Money, Span},
};

/// The policy.
#[derive(Debug)]
pub struct Spot;

/// Its settings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Replicas stay where they run as long as the floor allows it.
    #[serde(default = "yes")]
    sticky: bool,
    /// The least number of on-demand replicas of each task.
    #[serde(default = "one")]
    on_demand: u32,
    /// The least share of on-demand replicas of each task, 0 … 1.
    #[serde(default)]
    on_demand_share: f64,
    /// Paid work that one interruption loses.
    #[serde(default = "ten_minutes")]
    lost_time: Span,
    /// What one interruption costs besides.
    #[serde(default)]
    interruption_cost: Money,
    /// Interruptions per hour of spot offers that don't tell.
    #[serde(default = "one_in_ten")]
    unknown_rate: f64,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn ten_minutes() -> Span {
    Span::seconds(600)
}

fn one_in_ten() -> f64 {
    0.1
}

const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "sticky": {
      "type": "boolean",
      "default": true,
      "description": "Replicas stay where they run as long as the floor allows it, even where it would be cheaper elsewhere."
    },
    "on-demand": {
      "type": "integer",
      "minimum": 0,
      "maximum": 4294967295,
      "default": 1,
      "description": "The least number of on-demand replicas of each task; all of them when it has no more."
    },
    "on-demand-share": {
      "type": "number",
      "minimum": 0,
      "maximum": 1,
      "default": 0,
      "description": "The least share of on-demand replicas of each task, rounded up. The larger of the two floors counts."
    },
    "lost-time": {
      "type": ["string", "number"],
      "default": "10m",
      "description": "Paid work that one interruption loses: a text such as 10m, or seconds."
    },
    "interruption-cost": {
      "type": ["string", "number"],
      "default": 0,
      "description": "What one interruption costs besides, in US dollars."
    },
    "unknown-rate": {
      "type": "number",
      "minimum": 0,
      "default": 0.1,
      "description": "Interruptions per hour of spot offers that don't say."
    }
  }
}"#;

impl Settings {
    fn check(&self) -> Result<(), Error> {
        if !(0.0..=1.0).contains(&self.on_demand_share) {
            let message = format!("the share is \"{}\": use 0 to 1", self.on_demand_share);
            return Err(Error::invalid(message).field("settings.on-demand-share"));
        }
        if !self.unknown_rate.is_finite() || self.unknown_rate < 0.0 {
            let message = format!(
                "the rate is \"{}\": use 0 or more interruptions per hour",
                self.unknown_rate
            );
            return Err(Error::invalid(message).field("settings.unknown-rate"));
        }
        Ok(())
    }

    /// On-demand replicas that a task can't do without.
    fn floor(&self, task: Task<'_>) -> u32 {
        let share = (self.on_demand_share * f64::from(task.replicas()) - 1e-9).ceil() as u32;
        self.on_demand.max(share).min(task.replicas())
    }

    /// US dollars of one replica, its expected interruptions included.
    fn expected(&self, candidate: Candidate<'_>) -> f64 {
        let offer = candidate.offer();
        if !offer.spot() {
            return candidate.cost_usd();
        }
        let rate = if offer.interruption_rate().is_nan() {
            self.unknown_rate
        } else {
            offer.interruption_rate().max(0.0)
        };
        let lost_hours = self.lost_time.millis() as f64 / 3_600_000.0;
        let each = candidate.hourly() as f64 / 1e6 * lost_hours + self.interruption_cost.usd();
        candidate.cost_usd() + rate * candidate.hours() * each
    }

    fn place<'a>(&self, placing: &mut Placing<'a>, task: Task<'a>) {
        let floor = self.floor(task);
        let on_demand = |candidate: Candidate<'_>| !candidate.offer().spot();
        let mut safe = placing.keep(task, floor, on_demand);
        safe += placing.fill(task, floor - safe, on_demand);
        let open = (task.replicas() - floor).min(placing.ledger.missing(task));
        let kept = placing.keep(task, open, |_| true);
        placing.fill(task, open - kept, |_| true);
        if safe < floor {
            let short = floor - safe;
            let reason = format!(
                "the floor of {floor} on-demand replicas is {short} short: no on-demand candidate can take more"
            );
            placing.ledger.explain(task, reason);
        }
    }
}

impl Policy for Spot {
    type Settings = Settings;

    fn info() -> PolicyInfo {
        let summary = "Mixes spot and on-demand capacity, with a floor of on-demand replicas";
        let columns = Columns::TERMS | Columns::SPOT | Columns::INTERRUPTION_RATE;
        PolicyInfo::new("spot", env!("CARGO_PKG_VERSION"), summary)
            .schema(SCHEMA)
            .columns(columns)
    }

    fn place(settings: Settings, request: &Request) -> Result<Answer, Error> {
        settings.check()?;
        let mut placing = Ranking::by(request, |candidate| settings.expected(candidate))
            .sticky(settings.sticky)
            .start(request);
        for task in request.tasks_by_priority() {
            settings.place(&mut placing, task);
        }
        Ok(placing.finish())
    }
}

register_policy!(Spot);

#[cfg(test)]
mod tests {
    use tradewind_plugin_sdk::testing::{Batch, OfferSpec, TaskSpec};

    use super::*;

    fn market(rate: f64) -> Batch {
        let spot = OfferSpec::new("spot", 0.03)
            .with(|offer| (offer.spot, offer.interruption_rate) = (true, rate));
        Batch::new()
            .offer(OfferSpec::new("safe", 0.10).capacity(4))
            .offer(spot)
    }

    #[test]
    fn the_floor_is_on_demand_and_the_rest_is_where_it_pays() {
        let share = r#"{"on-demand-share": 0.3}"#;
        let placed = market(0.05)
            .task(TaskSpec::new("web", 10))
            .place::<Spot>(share)
            .unwrap();
        assert_eq!(
            (placed.choices["web"]["safe"], placed.choices["web"]["spot"]),
            (3, 7)
        );
        // Thirty cents for each of 0.5 interruptions per hour make spot the dearer one.
        let placed = market(0.5)
            .task(TaskSpec::new("web", 4))
            .place::<Spot>(r#"{"interruption-cost": "0.30"}"#)
            .unwrap();
        assert_eq!(placed.choices["web"]["safe"], 4);
        assert!((placed.answer.scores[1] - (0.03 + 0.5 * (0.03 / 6.0 + 0.30))).abs() < 1e-12);
    }

    #[test]
    fn a_floor_that_cannot_be_reached_is_not_filled_up_with_spot() {
        let placed = market(0.0)
            .task(TaskSpec::new("web", 10))
            .place::<Spot>(r#"{"on-demand": 6}"#)
            .unwrap();
        assert_eq!(
            (placed.choices["web"]["safe"], placed.choices["web"]["spot"]),
            (4, 4)
        );
        let (short, reason) = &placed.unplaced["web"];
        assert!(
            *short == 2 && reason.contains("floor of 6 on-demand replicas is 2 short"),
            "{reason}"
        );
    }

    #[test]
    fn what_runs_on_spot_gives_way_only_to_the_floor() {
        let placed = market(0.0)
            .task(TaskSpec::new("web", 4).runs_on("spot", 4))
            .place::<Spot>("{}")
            .unwrap();
        assert_eq!(
            (placed.choices["web"]["safe"], placed.choices["web"]["spot"]),
            (1, 3)
        );
        assert_eq!(
            market(0.0)
                .task(TaskSpec::new("web", 1))
                .place::<Spot>(r#"{"on-demand-share": 2}"#)
                .unwrap_err()
                .field
                .as_deref(),
            Some("settings.on-demand-share")
        );
    }
}
