//! Stored plans, as the API shows them.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{FieldChange, TaskReason};
use tradewind_core::{
    list::{Choice, Listed, SortValue},
    manifest::{Manifest, Milestone, Prerequisite, Target},
    names::{Actor, AllocationId, DeploymentName, InstanceName, Namespace, PlanId, TaskName},
    offer::PriceUnit,
    placement::Certificate,
    plan::{
        preview::{ChangeAction, Transition},
        stored::PlanStatus,
    },
    plugin::Identity,
    units::{Bytes, Instant, MicroUsd, MilliCpu},
    workload::Labels,
};

/// A stored plan in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanSummary {
    /// Its name.
    pub id: PlanId,
    /// The deployment's namespace.
    pub namespace: Namespace,
    /// The deployment that it changes.
    pub deployment: DeploymentName,
    /// Those of its manifest.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Whether it deletes the deployment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletes: bool,
    /// Whether it can be applied.
    pub status: PlanStatus,
    /// Whether it can't be applied before somebody has approved it.
    pub approval_required: bool,
    /// Who stored it.
    pub author: Actor,
    /// When it was stored.
    pub created_at: Instant,
    /// Until when it can be applied.
    pub expires_at: Instant,
    /// What the deployment costs per hour before.
    pub hourly_before: MicroUsd,
    /// What it would cost per hour afterwards.
    pub hourly_after: MicroUsd,
    /// For the tasks' whole estimated durations.
    pub estimated_cost: MicroUsd,
}

/// The newest first.
impl Listed for PlanSummary {
    const LIST: &'static str = "plans";
    const SORTS: &'static [&'static str] = &[
        "id",
        "namespace",
        "deployment",
        "status",
        "createdAt",
        "expiresAt",
        "hourlyAfter",
    ];
    type Key = (Reverse<Instant>, Namespace, PlanId);

    fn key(&self) -> Self::Key {
        (
            Reverse(self.created_at),
            self.namespace.clone(),
            self.id.clone(),
        )
    }

    fn sort_value(&self, field: &str) -> SortValue {
        match field {
            "id" => self.id.as_str().into(),
            "namespace" => self.namespace.as_str().into(),
            "deployment" => self.deployment.as_str().into(),
            "status" => self.status.name().into(),
            "createdAt" => self.created_at.into(),
            "expiresAt" => self.expires_at.into(),
            "hourlyAfter" => self.hourly_after.into(),
            _ => SortValue::Nothing,
        }
    }
}

/// A stored plan that is not in the list any more: it is gone, or left what the list was narrowed to. The data of the event `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanLeft {
    /// The deployment's namespace.
    pub namespace: Namespace,
    /// Its name.
    pub id: PlanId,
}

/// A stored plan whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredPlanView {
    /// What lists show of it.
    #[serde(flatten)]
    pub summary: PlanSummary,
    /// Who approved or rejected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// Who carried it out. Absent: nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// What it was made from: when any of it moves, it is not applied.
    pub basis: Basis,
    /// What it changes.
    pub plan: PlanView,
    /// The manifest that it was made from.
    pub manifest: Manifest,
    /// When it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<PlanDiff>,
}

/// From another plan to this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanDiff {
    /// The other plan.
    pub against: PlanId,
    /// As a unified diff of manifests, changes, costs, plugins and quotes as JSON.
    pub text: String,
    /// Each field of the manifests that differs.
    pub fields: Vec<FieldChange>,
}

