//! What the controller knows in memory: every deployment with its allocations as last observed. The store has the durable part;
//! everything here can be rebuilt from it and from the providers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tokio::{sync::Notify, time::Instant as Tick};
use tradewind_core::{
    failure::{Failure, FailureKind},
    manifest::Resolved,
    names::{AllocationId, InstanceName},
    record::{AllocationRecord, DeploymentKey, DeploymentRecord, Stage},
    store::Revision,
    units::Instant,
    view::{HeldBack, UnplacedView},
    workload::{Health, Observation, Phase, Replica, Run},
};

use super::{checks::Incarnation, quality::Seen, refusals::Refusal};

#[derive(Default)]
pub(super) struct World {
    pub(super) deployments: BTreeMap<DeploymentKey, Entry>,
    pub(super) owners: HashMap<AllocationId, DeploymentKey>,
    /// Deployments that may differ from what is wanted.
    dirty: BTreeSet<DeploymentKey>,
    /// Those that become dirty at a time: each once, with its entry's `again`.
    delayed: BTreeSet<(Tick, DeploymentKey)>,
    /// Those with replicas that have no place.
    waiting: BTreeSet<DeploymentKey>,
    /// Allocations by the provider that has them.
    by_provider: HashMap<InstanceName, BTreeSet<AllocationId>>,
    /// What has been promised but is not in the providers' quotes yet: by provider, then by allocation and attempt.
    pub(super) reserved: HashMap<InstanceName, HashMap<(AllocationId, u32), Reserved>>,
}

pub(super) struct Entry {
    pub(super) record: Arc<DeploymentRecord>,
    pub(super) revision: Revision,
    /// The tasks of the record's manifest.
    pub(super) resolved: Arc<Vec<Resolved>>,
    pub(super) allocations: BTreeMap<AllocationId, Live>,
    /// The generation that has been decided and planned.
    pub(super) planned: u64,
    pub(super) unplaced: Vec<UnplacedView>,
    /// Tasks that have fewer replicas than they want, because of limits or of others.
    pub(super) held: Vec<HeldBack>,
    /// Why the last attempt to decide failed.
    pub(super) failure: Option<Failure>,
    /// Attempts to decide in a row that failed.
    pub(super) attempts: u32,
    /// Intents in a row that another write came before.
    pub(super) conflicts: u32,
    pub(super) refusals: Vec<Refusal>,
    /// When it becomes dirty by itself.
    again: Option<Tick>,
    pub(super) changed: Arc<Notify>,
}

/// An allocation with what is known of it now.
pub(super) struct Live {
    pub(super) record: AllocationRecord,
    pub(super) revision: Revision,
    pub(super) observation: Option<Observation>,
    /// Since when which replica has been ready, and which ever was.
    pub(super) ready_since: BTreeMap<u32, Instant>,
    pub(super) was_ready: BTreeSet<u32>,
    /// As it was when it was last measured.
    pub(super) seen: Seen,
    /// Only its size or its traffic changes with the call: what is known of its replicas stays true.
    pub(super) resized: bool,
    /// Replicas whose liveness check fails, with the reason.
    pub(super) lifeless: Vec<(u32, String)>,
    /// The replicas that run, as far as checks at the provider need to know of them.
    pub(super) incarnations: Vec<Incarnation>,
    /// Of the last call for what is recorded now, and how many failed in a row.
    pub(super) failure: Option<Failure>,
    pub(super) failures: u32,
    /// The call that is under way for it, or waits for its turn. There is never a second one.
    pub(super) flight: Option<Flight>,
    /// No call before this.
    pub(super) retry_at: Option<Tick>,
    /// How often its removal has been asked for.
    pub(super) asked: u32,
    /// Something may exist of it that its state does not tell: a call began whose end is not known.
    pub(super) unsure: bool,
}

/// What a call that is under way was begun with. The record may have moved on since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) attempt: u32,
    pub(super) stage: Stage,
}

