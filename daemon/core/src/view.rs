//! What the HTTP API shows: the daemon renders these, the command line reads them back. Wire types only.

mod event;
mod explain;
mod identity;
mod namespace;
mod offer;
mod plan;
mod regions;
mod replacement;
mod replay;
mod revision;
mod scale;

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    health::Recovery,
    list::{Choice, Listed},
    manifest::{Manifest, Target},
    names::{AllocationId, DecisionId, DeploymentName, Digest, InstanceName, Namespace, TaskName},
    offer::Offer,
    placement::Certificate,
    plugin::Identity,
    units::{Instant, MicroUsd, Millis},
    workload::{Endpoint, Labels, LogLine, Phase, Replica},
};

pub use event::{Cause, Cursor, Event, Severity};
pub use explain::{CandidateView, ExcludedOffer, ExplainView, Flip, OfferPlace, TaskExplanation};
pub use identity::{TokenCreated, TokenRequest, TokenView, WhoAmI};
pub use namespace::{
    HeldBack, HeldKind, HeldTask, MonthView, NamespaceOutcome, NamespaceSummary, NamespaceView,
    SpendView, UsageView,
};
pub use offer::{OfferView, OffersView, ProviderFailure};
pub use plan::{PlanDiff, PlanStatus, PlanSummary, StoredPlanView};
pub use regions::{CoolingView, DegradedView, RegionView, RegionsView};
pub use replacement::{ReplacementView, ReplacementsView};
pub use replay::{ReplayView, ReplayedPlace, TaskDifference};
pub use revision::{FieldChange, RevisionDiff, RevisionView, RolloutView};
pub use scale::{
    Sample, Samples, SamplesAccepted, ScaleBody, ScaleBounds, ScaleView, Scaled, ScaledTask,
};

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

// === plan ===

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeAction {
    Create,
    Resize,
    Update,
    Keep,
    Destroy,
}

impl ChangeAction {
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

/// One allocation's change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeView {
    pub action: ChangeAction,
    pub task: TaskName,
    pub provider: InstanceName,
    pub region: String,
    pub size: String,
    pub offer: String,
    pub replicas_before: u32,
    pub replicas_after: u32,
    pub hourly_before: MicroUsd,
    pub hourly_after: MicroUsd,
    pub why: String,
}

/// What applying a manifest would change, where, what it costs and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    pub namespace: Namespace,
    pub name: DeploymentName,
    /// The policy instance that decided, with its version and digest. Absent when nothing had to be decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Identity>,
    pub changes: Vec<ChangeView>,
    /// Tasks whose number of copies follows their load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scales: Vec<ScaleBounds>,
    pub unplaced: Vec<UnplacedView>,
    pub hourly_before: MicroUsd,
    pub hourly_after: MicroUsd,
    /// For the tasks' whole estimated durations.
    pub estimated_cost: MicroUsd,
    /// How far what was decided is from the least possible. Absent when nothing had to be decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnplacedView {
    pub task: TaskName,
    pub replicas: u32,
    pub reason: String,
    /// No provider that is there can ever take them as they are asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never: bool,
}

/// Why a task went where it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskReason {
    pub namespace: Namespace,
    pub deployment: DeploymentName,
    pub task: TaskName,
    /// How many offers satisfied every constraint.
    pub candidates: u32,
    pub chosen: Vec<RankedOffer>,
    /// The best that were not chosen, at most five.
    pub alternatives: Vec<RankedOffer>,
    /// What excluded the others: a reason and how many offers it excluded.
    pub excluded: Vec<ExcludedView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unplaced: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RankedOffer {
    pub provider: InstanceName,
    pub region: String,
    pub size: String,
    pub offer: String,
    pub replicas: u32,
    /// Of one replica, for the estimated duration and per hour.
    pub cost: MicroUsd,
    pub hourly: MicroUsd,
    /// The policy's score; lower is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Absent: decided before quotes were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<QuoteView>,
}

/// Where a price came from, and how old it was when it counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuoteView {
    pub source: String,
    pub quoted_at: Instant,
    /// When the decision was made.
    pub age: Millis,
    /// Older than `controller.quote-ttl`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

impl QuoteView {
    pub fn of(offer: &Offer, at: Instant, ttl: Millis) -> Self {
        let age = at.since(offer.quoted_at);
        Self {
            source: offer.source.to_string(),
            quoted_at: offer.quoted_at,
            age,
            stale: age > ttl,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExcludedView {
    pub reason: String,
    pub offers: u32,
}

/// One policy call's part for one deployment, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionView {
    pub id: DecisionId,
    pub at: Instant,
    pub policy: Identity,
    /// Of the exact request.
    pub request: Digest,
    pub seed: u64,
    /// How long the call took, in microseconds.
    pub took_micros: u64,
    /// Tasks in the whole batch.
    pub batch: u32,
    pub note: String,
    /// As the policy states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_bound: Option<MicroUsd>,
    /// Under which the exact inputs are kept, together with those of the other deployments of the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<DecisionId>,
    /// Why the policy that was asked did not decide, and the built-in order did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// How far the whole batch's choices are from the least possible. Absent when nothing was placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Providers that had not answered yet: their offers were not among those compared. Services are looked at once more when they answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<InstanceName>,
    pub tasks: Vec<TaskReason>,
}

/// The newest first: ids are drawn in order.
impl Listed for DecisionView {
    const LIST: &'static str = "decisions";
    type Key = Reverse<DecisionId>;

    fn key(&self) -> Self::Key {
        Reverse(self.id.clone())
    }
}

// === logs ===

/// Some lines, and cursors to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogsView {
    pub lines: Vec<TaskLogLine>,
    /// Hand it back as `after` to go on; absent when no more can come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// One answer did not hold everything that has been written: ask again behind `next` at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskLogLine {
    pub task: TaskName,
    pub allocation: AllocationId,
    #[serde(flatten)]
    pub line: LogLine,
}
