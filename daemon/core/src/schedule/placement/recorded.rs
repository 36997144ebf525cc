//! One policy call as it is kept: its exact inputs, its exact answer, and what the policy was not shown but people ask for. It is kept in a
//! compact form of its own (`codec`), so that a change of the domain's types never changes what old records mean.

mod codec;

use super::{Answer, PlacedOffer, Request, Shape};
use crate::{
    base::{
        units::{Instant, MicroUsd, Millis},
        version::Identity,
    },
    schedule::cost,
    state::decision::ExcludedCount,
};

pub use codec::{Error, VERSION, answer_bytes, decode, encode};

/// A policy call.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// When it was made.
    pub at: Instant,
    /// Who answered: the fall-back's own identity where it had to.
    pub policy: Identity,
    /// What the policy was asked.
    pub request: Request,
    /// Parallel to the request's shapes.
    pub limits: Vec<ShapeLimits>,
    /// What it answered.
    pub answer: Answer,
}

/// What of a shape's constraints is not in the request: they were applied before the policy was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShapeLimits {
    /// The most that one replica may cost per hour.
    pub max_hourly: Option<MicroUsd>,
    /// What is no candidate, and why.
    pub excluded: Vec<Excluded>,
}

/// Offers that are no candidates for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excluded {
    /// The constraint, with its value.
    pub reason: String,
    /// The property that the constraint is about.
    pub measure: Measure,
    /// Indices into the offers.
    pub offers: Vec<u32>,
}

impl Excluded {
    /// The reason, with the number of offers.
    pub fn view(&self) -> ExcludedCount {
        ExcludedCount {
            reason: self.reason.clone(),
            offers: u32::try_from(self.offers.len()).unwrap_or(u32::MAX),
        }
    }
}

/// Which of an offer's properties a constraint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// None in particular.
    Nothing,
    /// The provider instance.
    Provider,
    /// The region.
    Region,
    /// The cores of one instance.
    Cpu,
    /// The memory of one instance.
    Memory,
    /// The local disk of one instance.
    Disk,
    /// The accelerators of one instance.
    Accelerator,
    /// The cost of a replica per hour.
    Hourly,
    /// Replicas that can still be started.
    Capacity,
    /// The age of the price.
    Quote,
}

impl Measure {
    /// What the offer has of it, for people. `shape` is what it was wanted for, `at` when.
    pub fn of(self, placed: &PlacedOffer, shape: &Shape, at: Instant) -> Option<String> {
        let offer = &placed.offer;
        let free = |n: u64| {
            if n == u64::MAX {
                "unlimited".to_owned()
            } else {
                n.to_string()
            }
        };
        Some(match self {
            Self::Nothing => return None,
            Self::Provider => placed.provider.to_string(),
            Self::Region => offer.region.to_string(),
            Self::Cpu => offer.cpu.to_string(),
            Self::Memory => offer.memory.to_string(),
            Self::Disk => offer.disk.to_string(),
            Self::Accelerator if offer.accelerator_count == 0 => "none".to_owned(),
            Self::Accelerator => format!("{} × {}", offer.accelerator_count, offer.accelerator),
            Self::Hourly => cost::hourly(&shape.resources, offer).to_string(),
            Self::Capacity if offer.shared => format!(
                "{} millicores, {} bytes",
                free(offer.free_cpu),
                free(offer.free_memory)
            ),
            Self::Capacity => format!("{} replicas", offer.capacity),
            Self::Quote => {
                let age = at.since(offer.quoted_at);
                // People compare it with hours and days.
                Millis(age.0 - age.0 % 1000).to_string()
            }
        })
    }
}
