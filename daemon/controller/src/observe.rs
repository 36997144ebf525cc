//! Observing: asks the providers what became of the allocations, in batches, and turns differences into state, events and work.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant as Tick};
use tradewind_core::{
    image, job, ledger,
    names::{AllocationId, InstanceName},
    plugin::{Provider, Snapshot, Tracked},
    record::{AllocationRecord, DeploymentKey, Stage},
    rollout,
    store::{Error, Expect, Revision, Txn},
    units::Instant,
    view::{Cause, Event, Severity},
    workload::{Observation, Phase, Run},
};

use super::{
    Hints, Shared,
    apply::is_final,
    journal::{allocation_event, changing},
    lock,
    lost::Lane,
    namespaces::Charge,
    state::{Live, World},
};

/// The most allocations in one call.
const BATCH: usize = 500;
/// The most allocations that are looked at per second only because time has passed: what a look costs bounds what thousands of them cost, here
/// and at the clouds.
const LOOKS_PER_SECOND: u64 = 3_000;
/// How soon a region that has not answered is asked again.
const SILENT: Duration = Duration::from_millis(500);

/// What shall be looked at, and when.
#[derive(Default)]
pub(super) struct Watchlist {
    providers: Mutex<HashMap<InstanceName, Turn>>,
    wake: Notify,
}

#[derive(Default)]
struct Turn {
    /// To be looked at now.
    pending: BTreeSet<AllocationId>,
    /// To be looked at again soon.
    soon: BTreeSet<AllocationId>,
    soon_at: Option<Tick>,
    /// When everything was looked at last.
    swept: Option<Tick>,
    /// Regions with a look under way: a region that hangs holds no other.
    running: BTreeSet<String>,
}

/// One region's next call.
struct Due {
    lane: Lane,
    only: Vec<Tracked>,
}

impl Watchlist {
    fn due<'w>(&self, world: &'w World, snapshot: &Snapshot, now: Tick, interval: Duration) -> Vec<Due> {
        let mut turns = lock(&self.providers);
        // A provider that comes back begins with a look at everything.
        turns.retain(|provider, turn| !turn.running.is_empty() || snapshot.providers.contains_key(provider));
        let mut due = Vec::new();
        for provider in snapshot.providers.keys() {
            let turn = turns.entry(provider.clone()).or_default();
            if turn.soon_at.is_some_and(|at| at <= now) {
                turn.pending.append(&mut turn.soon);
                turn.soon_at = None;
            }
            let mut lanes: BTreeMap<&str, Vec<Tracked>> = BTreeMap::new();
            let mut later = BTreeSet::new();
            let take = |live: &'w Live| {
                let Some((region, tracked)) = tracked(&live.record, provider) else { return };
                if turn.running.contains(region) {
                    later.insert(tracked.allocation);
                } else {
                    lanes.entry(region).or_default().push(tracked);
                }
            };
            let pending = std::mem::take(&mut turn.pending);
            if turn.swept.is_none_or(|at| now.duration_since(at) >= interval) {
                turn.swept = Some(now);
                world.deployments.values().flat_map(|e| e.allocations.values()).for_each(take);
            } else {
                pending.iter().filter_map(|id| world.live(id)).for_each(take);
            }
            turn.pending = later;
            for (region, only) in lanes {
                turn.running.insert(region.to_owned());
                due.push(Due { lane: (provider.clone(), region.to_owned()), only });
            }
        }
        due
    }

    fn next(&self, now: Tick, interval: Duration) -> Tick {
        let turns = lock(&self.providers);
        let times = turns.values().flat_map(|t| [t.soon_at, t.swept.map(|at| at + interval)]);
        times.flatten().min().unwrap_or(now + interval)
    }

    /// Something may have changed that decides when to look next.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    fn finish(&self, (provider, region): &Lane, again: BTreeSet<AllocationId>, at: Tick) {
        if let Some(turn) = lock(&self.providers).get_mut(provider) {
            turn.running.remove(region);
            if !again.is_empty() {
                turn.soon.extend(again);
                turn.soon_at.get_or_insert(at);
            }
        }
        self.wake.notify_one();
    }
}

/// How long a look at so many allocations takes at least.
fn spread_over(allocations: usize) -> Duration {
    Duration::from_millis(u64::try_from(allocations).unwrap_or(u64::MAX).saturating_mul(1_000) / LOOKS_PER_SECOND)
}

