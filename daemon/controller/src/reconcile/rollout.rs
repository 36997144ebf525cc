//! Updates, as the controller carries them out: hands every task's groups to the pure engine, and turns its moves into intents. The state of
//! an update is in the deployment's record and is written with the intents it led to, so that a restart goes on where it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tradewind_core::{
    cordon::Fate,
    event::{Event, Reason, Severity},
    failure::FailureKind,
    manifest::{Resolved, Target},
    names::{InstanceName, TaskName},
    plan::preview::Unplaced,
    plan::{self, Desired},
    record::{AllocationRecord, DeploymentKey, DeploymentRecord, Stage},
    rollout::{self, Cause, Group, Outcome, Progress, Rollout, Standing, Status, Task, Told},
    units::{Instant, Millis},
    workload::{Health, Phase, Run},
};

use crate::{
    lock,
    reconcile::order,
    reconcile::reconciler::Reconciler,
    schedule::offers::{ROOM_AGAIN, Room},
    schedule::scheduler::DeploymentWork,
    state::cache::{AllocationState, Cache, DeploymentState},
    state::journal::{CONTROLLER, event},
};

/// Restarts of a replica that is not ready, after which its version counts as broken.
const RESTARTS: u32 = 3;

/// What a look at a deployment's updates led to.
#[derive(Default)]
pub(crate) struct Rolled {
    /// The deployment's record, if it has changed.
    pub(crate) deployment: Option<DeploymentRecord>,
    pub(crate) again: Option<Instant>,
    pub(crate) told: Vec<Event>,
    /// Tasks whose new replicas find no room beside those that run, and what to do about it.
    pub(crate) crowded: Vec<(TaskName, Option<Target>, String)>,
}

type Key = (TaskName, Option<Target>);

/// An update that has failed, and the revision that it returns to.
pub(crate) struct Return {
    pub(crate) key: DeploymentKey,
    pub(crate) to: u64,
    /// The generation that has failed: nobody has written another one meanwhile.
    pub(crate) from: u64,
    pub(crate) why: String,
}

