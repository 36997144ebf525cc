//! A policy: the best by a weighted sum of normalised criteria.
//!
//! Each criterion of a candidate is brought to 0 (the best of all candidates of the task's shape) … 1 (the worst of them), so that dollars, hours
//! and milliseconds can be added; what is unknown counts as the worst. The score is the sum by weights, divided by the weights' sum.

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Answer, Columns, Error, Policy, PolicyInfo, Ranking, Request,
    policy::{Candidate, Shape},
    register_policy,
};

/// The policy.
#[derive(Debug)]
pub struct Weighted;

/// Its settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Replicas stay where they run, even where it would be better elsewhere.
    #[serde(default = "yes")]
    sticky: bool,
    #[serde(default)]
    weights: Weights,
}

/// How much each criterion counts; 0: not at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Weights {
    cost: f64,
    time: f64,
    resources: f64,
    performance: f64,
    availability: f64,
    latency: f64,
    carbon: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            cost: 1.0,
            time: 1.0,
            resources: 1.0,
            performance: 0.0,
            availability: 0.0,
            latency: 0.0,
            carbon: 0.0,
        }
    }
}

fn yes() -> bool {
    true
}

const SCHEMA: &str = r##"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "$defs": {"weight": {"type": "number", "minimum": 0, "maximum": 1000000}},
  "properties": {
    "sticky": {
      "type": "boolean",
      "default": true,
      "description": "Replicas stay where they run as long as they may, even where it would be better elsewhere."
    },
    "weights": {
      "type": "object",
      "additionalProperties": false,
      "description": "How much each criterion counts beside the others; 0: not at all.",
      "properties": {
        "cost": {"$ref": "#/$defs/weight", "default": 1, "description": "Cost of one replica for its whole duration (C); less is better."},
        "time": {"$ref": "#/$defs/weight", "default": 1, "description": "Hours that a job takes (T); fewer are better. A service takes as long everywhere."},
        "resources": {"$ref": "#/$defs/weight", "default": 1, "description": "Resource units that it takes up (R); fewer are better."},
        "performance": {"$ref": "#/$defs/weight", "default": 0, "description": "Speed; more is better."},
        "availability": {"$ref": "#/$defs/weight", "default": 0, "description": "Share of time that it is there; more is better."},
        "latency": {"$ref": "#/$defs/weight", "default": 0, "description": "Round trip to callers; less is better."},
        "carbon": {"$ref": "#/$defs/weight", "default": 0, "description": "CO2 equivalent per kWh; less is better."}
      }
    }
  }
}"##;

/// What is read of a candidate, so that less is better, and how much it counts.
type Criterion = (&'static str, f64, fn(Candidate<'_>) -> f64);

impl Weights {
    fn criteria(&self) -> Result<Vec<Criterion>, Error> {
        let all: [Criterion; 7] = [
            ("cost", self.cost, |candidate| candidate.cost_usd()),
            ("time", self.time, |candidate| candidate.hours()),
            ("resources", self.resources, |candidate| candidate.units()),
            ("performance", self.performance, |candidate| {
                -candidate.offer().performance()
            }),
            ("availability", self.availability, |candidate| {
                -candidate.offer().availability()
            }),
            ("latency", self.latency, |candidate| {
                candidate.offer().latency()
            }),
            ("carbon", self.carbon, |candidate| {
                candidate.offer().carbon()
            }),
        ];
        if let Some((name, weight, _)) = all
            .iter()
            .find(|(_, weight, _)| !weight.is_finite() || *weight < 0.0)
        {
            return Err(Error::invalid(format!(
                "the weight of {name} is \"{weight}\": use 0 or more"
            ))
            .field(format!("settings.weights.{name}")));
        }
        let counting: Vec<Criterion> = all
            .into_iter()
            .filter(|(_, weight, _)| *weight > 0.0)
            .collect();
        if counting.is_empty() {
            return Err(
                Error::invalid("every weight is \"0\": give at least one that is more")
                    .field("settings.weights"),
            );
        }
        Ok(counting)
    }
}

