//! What an explanation says.

use crate::{
    base::{
        names::{DecisionId, InstanceName, TaskName},
        units::{Instant, MicroUsd},
        version::Identity,
    },
    spec::offer::PriceUnit,
    state::decision::PriceQuote,
};

/// The last decision about a task.
#[derive(Debug, Clone, PartialEq)]
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
    pub candidates: Vec<Candidate>,
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
    pub note: String,
}

/// An offer that satisfied every constraint.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Which offer it is.
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
    pub score: Option<f64>,
    /// Per unit and hour.
    pub price: MicroUsd,
    /// What the price is of.
    pub price_unit: PriceUnit,
    /// Where the price came from, and how old it was.
    pub quote: PriceQuote,
}

/// Which offer of which provider.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// An offer that satisfied not every constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExcludedOffer {
    /// Which offer it is.
    pub place: OfferPlace,
    /// The constraint, with its value.
    pub reason: String,
    /// What the offer has of it.
    pub value: Option<String>,
}

/// A change of one offer, everything else being equal, at which the answer for the task is another. Found by asking the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flip {
    /// An offer that was not chosen would be, at this price or below.
    Cheaper {
        /// Which offer it is.
        place: OfferPlace,
        /// Per unit and hour.
        price: MicroUsd,
        /// Absent: at no price.
        flips_at: Option<MicroUsd>,
    },
    /// The chosen offer would lose replicas, at this price or above.
    Dearer {
        /// Which offer it is.
        place: OfferPlace,
        /// Per unit and hour.
        price: MicroUsd,
        /// Absent: at no price that was tried.
        flips_at: Option<MicroUsd>,
        /// The highest price that was tried.
        tried: MicroUsd,
    },
    /// The chosen offer would lose replicas, with so much capacity or less.
    Fuller {
        /// Which offer it is.
        place: OfferPlace,
        /// New replicas that it could take. Absent: no known limit.
        capacity: Option<u32>,
        /// Absent: at none, for they run there already.
        flips_at: Option<u32>,
    },
}