impl Reconciler {
    /// Turns the records as planned into what shall be of them now: as many replicas as each task's update allows at the moment.
    pub(crate) fn roll(
        self: &Arc<Self>,
        work: &DeploymentWork,
        desired: &[Desired],
        unplaced: &[Unplaced],
        records: &mut [AllocationRecord],
    ) -> Rolled {
        let now = self.clock.now();
        let mut cache = lock(&self.cache);
        if !cache.deployments.contains_key(&work.key) {
            return Rolled::default();
        }
        let mut rollout = work.record.rollout.clone().unwrap_or_else(|| {
            // Written before there were updates: what runs is taken as it is.
            let mut rollout = Rollout::new(work.record.generation, None, Cause::Put, now);
            rollout.status = Status::Done;
            rollout
        });
        let mut out = Rolled::default();
        let mut told = Vec::new();
        let mut asked: BTreeSet<InstanceName> = BTreeSet::new();
        let tasks: Vec<(&Resolved, Vec<usize>)> = work
            .resolved
            .iter()
            .map(|t| (t, mine(t, records)))
            .collect();
        let prepared = |(task, mine): &(&Resolved, Vec<usize>)| {
            task.update.strategy != rollout::Strategy::BlueGreen
                || work.order.holds(&task.name)
                || rollout::prepared(
                    &self
                        .task(&cache, work, task, mine, records, &rollout, now)
                        .0,
                )
        };
        let switch = tasks.iter().all(prepared);
        for (task, mine) in &tasks {
            let (mut input, unknown) = self.task(&cache, work, task, mine, records, &rollout, now);
            input.switch = switch;
            // No more than limits allow it.
            let allowed = desired
                .iter()
                .find(|d| d.task == task.name && d.target == task.target)
                .map(|d| d.replicas);
            input.replicas = allowed.unwrap_or(task.replicas);
            // What waits goes on as it was: its update has not begun.
            let waits = work.order.holds(&task.name);
            let mut aside = Progress::new(task.name.clone(), task.target.clone(), now);
            let progress = match waits {
                true => &mut aside,
                false => progress(&mut rollout, task, now),
            };
            let moves = rollout::advance(&input, progress, now);
            let known = || {
                let before = cache
                    .deployments
                    .get(&work.key)
                    .into_iter()
                    .flat_map(|e| &e.crowded);
                before
                    .filter(|(name, target, _)| *name == task.name && *target == task.target)
                    .map(|(_, _, why)| why.clone())
                    .next()
            };
            let lacks = match moves.crowded {
                true if unknown.is_empty() => Some(no_room(task)),
                // Its provider is being asked: what it lacked is what it lacks, as far as is known.
                true => known(),
                false => None,
            };
            if !waits {
                told.push(Told {
                    verdict: moves.verdict.clone(),
                    moved: progress.moved,
                    deadline: task.update.deadline,
                    sick: mine
                        .iter()
                        .filter_map(|&i| records.get(i))
                        .find_map(|r| {
                            cache
                                .live(&r.id)
                                .filter(|_| r.intent.stays())
                                .and_then(sick)
                        })
                        .or_else(|| {
                            homeless(
                                cache.deployments.get(&work.key)?,
                                task,
                                desired,
                                mine.iter().filter_map(|&i| records.get(i)),
                            )
                        }),
                    lacks: lacks.clone().or_else(|| {
                        unplaced
                            .iter()
                            .find(|u| u.task == task.name)
                            .map(|u| u.reason.clone())
                    }),
                });
            }
            out.crowded
                .extend(lacks.map(|why| (task.name.clone(), task.target.clone(), why)));
            let prepared = rollout::prepared(&input);
            // What is of another version goes with its update.
            let goes_now = |r: &AllocationRecord| {
                cache.cordons.fate(r, now) == Some(Fate::MoveNow)
                    && !plan::needs_new_replicas(&r.intent.workload, &task.workload)
            };
            let mut own = mine.iter().filter_map(|&i| records.get(i));
            let hurries = !moves.crowded && is_whole(task, desired) && own.any(goes_now);
            let beside = input.overlaps
                && task.update.strategy != rollout::Strategy::Recreate
                && rollout.status == Status::Done;
            for (&i, to) in mine.iter().zip(&moves.groups) {
                if let Some(record) = records.get_mut(i) {
                    // At the end of a drain's time nothing waits for an update's bounds where there is room elsewhere.
                    let to = match () {
                        () if !hurries => *to,
                        () if goes_now(record) => gone(record, *to),
                        () if beside && record.intent.stays() => whole(record, *to),
                        () => *to,
                    };
                    settle(record, work.actual.iter().find(|r| r.id == record.id), to);
                    // What was lost serves nobody: it stays on record until others have taken over.
                    if record.intent.superseded && record.status.lost && prepared {
                        record.intent.stage = Stage::Removing;
                    }
                }
            }
            // What this task takes is not there for the next one.
            let taken: Vec<AllocationRecord> = mine
                .iter()
                .filter_map(|&i| records.get(i).cloned())
                .collect();
            self.reserve(&mut cache, &work.all, &taken);
            if moves.crowded {
                let places: BTreeSet<&InstanceName> = taken
                    .iter()
                    .filter(|r| r.intent.stays())
                    .map(|r| &r.intent.provider)
                    .collect();
                asked.extend(places.into_iter().cloned());
            }
            let crowded = moves.crowded.then(|| now.plus(ROOM_AGAIN));
            let ready_at = mine
                .iter()
                .filter_map(|&i| cache.live(&records.get(i)?.id))
                .filter_map(|l| l.ready_at(task.update.min_ready, now))
                .min();
            out.again = [out.again, moves.again, crowded, ready_at]
                .into_iter()
                .flatten()
                .min();
        }
        drop(cache);
        told.extend(order::told(&work.order, now));
        asked
            .iter()
            .for_each(|provider| self.offers.ask_for_room(&work.key, provider));
        self.weigh(work, rollout, &told, now, &mut out);
        out
    }

