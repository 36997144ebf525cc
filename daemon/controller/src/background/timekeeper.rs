//! Jobs that run by a schedule: begins each run at its time, notes how it ended, and tells of those that are left out. The runs are in the
//! deployment's record, so that a restart goes on where it was. It must not place or start anything: the rest of the controller sees a job of
//! which no run has been made yet.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    capability::Clock,
    cron::{self, Due, RunOutcome},
    event::{Event, Reason, Severity},
    manifest::Resolved,
    names::{Actor, TaskName},
    plan,
    record::{DeploymentKey, DeploymentRecord},
    store::{Error, Expect, Revision},
    units::{Instant, Millis},
    workload::Phase,
};
use tradewind_manifest::timetable::Timetable;

use crate::{
    lock,
    service::rerun::{has_ended, has_never_begun},
    state::cache::{Cache, DeploymentState},
    state::commit::{Change, Committer},
    state::journal::{CONTROLLER, event},
};

/// The longest time between two looks: the clock on the wall may jump.
const LONGEST: Duration = Duration::from_secs(30);
/// How soon a run that goes on is looked at again.
const RUNNING: Duration = Duration::from_secs(1);
/// How soon what could not be stored is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// How soon a look is repeated when another write came first.
const CONFLICT: Duration = Duration::from_millis(20);
/// Deployments that are looked at side by side.
const AT_ONCE: usize = 64;
/// A run that begins so much later than its time is told of as late.
const LATE: Millis = Millis(60_000);

/// Begins the runs of jobs that have a schedule.
pub(crate) struct Timekeeper {
    committer: Arc<Committer>,
    cache: Arc<Mutex<Cache>>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    /// Deployments that have, or had, a job with a schedule.
    keys: Mutex<BTreeSet<DeploymentKey>>,
    wake: Notify,
}

/// What a look at one job leads to.
struct Step {
    task: TaskName,
    action: Action,
}

enum Action {
    End(RunOutcome),
    Begin(Instant),
    Skip(Instant),
    Miss(Instant),
}

/// What a look at a deployment leads to.
struct Look {
    record: Arc<DeploymentRecord>,
    revision: Revision,
    steps: Vec<Step>,
    /// When something is due next.
    again: Duration,
}

// === impl Timekeeper ===

