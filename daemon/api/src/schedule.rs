//! A job's schedule and its runs, as the API shows them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use tradewind_core::{
    cron::{JobRun, RunOutcome},
    units::Instant,
};

/// When a job runs, and how its runs have ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleView {
    /// The cron expression.
    pub cron: String,
    /// The time zone of the expression, by its IANA name.
    pub time_zone: String,
    /// Whether no run begins by itself.
    pub suspended: bool,
    /// When the next run begins. Absent: the schedule is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Instant>,
    /// The runs that are kept, the latest first.
    pub runs: Vec<JobRunView>,
}

/// One run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobRunView {
    /// Its number, which grows with each run.
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

impl From<&JobRun> for JobRunView {
    fn from(from: &JobRun) -> Self {
        let JobRun {
            run,
            scheduled_at,
            began_at,
            outcome,
            ended_at,
        } = *from;
        Self {
            run,
            scheduled_at,
            began_at,
            outcome,
            ended_at,
        }
    }
}
