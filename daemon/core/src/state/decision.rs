//! A decision as it is kept: who decided what, against which alternatives, and what excluded the rest.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::{
        list::Listed,
        names::{DecisionId, DeploymentName, Digest, InstanceName, Namespace, TaskName},
        units::{Instant, MicroUsd, Millis},
        version::Identity,
    },
    spec::offer::Offer,
};

/// One policy call's part for one deployment, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The decision's id.
    pub id: DecisionId,
    /// When it was made.
    pub at: Instant,
    /// The policy instance that decided, with its version and digests.
    #[serde(with = "crate::state::forms::identity")]
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
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "certificate::optional"
    )]
    pub certificate: Option<Certificate>,
    /// Providers that had not answered yet: their offers were not among those compared. Services are looked at once more when they answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<InstanceName>,
    /// Each task of the deployment that was decided about.
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
    pub excluded: Vec<ExcludedCount>,
    /// Why replicas have no place. Absent: all have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unplaced: Option<String>,
}

/// An offer that satisfied every constraint, with its cost for the task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    pub quote: Option<PriceQuote>,
}

/// Where a price came from, and how old it was when it counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PriceQuote {
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

impl PriceQuote {
    /// The quote of an offer for a decision made at this instant. It is stale if it is older than `ttl`.
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

/// One reason for which offers were left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExcludedCount {
    /// The constraint, with its value.
    pub reason: String,
    /// How many offers it excluded.
    pub offers: u32,
}

/// What a lower bound rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BoundSource {
    /// The policy says so, and nothing speaks against it.
    Policy,
    /// The host: the optimum of the transportation problem over all tasks.
    Transportation,
    /// The host: the sum of each task's optimum by itself, since all together were too many.
    Separate,
}

impl BoundSource {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "stated by the policy",
            Self::Transportation => "computed as a transportation problem",
            Self::Separate => "computed task by task",
        }
    }
}

/// How far a batch's choices are from the best that could have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Of what has been chosen, for the tasks' whole estimated durations.
    pub cost: MicroUsd,
    /// No choice of as many replicas costs less.
    pub lower_bound: MicroUsd,
    /// The cost less the bound: at most so much could have been saved.
    pub gap: MicroUsd,
    /// Where the bound comes from.
    pub source: BoundSource,
    /// Replicas in places for which no price is set: they count as $0.00, whatever they really cost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unpriced: u64,
}

impl std::fmt::Display for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            cost,
            lower_bound,
            gap,
            source,
            unpriced,
        } = self;
        let source = source.as_str();
        if gap.0 == 0 {
            write!(
                f,
                "cost {cost} is the least possible: lower bound {lower_bound}, {source}"
            )?;
            return no_price(f, *unpriced);
        }
        let share = if lower_bound.0 == 0 {
            String::new()
        } else {
            format!(" ({:.1}%)", gap.0 as f64 / lower_bound.0 as f64 * 100.0)
        };
        write!(
            f,
            "cost {cost}, lower bound {lower_bound} ({source}): at most {gap}{share} above the least possible"
        )?;
        no_price(f, *unpriced)
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn no_price(f: &mut std::fmt::Formatter<'_>, replicas: u64) -> std::fmt::Result {
    match replicas {
        0 => Ok(()),
        1 => f.write_str("; no price is set for the place of 1 replica, which counts as $0.00"),
        n => write!(
            f,
            "; no price is set for the places of {n} replicas, which count as $0.00"
        ),
    }
}

crate::state::forms::kept!(certificate, Certificate, "CertificateForm", CertificateForm);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Certificate", rename_all = "camelCase")]
struct CertificateForm {
    cost: MicroUsd,
    lower_bound: MicroUsd,
    gap: MicroUsd,
    source: BoundSource,
    #[serde(default, skip_serializing_if = "is_zero")]
    unpriced: u64,
}