    /// Takes in where the update stands by now.
    pub(crate) fn weigh(
        &self,
        work: &DeploymentWork,
        mut rollout: Rollout,
        told: &[Told],
        now: Instant,
        out: &mut Rolled,
    ) {
        let (standing, again) = rollout.judge(told, now);
        out.again = [out.again, again].into_iter().flatten().min();
        let mut record = (*work.record).clone();
        let mark = record
            .revisions
            .iter_mut()
            .find(|m| m.generation == rollout.generation);
        match (&standing, mark) {
            (Standing::Healthy, Some(mark)) => {
                mark.outcome = Outcome::Healthy;
                // Why somebody restarted it stays of interest.
                if mark.cause != Cause::Restart {
                    mark.reason.clear();
                }
                let message = format!("generation {} is whole", rollout.generation);
                out.told.push(event(
                    Severity::Info,
                    Reason::RolloutDone,
                    CONTROLLER,
                    &work.key,
                    message,
                ));
            }
            (Standing::Failed(reason), Some(mark)) => {
                (mark.outcome, mark.reason) = (Outcome::Failed, reason.clone());
                let message = format!("generation {}: {reason}", rollout.generation);
                out.told.push(event(
                    Severity::Error,
                    Reason::RolloutFailed,
                    CONTROLLER,
                    &work.key,
                    message,
                ));
            }
            (Standing::Changed, _) => {
                let reason = match rollout.status {
                    Status::Waiting => Reason::RolloutWaiting,
                    Status::Keeping => Reason::RolloutSwitched,
                    _ => Reason::RolloutProgressing,
                };
                let message = format!(
                    "generation {} is {}",
                    rollout.generation,
                    rollout.status.as_str()
                );
                out.told.push(event(
                    Severity::Info,
                    reason,
                    CONTROLLER,
                    &work.key,
                    message,
                ));
            }
            _ => {}
        }
        record.rollout = Some(rollout);
        // What is whole stays so on record, whatever becomes of its replicas later.
        let whole = work
            .record
            .rollout
            .as_ref()
            .is_none_or(|r| r.status == Status::Done);
        if !whole && record != *work.record {
            out.deployment = Some(record);
        } else if let Some(reason) = self.failed_job(work) {
            let mut record = (*work.record).clone();
            let now = work.record.generation;
            let mut marks = record.revisions.iter_mut();
            if let Some(mark) = marks.find(|m| m.generation == now && m.outcome == Outcome::Healthy)
            {
                (mark.outcome, mark.reason) = (Outcome::Failed, reason);
                out.deployment = Some(record);
            }
        }
    }

