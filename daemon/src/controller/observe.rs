//! Observing: asks the providers what became of the allocations, in batches, and turns differences into state, events and work.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use tokio::{sync::Notify, time::Instant as Tick};
use tradewind_core::{
    ledger,
    names::{AllocationId, InstanceName},
    plugin::{Provider, Snapshot, Tracked},
    record::{AllocationRecord, Stage},
    rollout,
    store::{Error, Expect, Txn},
    view::Severity,
    workload::{Observation, Phase},
};

use super::{
    Hints, Shared,
    apply::is_final,
    journal::allocation_event,
    lock,
    lost::Lane,
    state::{Entry, World},
};

/// The most allocations in one call.
const BATCH: usize = 500;
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
    fn due(&self, world: &World, snapshot: &Snapshot, now: Tick, interval: Duration) -> Vec<Due> {
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
            let sweep = turn.swept.is_none_or(|at| now.duration_since(at) >= interval);
            if sweep {
                turn.swept = Some(now);
                turn.pending.extend(world.lives_of(provider).map(|l| l.record.id.clone()));
            }
            let mut lanes: BTreeMap<&str, Vec<Tracked>> = BTreeMap::new();
            let mut later = BTreeSet::new();
            for id in std::mem::take(&mut turn.pending) {
                let Some((region, tracked)) = world.live(&id).and_then(|l| tracked(&l.record, provider)) else { continue };
                if turn.running.contains(region) {
                    later.insert(id);
                } else {
                    lanes.entry(region).or_default().push(tracked);
                }
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

/// What the provider has accepted and nobody is changing at the moment.
fn tracked<'a>(record: &'a AllocationRecord, provider: &InstanceName) -> Option<(&'a str, Tracked)> {
    match (&record.state, record.stage) {
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
        let interval = self.options.observe_interval.std();
        let mut hints_open = true;
        while !self.stop.is_cancelled() {
            let now = Tick::now();
            let snapshot = self.plugins.snapshot();
            let due = self.watchlist.due(&lock(&self.world), &snapshot, now, interval);
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

    /// Takes observations in. Answers the allocations that are still on their way.
    async fn take_in(self: &Arc<Self>, observations: Vec<Observation>) -> BTreeSet<AllocationId> {
        let mut on_their_way = BTreeSet::new();
        let mut changed: BTreeMap<AllocationId, AllocationRecord> = BTreeMap::new();
        let mut txn = Txn::new();
        let (mut charges, now) = (Vec::new(), self.clock.now());
        {
            let mut world = lock(&self.world);
            for observation in observations {
                let Some(live) = world.live_mut(&observation.allocation) else { continue };
                if live.record.stage != Stage::Applied {
                    continue;
                }
                let was_ready = live.is_ready();
                let phase = observation.phase;
                let mut after = live.record.clone();
                after.phase = phase;
                let segment = ledger::observed(&mut after, observation.metered_cost, now);
                let news = live.record.phase != phase || observation.state.is_some() || live.record.meter != after.meter;
                if let Some(state) = &observation.state {
                    after.state = Some(state.clone());
                }
                let message = observation.message.clone();
                let seen_before = live.observation.replace(observation);
                self.overlay(live);
                live.note_ready(now);
                let differs = live.observation != seen_before;
                let became_ready = live.is_ready() && !was_ready;
                let (id, key, revision) = (live.record.id.clone(), live.record.key(), live.revision);
                let moved = live.record.phase != phase;
                if news {
                    txn = txn.expect(Expect::AtRevision { key: after.path(), revision });
                    let told = Self::put_allocation(std::mem::take(&mut txn), &after);
                    let told = told.and_then(|t| {
                        let (t, charge) = self.charge(t, &id, segment)?;
                        charges.extend(charge);
                        Ok(t)
                    });
                    let told = told.and_then(|t| if moved { self.tell(t, phase_event(&after, &message)) } else { Ok(t) });
                    match told {
                        Ok(t) => txn = t,
                        Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "an observation could not be encoded"),
                    }
                    changed.insert(id.clone(), after);
                }
                // The phase on record decides whether it is on its way; the new one is not on record yet.
                if !is_final(phase) && !live.is_ready() {
                    on_their_way.insert(id);
                }
                // An update is judged by more than phases: restarts and health that comes and goes.
                let updating = |e: &Entry| e.record.rollout.as_ref().is_some_and(|r| r.status == rollout::Status::Progressing);
                if moved || became_ready || (differs && world.deployments.get(&key).is_some_and(updating)) {
                    world.mark(&key);
                }
                if differs && let Some(entry) = world.deployments.get(&key) {
                    entry.changed.notify_waiters();
                }
            }
        }
        if !changed.is_empty() && self.record_phases(txn, changed, &mut on_their_way).await {
            self.charged(charges);
        }
        self.wake.notify_one();
        on_their_way
    }

    /// True when they are on record.
    async fn record_phases(&self, txn: Txn, changed: BTreeMap<AllocationId, AllocationRecord>, again: &mut BTreeSet<AllocationId>) -> bool {
        match self.store.commit(txn).await {
            Ok(revision) => {
                let mut world = lock(&self.world);
                for (id, after) in changed {
                    let key = after.key();
                    // Gone while the commit was under way: it stays gone.
                    if world.owners.contains_key(&id) {
                        world.insert_allocation(after, revision);
                        world.mark(&key);
                    }
                    if let Some(entry) = world.deployments.get(&key) {
                        entry.changed.notify_waiters();
                    }
                }
                true
            }
            Err(error) => {
                if !matches!(error, Error::Conflict { .. }) {
                    tracing::error!(error = &error as &dyn std::error::Error, "observations could not be stored");
                }
                again.extend(changed.into_keys());
                false
            }
        }
    }
}

fn phase_event(record: &AllocationRecord, message: &str) -> tradewind_core::view::Event {
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
    allocation_event(severity, reason, record, message)
}
