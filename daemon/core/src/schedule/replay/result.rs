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
    /// The decision that was replayed.
    pub decision: DecisionId,
    /// When that was made.
    pub at: Instant,
    /// Who decided then.
    pub recorded_policy: Identity,
    /// Who decided now.
    pub replayed_policy: Identity,
    /// Whether that is the same version with the same settings: its answer must be the same, bit for bit.
    pub same_policy: bool,
    /// Whether the answers are the same, bit for bit.
    pub identical: bool,
    /// Of the recorded answer's bytes.
    pub recorded_answer: Digest,
    /// Of the new answer's bytes.
    pub replayed_answer: Digest,
    /// The first task, offer, number of replicas or score that differs, with both values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_difference: Option<String>,
    /// The rule that the new answer breaks, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The tasks that go elsewhere.
    pub tasks: Vec<TaskDifference>,
    /// What the recorded choices cost, for the tasks' whole estimated durations.
    pub recorded_cost: MicroUsd,
    /// What the new choices cost, for the tasks' whole estimated durations.
    pub replayed_cost: MicroUsd,
    /// What the recorded choices cost per hour.
    pub recorded_hourly: MicroUsd,
    /// What the new choices cost per hour.
    pub replayed_hourly: MicroUsd,
}

/// A task that goes elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskDifference {
    /// The namespace of its deployment.
    pub namespace: Namespace,
    /// The deployment that it belongs to.
    pub deployment: DeploymentName,
    /// The task's name in the deployment.
    pub task: TaskName,
    /// Where it was placed then.
    pub recorded: Vec<ReplayedPlace>,
    /// Where it would be placed now.
    pub replayed: Vec<ReplayedPlace>,
}

/// Replicas on an offer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayedPlace {
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// The provider's name for the offer.
    pub offer: String,
    /// How many.
    pub replicas: u32,
    /// Of one replica, for the whole estimated duration.
    pub cost: MicroUsd,
}