/// A call at its beginning. Its intent is stored.
pub(super) struct Job {
    pub(super) record: AllocationRecord,
    pub(super) failures: u32,
    /// An earlier call may have had an effect that is not known.
    pub(super) unsure: bool,
}

/// What an allocation needs at its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    Call,
    /// A call, but not before this.
    Later(Tick),
}

/// A promise against an offer's quoted capacity.
pub(super) struct Reserved {
    pub(super) offer: String,
    pub(super) replicas: u32,
    /// Millicores of each replica.
    pub(super) cpu: u32,
    /// Bytes of each replica.
    pub(super) memory: u64,
    /// When the provider accepted it: quotes asked for later know of it.
    pub(super) settled: Option<Tick>,
}

// === impl World ===

impl World {
    pub(super) fn mark(&mut self, key: &DeploymentKey) {
        if self.deployments.contains_key(key) {
            self.dirty.insert(key.clone());
        }
    }

    pub(super) fn mark_all(&mut self) {
        self.dirty = self.deployments.keys().cloned().collect();
        self.delayed.clear();
        // Whatever has changed may have removed the cause of the trouble.
        for entry in self.deployments.values_mut() {
            (entry.attempts, entry.again) = (0, None);
            for live in entry.allocations.values_mut() {
                (live.failures, live.retry_at) = (0, None);
            }
        }
    }

    /// Deployments that wait for a place: what has just been freed may serve them.
    pub(super) fn mark_waiting(&mut self) {
        self.dirty.extend(self.waiting.iter().cloned());
    }

    /// The earliest time counts when there are several.
    pub(super) fn mark_at(&mut self, key: &DeploymentKey, at: Tick) {
        let Some(entry) = self.deployments.get_mut(key) else { return };
        if entry.again.is_some_and(|known| known <= at) {
            return;
        }
        if let Some(later) = entry.again.replace(at) {
            self.delayed.remove(&(later, key.clone()));
        }
        self.delayed.insert((at, key.clone()));
    }

    /// What can be worked on now.
    pub(super) fn take_ready(&mut self, now: Tick) -> Vec<DeploymentKey> {
        while let Some((at, _)) = self.delayed.first()
            && *at <= now
        {
            if let Some((_, key)) = self.delayed.pop_first()
                && let Some(entry) = self.deployments.get_mut(&key)
            {
                entry.again = None;
                self.dirty.insert(key);
            }
        }
        std::mem::take(&mut self.dirty).into_iter().filter(|key| self.deployments.contains_key(key)).collect()
    }

    pub(super) fn next_delayed(&self) -> Option<Tick> {
        self.delayed.first().map(|(at, _)| *at)
    }

    pub(super) fn live_mut(&mut self, id: &AllocationId) -> Option<&mut Live> {
        let key = self.owners.get(id)?;
        self.deployments.get_mut(key)?.allocations.get_mut(id)
    }

    /// A provider's allocations.
    pub(super) fn lives_of(&self, provider: &InstanceName) -> impl Iterator<Item = &Live> {
        self.by_provider.get(provider).into_iter().flatten().filter_map(|id| self.live(id))
    }

    pub(super) fn live(&self, id: &AllocationId) -> Option<&Live> {
        self.deployments.get(self.owners.get(id)?)?.allocations.get(id)
    }

    /// Shows a committed record.
    pub(super) fn insert_allocation(&mut self, record: AllocationRecord, revision: Revision) {
        let key = record.key();
        self.owners.insert(record.id.clone(), key.clone());
        self.by_provider.entry(record.provider.clone()).or_default().insert(record.id.clone());
        if let Some(entry) = self.deployments.get_mut(&key) {
            match entry.allocations.get_mut(&record.id) {
                // A later write may have been shown first.
                Some(live) if live.revision >= revision => {}
                Some(live) => live.replace(record, revision),
                None => {
                    entry.allocations.insert(record.id.clone(), Live::new(record, revision));
                }
            }
        }
    }

