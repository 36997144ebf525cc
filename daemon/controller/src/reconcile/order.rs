//! Tasks that wait for others: what is known of those others, and what a deployment is worked on as while some of its tasks are held back. Who
//! waits is `core::order`'s; this module must not decide it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use tradewind_core::{
    event::{Event, Reason, Severity},
    manifest::Resolved,
    names::TaskName,
    order::{self, Released, Seen, Standing, Waiting},
    record::{DeploymentRecord, RevisionRecord},
    rollout::{Told, Verdict},
    scaling,
    units::{Instant, Millis},
    workload::{Phase, Run},
};

use crate::{
    reconcile::hedge,
    reconcile::reconciler::Reconciler,
    schedule::scheduler::{DeploymentWork, without_ended},
    state::cache::{AllocationState, DeploymentState},
    state::journal::{CONTROLLER, decode, event},
};

/// Who of a deployment waits, by what is known now. `entry`: none where nothing of it is there yet.
pub(crate) fn standing(
    entry: Option<&DeploymentState>,
    record: &DeploymentRecord,
    resolved: &[Resolved],
) -> Standing {
    if resolved.iter().all(|task| task.after.is_empty()) {
        return Standing::default();
    }
    let all = entry.map(DeploymentState::actual).unwrap_or_default();
    let counts = hedge::visible(&all);
    order::stand(record, resolved, |name| {
        let mut whole = Seen::default();
        let mut lacks = false;
        for task in resolved.iter().filter(|t| t.name == *name) {
            let lives = counts.iter().filter(|r| order::is_of(r, task));
            let lives = lives.filter_map(|r| entry?.allocations.get(&r.id));
            let wanted = allowed(entry, task);
            let before = whole.there;
            whole.wanted += wanted;
            whole.there = false;
            for live in lives {
                add(&mut whole, live);
            }
            lacks |= wanted > 0 && !whole.there;
            whole.there |= before;
        }
        whole.there &= !lacks;
        whole
    })
}

/// As many replicas as limits leave to a task: whoever waits for it does not wait for what it can't have.
fn allowed(entry: Option<&DeploymentState>, task: &Resolved) -> u32 {
    let held = entry.into_iter().flat_map(|e| &e.held);
    let mut mine = held.filter(|h| h.task == task.name && h.target == task.target);
    let least = task.replicas.min(1);
    mine.next()
        .map_or(task.replicas, |h| h.replicas.clamp(least, task.replicas))
}

fn add(whole: &mut Seen, live: &AllocationState) {
    let (record, service) = (
        &live.record,
        live.record.intent.workload.run == Run::Service,
    );
    whole.there |= record.intent.goal() > 0;
    if record.is_over() {
        whole.started += record.intent.replicas;
    } else if !record.status.lost {
        let replicas = live.observation.iter().flat_map(|o| &o.replicas);
        let begun = replicas.filter(|r| {
            let runs = matches!(r.phase, Phase::Running | Phase::Succeeded);
            r.index < record.intent.replicas && (runs || (!service && r.started_at.is_some()))
        });
        whole.started += u32::try_from(begun.count()).unwrap_or(u32::MAX);
    }
    if service {
        whole.ready += live.ready();
        return;
    }
    let ends = &record.status.ended;
    let well = ends.values().filter(|end| end.succeeded).count();
    whole.completed += match record.is_over() && ends.is_empty() {
        true => record.intent.replicas,
        false => u32::try_from(well).unwrap_or(u32::MAX),
    };
    let bad = ends.iter().find(|(_, end)| !end.succeeded);
    whole.failed = whole.failed.take().or(bad.map(|(index, end)| {
        let code = || end.exit_code.map(|code| format!("exit code {code}"));
        let said = Some(end.message.clone()).filter(|message| !message.is_empty());
        let said = said
            .or_else(code)
            .map(|said| format!(": replica {index}: {said}"));
        said.unwrap_or_default()
    }));
}

