//! What the controller knows, as the API shows it. The lock is not held meanwhile: what is rendered was taken out of the cache before.

use std::collections::BTreeSet;

use tradewind_api::{
    AllocationView, DeploymentSummary, DeploymentView, JobRunView, RolloutView, ScaleView,
    ScheduleView, Status, TaskView, command,
};
use tradewind_core::{
    cron::ScheduledJob,
    failure::{Failure, FailureKind},
    hedge,
    manifest::{Job, Resolved, ScheduleLong, Target},
    names::{DecisionId, TaskName},
    place_health::Place,
    plan::preview::{PlannedSchedule, ScaleBounds},
    plugin::Snapshot,
    record::{AllocationRecord, DeploymentKey, DeploymentRecord, Stage},
    rollout, scaling,
    units::{Instant, MicroUsd},
    workload::{Phase, Run},
};

use tradewind_manifest::timetable::Timetable;

use crate::{
    execute::{dispatcher::provider_missing, images},
    schedule::spaces,
    state::{
        cache::{AllocationState, DeploymentState},
        journal::replicas_have,
    },
};

/// The time zone of a schedule that names none.
const UTC: &str = "UTC";

/// How a task is, without its allocations one by one: what a list needs of it.
struct TaskState<'e> {
    name: &'e TaskName,
    kind: &'static str,
    target: Option<&'e Target>,
    status: Status,
    ready: u32,
    replicas: u32,
    scale: Option<ScaleView>,
    message: String,
    failure: Option<Failure>,
    lives: Vec<&'e AllocationState>,
    decision: Option<DecisionId>,
}

pub(crate) fn summary(
    key: &DeploymentKey,
    entry: &DeploymentState,
    snapshot: &Snapshot,
) -> DeploymentSummary {
    summarise(key, entry, &tasks(entry, snapshot))
}

