//! Running jobs again that have ended: the same manifest under a new generation, of which the jobs' allocations are made anew; a job with a
//! schedule gets a run beside those of its schedule. It must not touch services, nor what still runs.

use tradewind_api::{Accepted, Outcome, command};
use tradewind_core::{
    cron,
    failure::FailureKind,
    manifest::Resolved,
    names::{Actor, DeploymentName, Namespace, TaskName},
    plan,
    record::{DeploymentKey, DeploymentRecord, Rerun},
    rollout::Cause,
    store,
    units::Instant,
    workload::{Phase, Run},
};

use crate::{
    Error, Handle, lock,
    service::handle::{check_generation, not_found},
    service::plans::ByHand,
    service::revisions::Why,
    state::cache::{AllocationState, DeploymentState},
};

impl Handle {
    /// Has a job that has ended run again from the beginning; none named: every job of the deployment.
    ///
    /// # Errors
    /// `NotFound`, `NoTask`, `Invalid` for what is no job or follows its load, `NotEnded` for what still runs or waits to run, `Generation`,
    /// `Deleting`, `Plan` where only approved plans change something, or the state can't be written. Nothing has been changed then.
    pub async fn rerun(
        &self,
        actor: &Actor,
        namespace: &Namespace,
        name: &DeploymentName,
        task: Option<&TaskName>,
        if_generation: Option<u64>,
    ) -> Result<Accepted, Error> {
        let key = DeploymentKey {
            namespace: namespace.clone(),
            name: name.clone(),
        };
        let (record, revision, jobs) = {
            let cache = lock(&self.shared.cache);
            let entry = cache.deployments.get(&key).ok_or_else(|| not_found(&key))?;
            (
                entry.record.clone(),
                entry.revision,
                ended_jobs(&key, entry, task)?,
            )
        };
        self.may_change(namespace, ByHand::Run)?;
        // What has been judged is this generation.
        let generation = if_generation.unwrap_or(record.generation);
        let is_scheduled = |job: &TaskName| record.schedules.iter().any(|s| s.task == *job);
        if jobs.iter().all(is_scheduled) {
            check_generation(&key, Some(generation), record.generation)?;
            if record.deleting {
                return Err(Error::Deleting {
                    name: key.to_string(),
                });
            }
            let begun = self
                .shared
                .timekeeper
                .begin(actor, &key, &record, revision, &jobs)
                .await;
            return match begun {
                Ok(()) => Ok(Accepted {
                    namespace: key.namespace,
                    name: key.name,
                    generation,
                    outcome: Outcome::Updated,
                }),
                // Another write came first: it may have begun them.
                Err(store::Error::Conflict { .. }) => Err(Error::NotEnded {
                    name: key.to_string(),
                }),
                Err(error) => Err(error.into()),
            };
        }
        let why = Why {
            cause: Cause::Rerun,
            reason: names(&jobs),
            reruns: jobs,
            ..Why::put()
        };
        self.write_manifest(actor, record.manifest.clone(), Some(generation), why)
            .await
    }
}

/// Notes that these jobs begin anew with the record's generation. What is in the manifest no more is forgotten.
pub(crate) fn note(record: &mut DeploymentRecord, jobs: &[TaskName], now: Instant) {
    for job in jobs {
        cron::begin(record, job, None, now);
    }
    let (generation, spec) = (record.generation, &record.manifest.spec);
    record
        .reruns
        .retain(|r| spec.jobs.contains_key(&r.task) && !jobs.contains(&r.task));
    record.reruns.extend(jobs.iter().map(|task| Rerun {
        task: task.clone(),
        generation,
    }));
}

