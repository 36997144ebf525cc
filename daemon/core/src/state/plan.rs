//! Plans as they are kept, and the places that one gives.

pub mod preview;
pub mod stored;

use serde::{Deserialize, Serialize};

use crate::{
    base::{
        names::InstanceName,
        units::{MicroUsd, Millis},
    },
    spec::workload::ChosenOffer,
};

/// Replicas of a task on an offer, as decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The provider instance.
    pub provider: InstanceName,
    /// The offer, as the provider described it.
    pub offer: ChosenOffer,
    /// Of one replica, per hour.
    pub hourly: MicroUsd,
    /// How many.
    pub replicas: u32,
    /// How long a job's replica is expected to take there. None: a service, or placed before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes: Option<Millis>,
}
