//! Places that somebody has closed to new replicas, and those that are to be emptied. A place is a provider instance or one region of it.

use serde::{Deserialize, Serialize};

use crate::base::{
    names::{Actor, InstanceName},
    units::Instant,
};

/// Cordons, by provider and, where it is one region's, region.
pub const PLACES: &str = "places/";

/// A cordon: nothing new is placed there until it is lifted. It outlives the provider instance: one that returns is still cordoned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CordonRecord {
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: all of the provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Why, for people. Empty: nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Who cordoned it.
    pub by: Actor,
    /// Since when it takes nothing new.
    pub since: Instant,
    /// What runs there is to move elsewhere. None: it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainRecord>,
}

/// A drain of a cordoned place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainRecord {
    /// Who asked for it.
    pub by: Actor,
    /// Since when.
    pub since: Instant,
    /// When jobs are stopped, and services moved without regard to their updates' bounds. None: they have all the time that they take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Instant>,
    /// Jobs are left alone for good, and the drain ends without them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_jobs: bool,
    /// That the deadline has passed is on record.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
    /// When the place was found to be empty. None: something is left there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained_at: Option<Instant>,
}

// === impl CordonRecord ===

impl CordonRecord {
    /// The key of the record.
    pub fn path(&self) -> String {
        format!("{PLACES}{}", self.place())
    }

    /// `provider`, or `provider/region`.
    pub fn place(&self) -> String {
        match self.region.is_empty() {
            true => self.provider.to_string(),
            false => format!("{}/{}", self.provider, self.region),
        }
    }

    /// Whether a region of a provider is closed by it.
    pub fn covers(&self, provider: &InstanceName, region: &str) -> bool {
        self.provider == *provider && (self.region.is_empty() || self.region == region)
    }
}

// === impl DrainRecord ===

impl DrainRecord {
    /// Whether its deadline has passed.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|at| at <= now)
    }
}