/// `"a"`, `"a" and "b"`, …: for messages.
pub(crate) fn names(jobs: &[TaskName]) -> String {
    jobs.iter()
        .map(|job| format!("\"{job}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The refusal of a task that a deployment does not have.
pub(crate) fn no_task(key: &DeploymentKey, tasks: &[Resolved], name: &TaskName) -> Error {
    Error::NoTask {
        name: key.to_string(),
        task: name.clone(),
        known: task_names(tasks),
    }
}

/// Each task's name once, however many targets it has.
pub(crate) fn task_names(tasks: &[Resolved]) -> Vec<TaskName> {
    let mut names: Vec<TaskName> = tasks.iter().map(|task| task.name.clone()).collect();
    names.dedup();
    names
}

/// The jobs that were asked for, if all of them have ended.
fn ended_jobs(
    key: &DeploymentKey,
    entry: &DeploymentState,
    wanted: Option<&TaskName>,
) -> Result<Vec<TaskName>, Error> {
    let invalid = |message: String| Error::Invalid {
        path: "task".to_owned(),
        message,
    };
    let is_job = |task: &&Resolved| matches!(task.workload.run, Run::Job { .. });
    let jobs: Vec<&Resolved> = match wanted {
        Some(name) => {
            let found = entry.resolved.iter().find(|task| task.name == *name);
            let task = found.ok_or_else(|| no_task(key, &entry.resolved, name))?;
            if !is_job(&task) {
                return Err(invalid(format!(
                    "\"{name}\" is a service, which runs all the time: only jobs are run again"
                )));
            }
            vec![task]
        }
        // One that waits for others runs once they have come that far.
        None => {
            let mine = entry.resolved.iter().filter(is_job);
            mine.filter(|job| !waits(entry, job)).collect()
        }
    };
    if jobs.is_empty() {
        return Err(invalid(format!(
            "\"{key}\" has no jobs: only jobs are run again"
        )));
    }
    if let Some(follower) = jobs.iter().find(|job| job.scale.is_some()) {
        return Err(invalid(format!(
            "\"{}\" follows its load: {} or a measure gives it replicas again",
            follower.name,
            command(&key.namespace, &format!("wake {}", key.name))
        )));
    }
    let goes_on =
        |job: &&&Resolved| waits(entry, job) || (!has_ended(entry, job) && !has_never_begun(job));
    if let Some(busy) = jobs.iter().find(goes_on) {
        return Err(Error::NotEnded {
            name: format!("{key}/{}", busy.name),
        });
    }
    Ok(jobs.into_iter().map(|job| job.name.clone()).collect())
}

/// Whether a job waits for other tasks: what there is of it is of an earlier version.
fn waits(entry: &DeploymentState, job: &Resolved) -> bool {
    entry.record.waiting.iter().any(|w| w.task == job.name)
}

/// Whether a job waits for the first time of its schedule.
pub(crate) fn has_never_begun(job: &Resolved) -> bool {
    job.schedule.is_some() && job.since.run == 0
}

/// Whether everything of its last run has come to its end. What has no place yet has not begun.
pub(crate) fn has_ended(entry: &DeploymentState, job: &Resolved) -> bool {
    let mut mine = entry
        .allocations
        .values()
        .filter(|live| plan::stands_for(&live.record, job))
        .peekable();
    entry.planned == entry.record.generation && mine.peek().is_some() && mine.all(is_over)
}

fn is_over(live: &AllocationState) -> bool {
    // What its provider refuses for good never began.
    if live
        .failure
        .as_ref()
        .is_some_and(|f| matches!(f.kind, FailureKind::Invalid | FailureKind::Denied))
    {
        return true;
    }
    let replicas = live
        .observation
        .iter()
        .flat_map(|o| &o.replicas)
        .filter(|r| r.index < live.record.intent.replicas);
    let works = |phase: Phase| {
        matches!(
            phase,
            Phase::Pending | Phase::Starting | Phase::Running | Phase::Stopping
        )
    };
    matches!(live.record.status.phase, Phase::Succeeded | Phase::Failed)
        && !replicas.into_iter().any(|r| works(r.phase))
}
