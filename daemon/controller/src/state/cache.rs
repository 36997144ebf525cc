//! What the controller knows in memory: every deployment with its allocations as last observed. The store has the durable part;
//! everything here can be rebuilt from it and from the providers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tokio::{sync::Notify, time::Instant as Tick};
use tradewind_core::{
    budget::HeldBack,
    cordon::{CordonRecord, Cordons},
    failure::{Failure, FailureKind},
    health,
    image::{Exact, Pins},
    job,
    manifest::{Resolved, Target},
    names::{AllocationId, DeploymentName, InstanceName, Namespace, TaskName},
    plan::preview::Unplaced,
    record::{AllocationRecord, DeploymentKey, DeploymentRecord, Stage},
    rollout,
    store::Revision,
    units::Instant,
    workload::{Health, Observation, Phase, Replica, Resources, Run},
};

use crate::{
    state::copy_on_write,
    state::deployments::Deployments,
    state::notes::{Hasty, Incarnation, Left, Refusal, Seen, Stuck},
};

#[derive(Default)]
pub(crate) struct Cache {
    pub(crate) deployments: Deployments,
    pub(crate) owners: HashMap<AllocationId, DeploymentKey>,
    /// Deployments that may differ from what is wanted.
    dirty: BTreeSet<DeploymentKey>,
    /// Those that become dirty at a time: each once, with its entry's `again`.
    delayed: BTreeSet<(Tick, DeploymentKey)>,
    /// Those with replicas that have no place.
    waiting: BTreeSet<DeploymentKey>,
    /// Allocations by the provider that has them.
    by_provider: HashMap<InstanceName, BTreeSet<AllocationId>>,
    /// Those of them that are to become larger: few, and asked for with every decision.
    growing: HashMap<InstanceName, BTreeSet<AllocationId>>,
    /// What has been promised but is not in the providers' quotes yet: by provider, then by allocation and attempt.
    pub(crate) reserved: HashMap<InstanceName, HashMap<(AllocationId, u32), Reserved>>,
    /// Places that take nothing new. Whoever decides takes them as they are at one moment.
    pub(crate) cordons: Arc<Cordons>,
    /// Of their records, by key.
    cordon_revisions: HashMap<String, Revision>,
}

#[derive(Clone)]
pub(crate) struct DeploymentState {
    pub(crate) record: Arc<DeploymentRecord>,
    pub(crate) revision: Revision,
    /// The tasks of the record's manifest.
    pub(crate) resolved: Arc<Vec<Resolved>>,
    pub(crate) allocations: copy_on_write::Map<AllocationId, AllocationState>,
    /// The generation that has been decided and planned.
    pub(crate) planned: u64,
    pub(crate) unplaced: Vec<Unplaced>,
    /// Replicas that stay at a place that is drained, for there is no other.
    pub(crate) stuck: Vec<Stuck>,
    /// Tasks whose update finds no room beside what runs, and what to do about it.
    pub(crate) crowded: Vec<(TaskName, Option<Target>, String)>,
    /// Tasks that have fewer replicas than they want, because of limits or of others.
    pub(crate) held: Vec<HeldBack>,
    /// Why the last attempt to decide failed.
    pub(crate) failure: Option<Failure>,
    /// Attempts to decide in a row that failed.
    pub(crate) attempts: u32,
    /// Intents in a row that another write came before.
    pub(crate) conflicts: u32,
    pub(crate) refusals: Vec<Refusal>,
    /// Its last decision was made while a provider had not answered yet.
    pub(crate) hasty: Option<Hasty>,
    /// What the images of its workloads were when they first started.
    pub(crate) images: Pins,
    /// Offers where its tasks have failed too often.
    pub(crate) left: Vec<Left>,
    /// How often its replicas were started again since this daemon looks at them. It never falls.
    pub(crate) restarted: u64,
    /// When it becomes dirty by itself.
    again: Option<Tick>,
    pub(crate) changed: Arc<Notify>,
}

