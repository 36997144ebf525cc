//! Decisions, as the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    names::{DecisionId, DeploymentName, Digest, InstanceName, Namespace, TaskName},
    placement::Certificate,
    plugin::Identity,
    units::{Instant, MicroUsd, Millis},
};

/// One policy call's part for one deployment, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionView {
    /// The decision's id.
    pub id: DecisionId,
    /// When it was made.
    pub at: Instant,
    /// The policy instance that decided, with its version and digests.
    pub policy: Identity,
    /// Of the exact request.
    pub request: Digest,
    /// The number that the policy was given to break ties with.
    pub seed: u64,
    /// How long the call took, in microseconds.
    pub took_micros: u64,
    /// Tasks in the whole batch.
    pub batch: u32,
    /// What the policy has to say about the whole batch. Empty: nothing.
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
    /// Each task of the deployment that was decided about.
    pub tasks: Vec<TaskReason>,
}

impl From<tradewind_core::decision::Decision> for DecisionView {
    fn from(from: tradewind_core::decision::Decision) -> Self {
        let tradewind_core::decision::Decision {
            id,
            at,
            policy,
            request,
            seed,
            took_micros,
            batch,
            note,
            lower_bound,
            inputs,
            fallback,
            certificate,
            unanswered,
            tasks,
        } = from;
        Self {
            id,
            at,
            policy,
            request,
            seed,
            took_micros,
            batch,
            note,
            lower_bound,
            inputs,
            fallback,
            certificate,
            unanswered,
            tasks: tasks.into_iter().map(Into::into).collect(),
        }
    }
}

/// Why a task went where it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskReason {
    /// The namespace of its deployment.
    pub namespace: Namespace,
    /// The deployment that it belongs to.
    pub deployment: DeploymentName,
    /// The task's name in the deployment.
    pub task: TaskName,
    /// How many offers satisfied every constraint.
    pub candidates: u32,
    /// Where its replicas go. Empty: nowhere.
    pub chosen: Vec<RankedOffer>,
    /// The best that were not chosen, at most five.
    pub alternatives: Vec<RankedOffer>,
    /// What excluded the others: a reason and how many offers it excluded.
    pub excluded: Vec<ExcludedView>,
    /// Why replicas have no place. Absent: all have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unplaced: Option<String>,
}

impl From<tradewind_core::decision::TaskReason> for TaskReason {
    fn from(from: tradewind_core::decision::TaskReason) -> Self {
        let tradewind_core::decision::TaskReason {
            namespace,
            deployment,
            task,
            candidates,
            chosen,
            alternatives,
            excluded,
            unplaced,
        } = from;
        Self {
            namespace,
            deployment,
            task,
            candidates,
            chosen: chosen.into_iter().map(Into::into).collect(),
            alternatives: alternatives.into_iter().map(Into::into).collect(),
            excluded: excluded.into_iter().map(Into::into).collect(),
            unplaced,
        }
    }
}

/// An offer that satisfied every constraint, with its cost for the task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RankedOffer {
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// The instance type or size class.
    pub size: String,
    /// The provider's name for the offer.
    pub offer: String,
    /// Replicas that the decision places there. 0: it was not chosen.
    pub replicas: u32,
    /// Of one replica, for the estimated duration.
    pub cost: MicroUsd,
    /// Of one replica, per hour.
    pub hourly: MicroUsd,
    /// The policy's score; lower is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Absent: decided before quotes were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<QuoteView>,
}

impl From<tradewind_core::decision::RankedOffer> for RankedOffer {
    fn from(from: tradewind_core::decision::RankedOffer) -> Self {
        let tradewind_core::decision::RankedOffer {
            provider,
            region,
            size,
            offer,
            replicas,
            cost,
            hourly,
            score,
            quote,
        } = from;
        Self {
            provider,
            region,
            size,
            offer,
            replicas,
            cost,
            hourly,
            score,
            quote: quote.map(Into::into),
        }
    }
}

/// Where a price came from, and how old it was when it counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuoteView {
    /// Where the price comes from, in the provider's words.
    pub source: String,
    /// When the price was true, as the provider says.
    pub quoted_at: Instant,
    /// When the decision was made.
    pub age: Millis,
    /// Older than `controller.quote-ttl`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

impl From<tradewind_core::decision::PriceQuote> for QuoteView {
    fn from(from: tradewind_core::decision::PriceQuote) -> Self {
        let tradewind_core::decision::PriceQuote {
            source,
            quoted_at,
            age,
            stale,
        } = from;
        Self {
            source,
            quoted_at,
            age,
            stale,
        }
    }
}

/// One reason for which offers were left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExcludedView {
    /// The constraint, with its value.
    pub reason: String,
    /// How many offers it excluded.
    pub offers: u32,
}

impl From<tradewind_core::decision::ExcludedCount> for ExcludedView {
    fn from(from: tradewind_core::decision::ExcludedCount) -> Self {
        let tradewind_core::decision::ExcludedCount { reason, offers } = from;
        Self { reason, offers }
    }
}
