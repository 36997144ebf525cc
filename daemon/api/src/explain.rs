//! Why a deployment runs where it runs, and what would have to change for it to run elsewhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::QuoteView;
use tradewind_core::{
    names::{DecisionId, DeploymentName, InstanceName, Namespace, TaskName},
    offer::PriceUnit,
    plugin::Identity,
    units::{Instant, MicroUsd},
};

/// Why each task of a deployment is where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainView {
    /// The deployment's namespace.
    pub namespace: Namespace,
    /// The deployment's name.
    pub name: DeploymentName,
    /// Its tasks.
    pub tasks: Vec<TaskExplanation>,
}

/// The last decision about a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskExplanation {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The decision that placed it last.
    pub decision: DecisionId,
    /// When that was made.
    pub at: Instant,
    /// The policy that decided, with its version and digests.
    pub policy: Identity,
    /// Replicas that were to be placed.
    pub replicas: u32,
    /// Best first: by score, then by cost. The chosen ones have replicas.
    pub candidates: Vec<CandidateView>,
    /// How many there were, shown or not.
    pub candidates_in_all: u32,
    /// Offers that did not satisfy every constraint, as many as were asked for.
    pub excluded: Vec<ExcludedOffer>,
    /// How many there were, shown or not.
    pub excluded_in_all: u32,
    /// What would change the answer.
    pub flips: Vec<Flip>,
    /// How often the policy was asked to find that out.
    pub policy_calls: u32,
    /// Why the flips are not known, or not all of them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl From<tradewind_core::explain::TaskExplanation> for TaskExplanation {
    fn from(from: tradewind_core::explain::TaskExplanation) -> Self {
        let tradewind_core::explain::TaskExplanation {
            task,
            decision,
            at,
            policy,
            replicas,
            candidates,
            candidates_in_all,
            excluded,
            excluded_in_all,
            flips,
            policy_calls,
            note,
        } = from;
        Self {
            task,
            decision,
            at,
            policy,
            replicas,
            candidates: candidates.into_iter().map(Into::into).collect(),
            candidates_in_all,
            excluded: excluded.into_iter().map(Into::into).collect(),
            excluded_in_all,
            flips: flips.into_iter().map(Into::into).collect(),
            policy_calls,
            note,
        }
    }
}

/// An offer that satisfied every constraint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateView {
    /// Which offer it is.
    #[serde(flatten)]
    pub place: OfferPlace,
    /// 0: not chosen.
    pub replicas: u32,
    /// Of one replica, for the whole estimated duration.
    pub cost: MicroUsd,
    /// The same, weighed with how the place had been doing: what the policy saw.
    pub expected_cost: MicroUsd,
    /// Of one replica.
    pub hourly: MicroUsd,
    /// Lower is better. Absent: the policy gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Per unit and hour.
    pub price: MicroUsd,
    /// What the price is of.
    pub price_unit: PriceUnit,
    /// Where the price came from, and how old it was.
    pub quote: QuoteView,
}

impl From<tradewind_core::explain::Candidate> for CandidateView {
    fn from(from: tradewind_core::explain::Candidate) -> Self {
        let tradewind_core::explain::Candidate {
            place,
            replicas,
            cost,
            expected_cost,
            hourly,
            score,
            price,
            price_unit,
            quote,
        } = from;
        Self {
            place: place.into(),
            replicas,
            cost,
            expected_cost,
            hourly,
            score,
            price,
            price_unit,
            quote: quote.into(),
        }
    }
}

/// Which offer of which provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferPlace {
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// The instance type or size class.
    pub size: String,
    /// The provider's name for the offer.
    pub offer: String,
}

impl From<tradewind_core::explain::OfferPlace> for OfferPlace {
    fn from(from: tradewind_core::explain::OfferPlace) -> Self {
        let tradewind_core::explain::OfferPlace {
            provider,
            region,
            size,
            offer,
        } = from;
        Self {
            provider,
            region,
            size,
            offer,
        }
    }
}

/// An offer that satisfied not every constraint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExcludedOffer {
    /// Which offer it is.
    #[serde(flatten)]
    pub place: OfferPlace,
    /// The constraint, with its value.
    pub reason: String,
    /// What the offer has of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl From<tradewind_core::explain::ExcludedOffer> for ExcludedOffer {
    fn from(from: tradewind_core::explain::ExcludedOffer) -> Self {
        let tradewind_core::explain::ExcludedOffer {
            place,
            reason,
            value,
        } = from;
        Self {
            place: place.into(),
            reason,
            value,
        }
    }
}

/// A change of one offer, everything else being equal, at which the answer for the task is another. Found by asking the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Flip {
    /// An offer that was not chosen would be, at this price or below.
    #[serde(rename_all = "camelCase")]
    Cheaper {
        /// Which offer it is.
        #[serde(flatten)]
        place: OfferPlace,
        /// Per unit and hour.
        price: MicroUsd,
        /// Absent: at no price.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flips_at: Option<MicroUsd>,
    },
    /// The chosen offer would lose replicas, at this price or above.
    #[serde(rename_all = "camelCase")]
    Dearer {
        /// Which offer it is.
        #[serde(flatten)]
        place: OfferPlace,
        /// Per unit and hour.
        price: MicroUsd,
        /// Absent: at no price that was tried.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flips_at: Option<MicroUsd>,
        /// The highest price that was tried.
        tried: MicroUsd,
    },
    /// The chosen offer would lose replicas, with so much capacity or less.
    #[serde(rename_all = "camelCase")]
    Fuller {
        /// Which offer it is.
        #[serde(flatten)]
        place: OfferPlace,
        /// New replicas that it could take. Absent: no known limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        capacity: Option<u32>,
        /// Absent: at none, for they run there already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flips_at: Option<u32>,
    },
}

impl From<tradewind_core::explain::Flip> for Flip {
    fn from(from: tradewind_core::explain::Flip) -> Self {
        use tradewind_core::explain::Flip as Found;
        match from {
            Found::Cheaper {
                place,
                price,
                flips_at,
            } => Self::Cheaper {
                place: place.into(),
                price,
                flips_at,
            },
            Found::Dearer {
                place,
                price,
                flips_at,
                tried,
            } => Self::Dearer {
                place: place.into(),
                price,
                flips_at,
                tried,
            },
            Found::Fuller {
                place,
                capacity,
                flips_at,
            } => Self::Fuller {
                place: place.into(),
                capacity,
                flips_at,
            },
        }
    }
}
