//! Stored plans, as the API shows them.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{FieldChange, TaskReason};
use tradewind_core::{
    list::Listed,
    manifest::{Manifest, Target},
    names::{Actor, AllocationId, DeploymentName, InstanceName, Namespace, PlanId, TaskName},
    offer::PriceUnit,
    placement::Certificate,
    plan::{preview::ChangeAction, stored::PlanStatus},
    plugin::Identity,
    units::{Bytes, Instant, MicroUsd, MilliCpu},
    workload::Labels,
};

/// A stored plan in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanSummary {
    pub id: PlanId,
    pub namespace: Namespace,
    pub deployment: DeploymentName,
    /// Those of its manifest.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Whether it deletes the deployment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletes: bool,
    pub status: PlanStatus,
    /// Whether it can't be applied before somebody has approved it.
    pub approval_required: bool,
    pub author: Actor,
    pub created_at: Instant,
    pub expires_at: Instant,
    pub hourly_before: MicroUsd,
    pub hourly_after: MicroUsd,
    /// For the tasks' whole estimated durations.
    pub estimated_cost: MicroUsd,
}

/// The newest first.
impl Listed for PlanSummary {
    const LIST: &'static str = "plans";
    type Key = (Reverse<Instant>, Namespace, PlanId);

    fn key(&self) -> Self::Key {
        (
            Reverse(self.created_at),
            self.namespace.clone(),
            self.id.clone(),
        )
    }
}

/// A stored plan whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredPlanView {
    #[serde(flatten)]
    pub summary: PlanSummary,
    /// Who approved or rejected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// What it was made from: when any of it moves, it is not applied.
    pub basis: Basis,
    pub plan: PlanView,
    pub manifest: Manifest,
    /// When it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<PlanDiff>,
}

/// From another plan to this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanDiff {
    pub against: PlanId,
    /// As a unified diff of manifests, changes, costs, plugins and quotes as JSON.
    pub text: String,
    pub fields: Vec<FieldChange>,
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

impl From<tradewind_core::plan::preview::Preview> for PlanView {
    fn from(from: tradewind_core::plan::preview::Preview) -> Self {
        let tradewind_core::plan::preview::Preview {
            namespace,
            name,
            policy,
            changes,
            scales,
            unplaced,
            hourly_before,
            hourly_after,
            estimated_cost,
            certificate,
            unanswered,
            reasons,
            warnings,
        } = from;
        Self {
            namespace,
            name,
            policy,
            changes: changes.into_iter().map(Into::into).collect(),
            scales: scales.into_iter().map(Into::into).collect(),
            unplaced: unplaced.into_iter().map(Into::into).collect(),
            hourly_before,
            hourly_after,
            estimated_cost,
            certificate,
            unanswered,
            reasons: reasons.into_iter().map(Into::into).collect(),
            warnings,
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

impl From<tradewind_core::plan::preview::PlannedChange> for ChangeView {
    fn from(from: tradewind_core::plan::preview::PlannedChange) -> Self {
        let tradewind_core::plan::preview::PlannedChange {
            action,
            task,
            provider,
            region,
            size,
            offer,
            replicas_before,
            replicas_after,
            hourly_before,
            hourly_after,
            why,
        } = from;
        Self {
            action,
            task,
            provider,
            region,
            size,
            offer,
            replicas_before,
            replicas_after,
            hourly_before,
            hourly_after,
            why,
        }
    }
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

impl From<tradewind_core::plan::preview::Unplaced> for UnplacedView {
    fn from(from: tradewind_core::plan::preview::Unplaced) -> Self {
        let tradewind_core::plan::preview::Unplaced {
            task,
            replicas,
            reason,
            never,
        } = from;
        Self {
            task,
            replicas,
            reason,
            never,
        }
    }
}

/// A task's number of copies and its bounds, in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleBounds {
    pub task: TaskName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Now, or to begin with.
    pub replicas: u32,
    pub min: u32,
    pub max: u32,
}

impl From<tradewind_core::plan::preview::ScaleBounds> for ScaleBounds {
    fn from(from: tradewind_core::plan::preview::ScaleBounds) -> Self {
        let tradewind_core::plan::preview::ScaleBounds {
            task,
            target,
            replicas,
            min,
            max,
        } = from;
        Self {
            task,
            target,
            replicas,
            min,
            max,
        }
    }
}

/// What somebody else said about a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    pub by: Actor,
    pub at: Instant,
    pub approved: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

impl From<tradewind_core::plan::stored::Review> for Review {
    fn from(from: tradewind_core::plan::stored::Review) -> Self {
        let tradewind_core::plan::stored::Review {
            by,
            at,
            approved,
            comment,
        } = from;
        Self {
            by,
            at,
            approved,
            comment,
        }
    }
}

/// That a plan has been carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    pub by: Actor,
    pub at: Instant,
    /// Of the deployment, by the plan.
    pub generation: u64,
}

impl From<tradewind_core::plan::stored::Applied> for Applied {
    fn from(from: tradewind_core::plan::stored::Applied) -> Self {
        let tradewind_core::plan::stored::Applied { by, at, generation } = from;
        Self { by, at, generation }
    }
}

/// What a plan was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Basis {
    /// Of the deployment; 0: there was none.
    pub generation: u64,
    /// What ran of it.
    pub running: Vec<Running>,
    /// The policy and the providers, with their digests.
    pub policy: Option<Identity>,
    pub providers: Vec<Identity>,
    pub quotes: Vec<Quote>,
}

impl From<tradewind_core::plan::stored::Basis> for Basis {
    fn from(from: tradewind_core::plan::stored::Basis) -> Self {
        let tradewind_core::plan::stored::Basis {
            generation,
            running,
            policy,
            providers,
            quotes,
        } = from;
        Self {
            generation,
            running: running.into_iter().map(Into::into).collect(),
            policy,
            providers,
            quotes: quotes.into_iter().map(Into::into).collect(),
        }
    }
}

/// Replicas that ran when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    pub allocation: AllocationId,
    pub task: TaskName,
    pub provider: InstanceName,
    pub region: String,
    pub replicas: u32,
}