    /// Begins the call of an allocation that has its turn, with what its record asks by now. None: nothing any more.
    pub(super) fn take_off(&mut self, id: &AllocationId) -> Option<Job> {
        let live = self.live_mut(id)?;
        if live.record.stage == Stage::Applied {
            return None;
        }
        live.flight = Some(Flight::of(&live.record));
        let job = Job { record: live.record.clone(), failures: live.failures, unsure: live.unsure };
        live.unsure |= live.record.stage == Stage::Intended;
        Some(job)
    }

    /// Takes a deployment out of which nothing is left.
    pub(super) fn remove_deployment(&mut self, key: &DeploymentKey) -> Option<Entry> {
        self.waiting.remove(key);
        let entry = self.deployments.remove(key)?;
        if let Some(at) = entry.again {
            self.delayed.remove(&(at, key.clone()));
        }
        Some(entry)
    }

    /// Notes which replicas of a deployment have no place.
    pub(super) fn set_unplaced(&mut self, key: &DeploymentKey, unplaced: Vec<UnplacedView>) {
        let Some(entry) = self.deployments.get_mut(key) else { return };
        if unplaced.is_empty() {
            self.waiting.remove(key);
        } else {
            self.waiting.insert(key.clone());
        }
        entry.unplaced = unplaced;
    }

    pub(super) fn remove_allocation(&mut self, id: &AllocationId) {
        if let Some(key) = self.owners.remove(id)
            && let Some(entry) = self.deployments.get_mut(&key)
            && let Some(live) = entry.allocations.remove(id)
        {
            let provider = &live.record.provider;
            if let Some(ids) = self.by_provider.get_mut(provider) {
                ids.remove(id);
            }
            if let Some(reserved) = self.reserved.get_mut(provider) {
                for attempt in 0..=live.record.attempt {
                    reserved.remove(&(id.clone(), attempt));
                }
            }
        }
    }
}

// === impl Entry ===

impl Entry {
    pub(super) fn new(record: DeploymentRecord, revision: Revision) -> Self {
        let resolved = Arc::new(tradewind_core::scaling::resolve(&record));
        Self {
            record: Arc::new(record),
            revision,
            resolved,
            allocations: BTreeMap::new(),
            planned: 0,
            unplaced: Vec::new(),
            held: Vec::new(),
            failure: None,
            attempts: 0,
            conflicts: 0,
            refusals: Vec::new(),
            again: None,
            changed: Arc::new(Notify::new()),
        }
    }

    pub(super) fn replace(&mut self, record: DeploymentRecord, revision: Revision) {
        self.resolved = Arc::new(tradewind_core::scaling::resolve(&record));
        (self.record, self.revision, self.attempts) = (Arc::new(record), revision, 0);
        for live in self.allocations.values_mut() {
            (live.failure, live.failures, live.retry_at) = (None, 0, None);
        }
        self.failure = None;
    }

    /// Another write came before its intent. Answers how many times in a row that was so before.
    pub(super) fn conflicted(&mut self) -> u32 {
        let before = self.conflicts;
        self.conflicts = before.saturating_add(1);
        before
    }

    /// Other numbers of replicas. What has failed before stands as it is.
    pub(super) fn rescale(&mut self, record: DeploymentRecord, resolved: Vec<Resolved>, revision: Revision) {
        // A later write may have been shown first.
        if self.revision < revision {
            (self.record, self.resolved, self.revision) = (Arc::new(record), Arc::new(resolved), revision);
        }
    }

    /// A task's allocations, those that are going left out.
    pub(super) fn current(&self, task: &Resolved) -> impl Iterator<Item = &Live> {
        let serves = |r: &AllocationRecord| r.task == task.name && r.target == task.target && !r.superseded && r.stage != Stage::Removing;
        self.allocations.values().filter(move |l| serves(&l.record))
    }

    /// A record of the same spec: its update came further.
    pub(super) fn advance(&mut self, record: DeploymentRecord, revision: Revision) {
        if self.revision < revision {
            (self.record, self.revision) = (Arc::new(record), revision);
        }
    }

