//! A decision as it is kept: who decided what, against which alternatives, and what excluded the rest.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::{
    list::Listed,
    names::{DecisionId, DeploymentName, Digest, InstanceName, Namespace, TaskName},
    offer::Offer,
    placement::Certificate,
    plugin::Identity,
    units::{Instant, MicroUsd, Millis},
};

/// One policy call's part for one deployment, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    pub id: DecisionId,
    pub at: Instant,
    #[serde(with = "crate::document::forms::identity")]
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
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::document::forms::certificate::optional"
    )]
    pub certificate: Option<Certificate>,
    /// Providers that had not answered yet: their offers were not among those compared. Services are looked at once more when they answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<InstanceName>,
    pub tasks: Vec<TaskReason>,
}

/// The newest first: ids are drawn in order.
impl Listed for Decision {
    const LIST: &'static str = "decisions";
    type Key = Reverse<DecisionId>;

    fn key(&self) -> Self::Key {
        Reverse(self.id.clone())
    }
}

/// Why a task went where it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    pub excluded: Vec<ExcludedCount>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unplaced: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    pub quote: Option<PriceQuote>,
}

/// Where a price came from, and how old it was when it counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PriceQuote {
    pub source: String,
    pub quoted_at: Instant,
    /// When the decision was made.
    pub age: Millis,
    /// Older than `controller.quote-ttl`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

impl PriceQuote {
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExcludedCount {
    pub reason: String,
    pub offers: u32,
}
