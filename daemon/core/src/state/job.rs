//! What is kept of the ends of jobs.

use serde::{Deserialize, Serialize};

use super::plan::Placement;
use crate::{
    base::{
        names::{Digest, TaskName},
        units::Instant,
    },
    spec::{
        manifest::{Resolved, Since, Target},
        workload::{Health, Phase, Replica, Workload},
    },
};

/// How a replica of a job has ended for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// Whether it ended well.
    pub succeeded: bool,
    /// The cloud's own name for the replica.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What it ended with, where the cloud says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When it began, where the cloud says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Instant>,
    /// When it ended, where the cloud says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Instant>,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u32,
    /// What the cloud says about it. Empty: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl End {
    pub(crate) fn of(replica: &Replica) -> Option<Self> {
        let succeeded = match replica.phase {
            Phase::Succeeded => true,
            // What never came to run has not ended.
            Phase::Failed if replica.started_at.is_some() || replica.exit_code.is_some() => false,
            _ => return None,
        };
        Some(Self {
            succeeded,
            id: replica.id.clone(),
            exit_code: replica.exit_code,
            started_at: replica.started_at,
            ended_at: replica.ended_at,
            restarts: replica.restarts,
            message: replica.message.clone(),
        })
    }

    pub(crate) fn blank(succeeded: bool) -> Self {
        Self {
            succeeded,
            id: String::new(),
            exit_code: None,
            started_at: None,
            ended_at: None,
            restarts: 0,
            message: String::new(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        if self.succeeded {
            Phase::Succeeded
        } else {
            Phase::Failed
        }
    }

    pub(crate) fn replica(&self, index: u32) -> Replica {
        Replica {
            index,
            id: self.id.clone(),
            phase: self.phase(),
            health: Health::Unknown,
            endpoints: Vec::new(),
            message: self.message.clone(),
            restarts: self.restarts,
            started_at: self.started_at,
            ended_at: self.ended_at,
            exit_code: self.exit_code,
            usage: None,
        }
    }
}

/// A job whose replicas had begun in a place that they have lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Begun {
    /// The job's name in the deployment.
    pub task: TaskName,
    /// The target whose replicas are meant. Absent: the deployment has no targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Of its workload: with another one it is another job.
    pub version: Digest,
    /// The generation of its run.
    #[serde(default)]
    pub since: u64,
    /// The number of its run by its schedule.
    #[serde(default)]
    pub run: u64,
    /// When the first attempt began of those replicas.
    pub at: Instant,
    /// Where they were last.
    pub place: Placement,
}

impl Begun {
    pub(crate) fn is_of(&self, task: &Resolved) -> bool {
        let since = Since {
            generation: self.since,
            run: self.run,
        };
        let same = self.task == task.name && self.target == task.target && since == task.since;
        same && self.version == version(&task.workload)
    }
}

/// Of all that asks for new replicas when it changes.
pub(crate) fn version(workload: &Workload) -> Digest {
    let mut same = workload.clone();
    (same.labels, same.scaling) = (Default::default(), None);
    // A workload is plain data: serialising it can't fail.
    Digest::of(&serde_json::to_vec(&same).unwrap_or_default())
}