/// What the provider has accepted and nobody is changing at the moment.
fn tracked<'a>(record: &'a AllocationRecord, provider: &InstanceName) -> Option<(&'a str, Tracked)> {
    match (&record.state, record.stage) {
        // What has ended is known for good.
        (Some(_), Stage::Applied) if !record.ended.is_empty() && job::is_over(record) => None,
        (Some(state), Stage::Applied) if record.provider == *provider => {
            Some((&record.offer.region, Tracked { allocation: record.id.clone(), state: state.clone() }))
        }
        _ => None,
    }
}

impl Shared {
    /// Looks at these allocations as soon as possible.
    pub(super) fn look_at(&self, provider: &InstanceName, ids: impl IntoIterator<Item = AllocationId>) {
        lock(&self.watchlist.providers).entry(provider.clone()).or_default().pending.extend(ids);
        self.watchlist.wake.notify_one();
    }

    /// Runs until the controller stops.
    pub(super) async fn watch_allocations(self: Arc<Self>, mut hints: Hints) {
        let mut hints_open = true;
        while !self.stop.is_cancelled() {
            let now = Tick::now();
            let snapshot = self.plugins.snapshot();
            let (due, interval) = {
                let world = lock(&self.world);
                let interval = self.options.observe_interval.std().max(spread_over(world.owners.len()));
                (self.watchlist.due(&world, &snapshot, now, interval), interval)
            };
            for due in due {
                if let Some(provider) = snapshot.providers.get(&due.lane.0).cloned() {
                    let shared = self.clone();
                    self.tasks.spawn(async move { shared.observe(due, provider).await });
                }
            }
            let lost_at = self.take_for_lost(now).await;
            let next = self.watchlist.next(now, interval);
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.watchlist.wake.notified() => {}
                () = tokio::time::sleep_until(lost_at.map_or(next, |at| at.min(next))) => {}
                hint = hints.next(), if hints_open => match hint {
                    Some((provider, id)) => self.look_at(&provider, [id]),
                    None => hints_open = false,
                },
            }
        }
    }

    async fn observe(self: Arc<Self>, due: Due, provider: Arc<dyn Provider>) {
        let (mut again, mut silent) = (BTreeSet::new(), false);
        for batch in due.only.chunks(BATCH) {
            let asked: BTreeSet<&AllocationId> = batch.iter().map(|t| &t.allocation).collect();
            match provider.observe(batch).await {
                Ok(observations) => {
                    self.heard(&due.lane).await;
                    let valid = observations.into_iter().filter(|o| asked.contains(&o.allocation)).collect();
                    again.append(&mut self.take_in(valid).await);
                    again.append(&mut self.heal(&asked).await);
                }
                Err(failure) => {
                    tracing::warn!(
                        provider = %provider.identity(), region = due.lane.1, kind = %failure.kind, code = failure.code,
                        message = failure.message, "the region could not be observed"
                    );
                    self.unheard(&due.lane, &failure);
                    silent = true;
                    // Its answer decides whether its replicas are lost: it is asked again soon.
                    again.extend(asked.into_iter().cloned());
                }
            }
        }
        let changing = self.options.observe_interval_changing.std();
        let pause = if silent { changing.max(SILENT) } else { changing };
        self.watchlist.finish(&due.lane, again, Tick::now() + pause);
    }

    /// Takes observations in: shows them, then puts on record what they change there. Who is told of a change finds it shown.
    /// Answers the allocations that are to be looked at again soon.
    async fn take_in(self: &Arc<Self>, observations: Vec<Observation>) -> BTreeSet<AllocationId> {
        let (mut again, mut news, mut images) = (BTreeSet::new(), Vec::new(), Vec::new());
        let (mut txn, mut charges, now) = (Txn::new(), Vec::new(), self.clock.now());
        {
            let mut world = lock(&self.world);
            for mut observation in observations {
                let Some(live) = world.live_mut(&observation.allocation).filter(|l| l.record.stage == Stage::Applied) else { continue };
                let mut after = matches!(live.record.workload.run, Run::Job { .. }).then(|| live.record.clone());
                let concluded = after.as_mut().map(|job| job::conclude(job, &mut observation, now)).unwrap_or_default();
                live.forgotten = concluded.forgotten;
                let moved = live.record.phase != observation.phase;
                if moved || concluded.more || observation.state.is_some() || !ledger::is_settled(&live.record, observation.metered_cost) {
                    match self.record(live, after.unwrap_or_else(|| live.record.clone()), &observation, now) {
                        Ok((told, after, charge)) => {
                            txn = std::mem::take(&mut txn).and(told);
                            charges.extend(charge);
                            news.push(after);
                        }
                        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "an observation could not be encoded"),
                    }
                }
                let runs = image::told(&observation.conditions);
                if !runs.is_empty() && live.images != runs {
                    live.images = runs;
                    images.push(live.record.id.clone());
                }
                let seen = self.see(live, observation, now);
                let (id, key) = (live.record.id.clone(), live.record.key());
                if seen.under_way {
                    again.insert(id);
                }
                if moved || seen.differs || seen.became_ready {
                    world.seen(&key, moved || seen.became_ready);
                }
            }
        }
        if !news.is_empty() {
            match self.store.commit(txn).await {
                Ok(revision) => {
                    self.charged(charges);
                    self.shown(news, revision);
                }
                Err(error) => {
                    if !matches!(error, Error::Conflict { .. }) {
                        tracing::error!(error = &error as &dyn std::error::Error, "observations could not be stored");
                    }
                    again.extend(news.into_iter().map(|after| after.id));
                }
            }
        }
        self.learn_images(images).await;
        self.wake.notify_one();
        again
    }

    /// Shows records that are committed.
    fn shown(&self, news: Vec<AllocationRecord>, revision: Revision) {
        let mut world = lock(&self.world);
        for after in news {
            let key = after.key();
            // Gone while the commit was under way: it stays gone.
            if world.owners.contains_key(&after.id) {
                world.insert_allocation(after, revision);
                world.mark(&key);
            }
            if let Some(entry) = world.deployments.get(&key) {
                entry.changed.notify_waiters();
            }
        }
    }

    /// The record as an observation makes it, and the transaction that puts it there.
    fn record(
        &self,
        live: &Live,
        mut after: AllocationRecord,
        observation: &Observation,
        now: Instant,
    ) -> Result<(Txn, AllocationRecord, Option<Charge>), Error> {
        after.phase = observation.phase;
        let segment = ledger::observed(&mut after, observation.metered_cost, now);
        if let Some(state) = &observation.state {
            after.state = Some(state.clone());
        }
        let txn = Txn::new().expect(Expect::AtRevision { key: after.path(), revision: live.revision });
        let (mut txn, charge) = self.charge(Self::put_allocation(txn, &after)?, &after.id, segment)?;
        if live.record.phase != after.phase {
            txn = self.tell(txn, phase_event(&live.record, &after, &observation.message))?;
        }
        Ok((txn, after, charge))
    }

    /// Takes one observation in.
    fn see(self: &Arc<Self>, live: &mut Live, observation: Observation, now: Instant) -> Seen {
        let (phase, was_ready) = (observation.phase, live.is_ready());
        let before = live.observation.replace(observation);
        self.overlay(live);
        live.note_running(now);
        live.note_ready(now);
        self.meters.looked(live, now, self.options.observe_interval);
        let ready = live.is_ready();
        Seen { differs: live.observation != before, became_ready: ready && !was_ready, under_way: !is_final(phase) && !ready }
    }
}

