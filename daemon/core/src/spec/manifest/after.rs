//! Which tasks of a deployment wait for which others, as it is written. What is known of those others, this module must not know.

use std::fmt;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::names::TaskName;

/// How far a task must have come before those begin that wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Milestone {
    /// All its replicas have been started.
    Started,
    /// All its replicas are ready. Of services alone.
    Ready,
    /// All its replicas have succeeded. Of jobs alone.
    Completed,
}

/// What a task waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prerequisite {
    /// Another task of the deployment.
    pub task: TaskName,
    /// How far it must have come.
    pub until: Milestone,
}

// === impl Milestone ===

impl Milestone {
    /// As manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Completed => "completed",
        }
    }

    /// `after migrate completes`.
    pub fn reached(self) -> &'static str {
        match self {
            Self::Started => "starts",
            Self::Ready => "is ready",
            Self::Completed => "completes",
        }
    }

    /// `waits for migrate to complete`.
    pub fn awaited(self) -> &'static str {
        match self {
            Self::Started => "to start",
            Self::Ready => "to be ready",
            Self::Completed => "to complete",
        }
    }
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// In the order in which they are written.
pub(super) fn prerequisites(after: &IndexMap<TaskName, Milestone>) -> Vec<Prerequisite> {
    let one = |(task, until): (&TaskName, &Milestone)| Prerequisite {
        task: task.clone(),
        until: *until,
    };
    after.iter().map(one).collect()
}
