//! Deployments, as the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    failure::Failure,
    list::{Choice, Listed, SortValue},
    manifest::{Manifest, Target},
    names::{AllocationId, DecisionId, DeploymentName, InstanceName, Namespace, TaskName},
    store::Revision,
    units::{Instant, MicroUsd},
    workload::{Endpoint, Labels, Phase, Replica},
};

use crate::{Recovery, RolloutView, ScaleView, ScheduleView};

/// Where a deployment, or one of its tasks, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Accepted; nothing has been decided yet, or there is no place for it at the moment.
    Pending,
    /// It, or one of its tasks, waits for other tasks of the deployment.
    Waiting,
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
    /// It is being removed.
    Deleting,
}

impl Status {
    /// As the API and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Waiting => "waiting",
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
        Self::Waiting,
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
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: DeploymentName,
    /// Those of its manifest.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Grows by one with every change of the spec.
    pub generation: u64,
    /// Where it stands.
    pub status: Status,
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas that are wanted in all.
    pub replicas: u32,
    /// The places in use, as `provider/region`.
    pub places: Vec<String>,
    /// Of all allocations, per hour.
    pub hourly_cost: MicroUsd,
    /// When it was created.
    pub created_at: Instant,
    /// Why it stands so, for people. Empty: there is nothing to say.
    pub message: String,
}

/// By namespace, then by name.
impl Listed for DeploymentSummary {
    const LIST: &'static str = "deployments";
    const SORTS: &'static [&'static str] = &[
        "namespace",
        "name",
        "status",
        "ready",
        "replicas",
        "hourlyCost",
        "createdAt",
    ];
    type Key = (Namespace, DeploymentName);

    fn key(&self) -> Self::Key {
        (self.namespace.clone(), self.name.clone())
    }

    fn sort_value(&self, field: &str) -> SortValue {
        match field {
            "namespace" => self.namespace.as_str().into(),
            "name" => self.name.as_str().into(),
            "status" => self.status.as_str().into(),
            "ready" => self.ready.into(),
            "replicas" => self.replicas.into(),
            "hourlyCost" => self.hourly_cost.into(),
            "createdAt" => self.created_at.into(),
            _ => SortValue::Nothing,
        }
    }
}

/// A deployment that is not in the list any more: it is gone, or left what the list was narrowed to. The data of the event `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentLeft {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: DeploymentName,
}

/// Who watches the list has been told of everything up to a revision. The data of the event `bookmark`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bookmark {
    /// The revision, to watch `after`.
    pub revision: Revision,
}

/// A deployment whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentView {
    /// What lists show of it.
    #[serde(flatten)]
    pub summary: DeploymentSummary,
    /// The generation that `tasks` reflects.
    pub observed_generation: u64,
    /// When it was changed last.
    pub updated_at: Instant,
    /// The update to this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// Its services and jobs, each at each of its targets.
    pub tasks: Vec<TaskView>,
    /// What was asked for.
    pub manifest: Manifest,
}

/// A service or job at one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    /// Its name in the deployment.
    pub name: TaskName,
    /// `service` or `job`.
    pub kind: String,
    /// The target whose replicas are meant. Absent: the deployment has no targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Where it stands.
    pub status: Status,
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas that are wanted.
    pub replicas: u32,
    /// Present when its number of replicas follows its load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleView>,
    /// Present when it is a job that runs by a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleView>,
    /// Why it stands so, for people. Empty: there is nothing to say.
    pub message: String,
    /// The last failure of a plugin call for this task, if it still matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What runs of it, or is to run, and where.
    pub allocations: Vec<AllocationView>,
    /// The decision that placed it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
}

/// Replicas of one task bound to one offer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllocationView {
    /// Its id, which is part of every name at the cloud.
    pub id: AllocationId,
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// The zone. Empty: the provider chooses one.
    pub zone: String,
    /// The instance type or size class.
    pub size: String,
    /// The provider's name for the offer.
    pub offer: String,
    /// The cloud may take it back at any time.
    pub spot: bool,
    /// Replicas that it shall have.
    pub replicas: u32,
    /// Replicas of it that are ready.
    pub ready: u32,
    /// What its provider reported last.
    pub phase: Phase,
    /// Of all its replicas, per hour.
    pub hourly_cost: MicroUsd,
    /// Where it answers as a whole. Those of single replicas are in `replicaStatus`.
    pub endpoints: Vec<Endpoint>,
    /// Each replica, as its provider reported it last.
    pub replica_status: Vec<Replica>,
    /// What its provider says about it. Empty: nothing.
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
    /// When it was decided.
    pub created_at: Instant,
}

/// The answer to a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The deployment's namespace.
    pub namespace: Namespace,
    /// The deployment's name.
    pub name: DeploymentName,
    /// The deployment's generation after the write.
    pub generation: u64,
    /// `created`, `updated`, `unchanged` or `deleting`.
    pub outcome: Outcome,
}

/// What a write has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was not there before.
    Created,
    /// It was changed.
    Updated,
    /// It was as asked for already.
    Unchanged,
    /// It is being removed.
    Deleting,
}
