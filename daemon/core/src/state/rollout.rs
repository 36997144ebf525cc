//! How far a deployment's update is: what of it must survive the daemon. It lives in the deployment's record and is written with the intents
//! it led to.

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::{
        list::{Choice, Listed},
        names::TaskName,
        units::{Instant, Millis},
    },
    spec::manifest::Target,
};

/// Why a revision came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Someone wrote the manifest.
    Put,
    /// Someone asked for an earlier revision.
    Rollback,
    /// Someone broke the update off.
    Abort,
    /// The update to another revision failed.
    Failure,
    /// Someone asked for a job that had ended to run again.
    Rerun,
}

/// What became of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    RollingOut,
    Healthy,
    Failed,
    /// Another one came before it was whole.
    Superseded,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RollingOut => "rolling-out",
            Self::Healthy => "healthy",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }
}

impl Choice for Outcome {
    const WHAT: &'static str = "a revision's status";
    const ALL: &'static [Self] = &[
        Self::RollingOut,
        Self::Healthy,
        Self::Failed,
        Self::Superseded,
    ];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

/// A revision, without its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    pub generation: u64,
    pub at: Instant,
    pub actor: String,
    pub cause: Cause,
    /// The revision whose manifest it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The newest first.
impl Listed for Mark {
    const LIST: &'static str = "revisions";
    type Key = Reverse<u64>;

    fn key(&self) -> Reverse<u64> {
        Reverse(self.generation)
    }
}

/// Where an update stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Progressing,
    /// At a canary step, until its time is over or it is promoted.
    Waiting,
    /// The new version has taken over; the old set stays for a while.
    Keeping,
    Done,
    Failed,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Progressing => "progressing",
            Self::Waiting => "waiting",
            Self::Keeping => "keeping",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// One task's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub task: TaskName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Of a canary.
    #[serde(default)]
    pub step: u32,
    /// Since when the step has been reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Instant>,
    /// When blue-green switched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched: Option<Instant>,
    /// The most new replicas that have been ready at once, and the fewest old ones left.
    #[serde(default)]
    pub best: u32,
    #[serde(default = "many")]
    pub left: u32,
    /// When it last came further.
    pub moved: Instant,
}

fn many() -> u32 {
    u32::MAX
}

impl Progress {
    pub fn new(task: TaskName, target: Option<Target>, now: Instant) -> Self {
        Self {
            task,
            target,
            step: 0,
            since: None,
            switched: None,
            best: 0,
            left: many(),
            moved: now,
        }
    }

    pub(crate) fn note(&mut self, ready: u32, old: u32, now: Instant) {
        if ready > self.best || old < self.left {
            (self.best, self.left, self.moved) = (self.best.max(ready), self.left.min(old), now);
        }
    }
}

/// One deployment's update to one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    pub generation: u64,
    /// The last healthy revision before it: what a failure returns to.
    pub from: Option<u64>,
    pub cause: Cause,
    pub started_at: Instant,
    pub status: Status,
    #[serde(default)]
    pub reason: String,
    /// Canary steps that someone let pass.
    #[serde(default)]
    pub promoted: u32,
    pub tasks: Vec<Progress>,
}

/// One task at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub verdict: Verdict,
    /// When it last came further.
    pub moved: Instant,
    pub deadline: Millis,
    /// What is wrong with its new replicas, if something is.
    pub sick: Option<String>,
    /// What keeps it from going on, if that is known.
    pub lacks: Option<String>,
}

/// What a look at all tasks led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Same,
    Healthy,
    Failed(String),
    Changed,
}

impl Rollout {
    pub fn new(generation: u64, from: Option<u64>, cause: Cause, now: Instant) -> Self {
        let (status, reason) = (Status::Progressing, String::new());
        Self {
            generation,
            from,
            cause,
            started_at: now,
            status,
            reason,
            promoted: 0,
            tasks: Vec::new(),
        }
    }

    /// It goes back to what has been: without stages.
    pub fn is_back(&self) -> bool {
        matches!(self.cause, Cause::Rollback | Cause::Abort | Cause::Failure)
    }

    pub fn is_done(&self) -> bool {
        self.status == Status::Done
    }

    /// Takes a look at all tasks in. Answers what has changed by it, and when to look again.
    pub fn judge(&mut self, tasks: &[Told], now: Instant) -> (Standing, Option<Instant>) {
        if self.status == Status::Done {
            return (Standing::Same, None);
        }
        let before = self.status;
        let end = |t: &Told| t.moved.plus(t.deadline);
        let late = tasks
            .iter()
            .filter(|t| t.verdict == Verdict::Progressing)
            .min_by_key(|t| end(t));
        let sick = tasks
            .iter()
            .filter(|t| t.verdict != Verdict::Done || self.status != Status::Done)
            .find_map(|t| t.sick.clone());
        let any = |wanted: fn(&Verdict) -> bool| tasks.iter().any(|t| wanted(&t.verdict));
        if let Some(reason) = sick.filter(|_| self.status != Status::Failed) {
            (self.status, self.reason) = (Status::Failed, reason.clone());
            return (Standing::Failed(reason), None);
        }
        if late.is_some() && matches!(before, Status::Waiting | Status::Keeping) {
            // It had come as far as it may for a time that nobody bounds: what happens from now on is judged from now on.
            self.tasks.iter_mut().for_each(|task| task.moved = now);
            self.status = Status::Progressing;
            return (
                Standing::Changed,
                tasks
                    .iter()
                    .filter(|t| t.verdict == Verdict::Progressing)
                    .map(|t| now.plus(t.deadline))
                    .min(),
            );
        }
        if let Some(task) = late {
            if end(task) <= now && self.status != Status::Failed {
                let why = task
                    .lacks
                    .as_ref()
                    .map(|lacks| format!(": {lacks}"))
                    .unwrap_or_default();
                let reason = format!("no progress within {}{why}", task.deadline);
                (self.status, self.reason) = (Status::Failed, reason.clone());
                return (Standing::Failed(reason), None);
            }
            if self.status != Status::Failed {
                self.status = Status::Progressing;
            }
        } else if any(|v| matches!(v, Verdict::Holding { .. })) {
            self.status = Status::Waiting;
        } else if any(|v| matches!(v, Verdict::Keeping { .. })) {
            self.status = Status::Keeping;
        } else {
            self.status = Status::Done;
            if !self.is_back() {
                self.reason.clear();
            }
            return (Standing::Healthy, None);
        }
        let again = late.filter(|_| self.status != Status::Failed).map(end);
        (
            if before == self.status {
                Standing::Same
            } else {
                Standing::Changed
            },
            again,
        )
    }
}

/// Replicas that are off the endpoints and end soon: those from `to` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    pub to: u32,
    pub since: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Done,
    Progressing,
    /// A canary step has been reached: until the time, or until it is promoted.
    Holding {
        step: u32,
        until: Option<Instant>,
    },
    /// Switched; the old set stays until then.
    Keeping {
        until: Instant,
    },
}
