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
    pub provider: InstanceName,
    pub offer: ChosenOffer,
    /// Of one replica, per hour.
    pub hourly: MicroUsd,
    pub replicas: u32,
    /// How long a job's replica is expected to take there. None: a service, or placed before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes: Option<Millis>,
}