impl From<tradewind_core::plan::stored::Running> for Running {
    fn from(from: tradewind_core::plan::stored::Running) -> Self {
        let tradewind_core::plan::stored::Running {
            allocation,
            task,
            provider,
            region,
            replicas,
        } = from;
        Self {
            allocation,
            task,
            provider,
            region,
            replicas,
        }
    }
}

/// An offer of the plan, as it was quoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quote {
    pub provider: InstanceName,
    pub offer: String,
    pub region: String,
    pub size: String,
    /// Per unit and hour.
    pub price: MicroUsd,
    pub price_unit: PriceUnit,
    /// Per GiB of memory and hour, on top.
    pub memory_price: MicroUsd,
    /// Once per replica.
    pub setup_price: MicroUsd,
    /// What the plan adds there.
    pub adds: Adds,
    /// Replicas that could be added when it was quoted. Absent: no known limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    pub source: String,
    pub quoted_at: Instant,
}

impl From<tradewind_core::plan::stored::Quote> for Quote {
    fn from(from: tradewind_core::plan::stored::Quote) -> Self {
        let tradewind_core::plan::stored::Quote {
            provider,
            offer,
            region,
            size,
            price,
            price_unit,
            memory_price,
            setup_price,
            adds,
            capacity,
            source,
            quoted_at,
        } = from;
        Self {
            provider,
            offer,
            region,
            size,
            price,
            price_unit,
            memory_price,
            setup_price,
            adds: adds.into(),
            capacity,
            source,
            quoted_at,
        }
    }
}

/// What a plan adds at one offer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adds {
    pub replicas: u32,
    /// Of all of them.
    pub cpu: MilliCpu,
    pub memory: Bytes,
}

impl From<tradewind_core::plan::stored::Adds> for Adds {
    fn from(from: tradewind_core::plan::stored::Adds) -> Self {
        let tradewind_core::plan::stored::Adds {
            replicas,
            cpu,
            memory,
        } = from;
        Self {
            replicas,
            cpu,
            memory,
        }
    }
}

/// What a reviewer has to say.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comment {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}
