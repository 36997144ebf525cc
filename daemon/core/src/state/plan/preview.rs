//! What applying a manifest would change, where, what it costs and why: what a dry run finds, and what a stored plan keeps of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::{
        difference::Changed,
        names::{DeploymentName, InstanceName, Namespace, TaskName},
        units::{Instant, MicroUsd},
        version::Identity,
    },
    spec::manifest::{Prerequisite, Target},
    state::decision::{Certificate, TaskReason},
};

/// What applying a manifest would change, where, what it costs and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The deployment's namespace.
    pub namespace: Namespace,
    /// The deployment's name.
    pub name: DeploymentName,
    /// The policy instance that decided, with its version and digest. Absent when nothing had to be decided.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::state::forms::identity::optional"
    )]
    pub policy: Option<Identity>,
    /// What becomes of the deployment: created, updated, kept or destroyed. Absent: the plan was stored before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ChangeAction>,
    /// Fields of the manifest that change, values of variables hidden. Empty for a new deployment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Changed>,
    /// What changes, allocation by allocation.
    pub changes: Vec<PlannedChange>,
    /// Tasks whose number of copies follows their load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scales: Vec<ScaleBounds>,
    /// Jobs that run by a schedule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<PlannedSchedule>,
    /// Replicas that have no place.
    pub unplaced: Vec<Unplaced>,
    /// What the deployment costs per hour before.
    pub hourly_before: MicroUsd,
    /// What it would cost per hour afterwards.
    pub hourly_after: MicroUsd,
    /// For the tasks' whole estimated durations.
    pub estimated_cost: MicroUsd,
    /// What its services would cost in a month of 730 hours. Absent: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly_after: Option<MicroUsd>,
    /// What its jobs would cost for their estimated durations. Absent: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_cost: Option<MicroUsd>,
    /// How far what was decided is from the least possible. Absent when nothing had to be decided.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::state::decision::certificate::optional"
    )]
    pub certificate: Option<Certificate>,
    /// Providers that had not answered yet when it was decided: their offers were not among those compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<InstanceName>,
    /// Per task: the choice against the next best, and what excluded the rest.
    pub reasons: Vec<TaskReason>,
    /// What may become wrong later without anybody's doing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One allocation's change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedChange {
    /// What becomes of the allocation.
    pub action: ChangeAction,
    /// How its replicas come to the new specification. Absent: they are not updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<Transition>,
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// The instance type or size class.
    pub size: String,
    /// The provider's name for the offer.
    pub offer: String,
    /// Replicas before.
    pub replicas_before: u32,
    /// Replicas afterwards.
    pub replicas_after: u32,
    /// Of all its replicas, per hour, before.
    pub hourly_before: MicroUsd,
    /// Of all its replicas, per hour, afterwards.
    pub hourly_after: MicroUsd,
    /// Why it changes.
    pub why: String,
    /// What it waits for before it begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Prerequisite>,
}

/// What becomes of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeAction {
    /// It is made.
    Create,
    /// It gets another number of replicas.
    Resize,
    /// It gets another workload.
    Update,
    /// It stays as it is.
    Keep,
    /// It is removed.
    Destroy,
}

impl ChangeAction {
    /// As the API and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Resize => "resize",
            Self::Update => "update",
            Self::Keep => "keep",
            Self::Destroy => "destroy",
        }
    }
}

/// How running replicas come to a new specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transition {
    /// The same replicas run on.
    InPlace,
    /// New replicas take the place of the old ones, a few at a time.
    Rolling,
    /// All old replicas go before new ones come.
    Recreate,
    /// A share of new replicas goes first, and has to prove itself.
    Canary,
    /// A whole new set runs beside the old one, then takes all traffic at once.
    BlueGreen,
}

impl Transition {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InPlace => "in-place",
            Self::Rolling => "rolling",
            Self::Recreate => "recreate",
            Self::Canary => "canary",
            Self::BlueGreen => "blue-green",
        }
    }
}

/// Replicas of a task that have no place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unplaced {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// How many.
    pub replicas: u32,
    /// Why, with what excluded the offers.
    pub reason: String,
    /// No provider that is there can ever take them as they are asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never: bool,
}

/// A job that runs by a schedule, in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedSchedule {
    /// The job's name in the deployment.
    pub task: TaskName,
    /// The cron expression.
    pub cron: String,
    /// The time zone of the expression.
    pub time_zone: String,
    /// When the next run begins. None: it is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Instant>,
}

/// A task's number of copies and its bounds, in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScaleBounds {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The target whose copies are meant. Absent: the deployment has no targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Now, or to begin with.
    pub replicas: u32,
    /// The fewest copies.
    pub min: u32,
    /// The most copies.
    pub max: u32,
}
