//! What is kept of the order between the tasks of a deployment. Part of its record, written with the intents it led to.

use serde::{Deserialize, Serialize};

use crate::base::{
    names::{Digest, TaskName},
    units::Instant,
};

/// A version of a task that waits for others no more: whatever becomes of them later, it is not held back again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// Of all that asks for new replicas when it changes, at all of its targets.
    pub version: Digest,
    /// The last generation of the deployment that had this version.
    pub generation: u64,
}

/// A task that waits for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// Since when.
    pub since: Instant,
    /// For what, for people.
    pub why: String,
}
