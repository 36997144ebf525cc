//! Bringing back what fails: holds each observed allocation against its task's recovery policy and stores what follows from it: a new
//! attempt after a pause, or other replicas in its stead. The rules are `core::health`'s; the calls are the dispatcher's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::time::Instant as Tick;
use tradewind_core::{
    capability::{Clock, Paces},
    event::{Event, Reason, Severity},
    health::{self, Action, Condition, Look, Pace, Recovery},
    job::deadline,
    manifest::Resolved,
    names::{AllocationId, InstanceName},
    place_health::Place,
    placement::{RankBy, Want},
    plugin::Plugins,
    record::{AllocationRecord, DeploymentKey, Stage},
    rollout::{Rollout, Status},
    store::{Error, Revision},
    units::{Instant, Millis},
};

use crate::{
    lock,
    schedule::{offers::Offers, refusals::Refusals},
    state::{
        cache::{AllocationState, Cache, DeploymentState},
        commit::Committer,
        journal::allocation_event,
        notes::Left,
    },
};

/// How long a task is kept away from an offer where it has failed too often: the first time, and at the longest. It doubles while it goes on.
const LEFT: Millis = Millis(30_000);
const LEFT_LONGEST: Millis = Millis(1_800_000);

/// What a look at an allocation means for it.
struct Judged {
    recovery: Recovery,
    action: Action,
    condition: Condition,
}

impl Judged {
    fn is_dead(&self) -> bool {
        matches!(
            self.condition,
            Condition::Dead { .. } | Condition::Stuck { .. }
        )
    }

    /// Whether nothing follows from it.
    fn is_settled(&self, record: &AllocationRecord) -> bool {
        self.action == Action::Nothing && self.recovery == record.status.recovery && !self.is_dead()
    }
}

/// A record as it shall be, what is told of it, and the revision it was judged at.
type Change = (AllocationRecord, Option<Event>, Revision);

/// Brings back what fails.
pub(crate) struct Healer {
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) plugins: Arc<dyn Plugins>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) paces: Arc<dyn Paces>,
    pub(crate) offers: Arc<Offers>,
    pub(crate) refusals: Arc<Refusals>,
}

