//! How a task's number of replicas follows its load, as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::one;
use crate::{
    base::{
        names::MetricName,
        units::{MilliCpu, Millis, Percent},
    },
    spec::rules::scaling::Rule,
};

const IDLE: Millis = Millis::from_secs(600);

/// How the number of replicas follows the load. A task begins with its `replicas`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleSpec {
    /// The fewest replicas. With 0, none runs while there is no load.
    #[serde(default = "one")]
    pub min: u32,
    /// The most replicas.
    pub max: u32,
    /// The load that each replica shall carry. With several, the one that asks for the most
    /// replicas decides.
    pub target: ScaleTarget,
    /// How long a change must be needed before it is made.
    #[serde(default, skip_serializing_if = "Stabilization::is_default")]
    pub stabilization: Stabilization,
    /// The time without any load after which no replica runs. Only with `min: 0`. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Millis>,
    /// How far the load may be from its target before the number changes; at most 50%. Default:
    /// `10%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Percent>,
    /// How much the number may grow within 15 seconds; at most 1000%. Four replicas are always
    /// allowed. Default: `100%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_step: Option<Percent>,
}

/// The load that one replica shall carry. Give at least one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleTarget {
    /// The processor time in use, as a share of `resources.cpu`: 1% to 1000%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Percent>,
    /// Requests per second, as the provider reports them or as pushed under the name `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<f64>,
    /// A measure that is pushed through the API, counted over all replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricTarget>,
}

/// A pushed measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricTarget {
    /// The name under which it is pushed.
    pub name: MetricName,
    /// How much of it one replica shall have.
    pub value: f64,
}

/// How long a change must be needed before it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Stabilization {
    /// Before the number grows.
    pub up: Millis,
    /// Before the number shrinks.
    pub down: Millis,
}

impl Default for Stabilization {
    fn default() -> Self {
        Self {
            up: Millis(0),
            down: Millis::from_secs(300),
        }
    }
}

impl Stabilization {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Rule {
    /// The rule, with every default filled in. `cpu` is what one copy asks for.
    pub fn new(spec: &ScaleSpec, cpu: MilliCpu, job: bool) -> Self {
        let target = &spec.target;
        Self {
            min: spec.min,
            max: spec.max,
            cpu: target.cpu.map(|share| share.share() * f64::from(cpu.0)),
            requests: target.requests,
            metric: target.metric.as_ref().map(|m| (m.name.clone(), m.value)),
            up: spec.stabilization.up,
            down: spec.stabilization.down,
            idle: spec.idle.unwrap_or(IDLE),
            tolerance: spec.tolerance.unwrap_or(Percent(10)).share(),
            step: spec.max_step.unwrap_or(Percent(100)).share(),
            job,
        }
    }
}