impl Reconciler {
    /// Has a work go on with each task that waits as the task was before: so it serves, heals, moves and scales meanwhile. What has not been
    /// before is left out, and what nobody knows the manifest of is left as it is.
    pub(crate) async fn hold_back(&self, work: &mut DeploymentWork) {
        if work.order.waits.is_empty() {
            return;
        }
        let mut known: BTreeMap<u64, Vec<Resolved>> = BTreeMap::new();
        let mut resolved = (*work.resolved).clone();
        let mut apart: Vec<TaskName> = Vec::new();
        for wait in &work.order.waits {
            resolved.retain(|task| task.name != wait.task);
            let runs = work.all.iter().any(|r| r.task == wait.task);
            let generation = order::kept_as(&work.record, &wait.task).filter(|_| runs);
            let mut before = Vec::new();
            if let Some(generation) = generation {
                if let Entry::Vacant(free) = known.entry(generation) {
                    free.insert(self.as_of(work, generation).await);
                }
                let tasks = known.get(&generation).into_iter().flatten();
                before.extend(tasks.filter(|task| task.name == wait.task).cloned());
            }
            if before.is_empty() {
                apart.push(wait.task.clone());
            }
            resolved.extend(before);
        }
        let mut actual = hedge::visible(&work.all);
        actual.retain(|record| !apart.contains(&record.task));
        (work.resolved, work.actual) = without_ended(Arc::new(resolved), actual);
    }

    /// The tasks of an earlier generation, with the numbers, runs and restarts of now. Empty: it is not kept.
    async fn as_of(&self, work: &DeploymentWork, generation: u64) -> Vec<Resolved> {
        let path = work.key.revision_path(generation);
        let stored = match self.reads.get(&path).await {
            Ok(stored) => stored.map(|stored| decode::<RevisionRecord>(&stored)),
            Err(error) => Some(Err(error)),
        };
        match stored {
            Some(Ok(revision)) => scaling::resolve(&DeploymentRecord {
                manifest: revision.manifest,
                ..(*work.record).clone()
            }),
            Some(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(deployment = %work.key, generation, error, "a revision could not be read: tasks that wait stay as they are");
                Vec::new()
            }
            None => Vec::new(),
        }
    }
}

/// How far the tasks are that wait: their deadlines do not count yet, and what can't come any more fails the update.
pub(crate) fn told(order: &Standing, now: Instant) -> impl Iterator<Item = Told> {
    order.waits.iter().map(move |wait| Told {
        verdict: Verdict::Waiting,
        moved: now,
        deadline: Millis(u64::MAX),
        sick: wait.failed(),
        lacks: None,
    })
}

/// Who waits and who has been released, as it is to be put on record, with the events that tell of what is new. None: it is so already.
pub(crate) fn news(
    work: &DeploymentWork,
    now: Instant,
    events: &mut Vec<Event>,
) -> Option<(Vec<Released>, Vec<Waiting>)> {
    let order = &work.order;
    let waiting = order.waiting(&work.record.waiting, now);
    let before = &work.record.waiting;
    let mut tell = |task: &TaskName, reason: Reason, message: String| {
        events.push(Event {
            task: Some(task.clone()),
            ..event(Severity::Info, reason, CONTROLLER, &work.key, message)
        });
    };
    for wait in waiting
        .iter()
        .filter(|w| !before.iter().any(|b| b.task == w.task))
    {
        tell(
            &wait.task,
            Reason::TaskWaiting,
            format!("{} {}", wait.task, wait.why),
        );
    }
    for wait in before.iter().filter(|b| !order.holds(&b.task)) {
        tell(
            &wait.task,
            Reason::TaskReleased,
            format!("{} waits no more: it {}", wait.task, past(&wait.why)),
        );
    }
    let differs = work.record.released != order.released || *before != waiting;
    differs.then(|| (order.released.clone(), waiting))
}

/// `waited for migrate to complete`.
fn past(why: &str) -> String {
    why.strip_prefix("waits")
        .map_or_else(|| why.to_owned(), |rest| format!("waited{rest}"))
}