impl Healer {
    /// Judges these allocations as they were just observed. Answers those that are to be looked at again soon.
    pub(crate) async fn heal(
        self: &Arc<Self>,
        ids: &BTreeSet<&AllocationId>,
    ) -> BTreeSet<AllocationId> {
        let now = self.clock.now();
        let ids = self.ailing(ids, now);
        if ids.is_empty() {
            return BTreeSet::new();
        }
        let elsewhere = self.have_elsewhere(&ids, now).await;
        let mut again = BTreeSet::new();
        let changes: Vec<Change> = {
            let cache = lock(&self.cache);
            let mut changes = Vec::new();
            // What is already on its way in this round counts against the bound of the next.
            for id in &ids {
                let Some(judged) = self.diagnose(&cache, id, &changes, &elsewhere, now) else {
                    continue;
                };
                let (change, soon) = judged;
                if soon {
                    again.insert(id.clone());
                }
                changes.extend(change);
            }
            changes
        };
        for change in changes {
            let leaves = change.0.intent.superseded && elsewhere.contains(&change.0.id);
            // Known before the next decision is made.
            let leave = |cache: &mut Cache| {
                if leaves {
                    self::leave(cache, &change.0);
                }
            };
            let revised = self
                .committer
                .revise_showing(std::slice::from_ref(&change), leave);
            match revised.await {
                Ok(()) => {}
                Err(Error::Conflict { .. }) => drop(again.insert(change.0.id)),
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a failure could not be stored"
                ),
            }
        }
        if !again.is_empty() {
            self.committer.wake.notify_one();
        }
        again
    }

    /// Those of these for which something is to be done or to be recorded: mostly none.
    fn ailing(&self, ids: &BTreeSet<&AllocationId>, now: Instant) -> BTreeSet<AllocationId> {
        let cache = lock(&self.cache);
        let ails = |id: &&&AllocationId| {
            subject(&cache, id)
                .and_then(|(_, live, task)| Some((live, judge(live, task, now)?)))
                .is_some_and(|(live, judged)| !judged.is_settled(&live.record))
        };
        ids.iter().filter(ails).map(|id| (*id).clone()).collect()
    }

    /// Those of these that ask for other replicas in their stead, and for which there is another place than the one where they are.
    async fn have_elsewhere(
        self: &Arc<Self>,
        ids: &BTreeSet<AllocationId>,
        now: Instant,
    ) -> BTreeSet<AllocationId> {
        let asking: Vec<(AllocationRecord, Resolved, Arc<Vec<Resolved>>)> = {
            let cache = lock(&self.cache);
            let asks = |id: &AllocationId| {
                let (entry, live, task) = subject(&cache, id)?;
                let judged = judge(live, task, now)?;
                let bound = task.recovery.max_concurrent.of(task.replicas);
                let admitted = health::admitted(
                    bound,
                    under_way(entry, &live.record),
                    &[live.record.intent.replicas],
                ) == [true];
                (judged.action == Action::Replace && admitted)
                    .then(|| (live.record.clone(), task.clone(), entry.resolved.clone()))
            };
            ids.iter().filter_map(asks).collect()
        };
        if asking.is_empty() {
            return BTreeSet::new();
        }
        let snapshot = self.plugins.snapshot();
        let (table, _) = self.offers.assess(&snapshot).await;
        let other =
            |(record, task, resolved): &&(AllocationRecord, Resolved, Arc<Vec<Resolved>>)| {
                let mut want = Want::of(&record.namespace, &record.deployment, task);
                want.need.closed = self
                    .refusals
                    .closed(&record.key(), resolved, task, &snapshot);
                want.need.left = left(&self.cache, &record.key(), task);
                let ranked = table.ranked(&want, RankBy::Cost);
                let mut places = ranked
                    .iter()
                    .filter_map(|i| table.offers().get(*i as usize));
                places.any(|p| {
                    p.provider != record.intent.provider || *p.offer.id != *record.intent.offer.id
                })
            };
        asking
            .iter()
            .filter(other)
            .map(|(record, ..)| record.id.clone())
            .collect()
    }

    /// Tells those that start replicas again by themselves how long to wait before it.
    pub(crate) fn tell_paces(&self, key: &DeploymentKey) {
        let cache = lock(&self.cache);
        let Some(entry) = cache.deployments.get(key) else {
            return;
        };
        for live in entry.allocations.values() {
            let record = &live.record;
            let task = entry
                .resolved
                .iter()
                .find(|t| t.name == record.task && t.target == record.target);
            if let Some(task) = task {
                self.paces.set(
                    &record.id,
                    Some(Pace::of(&task.recovery, &record.status.recovery)),
                );
            }
        }
    }

    /// What is to be stored about one allocation, and whether it is to be looked at again soon.
    fn diagnose(
        &self,
        cache: &Cache,
        id: &AllocationId,
        before: &[Change],
        elsewhere: &BTreeSet<AllocationId>,
        now: Instant,
    ) -> Option<(Option<Change>, bool)> {
        let (entry, live, task) = subject(cache, id)?;
        let record = &live.record;
        let judged = judge(live, task, now)?;
        let dead = judged.is_dead();
        let Judged {
            recovery,
            action,
            condition,
        } = judged;
        if action == Action::Nothing && recovery == record.status.recovery {
            return Some((None, dead));
        }
        let mut after = record.clone();
        after.status.recovery = recovery;
        let event = match &action {
            Action::Nothing | Action::Wait(_)
                if after.status.recovery.failures > record.status.recovery.failures =>
            {
                Some(failing(&after))
            }
            Action::Nothing | Action::Wait(_) => None,
            Action::Again => {
                after.intent.apply_again();
                let left = live
                    .observation
                    .as_ref()
                    .and_then(|seen| deadline::of_next_attempt(record, seen, now));
                after.intent.deadline = left.or(record.intent.deadline);
                Some(allocation_event(
                    Severity::Info,
                    Reason::AllocationRetried,
                    record,
                    place(record, &after.status.recovery.reason),
                ))
            }
            // A new version that fails is its update's business: it goes back.
            Action::Replace
                if !matches!(condition, Condition::Stuck { .. } | Condition::Dead { .. })
                    && updates(entry, record) =>
            {
                (after.status.recovery.failures > record.status.recovery.failures)
                    .then(|| failing(&after))
            }
            // What is not alive is made anew even where it is; what is started again there goes on there when there is no other place.
            Action::Replace
                if !matches!(condition, Condition::Stuck { .. }) && !elsewhere.contains(id) =>
            {
                (after.status.recovery.failures > record.status.recovery.failures)
                    .then(|| failing(&after))
            }
            Action::Replace => {
                let bound = task.recovery.max_concurrent.of(task.replicas);
                let under_way = under_way(entry, record)
                    + before
                        .iter()
                        .filter(|c| same_task(&c.0, record) && c.0.intent.superseded)
                        .map(|c| c.0.intent.replicas)
                        .sum::<u32>();
                if health::admitted(bound, under_way, &[record.intent.replicas]) == [true] {
                    after.intent.superseded = true;
                    Some(allocation_event(
                        Severity::Warning,
                        Reason::AllocationReplaced,
                        record,
                        place(record, &after.status.recovery.reason),
                    ))
                } else {
                    None
                }
            }
        };
        let change = (after != *record).then_some((after, event, live.revision));
        Some((change, dead))
    }
}