/// How a deployment stands, with its replicas that are ready and those that it shall have: what metrics need of it.
pub(crate) fn standing(entry: &DeploymentState, snapshot: &Snapshot) -> (Status, u32, u32) {
    let tasks = tasks(entry, snapshot);
    let sum = |of: fn(&TaskState<'_>) -> u32| tasks.iter().map(of).sum();
    (status(entry, &tasks), sum(|t| t.ready), sum(|t| t.replicas))
}

pub(crate) fn deployment(
    key: &DeploymentKey,
    entry: &DeploymentState,
    snapshot: &Snapshot,
    now: Instant,
) -> DeploymentView {
    let tasks = tasks(entry, snapshot);
    DeploymentView {
        summary: summarise(key, entry, &tasks),
        observed_generation: entry.planned,
        updated_at: entry.record.updated_at,
        rollout: entry.record.rollout.as_ref().map(RolloutView::from),
        tasks: tasks
            .into_iter()
            .map(|task| task.view(entry, snapshot, now))
            .collect(),
        manifest: entry.record.manifest.clone(),
    }
}

fn summarise(
    key: &DeploymentKey,
    entry: &DeploymentState,
    tasks: &[TaskState<'_>],
) -> DeploymentSummary {
    let places: BTreeSet<String> = entry
        .allocations
        .values()
        .map(|l| Place::of(&l.record).to_string())
        .collect();
    let hourly = entry.allocations.values().map(hourly);
    DeploymentSummary {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        labels: entry.record.manifest.metadata.labels.clone(),
        generation: entry.record.generation,
        status: status(entry, tasks),
        ready: tasks.iter().map(|t| t.ready).sum(),
        replicas: tasks.iter().map(|t| t.replicas).sum(),
        places: places.into_iter().collect(),
        hourly_cost: hourly.fold(MicroUsd(0), MicroUsd::saturating_add),
        created_at: entry.record.created_at,
        message: message(entry, tasks),
    }
}

/// What is seen to have ended costs nothing, whether that is on record yet or not.
fn hourly(live: &AllocationState) -> MicroUsd {
    let ended = live
        .observation
        .as_ref()
        .is_some_and(|o| o.phase.is_final());
    if ended {
        MicroUsd(0)
    } else {
        live.record.hourly_total()
    }
}

fn status(entry: &DeploymentState, tasks: &[TaskState<'_>]) -> Status {
    if entry.record.deleting {
        return Status::Deleting;
    }
    let any = |status: Status| tasks.iter().any(|t| t.status == status);
    let leftovers = entry
        .allocations
        .values()
        .any(|l| l.record.intent.stage == Stage::Removing);
    if entry.failure.is_some() && entry.allocations.is_empty() {
        Status::Pending
    } else if entry.planned != entry.record.generation {
        if entry.allocations.is_empty() {
            Status::Pending
        } else {
            Status::Progressing
        }
    } else if tasks.iter().any(|t| failed(entry, t)) || stands(entry, rollout::Status::Failed) {
        Status::Failed
    } else if any(Status::Degraded) || (any(Status::Pending) && any(Status::Running)) {
        Status::Degraded
    } else if any(Status::Pending) {
        Status::Pending
    } else if any(Status::Waiting) {
        Status::Waiting
    } else if any(Status::Progressing)
        || leftovers
        || stands(entry, rollout::Status::Progressing)
        || stands(entry, rollout::Status::Waiting)
        || stands(entry, rollout::Status::Paused)
    {
        Status::Progressing
    } else if any(Status::Running) {
        Status::Running
    } else if any(Status::Idle) {
        Status::Idle
    } else {
        Status::Completed
    }
}

/// Whether a task's failure is the deployment's. One that others wait for fails their update: what becomes of it then is known with the next
/// step.
fn failed(entry: &DeploymentState, task: &TaskState<'_>) -> bool {
    let waits = |t: &&Resolved| entry.record.waiting.iter().any(|w| w.task == t.name);
    let mut waiting = entry.resolved.iter().filter(waits);
    let awaited = waiting.any(|t| t.after.iter().any(|p| p.task == *task.name));
    task.status == Status::Failed && !(awaited && stands(entry, rollout::Status::Progressing))
}

fn message(entry: &DeploymentState, tasks: &[TaskState<'_>]) -> String {
    if let Some(failure) = &entry.failure {
        return failure.told();
    }
    let fails = |r: &rollout::Rollout| {
        r.status == rollout::Status::Failed || (r.cause == rollout::Cause::Failure && !r.is_done())
    };
    if entry.record.rollout.as_ref().is_some_and(fails) {
        return update(entry).unwrap_or_default();
    }
    let says = |t: &&TaskState<'_>| !t.message.is_empty();
    let goes_on = |t: &&TaskState<'_>| t.status != Status::Waiting;
    // What others wait for says more than that they wait.
    let told = tasks.iter().filter(goes_on).find(says);
    let asks = stands(entry, rollout::Status::Waiting) || stands(entry, rollout::Status::Paused);
    if let (None, true, Some(update)) = (told, asks, update(entry)) {
        return update;
    }
    let told = told.or_else(|| tasks.iter().find(says));
    told.map(|t| format!("{}: {}", t.name, t.message))
        .or_else(|| update(entry))
        .unwrap_or_default()
}

fn stands(entry: &DeploymentState, status: rollout::Status) -> bool {
    entry
        .record
        .rollout
        .as_ref()
        .is_some_and(|r| r.status == status)
}

/// What is to be said of the update to this generation.
fn update(entry: &DeploymentState) -> Option<String> {
    let rollout = entry.record.rollout.as_ref()?;
    match rollout.status {
        rollout::Status::Failed => Some(format!("the update has failed: {}", rollout.reason)),
        rollout::Status::Waiting => Some(
            "the canary has reached its step: promote or abort it, or wait for the step to end"
                .to_owned(),
        ),
        rollout::Status::Paused => {
            let by = rollout.paused.as_ref().map_or("", |pause| &pause.by);
            Some(format!(
                "{by} has paused the update: {} lets it go on",
                command(
                    &entry.record.manifest.metadata.namespace,
                    &format!("rollout resume {}", entry.record.manifest.metadata.name)
                )
            ))
        }
        rollout::Status::Keeping => {
            Some("the old set stays for a while, for an instant return".to_owned())
        }
        rollout::Status::Done if !rollout.reason.is_empty() => {
            Some(format!("rolled back: {}", rollout.reason))
        }
        rollout::Status::Progressing if rollout.cause == rollout::Cause::Failure => {
            Some(format!("goes back: {}", rollout.reason))
        }
        _ => None,
    }
}

fn tasks<'e>(entry: &'e DeploymentState, snapshot: &Snapshot) -> Vec<TaskState<'e>> {
    let mut tasks: Vec<TaskState<'e>> = entry
        .resolved
        .iter()
        .map(|task| task_state(task, entry, snapshot))
        .collect();
    // What the manifest does not name any more is shown until it is gone.
    for live in entry.allocations.values() {
        let known = entry
            .resolved
            .iter()
            .any(|t| t.name == live.record.task && t.target == live.record.target);
        if known {
            continue;
        }
        match tasks
            .iter_mut()
            .find(|t| *t.name == live.record.task && t.target == live.record.target.as_ref())
        {
            Some(task) => task.lives.push(live),
            None => tasks.push(TaskState {
                name: &live.record.task,
                kind: kind(&live.record.intent.workload.run),
                target: live.record.target.as_ref(),
                status: Status::Deleting,
                ready: 0,
                replicas: 0,
                scale: None,
                message: String::new(),
                failure: live.failure.clone(),
                lives: vec![live],
                decision: live.record.intent.decision.clone(),
            }),
        }
    }
    tasks
}

impl TaskState<'_> {
    fn view(self, entry: &DeploymentState, snapshot: &Snapshot, now: Instant) -> TaskView {
        TaskView {
            name: self.name.clone(),
            kind: self.kind.to_owned(),
            target: self.target.cloned(),
            status: self.status,
            ready: self.ready,
            replicas: self.replicas,
            scale: self.scale,
            schedule: schedule_of(&entry.record, self.name, now),
            message: self.message,
            failure: self.failure,
            allocations: self
                .lives
                .into_iter()
                .map(|live| allocation_view(live, entry, snapshot))
                .collect(),
            decision: self.decision,
        }
    }
}

fn scale(task: &Resolved, entry: &DeploymentState) -> Option<ScaleView> {
    let rule = task.scale.as_ref()?;
    let known = scaling::find(&entry.record.scales, task);
    Some(ScaleView {
        min: rule.min,
        max: rule.max,
        why: known.map(|s| s.why.clone()).unwrap_or_default(),
        changed_at: known.map(|s| s.at),
    })
}

pub(crate) fn bounds(task: &Resolved) -> Option<ScaleBounds> {
    let rule = task.scale.as_ref()?;
    Some(ScaleBounds {
        task: task.name.clone(),
        target: task.target.clone(),
        replicas: task.replicas,
        min: rule.min,
        max: rule.max,
    })
}

/// A job's schedule and its runs. None: it has none.
fn schedule_of(record: &DeploymentRecord, name: &TaskName, now: Instant) -> Option<ScheduleView> {
    let spec = record.manifest.spec.jobs.get(name)?.schedule.as_ref()?;
    let spec = spec.long();
    let job = record.schedules.iter().find(|j| j.task == *name);
    Some(ScheduleView {
        next: next_run(&spec, job, now),
        cron: spec.cron,
        time_zone: spec.time_zone.unwrap_or_else(|| UTC.to_owned()),
        suspended: spec.suspend,
        runs: job
            .iter()
            .flat_map(|j| j.runs.iter().rev())
            .map(JobRunView::from)
            .collect(),
    })
}

/// What a plan says of the jobs that run by a schedule.
pub(crate) fn planned_schedules(record: &DeploymentRecord, now: Instant) -> Vec<PlannedSchedule> {
    let jobs = record.manifest.spec.jobs.iter();
    let one = |(task, job): (&TaskName, &Job)| {
        let spec = job.schedule.as_ref()?.long();
        let known = record.schedules.iter().find(|j| j.task == *task);
        Some(PlannedSchedule {
            task: task.clone(),
            next: next_run(&spec, known, now),
            cron: spec.cron,
            time_zone: spec.time_zone.unwrap_or_else(|| UTC.to_owned()),
        })
    };
    if record.deleting {
        return Vec::new();
    }
    jobs.filter_map(one).collect()
}

fn next_run(spec: &ScheduleLong, job: Option<&ScheduledJob>, now: Instant) -> Option<Instant> {
    let times = Timetable::new(spec).ok().filter(|_| !spec.suspend)?;
    times.next(job.map_or(now, |j| j.after.max(now)))
}

fn kind(run: &Run) -> &'static str {
    match run {
        Run::Service => "service",
        Run::Job { .. } => "job",
    }
}