/// An allocation with what is known of it now.
#[derive(Clone)]
pub(crate) struct AllocationState {
    pub(crate) record: AllocationRecord,
    pub(crate) revision: Revision,
    pub(crate) observation: Option<Observation>,
    /// Of a job: its provider does not know of all replicas any more that have ended.
    pub(crate) forgotten: bool,
    /// The replicas that run, since when they have been seen to.
    pub(crate) running: BTreeMap<u32, Began>,
    /// The restarts of each replica that are counted, as its provider counts them.
    counted: BTreeMap<u32, u32>,
    /// Those that have run for long enough to count as ready where nothing checks them.
    pub(crate) settled: BTreeSet<u32>,
    /// Since when which replica has been ready, and which ever was.
    pub(crate) ready_since: BTreeMap<u32, Instant>,
    pub(crate) was_ready: BTreeSet<u32>,
    /// As it was when it was last measured.
    pub(crate) seen: Seen,
    /// The call changes its size or its traffic at most, or makes what is missing: what is known of its replicas stays true.
    pub(crate) resized: bool,
    /// The images that run, by their names, as the provider told last.
    pub(crate) images: Vec<(String, Exact)>,
    /// Replicas whose liveness check fails, with the reason.
    pub(crate) failed_liveness: Vec<(u32, String)>,
    /// The replicas that run, as far as checks at the provider need to know of them.
    pub(crate) incarnations: Vec<Incarnation>,
    /// Of the last call for what is recorded now, and how many failed in a row.
    pub(crate) failure: Option<Failure>,
    pub(crate) failures: u32,
    /// The call that is under way for it, or waits for its turn. There is never a second one.
    pub(crate) in_flight: Option<InFlight>,
    /// No call before this.
    pub(crate) retry_at: Option<Tick>,
    /// How often its removal has been asked for.
    pub(crate) asked: u32,
    /// Something may exist of it that its state does not tell: a call began whose end is not known.
    pub(crate) outcome_unknown: bool,
}

/// Who is interested in what is observed of a deployment.
pub(crate) struct Watching {
    pub(crate) changed: Arc<Notify>,
    /// An update of it is under way.
    pub(crate) updates: bool,
}

/// One life of a replica, and when it was first seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Began {
    id: String,
    restarts: u32,
    started_at: Option<Instant>,
    seen: Instant,
}

/// What a call that is under way was begun with. The record may have moved on since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub(crate) attempt: u32,
    pub(crate) stage: Stage,
}

/// A call at its beginning. Its intent is stored.
pub(crate) struct AllocationCall {
    pub(crate) record: AllocationRecord,
    pub(crate) failures: u32,
    /// An earlier call may have had an effect that is not known.
    pub(crate) outcome_unknown: bool,
}

/// What an allocation needs at its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    Call,
    /// A call, but not before this.
    Later(Tick),
}

/// A task of a deployment.
pub(crate) type Whose<'a> = (
    &'a Namespace,
    &'a DeploymentName,
    &'a TaskName,
    Option<&'a Target>,
);

pub(crate) fn whose(record: &AllocationRecord) -> Whose<'_> {
    (
        &record.namespace,
        &record.deployment,
        &record.task,
        record.target.as_ref(),
    )
}

fn grows(record: &AllocationRecord) -> bool {
    record.intent.stays() && !record.status.lost && record.intent.goal() > record.intent.replicas
}

/// A promise against an offer's quoted capacity.
pub(crate) struct Reserved {
    pub(crate) offer: String,
    pub(crate) replicas: u32,
    /// Millicores of each replica.
    pub(crate) cpu: u32,
    /// Bytes of each replica.
    pub(crate) memory: u64,
    /// When the provider accepted it: quotes asked for later know of it.
    pub(crate) settled: Option<Tick>,
}

// === impl Cache ===

impl Cache {
    pub(crate) fn enqueue(&mut self, key: &DeploymentKey) {
        if self.deployments.contains_key(key) {
            self.dirty.insert(key.clone());
        }
    }

