//! Scaling and pushed measures, as the API takes and shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use tradewind_core::{
    manifest::Target,
    names::{DeploymentName, MetricName, Namespace, TaskName},
    units::Instant,
};

/// How a task's number of replicas follows its load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleView {
    /// The fewest replicas.
    pub min: u32,
    /// The most replicas.
    pub max: u32,
    /// Why there are so many; absent: it has as many as it began with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// When the number changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Instant>,
}

/// Measures of a deployment's tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "samples": [{ "task": "web", "metric": "queue-length", "value": 12.5 }] }))]
pub struct Samples {
    /// The measures.
    pub samples: Vec<Sample>,
}

/// One value of one measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sample {
    /// The task that follows it.
    pub task: TaskName,
    /// The name in the task's `scale.target.metric`, or `requests`.
    pub metric: MetricName,
    /// Over all replicas together.
    pub value: f64,
    /// When it was measured. Default: now. After two minutes it counts no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Instant>,
}

/// The answer to pushed measures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SamplesAccepted {
    /// How many count; others are older than what is known already.
    pub accepted: u32,
}

/// The number of replicas that a task shall have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "task": "web", "replicas": 2 }))]
pub struct ScaleBody {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// At each target, if the deployment has targets.
    pub replicas: u32,
}

/// What scaling or waking has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scaled {
    /// The deployment's namespace.
    pub namespace: Namespace,
    /// The deployment's name.
    pub name: DeploymentName,
    /// A task that does not follow its load is changed in its spec: the generation grows.
    pub generation: u64,
    /// The tasks whose number has changed.
    pub tasks: Vec<ScaledTask>,
}

/// A task whose number of replicas has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaledTask {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The target whose replicas are meant. Absent: the deployment has no targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Replicas before.
    pub before: u32,
    /// Replicas from now on.
    pub after: u32,
}