fn task_state<'e>(
    task: &'e Resolved,
    entry: &'e DeploymentState,
    snapshot: &Snapshot,
) -> TaskState<'e> {
    let mine: Vec<&'e AllocationState> = entry
        .allocations
        .values()
        .filter(|l| l.record.task == task.name && l.record.target == task.target)
        .collect();
    let records = || mine.iter().map(|l| &l.record);
    let counts = |l: &&&AllocationState| {
        l.record.intent.stays() && !hedge::stands_behind(&l.record, records())
    };
    let current = || mine.iter().filter(counts);
    // Old replicas serve until new ones do; where nothing answers nothing serves.
    let serving = mine.iter().filter(|l| {
        l.record.intent.stage != Stage::Removing
            && !l.record.status.lost
            && !hedge::stands_behind(&l.record, records())
    });
    let ready = serving.map(|l| l.ready()).sum::<u32>().min(task.replicas);
    let unplaced = entry
        .unplaced
        .iter()
        .find(|u| u.task == task.name && entry.planned == entry.record.generation);
    let missing =
        |l: &&&AllocationState| !snapshot.providers.contains_key(&l.record.intent.provider);
    let failure = mine
        .iter()
        .find_map(|l| l.failure.clone())
        .or_else(|| current().find(missing).map(|l| provider_missing(&l.record)));
    let job = matches!(task.workload.run, Run::Job { .. });
    // A service that fails is brought back.
    let bad = |l: &&&AllocationState| job && l.record.status.phase == Phase::Failed;
    let refused = failure
        .as_ref()
        .is_some_and(|f| matches!(f.kind, FailureKind::Invalid | FailureKind::Denied));
    let hopeless = refused || unplaced.is_some_and(|u| u.never);

    let mut waiting = entry.record.waiting.iter();
    let waits = waiting
        .find(|w| w.task == task.name)
        .filter(|_| !entry.record.deleting);
    let asleep = task.replicas == 0 && (task.scale.is_some() || task.schedule.is_some());
    let status = if waits.is_some() {
        Status::Waiting
    } else if asleep {
        if mine.is_empty() {
            Status::Idle
        } else {
            Status::Progressing
        }
    } else if current().any(|l| bad(&l)) || (hopeless && ready < task.replicas) {
        Status::Failed
    } else if ready == task.replicas && failure.is_none() && current().all(|l| l.is_ready()) {
        match (
            job,
            stands(entry, rollout::Status::Keeping)
                || mine.iter().all(|l| !l.record.intent.superseded),
        ) {
            (_, false) => Status::Progressing,
            (true, true) => Status::Completed,
            (false, true) => Status::Running,
        }
    } else if unplaced.is_some() || failure.is_some() {
        if ready > 0 {
            Status::Degraded
        } else {
            Status::Pending
        }
    } else {
        Status::Progressing
    };
    let told = current().find_map(|l| {
        l.observation
            .as_ref()
            .map(|o| o.message.clone())
            .filter(|m| !m.is_empty() && !l.is_ready())
    });
    let message = match (waits, &failure, unplaced) {
        (Some(waits), ..) => waits.why.clone(),
        (_, Some(f), _) => f.message.clone(),
        (_, None, Some(u)) => format!("{} no place: {}", replicas_have(u.replicas), u.reason),
        (_, None, None) => {
            let crowded = entry
                .crowded
                .iter()
                .find(|(name, target, _)| *name == task.name && *target == task.target);
            let crowded = crowded
                .filter(|_| entry.planned == entry.record.generation)
                .map(|(_, _, why)| why.clone());
            let failing = current()
                .find(|l| l.record.status.recovery.next.is_some())
                .map(|l| failing(&l.record));
            failing.or(crowded).or(told).unwrap_or_default()
        }
    };
    TaskState {
        name: &task.name,
        kind: kind(&task.workload.run),
        target: task.target.as_ref(),
        status,
        ready,
        replicas: task.replicas,
        scale: scale(task, entry),
        message,
        failure,
        decision: mine
            .iter()
            .filter_map(|l| l.record.intent.decision.clone())
            .max(),
        lives: mine,
    }
}