    /// Of a deployment of jobs alone: why one of them has failed. What services come to is decided by their update.
    fn failed_job(&self, work: &DeploymentWork) -> Option<String> {
        if !work.record.manifest.spec.services.is_empty() {
            return None;
        }
        // A run by a schedule says nothing of the revision: the next one may succeed.
        let failed = |r: &&AllocationRecord| {
            r.intent.stays() && r.intent.run == 0 && r.status.phase == Phase::Failed
        };
        let record = work.all.iter().find(failed)?;
        let cache = lock(&self.cache);
        let said = cache
            .live(&record.id)
            .and_then(|live| live.observation.as_ref())
            .map(|o| o.message.clone())
            .filter(|message| !message.is_empty())
            .map_or_else(String::new, |message| format!(": {message}"));
        Some(format!("job \"{}\" has failed{said}", record.task))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "everything that an update depends on, gathered once"
    )]
    pub(crate) fn task<'a>(
        &self,
        cache: &Cache,
        work: &DeploymentWork,
        task: &'a Resolved,
        mine: &[usize],
        records: &[AllocationRecord],
        rollout: &Rollout,
        now: Instant,
    ) -> (Task<'a>, BTreeSet<InstanceName>) {
        let mut unknown = BTreeSet::new();
        let mut places: Vec<(&InstanceName, &str)> = Vec::new();
        let mut room = BTreeMap::new();
        let mut groups = Vec::new();
        let gives_way = mine
            .iter()
            .filter_map(|&i| records.get(i))
            .any(|r| !r.intent.stays());
        for record in mine.iter().filter_map(|&i| records.get(i)) {
            let offer = (&record.intent.provider, record.intent.offer.id.as_str());
            let place = places
                .iter()
                .position(|p| *p == offer)
                .unwrap_or(places.len());
            if place == places.len() {
                places.push(offer);
                // What has just been decided has its place; an update takes what is left beside what runs.
                if gives_way {
                    let free = match self.quotes.room(
                        cache,
                        record,
                        &task.workload.resources,
                        self.options.offers_ttl,
                    ) {
                        Room::Replicas(free) => free,
                        Room::Unknown => {
                            unknown.insert(record.intent.provider.clone());
                            0
                        }
                    };
                    room.insert(place, free);
                }
            }
            groups.push(group(
                record,
                work.actual.iter().find(|r| r.id == record.id),
                cache.live(&record.id),
                task,
                place,
                now,
            ));
        }
        let overlaps = records
            .iter()
            .filter(|r| {
                mine.iter()
                    .any(|&i| records.get(i).is_some_and(|m| m.id == r.id))
            })
            .all(|r| plan::overlaps(&r.intent.workload));
        let task = Task {
            replicas: task.replicas,
            update: &task.update,
            overlaps: overlaps && plan::overlaps(&task.workload),
            service: task.workload.run == Run::Service,
            back: rollout.is_back(),
            groups,
            room,
            room_known: unknown.is_empty(),
            promoted: rollout.promoted,
            switch: false,
            paused: rollout.status == Status::Paused,
        };
        (task, unknown)
    }

    /// Returns to the last healthy revision what has failed and shall not stay so. It is done again after a crash until it is on record.
    pub(crate) fn return_if_failed(self: &Arc<Self>, key: &DeploymentKey) {
        // As it is on record by now: the step that has just been stored may have been the one that failed.
        let known = lock(&self.cache)
            .deployments
            .get(key)
            .map(|e| (e.record.clone(), e.resolved.clone()));
        let Some((record, resolved)) = known else {
            return;
        };
        let Some((rollout, to)) = record.rollout.as_ref().and_then(|r| Some((r, r.from?))) else {
            return;
        };
        let wanted = resolved
            .iter()
            .any(|t| t.update.rollback && t.workload.run == Run::Service);
        if rollout.status != Status::Failed || rollout.is_back() || !wanted || record.deleting {
            return;
        }
        let back = Return {
            key: key.clone(),
            to,
            from: record.generation,
            why: rollout.reason.clone(),
        };
        // Nobody carries it out any more when the controller stops; it is found again at the next start.
        let _stopping = self.returns.send(back);
    }
}

/// What would let an update go on that finds no room for replicas beside those that run. None: it needs none.
pub(crate) fn way(task: &Resolved) -> Option<&'static str> {
    let (surge, _) = task.update.bounds(task.replicas);
    let beside = surge > 0
        || matches!(
            task.update.strategy,
            rollout::Strategy::Canary | rollout::Strategy::BlueGreen
        );
    let wants = task.update.strategy != rollout::Strategy::Recreate && beside;
    wants.then_some(
        "its update wants room for another replica beside those that run: make room, or set update.maxSurge: 0 and update.maxUnavailable: 1, \
         or update.strategy: recreate",
    )
}

