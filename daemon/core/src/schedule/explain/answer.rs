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
    pub task: TaskName,
    pub decision: DecisionId,
    pub at: Instant,
    pub policy: Identity,
    pub replicas: u32,
    /// Best first: by score, then by cost. The chosen ones have replicas.
    pub candidates: Vec<Candidate>,
    /// How many there were, shown or not.
    pub candidates_in_all: u32,
    pub excluded: Vec<ExcludedOffer>,
    pub excluded_in_all: u32,
    /// What would change the answer.
    pub flips: Vec<Flip>,
    /// How often the policy was asked to find that out.
    pub policy_calls: u32,
    /// Why the flips are not known, or not all of them.
    pub note: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
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
    pub price_unit: PriceUnit,
    pub quote: PriceQuote,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferPlace {
    pub provider: InstanceName,
    pub region: String,
    pub size: String,
    pub offer: String,
}

/// An offer that satisfied not every constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExcludedOffer {
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
        place: OfferPlace,
        /// Per unit and hour.
        price: MicroUsd,
        /// Absent: at no price.
        flips_at: Option<MicroUsd>,
    },
    /// The chosen offer would lose replicas, at this price or above.
    Dearer {
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
        place: OfferPlace,
        /// New replicas that it could take. Absent: no known limit.
        capacity: Option<u32>,
        /// Absent: at none, for they run there already.
        flips_at: Option<u32>,
    },
}