    pub(crate) fn enqueue_all(&mut self) {
        self.dirty = self.deployments.keys().cloned().collect();
        self.delayed.clear();
        // Whatever has changed may have removed the cause of the trouble.
        for entry in self.deployments.quietly().values_mut() {
            (entry.attempts, entry.again) = (0, None);
            for live in entry.allocations.values_mut() {
                (live.failures, live.retry_at) = (0, None);
            }
        }
    }

    /// Deployments that wait for a place: what has just been freed may serve them.
    pub(crate) fn enqueue_waiting(&mut self) {
        self.dirty.extend(self.waiting.iter().cloned());
    }

    /// Those that wait for a place, these left out.
    pub(crate) fn others_waiting(&self, keys: &[DeploymentKey]) -> Vec<DeploymentKey> {
        let those: BTreeSet<&DeploymentKey> = keys.iter().collect();
        self.waiting
            .iter()
            .filter(|key| !those.contains(key))
            .cloned()
            .collect()
    }

    /// The earliest time counts when there are several.
    pub(crate) fn enqueue_at(&mut self, key: &DeploymentKey, at: Tick) {
        let Some(entry) = self.deployments.quietly().get_mut(key) else {
            return;
        };
        if entry.again.is_some_and(|known| known <= at) {
            return;
        }
        if let Some(later) = entry.again.replace(at) {
            self.delayed.remove(&(later, key.clone()));
        }
        self.delayed.insert((at, key.clone()));
    }

    /// What can be worked on now.
    pub(crate) fn drain_ready(&mut self, now: Tick) -> Vec<DeploymentKey> {
        while let Some((at, _)) = self.delayed.first()
            && *at <= now
        {
            if let Some((_, key)) = self.delayed.pop_first()
                && let Some(entry) = self.deployments.quietly().get_mut(&key)
            {
                entry.again = None;
                self.dirty.insert(key);
            }
        }
        std::mem::take(&mut self.dirty)
            .into_iter()
            .filter(|key| self.deployments.contains_key(key))
            .collect()
    }

    /// How many deployments are to be looked at: now, later, and those that wait for a place.
    pub(crate) fn queued(&self) -> (usize, usize, usize) {
        (self.dirty.len(), self.delayed.len(), self.waiting.len())
    }

    pub(crate) fn next_delayed(&self) -> Option<Tick> {
        self.delayed.first().map(|(at, _)| *at)
    }

    pub(crate) fn live_mut(&mut self, id: &AllocationId) -> Option<&mut AllocationState> {
        let key = self.owners.get(id)?;
        self.deployments.get_mut(key)?.allocations.get_mut(id)
    }

    /// An allocation to be changed, and what its deployment has to do with an observation of it. Most observations tell nothing new:
    /// followers are told of those that do, with `observed`.
    pub(crate) fn watched_mut(
        &mut self,
        id: &AllocationId,
    ) -> Option<(Watching, &mut AllocationState)> {
        let key = self.owners.get(id)?;
        let entry = self.deployments.quietly().get_mut(key)?;
        let update = entry.record.rollout.as_ref();
        let watching = Watching {
            changed: entry.changed.clone(),
            updates: update.is_some_and(|r| {
                matches!(
                    r.status,
                    rollout::Status::Progressing | rollout::Status::Paused
                )
            }),
        };
        Some((watching, entry.allocations.get_mut(id)?))
    }

    /// Replicas of a deployment were started again so often.
    pub(crate) fn restarted(&mut self, key: &DeploymentKey, times: u64) {
        if let Some(entry) = self.deployments.get_mut(key) {
            entry.restarted = entry.restarted.saturating_add(times);
        }
    }

    /// An observation has changed a deployment.
    pub(crate) fn observed(&mut self, key: &DeploymentKey) {
        self.deployments.changes.changed(key);
    }

    /// A provider's allocations.
    pub(crate) fn lives_of(
        &self,
        provider: &InstanceName,
    ) -> impl Iterator<Item = &AllocationState> {
        self.by_provider
            .get(provider)
            .into_iter()
            .flatten()
            .filter_map(|id| self.live(id))
    }