/// Whether all replicas of a task have a place.
fn is_whole(task: &Resolved, desired: &[Desired]) -> bool {
    let mine = desired
        .iter()
        .find(|d| d.task == task.name && d.target == task.target);
    mine.is_some_and(|d| d.placements.iter().map(|p| p.replicas).sum::<u32>() >= d.replicas)
}

/// A record without the replicas that go in the end.
fn gone(record: &AllocationRecord, to: rollout::Move) -> rollout::Move {
    let goal = if record.intent.superseded {
        0
    } else {
        record.intent.goal()
    };
    rollout::Move {
        replicas: to.replicas.min(goal),
        drain: None,
        ..to
    }
}

/// A record with all the replicas that it has in the end.
fn whole(record: &AllocationRecord, to: rollout::Move) -> rollout::Move {
    rollout::Move {
        replicas: to.replicas.max(record.intent.goal()),
        ..to
    }
}

fn no_room(task: &Resolved) -> String {
    let why = way(task).map(|way| format!("; {way}")).unwrap_or_default();
    format!("there is no room for another replica where it goes{why}")
}

pub(crate) fn mine(task: &Resolved, records: &[AllocationRecord]) -> Vec<usize> {
    let mine = records
        .iter()
        .enumerate()
        .filter(|(_, r)| r.task == task.name && r.target == task.target);
    mine.map(|(i, _)| i).collect()
}

pub(crate) fn progress<'a>(
    rollout: &'a mut Rollout,
    task: &Resolved,
    now: Instant,
) -> &'a mut Progress {
    let key: Key = (task.name.clone(), task.target.clone());
    let at = rollout
        .tasks
        .iter()
        .position(|p| (&p.task, &p.target) == (&key.0, &key.1));
    let at = at.unwrap_or_else(|| {
        rollout.tasks.push(Progress::new(key.0, key.1, now));
        rollout.tasks.len() - 1
    });
    #[expect(
        clippy::indexing_slicing,
        reason = "the index was found or pushed above"
    )]
    &mut rollout.tasks[at]
}

fn group(
    record: &AllocationRecord,
    before: Option<&AllocationRecord>,
    live: Option<&AllocationState>,
    task: &Resolved,
    place: usize,
    now: Instant,
) -> Group {
    let ended = record.status.phase.is_final();
    let current = record.intent.stays();
    Group {
        generation: record.intent.generation,
        current,
        wanted: if current { record.intent.goal() } else { 0 },
        // The plan says what it shall be in the end; the engine begins with what was intended before.
        replicas: before.map_or(0, |b| b.intent.replicas),
        held: before.map_or(0, |b| if ended && !current { 0 } else { b.handle.held }),
        drain: before.and_then(|b| b.intent.drain),
        ready: live
            .map(|l| l.ready_indices(task.update.min_ready, now))
            .unwrap_or_default(),
        known: live.is_some_and(|l| l.observation.is_some()),
        traffic: before.and_then(|b| b.intent.traffic),
        removing: record.intent.stage == Stage::Removing,
        lost: record.status.lost,
        place,
    }
}

/// Brings a record as planned to what the engine allows of it. A record that has not moved stays as it was.
fn settle(record: &mut AllocationRecord, before: Option<&AllocationRecord>, to: rollout::Move) {
    if record.intent.stage == Stage::Removing {
        return;
    }
    let ended = record.status.phase.is_final();
    if record.intent.superseded && (to.replicas == 0 || ended) {
        record.intent.stage = Stage::Removing;
        return;
    }
    let intent = &mut record.intent;
    (intent.replicas, intent.drain, intent.traffic) = (to.replicas, to.drain, to.traffic);
    let Some(before) = before else {
        // Nothing of it exists yet: it is asked for once it has a replica.
        intent.stage = if to.replicas == 0 {
            Stage::Applied
        } else {
            Stage::Intended
        };
        record.handle.held = to.replicas;
        return;
    };
    let same = intent.workload == before.intent.workload
        && (before.intent.replicas, before.intent.traffic) == (to.replicas, to.traffic);
    if same {
        (intent.stage, intent.attempt) = (before.intent.stage, before.intent.attempt);
        record.status.phase = before.status.phase;
    } else {
        (intent.stage, intent.attempt) = (Stage::Intended, before.intent.attempt + 1);
        record.handle.held = before.handle.held.max(to.replicas);
    }
}