impl Policy for Weighted {
    type Settings = Settings;

    fn info() -> PolicyInfo {
        let summary = "Weighs cost, time, resources and qualities against each other";
        let columns = Columns::TERMS
            | Columns::PERFORMANCE
            | Columns::AVAILABILITY
            | Columns::LATENCY
            | Columns::CARBON;
        PolicyInfo::new("weighted", env!("CARGO_PKG_VERSION"), summary)
            .schema(SCHEMA)
            .columns(columns)
    }

    fn place(settings: Settings, request: &Request) -> Result<Answer, Error> {
        let criteria = settings.weights.criteria()?;
        let total: f64 = criteria.iter().map(|(_, weight, _)| weight).sum();
        let mut scores = vec![0.0; request.candidates().len()];
        for shape in request.shapes() {
            for (_, weight, read) in &criteria {
                add(&mut scores, shape, weight / total, *read);
            }
        }
        let score = |candidate: Candidate<'_>| {
            scores
                .get(candidate.row() as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        Ok(Ranking::by(request, score)
            .sticky(settings.sticky)
            .place(request))
    }
}

/// Adds one criterion, normalised over the candidates of a shape. Where all are alike it adds nothing.
fn add(scores: &mut [f64], shape: Shape<'_>, weight: f64, read: fn(Candidate<'_>) -> f64) {
    let known = shape
        .candidates()
        .map(read)
        .filter(|value| value.is_finite());
    let (least, most) = known.fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), value| (least.min(value), most.max(value)),
    );
    for candidate in shape.candidates() {
        let value = read(candidate);
        let normal = if !value.is_finite() {
            1.0
        } else if most > least {
            (value - least) / (most - least)
        } else {
            0.0
        };
        if let Some(score) = scores.get_mut(candidate.row() as usize) {
            *score += weight * normal;
        }
    }
}

register_policy!(Weighted);

#[cfg(test)]
mod tests {
    use tradewind_plugin_sdk::{
        testing::{Batch, OfferSpec, TaskSpec},
        types::PriceUnit,
    };

    use super::*;

    /// Unit price, cores that are paid for, speed: C = 1.0, 0.6, 0.2; T = 1, 2, 1.
    fn clouds() -> Batch {
        let cloud = |id: &str, usd: f64, performance: f64| {
            OfferSpec::new(id, usd)
                .with(|offer| (offer.price_unit, offer.performance) = (PriceUnit::Cpu, performance))
        };
        Batch::new()
            .offer(cloud("aws", 1.0, 1.0))
            .offer(cloud("azure", 0.3, 0.5))
            .offer(cloud("google", 0.2, 1.0))
    }

    #[test]
    fn the_worked_example_chooses_google_cloud() {
        let placed = clouds()
            .task(TaskSpec::new("work", 1).job())
            .place::<Weighted>("{}")
            .unwrap();
        assert_eq!(placed.choices["work"]["google"], 1);
        let expected = [1.0 / 3.0, (0.5 + 1.0) / 3.0, 0.0];
        placed
            .answer
            .scores
            .iter()
            .zip(expected)
            .for_each(|(score, expected)| assert!((score - expected).abs() < 1e-12, "{score}"));
    }

    #[test]
    fn weights_decide_and_what_is_unknown_counts_as_the_worst() {
        let batch = clouds()
            .offer(OfferSpec::new("near", 9.0).with(|offer| offer.latency = 3.0))
            .task(TaskSpec::new("work", 1).job());
        let near = batch
            .place::<Weighted>(r#"{"weights": {"latency": 100}}"#)
            .unwrap();
        assert_eq!(near.choices["work"]["near"], 1);
        let error = batch
            .place::<Weighted>(r#"{"weights": {"cost": -1}}"#)
            .unwrap_err();
        assert_eq!(
            error.field.as_deref(),
            Some("settings.weights.cost"),
            "{error:?}"
        );
        assert!(
            batch
                .place::<Weighted>(r#"{"weights": {"cost": 0, "time": 0, "resources": 0}}"#)
                .is_err()
        );
    }
}