/// What applying a manifest would change, where, what it costs and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// The deployment's namespace.
    pub namespace: Namespace,
    /// The deployment's name.
    pub name: DeploymentName,
    /// The policy instance that decided, with its version and digest. Absent when nothing had to be decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Identity>,
    /// What becomes of the deployment: created, updated, kept or destroyed. Absent: an earlier daemon stored the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ChangeAction>,
    /// Each field of the manifest that changes, its defaults filled in on both sides. Values of variables are not shown. Empty for a
    /// new deployment, and for a plan that an earlier daemon stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// What changes, allocation by allocation.
    pub changes: Vec<ChangeView>,
    /// Tasks whose number of replicas follows their load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scales: Vec<ScaleBounds>,
    /// Jobs that run by a schedule: they are placed when a run begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<PlannedSchedule>,
    /// Replicas that have no place.
    pub unplaced: Vec<UnplacedView>,
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
            action,
            fields,
            changes,
            scales,
            schedules,
            unplaced,
            hourly_before,
            hourly_after,
            estimated_cost,
            monthly_after,
            jobs_cost,
            certificate,
            unanswered,
            reasons,
            warnings,
        } = from;
        Self {
            namespace,
            name,
            policy,
            action,
            fields: fields.into_iter().map(Into::into).collect(),
            changes: changes.into_iter().map(Into::into).collect(),
            scales: scales.into_iter().map(Into::into).collect(),
            schedules: schedules.into_iter().map(Into::into).collect(),
            unplaced: unplaced.into_iter().map(Into::into).collect(),
            hourly_before,
            hourly_after,
            estimated_cost,
            monthly_after,
            jobs_cost,
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
    pub after: Vec<PrerequisiteView>,
}

/// What a task waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrerequisiteView {
    /// Another task of the deployment.
    pub task: TaskName,
    /// How far it must have come.
    pub until: Milestone,
}

impl From<Prerequisite> for PrerequisiteView {
    fn from(from: Prerequisite) -> Self {
        let Prerequisite { task, until } = from;
        Self { task, until }
    }
}

impl From<tradewind_core::plan::preview::PlannedChange> for ChangeView {
    fn from(from: tradewind_core::plan::preview::PlannedChange) -> Self {
        let tradewind_core::plan::preview::PlannedChange {
            action,
            transition,
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
            after,
        } = from;
        Self {
            action,
            transition,
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
            after: after.into_iter().map(Into::into).collect(),
        }
    }
}

/// Replicas of a task that have no place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnplacedView {
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

/// A task's number of replicas and its bounds, in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleBounds {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The target whose replicas are meant. Absent: the deployment has no targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Now, or to begin with.
    pub replicas: u32,
    /// The fewest replicas.
    pub min: u32,
    /// The most replicas.
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

/// A job that runs by a schedule, in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedSchedule {
    /// The job's name in the deployment.
    pub task: TaskName,
    /// The cron expression.
    pub cron: String,
    /// The time zone of the expression, by its IANA name.
    pub time_zone: String,
    /// When the next run begins. Absent: the schedule is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Instant>,
}

impl From<tradewind_core::plan::preview::PlannedSchedule> for PlannedSchedule {
    fn from(from: tradewind_core::plan::preview::PlannedSchedule) -> Self {
        let tradewind_core::plan::preview::PlannedSchedule {
            task,
            cron,
            time_zone,
            next,
        } = from;
        Self {
            task,
            cron,
            time_zone,
            next,
        }
    }
}

/// What somebody else said about a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// Who said it.
    pub by: Actor,
    /// When.
    pub at: Instant,
    /// Whether the plan may be applied. Else it is rejected for good.
    pub approved: bool,
    /// Why.
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
    /// Who carried it out.
    pub by: Actor,
    /// When.
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
#[schemars(rename = "PlanBasis")]
#[serde(rename_all = "camelCase")]
pub struct Basis {
    /// Of the deployment; 0: there was none.
    pub generation: u64,
    /// What ran of it.
    pub running: Vec<Running>,
    /// The policy, with its digests. Absent: nothing had to be decided.
    pub policy: Option<Identity>,
    /// The providers, with their digests.
    pub providers: Vec<Identity>,
    /// The offers that it uses, as they were quoted.
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
    /// The allocation.
    pub allocation: AllocationId,
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// Its replicas.
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
    /// The provider instance.
    pub provider: InstanceName,
    /// The provider's name for the offer.
    pub offer: String,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// The instance type or size class.
    pub size: String,
    /// Per unit and hour.
    pub price: MicroUsd,
    /// What the price is of.
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
    /// Where the price comes from, in the provider's words.
    pub source: String,
    /// When the price was true, as the provider says.
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
    /// Replicas that it adds.
    pub replicas: u32,
    /// Of all of them.
    pub cpu: MilliCpu,
    /// Of all of them.
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
    /// Why. Default: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}
