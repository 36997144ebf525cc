//! How many copies a task has by its load.

use serde::{Deserialize, Serialize};

use crate::{
    base::{names::TaskName, units::Instant},
    spec::manifest::Target,
};

/// How many copies a task has by its load (or by hand), and since when. Part of the deployment's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskScale {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The target whose copies are meant. Absent: the deployment has no targets.
    pub target: Option<Target>,
    /// How many copies.
    pub replicas: u32,
    /// Since when.
    pub at: Instant,
    /// The load that asked for it, or who.
    pub why: String,
}
