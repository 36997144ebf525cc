//! Places as the API shows them: which take nothing new, which are being emptied, and what is left there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    cordon::{CordonRecord, DrainRecord},
    manifest::Target,
    names::{Actor, AllocationId, DeploymentName, InstanceName, Namespace, TaskName},
    units::Instant,
};

use crate::Outcome;

/// Why a place takes nothing new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CordonView {
    /// What is cordoned: a provider instance with all of its regions, or one region as `provider/region`.
    pub place: String,
    /// Who cordoned it.
    pub by: Actor,
    /// Since when.
    pub since: Instant,
    /// Why. Absent: nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What runs there is to move elsewhere. Absent: it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainView>,
}

/// A drain of a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainView {
    /// Who asked for it.
    pub by: Actor,
    /// Since when.
    pub since: Instant,
    /// When jobs are stopped, and services moved without regard to the bounds of their updates. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Instant>,
    /// Jobs are left alone, and the drain ends without them.
    pub ignore_jobs: bool,
    /// The deadline has passed, and something was left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
    /// When nothing was left. Absent: something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained_at: Option<Instant>,
}

/// A place, and what is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlaceView {
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: all of the provider.
    pub region: String,
    /// The cordon of exactly this place. Absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<CordonView>,
    /// What is there, by namespace, deployment and task.
    pub left: Vec<LeftView>,
}

/// The answer to a change of a place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlaceOutcome {
    /// What the change has done.
    pub outcome: Outcome,
    /// The place after it.
    #[serde(flatten)]
    pub place: PlaceView,
}

/// Replicas at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeftView {
    /// The namespace of their deployment.
    pub namespace: Namespace,
    /// Their deployment.
    pub deployment: DeploymentName,
    /// Their task.
    pub task: TaskName,
    /// The target that they belong to. Absent: the deployment has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Their allocation.
    pub allocation: AllocationId,
    /// The region where they are. Empty: the provider has none.
    pub region: String,
    /// How many may exist.
    pub replicas: u32,
    /// They belong to a job.
    pub job: bool,
    /// The drain does not wait for them.
    pub ignored: bool,
    /// They can't move at the moment.
    pub stuck: bool,
    /// How they stand, for people.
    pub why: String,
}

impl From<&CordonRecord> for CordonView {
    fn from(record: &CordonRecord) -> Self {
        Self {
            place: record.place(),
            by: record.by.clone(),
            since: record.since,
            reason: record.reason.clone(),
            drain: record.drain.as_ref().map(DrainView::from),
        }
    }
}

impl From<&DrainRecord> for DrainView {
    fn from(record: &DrainRecord) -> Self {
        Self {
            by: record.by.clone(),
            since: record.since,
            deadline: record.deadline,
            ignore_jobs: record.ignore_jobs,
            overdue: record.overdue,
            drained_at: record.drained_at,
        }
    }
}

impl CordonView {
    /// One word for how the place stands.
    pub fn state(&self) -> &'static str {
        match &self.drain {
            None => "cordoned",
            Some(drain) if drain.drained_at.is_some() => "drained",
            Some(_) => "draining",
        }
    }
}
