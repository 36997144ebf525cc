//! How what failed is brought back, as the API shows it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::units::Instant;

/// The memory of failures, kept with the allocation's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Recovery {
    /// Failures in a row, those in earlier places of the same replicas included.
    pub failures: u32,
    /// Those in this place.
    pub here: u32,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Instant>,
    /// Since when it has been well after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub well_since: Option<Instant>,
    /// What the last failure was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Of replicas that their provider has started again by itself: by index.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts: BTreeMap<u32, Restarts>,
}

impl From<tradewind_core::health::Recovery> for Recovery {
    fn from(from: tradewind_core::health::Recovery) -> Self {
        let tradewind_core::health::Recovery {
            failures,
            here,
            next,
            well_since,
            reason,
            restarts,
        } = from;
        Self {
            failures,
            here,
            next,
            well_since,
            reason,
            restarts: restarts
                .into_iter()
                .map(|(replica, one)| (replica, one.into()))
                .collect(),
        }
    }
}

/// How often a replica's provider has started it again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Restarts {
    /// As the provider counts them: those that have been taken in.
    pub seen: u32,
    /// In a row.
    pub row: u32,
}

impl From<tradewind_core::health::Restarts> for Restarts {
    fn from(from: tradewind_core::health::Restarts) -> Self {
        let tradewind_core::health::Restarts { seen, row } = from;
        Self { seen, row }
    }
}

impl Recovery {
    /// Nothing has failed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
