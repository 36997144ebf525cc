//! What the HTTP API shows: the daemon renders these, the command line reads them back. Wire types only.

mod event;
mod explain;
mod identity;
mod namespace;
mod plan;
mod regions;
mod replacement;
mod replay;
mod revision;
mod scale;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    health::Recovery,
    manifest::{Manifest, Target},
    names::{AllocationId, DecisionId, DeploymentName, Digest, InstanceName, Namespace, TaskName},
    offer::{Offer, PriceUnit},
    placement::Certificate,
    plugin::Identity,
    units::{Bytes, Instant, MicroUsd, MilliCpu, Millis},
    workload::{Endpoint, Labels, LogLine, Phase, Replica},
};

pub use event::{Cause, Cursor, Event, Severity};
pub use explain::{CandidateView, ExcludedOffer, ExplainView, Flip, OfferPlace, TaskExplanation};
pub use identity::{TokenCreated, TokenRequest, TokenView, WhoAmI};
pub use namespace::{HeldBack, HeldKind, HeldTask, MonthView, NamespaceOutcome, NamespaceSummary, NamespaceView, SpendView, UsageView};
pub use plan::{PlanDiff, PlanStatus, PlanSummary, StoredPlanView};
pub use regions::{CoolingView, DegradedView, RegionView, RegionsView};
pub use replacement::{ReplacementView, ReplacementsView};
pub use replay::{ReplayView, ReplayedPlace, TaskDifference};
pub use revision::{FieldChange, RevisionDiff, RevisionView, RolloutView};
pub use scale::{Sample, Samples, SamplesAccepted, ScaleBody, ScaleBounds, ScaleView, Scaled, ScaledTask};

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
        matches!(self, Self::Running | Self::Idle | Self::Completed | Self::Failed)
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
        Self { source: offer.source.to_string(), quoted_at: offer.quoted_at, age, stale: age > ttl }
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

// === offers ===

/// One offer of one provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferView {
    pub provider: InstanceName,
    pub id: String,
    pub region: String,
    pub zone: String,
    pub size: String,
    pub cpu: MilliCpu,
    pub memory: Bytes,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub accelerator: String,
    pub accelerator_count: u32,
    /// Per unit and hour.
    pub price: MicroUsd,
    pub price_unit: PriceUnit,
    pub memory_price: MicroUsd,
    pub spot: bool,
    pub shared: bool,
    /// Absent: no known limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    pub performance: f64,
    /// Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<f64>,
    /// Milliseconds. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<f64>,
    pub source: String,
    pub quoted_at: Instant,
    /// Of the quote.
    pub age: Millis,
    pub labels: Labels,
    /// Of one instance. Absent: no known limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
    /// Of each accelerator.
    #[serde(default, skip_serializing_if = "nothing")]
    pub accelerator_memory: Bytes,
    /// Once per replica.
    #[serde(default, skip_serializing_if = "free")]
    pub setup_price: MicroUsd,
    /// Per GiB that leaves the region.
    #[serde(default, skip_serializing_if = "free")]
    pub egress_price: MicroUsd,
    /// Millicores left in a shared offer. Absent: no known limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_cpu: Option<u64>,
    /// Bytes left in a shared offer. Absent: no known limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_memory: Option<u64>,
    /// Mbit/s. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<f64>,
    /// Per hour. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interruption_rate: Option<f64>,
    /// 0 … 1. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_rate: Option<f64>,
    /// Milliseconds. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_ready: Option<f64>,
    /// 0 … 1. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
    /// Grams of CO₂ equivalent per kWh. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carbon: Option<f64>,
    /// The provider's own measures, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "metrics")]
    #[schemars(with = "BTreeMap<String, f64>")]
    pub metrics: BTreeMap<String, f64>,
}

/// By name; or as pairs, as version 0.1 printed them for `simulate`.
fn metrics<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, f64>, D::Error> {
    struct Either;

    impl<'de> serde::de::Visitor<'de> for Either {
        type Value = BTreeMap<String, f64>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("measures by name")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            std::iter::from_fn(|| map.next_entry().transpose()).collect()
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
            std::iter::from_fn(|| pairs.next_element().transpose()).collect()
        }
    }

    from.deserialize_any(Either)
}

fn free(price: &MicroUsd) -> bool {
    price.0 == 0
}

fn nothing(size: &Bytes) -> bool {
    size.0 == 0
}

