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
    pub task: TaskName,
    pub target: Option<Target>,
    pub replicas: u32,
    pub at: Instant,
    pub why: String,
}
