//! Moves that were begun.

use serde::{Deserialize, Serialize};

use crate::base::{names::TaskName, units::Instant};

/// A move that was begun, as the deployment's record keeps it for an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// When it was begun.
    pub at: Instant,
    /// The service's name in the deployment.
    pub task: TaskName,
    /// Replicas that moved.
    pub replicas: u32,
}