impl OfferView {
    pub fn new(provider: &InstanceName, offer: &Offer, now: Instant) -> Self {
        let known = |v: f64| v.is_finite().then_some(v);
        let limit = |n: u64| (n != u64::MAX).then_some(n);
        Self {
            provider: provider.clone(),
            id: offer.id.to_string(),
            region: offer.region.to_string(),
            zone: offer.zone.to_string(),
            size: offer.size.to_string(),
            cpu: offer.cpu,
            memory: offer.memory,
            accelerator: offer.accelerator.to_string(),
            accelerator_count: offer.accelerator_count,
            price: offer.price,
            price_unit: offer.price_unit,
            memory_price: offer.memory_price,
            spot: offer.spot,
            shared: offer.shared,
            capacity: (offer.capacity != u32::MAX).then_some(offer.capacity),
            performance: offer.performance,
            availability: known(offer.availability),
            latency: known(offer.latency),
            source: offer.source.to_string(),
            quoted_at: offer.quoted_at,
            age: now.since(offer.quoted_at),
            labels: offer.labels.clone(),
            disk: limit(offer.disk.0).map(Bytes),
            accelerator_memory: offer.accelerator_memory,
            setup_price: offer.setup_price,
            egress_price: offer.egress_price,
            free_cpu: limit(offer.free_cpu),
            free_memory: limit(offer.free_memory),
            bandwidth: known(offer.bandwidth),
            interruption_rate: known(offer.interruption_rate),
            failure_rate: known(offer.failure_rate),
            time_to_ready: known(offer.time_to_ready),
            load: known(offer.load),
            carbon: known(offer.carbon),
            metrics: offer.metrics.iter().filter(|(_, v)| v.is_finite()).map(|(k, v)| (k.to_string(), *v)).collect(),
        }
    }

    /// The offer that this shows.
    pub fn offer(&self) -> Offer {
        let known = |v: Option<f64>| v.unwrap_or(f64::NAN);
        let limit = |n: Option<u64>| n.unwrap_or(u64::MAX);
        Offer {
            id: self.id.as_str().into(),
            region: self.region.as_str().into(),
            zone: self.zone.as_str().into(),
            size: self.size.as_str().into(),
            cpu: self.cpu,
            memory: self.memory,
            disk: Bytes(limit(self.disk.map(|b| b.0))),
            accelerator: self.accelerator.as_str().into(),
            accelerator_count: self.accelerator_count,
            accelerator_memory: self.accelerator_memory,
            price: self.price,
            price_unit: self.price_unit,
            memory_price: self.memory_price,
            setup_price: self.setup_price,
            egress_price: self.egress_price,
            shared: self.shared,
            capacity: self.capacity.unwrap_or(u32::MAX),
            free_cpu: limit(self.free_cpu),
            free_memory: limit(self.free_memory),
            spot: self.spot,
            performance: self.performance,
            availability: known(self.availability),
            latency: known(self.latency),
            bandwidth: known(self.bandwidth),
            interruption_rate: known(self.interruption_rate),
            failure_rate: known(self.failure_rate),
            time_to_ready: known(self.time_to_ready),
            load: known(self.load),
            carbon: known(self.carbon),
            source: self.source.as_str().into(),
            quoted_at: self.quoted_at,
            labels: self.labels.clone(),
            metrics: self.metrics.iter().map(|(k, v)| (k.as_str().into(), *v)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_shown_whole() {
        let bare = Offer::new("a", MilliCpu(1500), Bytes(3 << 29), MicroUsd(123_456));
        let full = Offer {
            accelerator: "l4".into(),
            accelerator_count: 2,
            accelerator_memory: Bytes(24 << 30),
            disk: Bytes(1 << 40),
            setup_price: MicroUsd(7),
            shared: true,
            capacity: 9,
            free_cpu: 4000,
            free_memory: 5 << 30,
            carbon: 12.5,
            metrics: vec![("queue".into(), 3.0)],
            ..bare.clone()
        };
        for offer in [bare, full] {
            let provider: InstanceName = "p".parse().expect("a name");
            let text = serde_json::to_string(&OfferView::new(&provider, &offer, Instant(5))).expect("JSON");
            let back: OfferView = serde_json::from_str(&text).expect("a view");
            // Unknown qualities are not equal to themselves.
            assert_eq!(format!("{:?}", back.offer()), format!("{offer:?}"));
            let formerly = text.replace("{\"queue\":3.0}", "[[\"queue\",3.0]]");
            assert_eq!(serde_json::from_str::<OfferView>(&formerly).expect("a view of 0.1").metrics, back.metrics);
        }
    }
}

/// Offers of all providers, and what became of the providers that did not answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OffersView {
    pub offers: Vec<OfferView>,
    pub failures: Vec<ProviderFailure>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderFailure {
    pub provider: InstanceName,
    pub failure: Failure,
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