    pub(super) fn actual(&self) -> Vec<AllocationRecord> {
        self.allocations.values().map(|l| l.record.clone()).collect()
    }
}

// === impl Flight ===

impl Flight {
    pub(super) fn of(record: &AllocationRecord) -> Self {
        Self { attempt: record.attempt, stage: record.stage }
    }
}

// === impl Live ===

impl Live {
    pub(super) fn new(record: AllocationRecord, revision: Revision) -> Self {
        Self {
            record,
            revision,
            observation: None,
            ready_since: BTreeMap::new(),
            was_ready: BTreeSet::new(),
            seen: Seen::default(),
            resized: false,
            lifeless: Vec::new(),
            incarnations: Vec::new(),
            failure: None,
            failures: 0,
            flight: None,
            retry_at: None,
            asked: 0,
            unsure: false,
        }
    }

    /// Another record of the same allocation. What failed before says nothing about what is intended now.
    fn replace(&mut self, record: AllocationRecord, revision: Revision) {
        if record.workload != self.record.workload {
            (self.ready_since, self.was_ready) = (BTreeMap::new(), BTreeSet::new());
        }
        self.ready_since.retain(|index, _| *index < record.replicas);
        if record.attempt != self.record.attempt {
            let same = record.workload == self.record.workload && record.state.is_some();
            self.resized = same && (record.replicas, record.traffic) != (self.record.replicas, self.record.traffic);
        }
        if (record.attempt, record.stage) != (self.record.attempt, self.record.stage) {
            (self.failure, self.failures, self.retry_at, self.asked) = (None, 0, None, 0);
        }
        (self.record, self.revision) = (record, revision);
    }

    /// What its record asks of the provider.
    pub(super) fn next(&self, now: Tick) -> Next {
        // An input that can never work is not tried again before something has changed: a change clears the failure.
        let hopeless = self.failures > 0 && self.failure.as_ref().is_some_and(|f| f.kind == FailureKind::Invalid);
        match (self.record.stage, self.retry_at) {
            _ if self.flight.is_some() => Next::Nothing,
            (Stage::Applied, _) => Next::Nothing,
            (Stage::Intended, _) if hopeless => Next::Nothing,
            (_, Some(at)) if at > now => Next::Later(at),
            (Stage::Intended | Stage::Removing, _) => Next::Call,
        }
    }

    /// Replicas that do what they are there for: a service's that serve, a job's that have succeeded.
    pub(super) fn ready(&self) -> u32 {
        u32::try_from(self.ready_replicas().count()).unwrap_or(u32::MAX)
    }

    pub(super) fn ready_replicas(&self) -> impl Iterator<Item = &Replica> {
        // What was seen there before says nothing about now.
        let replicas = self.observation.iter().filter(|_| !self.record.lost).flat_map(|o| &o.replicas);
        replicas.filter(|r| r.index < self.record.replicas && self.replica_ready(r))
    }

    /// The indices of those.
    pub(super) fn ready_now(&self) -> impl Iterator<Item = u32> + '_ {
        self.ready_replicas().map(|r| r.index)
    }

    fn replica_ready(&self, replica: &Replica) -> bool {
        match self.record.workload.run {
            Run::Job { .. } => replica.phase == Phase::Succeeded,
            Run::Service => {
                let probes = &self.record.workload.probes;
                let probed = probes.readiness.is_some() || probes.startup.is_some();
                let healthy = if probed { replica.health == Health::Healthy } else { replica.health != Health::Unhealthy };
                replica.phase == Phase::Running && healthy
            }
        }
    }

    /// All of it is as recorded, and does what it is there for.
    pub(super) fn is_ready(&self) -> bool {
        self.record.stage == Stage::Applied && self.observation.is_some() && self.ready() >= self.record.replicas
    }

    /// Whether it is on its way: to be looked at again soon.
    pub(super) fn in_transition(&self) -> bool {
        match self.record.phase {
            Phase::Succeeded | Phase::Failed | Phase::Gone => false,
            _ => !self.is_ready(),
        }
    }
}
