//! Deployments, as the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    failure::Failure,
    list::{Choice, Listed},
    manifest::{Manifest, Target},
    names::{AllocationId, DecisionId, DeploymentName, InstanceName, Namespace, TaskName},
    units::{Instant, MicroUsd},
    workload::{Endpoint, Labels, Phase, Replica},
};

use crate::{Recovery, RolloutView, ScaleView};

/// Where a deployment, or one of its tasks, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Accepted; nothing has been decided yet, or there is no place for it at the moment.
    Pending,
    /// Being made so.
    Progressing,
    /// Everything wanted runs and is ready.
    Running,
    /// Some of it runs, some does not as it should.
    Degraded,
    /// There is nothing to do, so none of it runs: load brings it back.
    Idle,
    /// Every job has succeeded, and there are no services.
    Completed,
    /// It can't be made so without a change by someone; the message says which.
    Failed,
    Deleting,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Progressing => "progressing",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Idle => "idle",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
        }
    }

    /// Nothing more will happen until something changes.
    pub fn is_settled(self) -> bool {
        matches!(
            self,
            Self::Running | Self::Idle | Self::Completed | Self::Failed
        )
    }
}

impl Choice for Status {
    const WHAT: &'static str = "a status";
    const ALL: &'static [Self] = &[
        Self::Pending,
        Self::Progressing,
        Self::Running,
        Self::Degraded,
        Self::Idle,
        Self::Completed,
        Self::Failed,
        Self::Deleting,
    ];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A deployment in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSummary {
    pub namespace: Namespace,
    pub name: DeploymentName,
    /// Those of its manifest.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Grows by one with every change of the spec.
    pub generation: u64,
    pub status: Status,
    /// Replicas that are ready, and that are wanted in all.
    pub ready: u32,
    pub replicas: u32,
    /// The places in use, as `provider/region`.
    pub places: Vec<String>,
    /// Of all allocations, per hour.
    pub hourly_cost: MicroUsd,
    pub created_at: Instant,
    pub message: String,
}

/// By namespace, then by name.
impl Listed for DeploymentSummary {
    const LIST: &'static str = "deployments";
    type Key = (Namespace, DeploymentName);

    fn key(&self) -> Self::Key {
        (self.namespace.clone(), self.name.clone())
    }
}

/// A deployment whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentView {
    #[serde(flatten)]
    pub summary: DeploymentSummary,
    /// The generation that `tasks` reflects.
    pub observed_generation: u64,
    pub updated_at: Instant,
    /// The update to this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    pub tasks: Vec<TaskView>,
    /// What was asked for.
    pub manifest: Manifest,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    pub name: TaskName,
    /// `service` or `job`.
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    pub status: Status,
    pub ready: u32,
    pub replicas: u32,
    /// Present when its number of replicas follows its load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleView>,
    pub message: String,
    /// The last failure of a plugin call for this task, if it still matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    pub allocations: Vec<AllocationView>,
    /// The decision that placed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllocationView {
    pub id: AllocationId,
    pub provider: InstanceName,
    pub region: String,
    pub zone: String,
    pub size: String,
    pub offer: String,
    pub spot: bool,
    pub replicas: u32,
    pub ready: u32,
    pub phase: Phase,
    pub hourly_cost: MicroUsd,
    pub endpoints: Vec<Endpoint>,
    pub replica_status: Vec<Replica>,
    pub message: String,
    /// To be removed once its replacement is ready.
    pub superseded: bool,
    /// The revision it was made for.
    #[serde(default)]
    pub revision: u64,
    /// Thousandths of the task's traffic; absent: in proportion to its replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<u32>,
    /// Its place does not answer: others take over.
    #[serde(default)]
    pub lost: bool,
    /// Asked for beside others, of which the first that is ready stays.
    #[serde(default)]
    pub hedged: bool,
    /// Failures so far, and when it is tried again.
    #[serde(default, skip_serializing_if = "Recovery::is_empty")]
    pub recovery: Recovery,
    /// The images that its replicas run, each with its digest, as far as the provider tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// What may become wrong later without anybody's doing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    pub created_at: Instant,
}

/// The answer to a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    pub namespace: Namespace,
    pub name: DeploymentName,
    pub generation: u64,
    /// `created`, `updated`, `unchanged` or `deleting`.
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Created,
    Updated,
    Unchanged,
    Deleting,
}