    /// Takes back what records that could not be stored had promised.
    pub(crate) fn unreserve(&mut self, before: &[AllocationRecord], after: &[AllocationRecord]) {
        for record in after {
            let new = !before
                .iter()
                .any(|r| r.id == record.id && r.intent.attempt == record.intent.attempt);
            if new && let Some(reserved) = self.reserved.get_mut(&record.intent.provider) {
                reserved.remove(&(record.id.clone(), record.intent.attempt));
            }
        }
    }

    /// Offers of a provider at which something is to grow.
    pub(crate) fn owing(&self, provider: &InstanceName) -> BTreeSet<String> {
        self.growing_at(provider)
            .map(|r| r.intent.offer.id.clone())
            .collect()
    }

    fn growing_at(&self, provider: &InstanceName) -> impl Iterator<Item = &AllocationRecord> {
        self.growing
            .get(provider)
            .into_iter()
            .flatten()
            .filter_map(|id| Some(&self.live(id)?.record))
    }

    /// What tasks will still need at an offer before they are whole: whose, how many replicas, and of what size. What gives way there makes
    /// room for its successor first.
    pub(crate) fn owed<'w>(
        &'w self,
        provider: &'w InstanceName,
        offer: &'w str,
    ) -> impl Iterator<Item = (Whose<'w>, u32, &'w Resources)> {
        let there = move |r: &&'w AllocationRecord| {
            r.intent.provider == *provider && r.intent.offer.id == offer
        };
        let growing = self.growing_at(provider).filter(there);
        growing.filter_map(move |r| {
            let deployment = self.deployments.get(&r.key())?;
            let gives_way = deployment
                .allocations
                .values()
                .map(|l| &l.record)
                .filter(there)
                .filter(|old| old.intent.superseded && whose(old) == whose(r))
                .map(|old| old.intent.replicas.max(old.handle.held));
            let left = r
                .intent
                .goal()
                .saturating_sub(r.intent.replicas.max(r.handle.held))
                .saturating_sub(gives_way.sum());
            (left > 0).then(|| (whose(r), left, &r.intent.workload.resources))
        })
    }

    pub(crate) fn live(&self, id: &AllocationId) -> Option<&AllocationState> {
        self.deployments
            .get(self.owners.get(id)?)?
            .allocations
            .get(id)
    }

    /// Shows a committed record.
    pub(crate) fn insert_allocation(&mut self, record: AllocationRecord, revision: Revision) {
        let (key, id, provider) = (
            record.key(),
            record.id.clone(),
            record.intent.provider.clone(),
        );
        self.owners.insert(id.clone(), key.clone());
        self.by_provider
            .entry(provider.clone())
            .or_default()
            .insert(id.clone());
        let mut growing = false;
        if let Some(entry) = self.deployments.get_mut(&key) {
            match entry.allocations.get_mut(&record.id) {
                // A later write may have been shown first.
                Some(live) if live.revision >= revision => {}
                Some(live) => live.replace(record, revision),
                None => {
                    entry
                        .allocations
                        .insert(id.clone(), AllocationState::new(record, revision));
                }
            }
            let shown = entry.allocations.get(&id);
            growing = shown.is_some_and(|live| grows(&live.record));
        }
        let known = self.growing.entry(provider).or_default();
        if growing {
            known.insert(id);
        } else {
            known.remove(&id);
        }
    }

    /// Begins the call of an allocation that has its turn, with what its record asks by now. None: nothing any more.
    pub(crate) fn begin_call(&mut self, id: &AllocationId) -> Option<AllocationCall> {
        let live = self.live_mut(id)?;
        if live.record.intent.stage == Stage::Applied {
            return None;
        }
        live.in_flight = Some(InFlight::of(&live.record));
        let job = AllocationCall {
            record: live.record.clone(),
            failures: live.failures,
            outcome_unknown: live.outcome_unknown,
        };
        live.outcome_unknown |= live.record.intent.stage == Stage::Intended;
        Some(job)
    }

    /// Takes a deployment out of which nothing is left.
    pub(crate) fn remove_deployment(&mut self, key: &DeploymentKey) -> Option<DeploymentState> {
        self.waiting.remove(key);
        let entry = self.deployments.remove(key)?;
        if let Some(at) = entry.again {
            self.delayed.remove(&(at, key.clone()));
        }
        Some(entry)
    }

    /// Notes which replicas of a deployment have no place, and which have none but one that is drained.
    pub(crate) fn set_unplaced(
        &mut self,
        key: &DeploymentKey,
        unplaced: Vec<Unplaced>,
        stuck: Vec<Stuck>,
    ) {
        let Some(entry) = self.deployments.get_mut(key) else {
            return;
        };
        if unplaced.is_empty() && stuck.is_empty() {
            self.waiting.remove(key);
        } else {
            self.waiting.insert(key.clone());
        }
        (entry.unplaced, entry.stuck) = (unplaced, stuck);
    }

    /// Shows a committed cordon. What is there is reconciled: what was to begin there goes elsewhere.
    pub(crate) fn set_cordon(&mut self, record: CordonRecord, revision: Revision) {
        self.enqueue_at_place(&record);
        self.cordon_revisions.insert(record.path(), revision);
        Arc::make_mut(&mut self.cordons).insert(record);
    }

    /// Shows that a cordon has been lifted. Whoever waits for a place looks again.
    pub(crate) fn lift_cordon(&mut self, record: &CordonRecord) {
        self.enqueue_at_place(record);
        self.enqueue_waiting();
        self.cordon_revisions.remove(&record.path());
        Arc::make_mut(&mut self.cordons).remove(&record.provider, &record.region);
    }

    /// Of a cordon's record.
    pub(crate) fn cordon_revision(&self, record: &CordonRecord) -> Option<Revision> {
        self.cordon_revisions.get(&record.path()).copied()
    }

    /// The deployments that have something at a cordoned place.
    pub(crate) fn enqueue_at_place(&mut self, cordon: &CordonRecord) {
        let keys: BTreeSet<DeploymentKey> = self
            .lives_at(cordon)
            .map(|live| live.record.key())
            .collect();
        keys.iter().for_each(|key| self.enqueue(key));
    }

    /// What is at a cordoned place.
    pub(crate) fn lives_at<'a>(
        &'a self,
        cordon: &'a CordonRecord,
    ) -> impl Iterator<Item = &'a AllocationState> {
        self.lives_of(&cordon.provider).filter(|live| {
            let intent = &live.record.intent;
            cordon.covers(&intent.provider, &intent.offer.region)
        })
    }

    pub(crate) fn remove_allocation(&mut self, id: &AllocationId) {
        if let Some(key) = self.owners.remove(id)
            && let Some(entry) = self.deployments.get_mut(&key)
            && let Some(live) = entry.allocations.remove(id)
        {
            let provider = &live.record.intent.provider;
            for index in [&mut self.by_provider, &mut self.growing] {
                if let Some(ids) = index.get_mut(provider) {
                    ids.remove(id);
                }
            }
            if let Some(reserved) = self.reserved.get_mut(provider) {
                for attempt in 0..=live.record.intent.attempt {
                    reserved.remove(&(id.clone(), attempt));
                }
            }
        }
    }
}