/// What a look at an allocation has shown.
struct Seen {
    /// It is not as it was at the last look.
    differs: bool,
    became_ready: bool,
    /// To be looked at again soon.
    under_way: bool,
}

impl World {
    /// Something of a deployment is not as it was. What `matters` is to be decided about in any case.
    fn seen(&mut self, key: &DeploymentKey, matters: bool) {
        let Some(entry) = self.deployments.get(key) else { return };
        entry.changed.notify_waiters();
        // An update is judged by more than phases: restarts and health that comes and goes.
        if matters || entry.record.rollout.as_ref().is_some_and(|r| r.status == rollout::Status::Progressing) {
            self.mark(key);
        }
    }
}

fn phase_event(before: &AllocationRecord, record: &AllocationRecord, message: &str) -> Event {
    let (severity, reason) = match record.phase {
        Phase::Pending | Phase::Starting => (Severity::Info, "AllocationStarting"),
        Phase::Running => (Severity::Info, "AllocationRunning"),
        Phase::Succeeded => (Severity::Info, "AllocationSucceeded"),
        Phase::Failed => (Severity::Error, "AllocationFailed"),
        Phase::Stopping => (Severity::Info, "AllocationStopping"),
        Phase::Gone => (Severity::Warning, "AllocationGone"),
    };
    let place = format!("{} × {} on {}/{}", record.replicas, record.task, record.provider, record.offer.region);
    let message = if message.is_empty() { place } else { format!("{place}: {message}") };
    let mut told = changing(allocation_event(severity, reason, record, message), Some(before), Some(record));
    told.cause = Some(Cause::Observation(format!("{} says that it is {}", record.provider, record.phase)));
    told
}