fn failing(record: &AllocationRecord) -> String {
    let recovery = &record.status.recovery;
    let what = if recovery.failures > 1 {
        format!("crash loop, failed {} times in a row", recovery.failures)
    } else {
        "failed".to_owned()
    };
    let next = recovery
        .next
        .map(|at| format!(", tried again at {at}"))
        .unwrap_or_default();
    format!("{what}{next}: {}", recovery.reason)
}

fn allocation_view(
    live: &AllocationState,
    entry: &DeploymentState,
    snapshot: &Snapshot,
) -> AllocationView {
    let AllocationState {
        record,
        observation,
        failure,
        ..
    } = live;
    let replicas = observation
        .as_ref()
        .map(|o| o.replicas.clone())
        .unwrap_or_default();
    // Where nothing answers nothing is ready, whatever was seen there before.
    let observation = observation.as_ref().filter(|_| !record.status.lost);
    let mut endpoints = observation
        .as_ref()
        .map(|o| o.endpoints.clone())
        .unwrap_or_default();
    if endpoints.is_empty() {
        let serving = record.intent.drain.map_or(u32::MAX, |d| d.to);
        let ready: Vec<u32> = live.ready_now().filter(|i| *i < serving).collect();
        endpoints = replicas
            .iter()
            .filter(|r| ready.contains(&r.index))
            .flat_map(|r| r.endpoints.clone())
            .collect();
    }
    // Nobody is sent where nothing serves, or is about to end.
    if record.intent.traffic == Some(0) || record.intent.stage == Stage::Removing {
        endpoints.clear();
    }
    let missing = !snapshot.providers.contains_key(&record.intent.provider);
    let message = match failure {
        _ if missing => provider_missing(record).message,
        Some(failure) => failure.told(),
        None if record.status.recovery.next.is_some() => failing(record),
        None => observation
            .as_ref()
            .map(|o| o.message.clone())
            .unwrap_or_default(),
    };
    AllocationView {
        id: record.id.clone(),
        provider: record.intent.provider.clone(),
        region: record.intent.offer.region.clone(),
        zone: record.intent.offer.zone.clone(),
        size: record.intent.offer.size.clone(),
        offer: record.intent.offer.id.clone(),
        spot: record.intent.offer.spot,
        replicas: record.intent.replicas,
        ready: live.ready(),
        phase: if record.intent.stage == Stage::Removing {
            Phase::Stopping
        } else {
            record.status.phase
        },
        hourly_cost: hourly(live),
        endpoints,
        replica_status: replicas,
        message,
        superseded: record.intent.superseded,
        revision: record.intent.generation,
        traffic: record.intent.traffic,
        lost: record.status.lost,
        hedged: record.intent.hedge.is_some(),
        recovery: record.status.recovery.clone().into(),
        images: live
            .images
            .iter()
            .map(|(name, digest)| format!("{name}@{digest}"))
            .collect(),
        warnings: images::loose(entry, live)
            .into_iter()
            .chain(spaces::closed_place(record, snapshot))
            .collect(),
        created_at: record.intent.created_at,
    }
}
