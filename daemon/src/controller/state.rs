//! What the controller knows in memory: every deployment with its allocations as last observed. The store has the durable part;
//! everything here can be rebuilt from it and from the providers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tokio::{sync::Notify, time::Instant as Tick};
use tradewind_core::{
    failure::Failure,
    manifest::Resolved,
    names::{AllocationId, InstanceName},
    record::{AllocationRecord, DeploymentKey, DeploymentRecord, Stage},
    store::Revision,
    view::UnplacedView,
    workload::{Health, Observation, Phase, Replica, Run},
};

#[derive(Default)]
pub(super) struct World {
    pub(super) deployments: BTreeMap<DeploymentKey, Entry>,
    pub(super) owners: HashMap<AllocationId, DeploymentKey>,
    /// Deployments that may differ from what is wanted.
    dirty: BTreeSet<DeploymentKey>,
    /// Those that become dirty at a time.
    delayed: BTreeSet<(Tick, DeploymentKey)>,
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
    /// Why the last attempt to decide failed.
    pub(super) failure: Option<Failure>,
    /// Attempts in a row that left something to do.
    pub(super) attempts: u32,
    /// Steps of it are being carried out.
    pub(super) busy: bool,
    pub(super) changed: Arc<Notify>,
}

/// An allocation with what is known of it now.
pub(super) struct Live {
    pub(super) record: AllocationRecord,
    pub(super) revision: Revision,
    pub(super) observation: Option<Observation>,
    pub(super) failure: Option<Failure>,
    pub(super) failures: u32,
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
            entry.attempts = 0;
            entry.allocations.values_mut().for_each(|live| live.failures = 0);
        }
    }

    /// Deployments that wait for a place: what has just been freed may serve them.
    pub(super) fn mark_waiting(&mut self) {
        let waiting = self.deployments.iter().filter(|(_, e)| !e.unplaced.is_empty()).map(|(k, _)| k.clone());
        self.dirty.extend(waiting);
    }

    pub(super) fn mark_at(&mut self, key: &DeploymentKey, at: Tick) {
        self.delayed.insert((at, key.clone()));
    }

    /// What can be worked on now. Each is marked busy.
    pub(super) fn take_ready(&mut self, now: Tick) -> Vec<DeploymentKey> {
        while let Some((at, _)) = self.delayed.first()
            && *at <= now
        {
            if let Some((_, key)) = self.delayed.pop_first() {
                self.mark(&key);
            }
        }
        let mut ready = Vec::new();
        for key in std::mem::take(&mut self.dirty) {
            match self.deployments.get_mut(&key) {
                None => {}
                Some(entry) if entry.busy => {
                    self.dirty.insert(key);
                }
                Some(entry) => {
                    entry.busy = true;
                    ready.push(key);
                }
            }
        }
        ready
    }

    pub(super) fn next_delayed(&self) -> Option<Tick> {
        self.delayed.first().map(|(at, _)| *at)
    }

    pub(super) fn live_mut(&mut self, id: &AllocationId) -> Option<&mut Live> {
        let key = self.owners.get(id)?;
        self.deployments.get_mut(key)?.allocations.get_mut(id)
    }

    pub(super) fn insert_allocation(&mut self, record: AllocationRecord, revision: Revision) {
        let key = record.key();
        self.owners.insert(record.id.clone(), key.clone());
        if let Some(entry) = self.deployments.get_mut(&key) {
            match entry.allocations.get_mut(&record.id) {
                // A later write may have been shown first.
                Some(live) if live.revision >= revision => {}
                Some(live) => (live.record, live.revision) = (record, revision),
                None => {
                    entry.allocations.insert(record.id.clone(), Live::new(record, revision));
                }
            }
        }
    }

    pub(super) fn remove_allocation(&mut self, id: &AllocationId) {
        if let Some(key) = self.owners.remove(id)
            && let Some(entry) = self.deployments.get_mut(&key)
            && let Some(live) = entry.allocations.remove(id)
            && let Some(reserved) = self.reserved.get_mut(&live.record.provider)
        {
            reserved.retain(|(of, _), _| of != id);
        }
    }
}

// === impl Entry ===

impl Entry {
    pub(super) fn new(record: DeploymentRecord, revision: Revision) -> Self {
        let resolved = Arc::new(tradewind_core::manifest::resolve(&record.manifest));
        Self {
            record: Arc::new(record),
            revision,
            resolved,
            allocations: BTreeMap::new(),
            planned: 0,
            unplaced: Vec::new(),
            failure: None,
            attempts: 0,
            busy: false,
            changed: Arc::new(Notify::new()),
        }
    }

    pub(super) fn replace(&mut self, record: DeploymentRecord, revision: Revision) {
        self.resolved = Arc::new(tradewind_core::manifest::resolve(&record.manifest));
        (self.record, self.revision, self.attempts) = (Arc::new(record), revision, 0);
        for live in self.allocations.values_mut() {
            live.failure = None;
        }
        self.failure = None;
    }

    pub(super) fn actual(&self) -> Vec<AllocationRecord> {
        self.allocations.values().map(|l| l.record.clone()).collect()
    }
}

// === impl Live ===

impl Live {
    pub(super) fn new(record: AllocationRecord, revision: Revision) -> Self {
        Self { record, revision, observation: None, failure: None, failures: 0 }
    }

    /// Replicas that do what they are there for: a service's that serve, a job's that have succeeded.
    pub(super) fn ready(&self) -> u32 {
        let replicas = self.observation.iter().flat_map(|o| &o.replicas);
        let count = replicas.filter(|r| r.index < self.record.replicas && self.replica_ready(r)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn replica_ready(&self, replica: &Replica) -> bool {
        match self.record.workload.run {
            Run::Job { .. } => replica.phase == Phase::Succeeded,
            Run::Service => {
                let probed = self.record.workload.probes.readiness.is_some();
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
