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
#[schemars(rename = "RevisionCause")]
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
    /// Someone asked for the replicas of services to be replaced by new ones of the same manifest.
    Restart,
}

/// What became of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RevisionOutcome")]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The update to it is under way.
    RollingOut,
    /// All of it ran and was ready.
    Healthy,
    /// The update to it failed, or one of its jobs did.
    Failed,
    /// Another one came before it was whole.
    Superseded,
}

impl Outcome {
    /// As the API writes it.
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
    /// The revision's number.
    pub generation: u64,
    /// When it was made.
    pub at: Instant,
    /// Who made it.
    pub actor: String,
    /// What has led to it.
    pub cause: Cause,
    /// The revision whose manifest it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it failed. Empty: it did not.
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
#[schemars(rename = "UpdateStatus")]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Replicas are being replaced.
    Progressing,
    /// At a canary step, until its time is over or it is promoted.
    Waiting,
    /// The new version has taken over; the old set stays for a while.
    Keeping,
    /// All tasks are at the new version.
    Done,
    /// It came no further within its deadline, or its replicas failed.
    Failed,
    /// Someone has stopped it for now: what runs goes on.
    Paused,
}

impl Status {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Progressing => "progressing",
            Self::Waiting => "waiting",
            Self::Keeping => "keeping",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Paused => "paused",
        }
    }
}

/// One task's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The target whose replicas are meant. Absent: the deployment has no targets.
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
    /// The most new replicas that have been ready at once.
    #[serde(default)]
    pub best: u32,
    /// The fewest old replicas that have been left.
    #[serde(default = "many")]
    pub left: u32,
    /// When it last came further.
    pub moved: Instant,
    /// How far it had come when it was paused. Absent: it is not paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

/// What a paused update keeps: new replicas that are lost come back, and no old one is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The most replicas of the new version.
    pub new: u32,
    /// The fewest replicas of what gives way.
    pub old: u32,
}

/// A pause of an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub at: Instant,
    /// Who asked for it.
    pub by: String,
}

fn many() -> u32 {
    u32::MAX
}

impl Progress {
    /// A task at the beginning of an update.
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
            hold: None,
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
    /// The revision that it leads to.
    pub generation: u64,
    /// The last healthy revision before it: what a failure returns to.
    pub from: Option<u64>,
    /// What has led to that revision.
    pub cause: Cause,
    /// When it began.
    pub started_at: Instant,
    /// Where it stands.
    pub status: Status,
    /// Why it waits or failed. Empty: there is nothing to say.
    #[serde(default)]
    pub reason: String,
    /// Canary steps that someone let pass.
    #[serde(default)]
    pub promoted: u32,
    /// How far each task is.
    pub tasks: Vec<Progress>,
    /// Who has paused it, and when. Absent: it is not paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
}

/// One task at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// How far the task is.
    pub verdict: Verdict,
    /// When it last came further.
    pub moved: Instant,
    /// How long the task may come no further.
    pub deadline: Millis,
    /// What is wrong with its new replicas, if something is.
    pub sick: Option<String>,
    /// What keeps it from going on, if that is known.
    pub lacks: Option<String>,
}

/// What a look at all tasks led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing has changed.
    Same,
    /// The update is whole.
    Healthy,
    /// It has failed: the reason.
    Failed(String),
    /// It has come further, or has another reason.
    Changed,
}

impl Rollout {
    /// An update that begins at this instant.
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
            paused: None,
        }
    }

    /// Stops it where it is. False: there is nothing to stop, or it has been stopped before.
    pub fn pause(&mut self, by: &str, now: Instant) -> bool {
        let under_way = matches!(
            self.status,
            Status::Progressing | Status::Waiting | Status::Keeping
        );
        if under_way {
            self.status = Status::Paused;
            let by = by.to_owned();
            self.paused = Some(Pause { at: now, by });
        }
        under_way
    }

    /// Lets it go on. The time of the pause counts neither for a step nor against a deadline. False: it was not paused.
    pub fn resume(&mut self, now: Instant) -> bool {
        let Some(pause) = self.paused.take() else {
            return false;
        };
        let span = now.since(pause.at);
        for task in &mut self.tasks {
            task.since = task.since.map(|at| at.plus(span));
            task.switched = task.switched.map(|at| at.plus(span));
            (task.moved, task.hold) = (now, None);
        }
        self.status = Status::Progressing;
        true
    }

    /// It goes back to what has been: without stages.
    pub fn is_back(&self) -> bool {
        matches!(self.cause, Cause::Rollback | Cause::Abort | Cause::Failure)
    }

    /// Whether all tasks are at the new version.
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
            (self.status, self.reason, self.paused) = (Status::Failed, reason.clone(), None);
            return (Standing::Failed(reason), None);
        }
        if self.status == Status::Paused && any(|v| *v != Verdict::Done) {
            return (Standing::Same, None);
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
        } else if any(|v| *v == Verdict::Waiting) {
            // Those that it waits for have deadlines of their own.
            if self.status != Status::Failed {
                self.status = Status::Progressing;
            }
        } else if any(|v| matches!(v, Verdict::Keeping { .. })) {
            self.status = Status::Keeping;
        } else {
            (self.status, self.paused) = (Status::Done, None);
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
    /// The number of replicas that go on.
    pub to: u32,
    /// Since when the others are off the endpoints.
    pub since: Instant,
}

/// How far the update of one task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is at the new version.
    Done,
    /// Replicas are being replaced.
    Progressing,
    /// A canary step has been reached: until the time, or until it is promoted.
    Holding {
        /// The canary step, from 0.
        step: u32,
        /// Until when it waits. `None`: until it is promoted.
        until: Option<Instant>,
    },
    /// It waits for other tasks: its own deadline does not count yet.
    Waiting,
    /// Switched; the old set stays until then.
    Keeping {
        /// Until when the old set stays.
        until: Instant,
    },
}
