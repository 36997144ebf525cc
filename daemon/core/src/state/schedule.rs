//! What is kept of jobs that run by a schedule. Part of the deployment's record.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{names::TaskName, units::Instant};

/// A job that runs by a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledJob {
    /// The job's name in the deployment.
    pub task: TaskName,
    /// Times of the schedule count after this one.
    pub after: Instant,
    /// The number of the run that counts, which grows with each run. 0: none has begun.
    #[serde(default)]
    pub run: u64,
    /// The replicas of that run.
    #[serde(default)]
    pub replicas: u32,
    /// The runs that are kept, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<JobRun>,
}

/// One run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRun {
    /// Its number.
    pub run: u64,
    /// The time of the schedule that it is for. Absent: somebody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Instant>,
    /// When it was begun.
    pub began_at: Instant,
    /// What became of it. Absent: it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<RunOutcome>,
    /// When it was seen to have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Instant>,
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Every replica has succeeded.
    Succeeded,
    /// A replica has failed for good.
    Failed,
    /// The next run began before its end.
    Replaced,
}

impl RunOutcome {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Replaced => "replaced",
        }
    }
}