/// The offers that a task is kept away from, and why.
pub(crate) fn left(
    cache: &Mutex<Cache>,
    key: &DeploymentKey,
    task: &Resolved,
) -> BTreeMap<InstanceName, BTreeMap<String, String>> {
    let now = Tick::now();
    let cache = lock(cache);
    let all = cache
        .deployments
        .get(key)
        .into_iter()
        .flat_map(|entry| &entry.left);
    let mut left: BTreeMap<InstanceName, BTreeMap<String, String>> = BTreeMap::new();
    for one in all.filter(|l| l.task == task.name && l.target == task.target && now < l.until) {
        left.entry(one.provider.clone())
            .or_default()
            .insert(one.offer.clone(), one.cause.clone());
    }
    left
}

/// Keeps a task away from an offer where it has failed too often.
fn leave(cache: &mut Cache, record: &AllocationRecord) {
    let Some(entry) = cache.deployments.get_mut(&record.key()) else {
        return;
    };
    let same = |l: &Left| {
        (&l.task, &l.target, &l.provider, &l.offer)
            == (
                &record.task,
                &record.target,
                &record.intent.provider,
                &record.intent.offer.id,
            )
    };
    let times = entry
        .left
        .iter()
        .find(|l| same(l))
        .map_or(0, |l| l.times + 1);
    let until = Tick::now()
        + Millis(
            LEFT.0
                .saturating_mul(1 << times.min(16))
                .min(LEFT_LONGEST.0),
        )
        .std();
    entry.left.retain(|l| !same(l));
    entry.left.push(Left {
        task: record.task.clone(),
        target: record.target.clone(),
        provider: record.intent.provider.clone(),
        offer: record.intent.offer.id.clone(),
        cause: record.status.recovery.reason.clone(),
        until,
        times,
    });
    cache.enqueue_at(&record.key(), until);
}

/// An allocation that is judged by its health, with its deployment and its task.
fn subject<'w>(
    cache: &'w Cache,
    id: &AllocationId,
) -> Option<(&'w DeploymentState, &'w AllocationState, &'w Resolved)> {
    let entry = cache.deployments.get(cache.owners.get(id)?)?;
    let live = entry.allocations.get(id)?;
    let record = &live.record;
    let settled = record.intent.stage == Stage::Applied
        && !record.intent.superseded
        && !entry.record.deleting;
    let task = entry
        .resolved
        .iter()
        .find(|t| t.name == record.task && t.target == record.target)
        .filter(|_| settled)?;
    Some((entry, live, task))
}

/// Whether an allocation is of a version that has not become whole yet, and that would make way for an earlier one.
fn updates(entry: &DeploymentState, record: &AllocationRecord) -> bool {
    let of = |r: &Rollout| {
        r.status != Status::Done
            && r.from.is_some()
            && !r.is_back()
            && r.generation == record.intent.generation
    };
    entry.record.rollout.as_ref().is_some_and(of)
}

fn judge(live: &AllocationState, task: &Resolved, now: Instant) -> Option<Judged> {
    let (record, seen) = (&live.record, live.observation.as_ref()?);
    let run = &record.intent.workload.run;
    let condition = Condition::of(
        run,
        record.intent.replicas,
        live.ready(),
        seen,
        &live.failed_liveness,
    );
    let look = Look {
        run,
        wanted: record.intent.replicas,
        seen,
    };
    let ready = |index: u32| live.ready_now().any(|r| r == index);
    let (recovery, action) = health::look(
        &task.recovery,
        &record.status.recovery,
        look,
        &condition,
        ready,
        now,
    );
    Some(Judged {
        recovery,
        action,
        condition,
    })
}

/// Replicas of the same task that are being replaced because of their health.
fn under_way(entry: &DeploymentState, record: &AllocationRecord) -> u32 {
    let replaced = |l: &&AllocationState| {
        let r = &l.record;
        same_task(r, record)
            && r.intent.superseded
            && !r.status.lost
            && r.status.recovery.here > 0
            && r.intent.stage != Stage::Removing
    };
    entry
        .allocations
        .values()
        .filter(replaced)
        .map(|l| l.record.intent.replicas)
        .sum()
}

fn same_task(a: &AllocationRecord, b: &AllocationRecord) -> bool {
    a.id != b.id && a.task == b.task && a.target == b.target && a.key() == b.key()
}

fn failing(after: &AllocationRecord) -> Event {
    let recovery = &after.status.recovery;
    let next = recovery
        .next
        .map(|at| format!("; tried again at {at}"))
        .unwrap_or_default();
    let times = if recovery.failures == 1 {
        "once".to_owned()
    } else {
        format!("{} times in a row", recovery.failures)
    };
    let reason = if recovery.failures == 1 {
        Reason::AllocationFailing
    } else {
        Reason::CrashLoop
    };
    allocation_event(
        Severity::Warning,
        reason,
        after,
        format!("{}: failed {times}{next}", place(after, &recovery.reason)),
    )
}

fn place(record: &AllocationRecord, reason: &str) -> String {
    format!(
        "{} × {} on {}: {reason}",
        record.intent.replicas,
        record.task,
        Place::of(record)
    )
}
