//! That a task has fewer replicas than it wants, as it is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::{names::TaskName, units::Instant},
    spec::manifest::Target,
};

/// That a task has fewer replicas than it wants, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldBack {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The target whose replicas are meant. Absent: the deployment has no targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// What holds it back.
    pub kind: HeldKind,
    /// Replicas that it wants.
    pub wanted: u32,
    /// It may have so many at the moment.
    pub replicas: u32,
    /// Why, for people.
    pub reason: String,
    /// Since when.
    pub since: Instant,
    /// The spending had outgrown the budget.
    #[serde(default)]
    pub overspent: bool,
    /// Who has its room now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// How a task is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HeldKind {
    /// It waits for room.
    Queued,
    /// It has fewer replicas than it wants.
    SteppedDown,
    /// It had to make room within the namespace's limits.
    Evicted,
    /// A higher priority has taken its place.
    Preempted,
}

impl HeldKind {
    /// As messages write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::SteppedDown => "stepped down",
            Self::Evicted => "evicted",
            Self::Preempted => "preempted",
        }
    }
}
