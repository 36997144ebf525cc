//! A decision replayed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{
    names::{DecisionId, DeploymentName, Digest, InstanceName, Namespace, TaskName},
    units::{Instant, MicroUsd},
    version::Identity,
};

/// The same inputs given to a policy once more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayView {
    pub decision: DecisionId,
    pub at: Instant,
    /// Who decided then.
    pub recorded_policy: Identity,
    /// Who decided now.
    pub replayed_policy: Identity,
    /// Whether that is the same version with the same settings: its answer must be the same, bit for bit.
    pub same_policy: bool,
    pub identical: bool,
    /// Of the answers' bytes.
    pub recorded_answer: Digest,
    pub replayed_answer: Digest,
    /// The first task, offer, number of replicas or score that differs, with both values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_difference: Option<String>,
    /// The rule that the new answer breaks, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The tasks that go elsewhere.
    pub tasks: Vec<TaskDifference>,
    /// Of all replicas that have a place, for the tasks' whole estimated durations.
    pub recorded_cost: MicroUsd,
    pub replayed_cost: MicroUsd,
    /// Likewise, per hour.
    pub recorded_hourly: MicroUsd,
    pub replayed_hourly: MicroUsd,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskDifference {
    pub namespace: Namespace,
    pub deployment: DeploymentName,
    pub task: TaskName,
    pub recorded: Vec<ReplayedPlace>,
    pub replayed: Vec<ReplayedPlace>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayedPlace {
    pub provider: InstanceName,
    pub region: String,
    pub offer: String,
    pub replicas: u32,
    /// Of one replica, for the whole estimated duration.
    pub cost: MicroUsd,
}
