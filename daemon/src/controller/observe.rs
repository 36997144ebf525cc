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
    store::{Error, Expect, Txn},
    view::Severity,
    workload::{Observation, Phase},
};

use super::{Hints, Shared, apply::is_final, journal::allocation_event, lock};

/// The most allocations in one call.
const BATCH: usize = 500;

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
    running: bool,
}

/// A provider's next call.
struct Due {
    provider: InstanceName,
    /// None: everything.
    only: Option<BTreeSet<AllocationId>>,
}

impl Watchlist {
    fn due(&self, snapshot: &Snapshot, now: Tick, interval: Duration) -> Vec<Due> {
        let mut turns = lock(&self.providers);
        // A provider that comes back begins with a look at everything.
        turns.retain(|provider, turn| turn.running || snapshot.providers.contains_key(provider));
        let mut due = Vec::new();
        for provider in snapshot.providers.keys() {
            let turn = turns.entry(provider.clone()).or_default();
            if turn.running {
                continue;
            }
            let sweep = turn.swept.is_none_or(|at| now.duration_since(at) >= interval);
            if turn.soon_at.is_some_and(|at| at <= now) {
                turn.pending.append(&mut turn.soon);
                turn.soon_at = None;
            }
            if sweep {
                turn.pending.clear();
                turn.swept = Some(now);
            }
            if sweep || !turn.pending.is_empty() {
                turn.running = true;
                due.push(Due { provider: provider.clone(), only: (!sweep).then(|| std::mem::take(&mut turn.pending)) });
            }
        }
        due
    }

    fn next(&self, now: Tick, interval: Duration) -> Tick {
        let turns = lock(&self.providers);
        let idle = turns.values().filter(|t| !t.running);
        let times = idle.flat_map(|t| [t.soon_at, t.swept.map(|at| at + interval)]);
        times.flatten().min().unwrap_or(now + interval)
    }

    fn finish(&self, provider: &InstanceName, on_their_way: BTreeSet<AllocationId>, again: Tick) {
        if let Some(turn) = lock(&self.providers).get_mut(provider) {
            turn.running = false;
            if !on_their_way.is_empty() {
                turn.soon.extend(on_their_way);
                turn.soon_at.get_or_insert(again);
            }
        }
        self.wake.notify_one();
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
            for due in self.watchlist.due(&snapshot, now, interval) {
                if let Some(provider) = snapshot.providers.get(&due.provider).cloned() {
                    let shared = self.clone();
                    self.tasks.spawn(async move { shared.observe(due, provider).await });
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.watchlist.wake.notified() => {}
                () = tokio::time::sleep_until(self.watchlist.next(now, interval)) => {}
                hint = hints.next(), if hints_open => match hint {
                    Some((provider, id)) => self.look_at(&provider, [id]),
                    None => hints_open = false,
                },
            }
        }
    }

    async fn observe(self: Arc<Self>, due: Due, provider: Arc<dyn Provider>) {
        let tracked = self.tracked(&due);
        let mut on_their_way = BTreeSet::new();
        for batch in tracked.chunks(BATCH) {
            match provider.observe(batch).await {
                Ok(observations) => {
                    let asked: BTreeSet<&AllocationId> = batch.iter().map(|t| &t.allocation).collect();
                    let valid = observations.into_iter().filter(|o| asked.contains(&o.allocation)).collect();
                    on_their_way.append(&mut self.take_in(valid).await);
                }
                Err(failure) => {
                    tracing::warn!(
                        provider = %provider.identity(), kind = %failure.kind, code = failure.code, message = failure.message,
                        "the provider could not be observed"
                    );
                }
            }
        }
        let again = Tick::now() + self.options.observe_interval_changing.std();
        self.watchlist.finish(&due.provider, on_their_way, again);
    }

    /// What the provider has accepted and nobody is changing at the moment.
    fn tracked(&self, due: &Due) -> Vec<Tracked> {
        let world = lock(&self.world);
        let tracked = |r: &AllocationRecord| match (&r.state, r.stage) {
            (Some(state), Stage::Applied) if r.provider == due.provider => Some(Tracked { allocation: r.id.clone(), state: state.clone() }),
            _ => None,
        };
        match &due.only {
            Some(ids) => ids.iter().filter_map(|id| world.live(id).and_then(|l| tracked(&l.record))).collect(),
            None => world.lives_of(&due.provider).filter_map(|l| tracked(&l.record)).collect(),
        }
    }

    /// Takes observations in. Answers the allocations that are still on their way.
    async fn take_in(&self, observations: Vec<Observation>) -> BTreeSet<AllocationId> {
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
                let differs = live.observation.as_ref() != Some(&observation);
                let message = observation.message.clone();
                live.observation = Some(observation);
                live.note_ready(now);
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
                if moved || became_ready {
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