/// What keeps a version out of every place for good, while an older one still runs that the deployment can return to.
fn homeless<'a>(
    entry: &DeploymentState,
    task: &Resolved,
    desired: &[Desired],
    mut records: impl Iterator<Item = &'a AllocationRecord>,
) -> Option<String> {
    let wanted = desired
        .iter()
        .find(|d| d.task == task.name && d.target == task.target)?;
    let missing = wanted.placements.iter().map(|p| p.replicas).sum::<u32>() < wanted.replicas;
    let old = records.any(|r| r.intent.superseded && r.intent.stage != Stage::Removing);
    let never = entry
        .unplaced
        .iter()
        .find(|u| u.task == task.name && u.never)?;
    (missing && old && entry.planned == entry.record.generation)
        .then(|| format!("{} has no place: {}", task.name, never.reason))
}

/// What is wrong with a group that shall stay, if its version is to blame.
pub(crate) fn sick(live: &AllocationState) -> Option<String> {
    let (record, place) = (&live.record, live.record.intent.offer.region.as_str());
    if record.intent.workload.run != Run::Service || record.intent.stage == Stage::Removing {
        return None;
    }
    if let Some(failure) = live
        .failure
        .as_ref()
        .filter(|f| f.kind == FailureKind::Invalid)
    {
        return Some(format!(
            "{} on {}/{place}: {}",
            record.task, record.intent.provider, failure.message
        ));
    }
    // Once may be the cloud's fault: it is tried again first.
    if record.status.phase == Phase::Failed
        && record.intent.stage == Stage::Applied
        && record.status.recovery.failures > 1
    {
        return Some(format!(
            "{} on {}/{place} has failed",
            record.task, record.intent.provider
        ));
    }
    let replicas = live.observation.iter().flat_map(|o| &o.replicas);
    replicas
        .filter(|r| r.index < record.intent.replicas)
        .find_map(|r| {
            let ready = live.ready_since.contains_key(&r.index);
            let was_ready = live.was_ready.contains(&r.index);
            match () {
                () if r.restarts >= RESTARTS && !ready => Some(format!(
                    "{}/{} on {}/{place} ends again and again",
                    record.task, r.index, record.intent.provider
                )),
                () if was_ready && r.health == Health::Unhealthy => Some(format!(
                    "{}/{} on {}/{place} was ready and is unhealthy",
                    record.task, r.index, record.intent.provider
                )),
                () => None,
            }
        })
}

impl AllocationState {
    /// Notes since when which replica is ready, after a look at them.
    pub(crate) fn note_ready(&mut self, now: Instant) {
        let ready: BTreeSet<u32> = self.ready_now().collect();
        self.ready_since.retain(|index, _| ready.contains(index));
        for index in ready {
            self.ready_since.entry(index).or_insert(now);
            self.was_ready.insert(index);
        }
    }

    /// Replicas that have been ready for so long.
    fn ready_indices(&self, min: Millis, now: Instant) -> BTreeSet<u32> {
        let long = self
            .ready_since
            .iter()
            .filter(|(_, since)| now.since(**since) >= min);
        long.map(|(index, _)| *index)
            .filter(|i| *i < self.record.intent.replicas)
            .collect()
    }

    /// When the next replica will have been ready for so long.
    fn ready_at(&self, min: Millis, now: Instant) -> Option<Instant> {
        self.ready_since
            .values()
            .map(|since| since.plus(min))
            .filter(|at| *at > now)
            .min()
    }
}
