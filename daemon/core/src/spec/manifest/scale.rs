//! How a task's number of copies follows its load, as it is written.

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

/// Copies that follow the load. `replicas` is what the task begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleSpec {
    /// The fewest copies. Default 1; with 0 there are none while there is nothing to do.
    #[serde(default = "one")]
    pub min: u32,
    /// The most copies.
    pub max: u32,
    /// What each copy shall carry. Where several are given, the one that asks for the most copies decides.
    pub target: ScaleTarget,
    /// For how long a change must be asked for before it is made.
    #[serde(default, skip_serializing_if = "Stabilization::is_default")]
    pub stabilization: Stabilization,
    /// After so long without any load there are no copies at all. Only with `min: 0`. Default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Millis>,
    /// How far the load may be off its target before anything changes. Default 10%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Percent>,
    /// By how much it may grow within 15 seconds; four copies are always allowed. Default 100%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_step: Option<Percent>,
}

/// The load that one copy shall carry. Give at least one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScaleTarget {
    /// The processor time in use, as a share of what `resources.cpu` asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Percent>,
    /// Requests per second, as the provider reports them or as pushed under the name `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<f64>,
    /// A measure that is pushed through the API, counted over all copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricTarget>,
}

/// A pushed measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricTarget {
    /// The name it is pushed under.
    pub name: MetricName,
    /// How much of it one copy shall have.
    pub value: f64,
}

/// How long a change must be needed before it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Stabilization {
    /// Before it grows. Default 0s.
    pub up: Millis,
    /// Before it shrinks. Default 5m.
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