// === impl DeploymentState ===

impl DeploymentState {
    pub(crate) fn new(record: DeploymentRecord, revision: Revision) -> Self {
        let resolved = Arc::new(tradewind_core::scaling::resolve(&record));
        Self {
            record: Arc::new(record),
            revision,
            resolved,
            allocations: copy_on_write::Map::default(),
            planned: 0,
            unplaced: Vec::new(),
            stuck: Vec::new(),
            crowded: Vec::new(),
            held: Vec::new(),
            failure: None,
            attempts: 0,
            conflicts: 0,
            refusals: Vec::new(),
            hasty: None,
            images: Pins::default(),
            left: Vec::new(),
            restarted: 0,
            again: None,
            changed: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn replace(&mut self, record: DeploymentRecord, revision: Revision) {
        self.resolved = Arc::new(tradewind_core::scaling::resolve(&record));
        (self.record, self.revision, self.attempts) = (Arc::new(record), revision, 0);
        for live in self.allocations.values_mut() {
            (live.failure, live.failures, live.retry_at) = (None, 0, None);
        }
        self.failure = None;
    }

    /// Another write came before its intent. Answers how many times in a row that was so before.
    pub(crate) fn conflicted(&mut self) -> u32 {
        let before = self.conflicts;
        self.conflicts = before.saturating_add(1);
        before
    }

    /// A task's allocations, those that are going left out.
    pub(crate) fn current(&self, task: &Resolved) -> impl Iterator<Item = &AllocationState> {
        let serves = |r: &AllocationRecord| {
            r.task == task.name && r.target == task.target && r.intent.stays()
        };
        self.allocations.values().filter(move |l| serves(&l.record))
    }

    /// A record of the same spec: its update came further, or it has other numbers of replicas. What has failed before stands as it is.
    pub(crate) fn advance(&mut self, record: DeploymentRecord, revision: Revision) {
        // A later write may have been shown first.
        if self.revision >= revision {
            return;
        }
        if (&record.scales, &record.schedules) != (&self.record.scales, &self.record.schedules) {
            self.resolved = Arc::new(tradewind_core::scaling::resolve(&record));
        }
        (self.record, self.revision) = (Arc::new(record), revision);
    }

    pub(crate) fn actual(&self) -> Vec<AllocationRecord> {
        self.allocations
            .values()
            .map(|l| l.record.clone())
            .collect()
    }
}

// === impl InFlight ===

impl InFlight {
    pub(crate) fn of(record: &AllocationRecord) -> Self {
        Self {
            attempt: record.intent.attempt,
            stage: record.intent.stage,
        }
    }
}

// === impl AllocationState ===

impl AllocationState {
    pub(crate) fn new(record: AllocationRecord, revision: Revision) -> Self {
        Self {
            observation: job::observation(&record),
            record,
            revision,
            forgotten: false,
            running: BTreeMap::new(),
            counted: BTreeMap::new(),
            settled: BTreeSet::new(),
            ready_since: BTreeMap::new(),
            was_ready: BTreeSet::new(),
            seen: Seen::default(),
            resized: false,
            images: Vec::new(),
            failed_liveness: Vec::new(),
            incarnations: Vec::new(),
            failure: None,
            failures: 0,
            in_flight: None,
            retry_at: None,
            asked: 0,
            outcome_unknown: false,
        }
    }

    /// Another record of the same allocation. What failed before says nothing about what is intended now.
    fn replace(&mut self, record: AllocationRecord, revision: Revision) {
        if record.intent.workload != self.record.intent.workload {
            (self.ready_since, self.was_ready) = (BTreeMap::new(), BTreeSet::new());
            self.images.clear();
        }
        self.ready_since
            .retain(|index, _| *index < record.intent.replicas);
        if record.intent.attempt != self.record.intent.attempt {
            self.resized = record.intent.workload == self.record.intent.workload
                && record.handle.state.is_some();
        }
        if (record.intent.attempt, record.intent.stage)
            != (self.record.intent.attempt, self.record.intent.stage)
        {
            (self.failure, self.failures, self.retry_at, self.asked) = (None, 0, None, 0);
        }
        if self.observation.is_none() {
            // Of what has ended nobody is asked any more.
            self.observation = job::observation(&record);
        }
        (self.record, self.revision) = (record, revision);
    }

    /// What its record asks of the provider.
    pub(crate) fn next(&self, now: Tick) -> Next {
        // An input that can never work is not tried again before something has changed: a change clears the failure.
        let hopeless = self.failures > 0
            && self
                .failure
                .as_ref()
                .is_some_and(|f| f.kind == FailureKind::Invalid);
        match (self.record.intent.stage, self.retry_at) {
            _ if self.in_flight.is_some() => Next::Nothing,
            (Stage::Applied, _) => Next::Nothing,
            (Stage::Intended, _) if hopeless => Next::Nothing,
            (_, Some(at)) if at > now => Next::Later(at),
            (Stage::Intended | Stage::Removing, _) => Next::Call,
        }
    }

    /// Replicas that do what they are there for: a service's that serve, a job's that have succeeded.
    pub(crate) fn ready(&self) -> u32 {
        u32::try_from(self.ready_replicas().count()).unwrap_or(u32::MAX)
    }

    pub(crate) fn ready_replicas(&self) -> impl Iterator<Item = &Replica> {
        // What was seen there before says nothing about now.
        let known = !self.record.status.lost || self.record.is_over();
        let replicas = self
            .observation
            .iter()
            .filter(move |_| known)
            .flat_map(|o| &o.replicas);
        replicas.filter(|r| r.index < self.record.intent.replicas && self.replica_ready(r))
    }

    /// The indices of those.
    pub(crate) fn ready_now(&self) -> impl Iterator<Item = u32> + '_ {
        self.ready_replicas().map(|r| r.index)
    }

    fn replica_ready(&self, replica: &Replica) -> bool {
        match self.record.intent.workload.run {
            Run::Job { .. } => replica.phase == Phase::Succeeded,
            Run::Service => {
                let probes = &self.record.intent.workload.probes;
                let probed = probes.readiness.is_some() || probes.startup.is_some();
                let healthy = match replica.health {
                    Health::Healthy => true,
                    Health::Unhealthy => false,
                    // Nobody looks whether it is well: it is taken to be when it has lived for a while.
                    Health::Unknown => !probed && self.settled.contains(&replica.index),
                };
                replica.phase == Phase::Running && healthy
            }
        }
    }

    /// Notes which replicas run, and for how long, after a look at them. By the provider's own clock where it tells when they began: what was
    /// there before this daemon is not new.
    pub(crate) fn note_running(&mut self, now: Instant) {
        let mut running = BTreeMap::new();
        let mut settled = BTreeSet::new();
        for replica in self
            .observation
            .iter()
            .flat_map(|o| &o.replicas)
            .filter(|r| r.phase == Phase::Running)
        {
            let same = |b: &&Began| {
                (&b.id, b.restarts, b.started_at)
                    == (&replica.id, replica.restarts, replica.started_at)
            };
            let began = self.running.get(&replica.index).filter(same).cloned();
            if began.is_none() {
                self.ready_since.remove(&replica.index);
            }
            let new = || Began {
                id: replica.id.clone(),
                restarts: replica.restarts,
                started_at: replica.started_at,
                seen: now,
            };
            let began = began.unwrap_or_else(new);
            let since = replica
                .started_at
                .map_or(began.seen, |told| told.min(began.seen));
            if now.since(since) >= health::settling(self.record.status.recovery.row(replica.index))
            {
                settled.insert(replica.index);
            }
            running.insert(replica.index, began);
        }
        (self.running, self.settled) = (running, settled);
    }

    /// Counts the restarts that the last look at them has shown. What was before the first look counts for nobody; a replica that was made
    /// anew begins again at none.
    pub(crate) fn count_restarts(&mut self) -> u64 {
        let replicas = self.observation.iter().flat_map(|seen| &seen.replicas);
        let now: BTreeMap<u32, u32> = replicas.map(|r| (r.index, r.restarts)).collect();
        let mut more = 0;
        for (index, restarts) in &now {
            more += match self.counted.get(index) {
                Some(before) => restarts.checked_sub(*before).unwrap_or(*restarts),
                None => 0,
            };
        }
        self.counted.extend(now);
        more.into()
    }

    /// All of it is as recorded, and does what it is there for.
    pub(crate) fn is_ready(&self) -> bool {
        self.record.intent.stage == Stage::Applied
            && self.observation.is_some()
            && self.ready() >= self.record.intent.replicas
    }

    /// Whether it is on its way: to be looked at again soon.
    pub(crate) fn in_transition(&self) -> bool {
        !self.record.status.phase.is_final() && !self.is_ready()
    }
}