impl Timekeeper {
    pub(crate) fn new(
        committer: Arc<Committer>,
        cache: Arc<Mutex<Cache>>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Self {
        let scheduled = |entry: &DeploymentState| !entry.record.schedules.is_empty();
        let keys = lock(&cache)
            .deployments
            .iter()
            .filter(|(_, e)| scheduled(e))
            .map(|(key, _)| key.clone())
            .collect();
        Self {
            committer,
            cache,
            clock,
            stop,
            keys: Mutex::new(keys),
            wake: Notify::new(),
        }
    }

    /// A deployment's schedules may have changed.
    pub(crate) fn look_at(&self, key: &DeploymentKey) {
        lock(&self.keys).insert(key.clone());
        self.wake.notify_one();
    }

    /// Runs until the controller stops.
    pub(crate) async fn run(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            let keys: Vec<DeploymentKey> = lock(&self.keys).iter().cloned().collect();
            let wait = stream::iter(keys)
                .map(|key| self.tend(key))
                .buffer_unordered(AT_ONCE)
                .fold(LONGEST, |least, wait| std::future::ready(least.min(wait)))
                .await;
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Does what is due for a deployment. Answers when to look at it again.
    async fn tend(&self, key: DeploymentKey) -> Duration {
        let Some(look) = self.look(&key) else {
            lock(&self.keys).remove(&key);
            return LONGEST;
        };
        if look.steps.is_empty() {
            return look.again;
        }
        match self.take(&key, &look).await {
            Ok(()) => RUNNING,
            // Another write came first.
            Err(Error::Conflict { .. }) => CONFLICT,
            Err(error) => {
                tracing::error!(deployment = %key, error = &error as &dyn std::error::Error, "a run could not be stored");
                AGAIN
            }
        }
    }

    /// None: it has no schedules any more.
    fn look(&self, key: &DeploymentKey) -> Option<Look> {
        let entry = lock(&self.cache).deployments.take_copy(key)?;
        let record = entry.record.clone();
        if record.deleting || record.schedules.is_empty() {
            return None;
        }
        let now = self.clock.now();
        let (mut steps, mut again) = (Vec::new(), LONGEST);
        for job in &record.schedules {
            let Some(task) = entry.resolved.iter().find(|t| t.name == job.task) else {
                continue;
            };
            let Some(spec) = &task.schedule else { continue };
            let step = |action| Step {
                task: job.task.clone(),
                action,
            };
            let busy = !has_never_begun(task) && !has_ended(&entry, task);
            let open = job.runs.last().is_some_and(|r| r.outcome.is_none());
            if open && !busy {
                steps.push(step(Action::End(outcome(&entry, task))));
            } else if open {
                again = again.min(RUNNING);
            }
            // A manifest that was accepted has times.
            let Ok(times) = Timetable::new(spec) else {
                continue;
            };
            match cron::due(job, spec, |after| times.next(after), busy, now) {
                Due::Later(None) => {}
                Due::Later(Some(at)) => again = again.min(at.since(now).std()),
                Due::Run(at) => steps.push(step(Action::Begin(at))),
                Due::Skip(at) => steps.push(step(Action::Skip(at))),
                Due::Missed(at) => steps.push(step(Action::Miss(at))),
            }
        }
        Some(Look {
            record,
            revision: entry.revision,
            steps,
            again,
        })
    }

    async fn take(&self, key: &DeploymentKey, look: &Look) -> Result<(), Error> {
        let now = self.clock.now();
        let mut record = (*look.record).clone();
        let mut change = at(key, look.revision);
        let mut begins = false;
        for Step { task, action } in &look.steps {
            let (severity, reason, message) = match *action {
                Action::End(outcome) => {
                    cron::end(&mut record, task, outcome, now);
                    match outcome {
                        RunOutcome::Failed => (
                            Severity::Error,
                            Reason::JobRunFailed,
                            "its run has failed".to_owned(),
                        ),
                        _ => (
                            Severity::Info,
                            Reason::JobRunSucceeded,
                            "its run has succeeded".to_owned(),
                        ),
                    }
                }
                Action::Begin(at) => {
                    begins |= cron::begin(&mut record, task, Some(at), now);
                    let late = now.since(at);
                    let late = if late < LATE {
                        String::new()
                    } else {
                        format!(", {late} late")
                    };
                    let message = format!("its run of {at} begins{late}");
                    (Severity::Info, Reason::JobRunStarted, message)
                }
                Action::Skip(at) => {
                    cron::pass(&mut record, task, at);
                    let message =
                        format!("its run of {at} is left out: the one before it has not ended");
                    (Severity::Warning, Reason::JobRunSkipped, message)
                }
                Action::Miss(at) => {
                    cron::pass(&mut record, task, at);
                    let message = format!("its run of {at} is left out: its deadline has passed");
                    (Severity::Warning, Reason::JobRunMissed, message)
                }
            };
            change.event(told(severity, reason, CONTROLLER, key, task, message));
        }
        change.put_progress(key, record)?;
        if begins {
            change.enqueue(key);
        }
        self.committer.accept(change).await?;
        Ok(())
    }

    /// Begins a run of each of these jobs now, since somebody asks for it.
    ///
    /// # Errors
    /// `Conflict` when another write came first, or the state can't be written.
    pub(crate) async fn begin(
        &self,
        actor: &Actor,
        key: &DeploymentKey,
        record: &DeploymentRecord,
        revision: Revision,
        jobs: &[TaskName],
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let mut record = record.clone();
        let mut change = at(key, revision);
        for job in jobs {
            cron::begin(&mut record, job, None, now);
            change.event(by_hand(actor, key, job));
        }
        change.put_progress(key, record)?;
        change.enqueue(key);
        self.committer.accept(change).await?;
        self.look_at(key);
        Ok(())
    }
}

/// A change of the deployment as it was seen.
fn at(key: &DeploymentKey, revision: Revision) -> Change {
    let mut change = Change::new();
    change.expect(Expect::AtRevision {
        key: key.path(),
        revision,
    });
    change
}

/// What is told of a run that somebody asked for.
pub(crate) fn by_hand(actor: &Actor, key: &DeploymentKey, job: &TaskName) -> Event {
    let message = "a run of it begins, beside those of its schedule".to_owned();
    told(
        Severity::Info,
        Reason::JobRunStarted,
        actor,
        key,
        job,
        message,
    )
}

fn told(
    severity: Severity,
    reason: Reason,
    actor: &Actor,
    key: &DeploymentKey,
    task: &TaskName,
    message: String,
) -> Event {
    let mut told = event(severity, reason, actor, key, format!("{task}: {message}"));
    told.task = Some(task.clone());
    told
}

/// What a run has come to of which everything has ended.
fn outcome(entry: &DeploymentState, task: &Resolved) -> RunOutcome {
    let mut mine = entry
        .allocations
        .values()
        .filter(|live| plan::stands_for(&live.record, task));
    if mine.all(|live| live.record.status.phase == Phase::Succeeded) {
        RunOutcome::Succeeded
    } else {
        RunOutcome::Failed
    }
}
