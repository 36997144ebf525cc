//! One step of the controller: take what may differ from what is wanted, decide, plan, store the intent, and have it carried out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::Instant as Tick;
use tradewind_core::{
    failure::{Failure, FailureKind},
    names::AllocationId,
    plan::{self, Desired, Step},
    plugin::Snapshot,
    record::{AllocationRecord, DeploymentKey, Stage},
    store::{Error, Expect, Revision, Txn},
    view::{ChangeAction, Severity},
    workload::Phase,
};

use super::{
    Shared,
    apply::Job,
    decide::{Outcome, Work},
    journal::{CONTROLLER, allocation_event, event},
    lock,
    state::{Entry, Reserved, World},
};

/// The first and the longest delay before something that failed is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// How often a place is looked for when there was none.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Doubles from the first delay to the longest.
pub(super) fn backoff(attempts: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1u32 << attempts.min(8)).min(RETRY_LONGEST)
}

impl Shared {
    /// Runs until the controller stops.
    pub(super) async fn schedule(self: Arc<Self>) {
        let mut plugins = self.plugin_changes.clone();
        while !self.stop.is_cancelled() {
            loop {
                let ready = lock(&self.world).take_ready(Tick::now());
                if ready.is_empty() || self.stop.is_cancelled() {
                    break;
                }
                self.step(ready).await;
            }
            let next = lock(&self.world).next_delayed();
            let delayed = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = delayed => {}
                changed = plugins.changed() => match changed {
                    Ok(()) => lock(&self.world).mark_all(),
                    Err(_) => self.stop.cancelled().await,
                },
            }
        }
    }

    /// Works on a batch of deployments, which are marked busy. Returns when all of them have been decided; they are carried out beside.
    async fn step(self: &Arc<Self>, keys: Vec<DeploymentKey>) {
        let snapshot = self.plugins.snapshot();
        let (mut works, mut going) = (Vec::new(), Vec::new());
        {
            let world = lock(&self.world);
            for key in keys {
                let Some(entry) = world.deployments.get(&key) else { continue };
                let (record, resolved) = (entry.record.clone(), entry.resolved.clone());
                let work = Work { key, record, resolved, actual: entry.actual() };
                if entry.record.deleting { going.push(work) } else { works.push(work) }
            }
        }
        // Removal owes no decision and waits for none.
        join_all(going.into_iter().map(|work| self.settle(&snapshot, work, Outcome::default()))).await;
        let (outcomes, _) = self.decide(&snapshot, &works).await;
        join_all(works.into_iter().zip(outcomes).map(|(work, outcome)| self.settle(&snapshot, work, outcome))).await;
    }

    /// Stores what has been decided for one deployment, then starts carrying it out.
    async fn settle(self: &Arc<Self>, snapshot: &Arc<Snapshot>, work: Work, outcome: Outcome) {
        match self.intend(snapshot, &work, outcome).await {
            Ok(jobs) => {
                let (shared, key) = (self.clone(), work.key);
                self.tasks.spawn(async move { shared.carry_out(key, jobs).await });
            }
            Err(error) => {
                // A conflict is another write that came first: the next look sees it.
                let conflict = matches!(error, Error::Conflict { .. });
                if !conflict {
                    tracing::error!(deployment = %work.key, error = &error as &dyn std::error::Error, "the intent could not be stored");
                }
                let delay = if conflict { Duration::ZERO } else { backoff(4) };
                self.release(&work.key, Some(delay));
            }
        }
    }

    /// Not busy any more; looked at again after the delay, if one is given.
    pub(super) fn release(&self, key: &DeploymentKey, again: Option<Duration>) {
        {
            let mut world = lock(&self.world);
            if let Some(entry) = world.deployments.get_mut(key) {
                entry.busy = false;
                entry.changed.notify_waiters();
            }
            if let Some(delay) = again {
                world.mark_at(key, Tick::now() + delay);
            }
        }
        self.wake.notify_one();
    }

    /// Commits the intent of every step, then shows it to the rest of the daemon. Nothing has had an effect before this returns.
    async fn intend(self: &Arc<Self>, snapshot: &Snapshot, work: &Work, outcome: Outcome) -> Result<Vec<Job>, Error> {
        let Outcome { desired, unplaced, decision, failure, .. } = outcome;
        let failed = failure.is_some();
        let steps = if failed { Vec::new() } else { plan::plan(&desired, &work.actual) };
        let records = self.records(work, &desired, &steps);
        let changed: Vec<&AllocationRecord> = records.iter().filter(|r| differs(r, &work.actual)).collect();

        let mut txn = Txn::new();
        if !changed.is_empty() {
            let revision = lock(&self.world).deployments.get(&work.key).map_or(Revision(0), |e| e.revision);
            txn = txn.expect(Expect::AtRevision { key: work.key.path(), revision });
            if let Some(decision) = &decision {
                txn = Self::put_decision(txn, decision)?;
            }
            for record in changed {
                txn = Self::put_allocation(txn, record)?;
                if let Some(before) = work.actual.iter().find(|r| r.id == record.id) {
                    txn = txn.expect(self.unchanged(before)?);
                } else {
                    let place = format!("{}/{}", record.provider, record.offer.region);
                    let message = format!("{} × {} placed on {place} ({})", record.replicas, record.task, record.offer.id);
                    txn = self.tell(txn, allocation_event(Severity::Info, "AllocationPlaced", record, message))?;
                }
            }
        }
        for task in &unplaced {
            let known = lock(&self.world).deployments.get(&work.key).is_some_and(|e| e.unplaced.contains(task));
            if !known {
                let message = format!("{} replicas of {} have no place: {}", task.replicas, task.task, task.reason);
                txn = self.tell(txn, event(Severity::Warning, "Unplaced", CONTROLLER, &work.key, message))?;
            }
        }
        let revision = if txn.writes.is_empty() { None } else { Some(self.store.commit(txn).await?) };

        let mut world = lock(&self.world);
        self.reserve(&mut world, &work.actual, &records);
        if let Some(revision) = revision {
            for record in records.iter().filter(|r| differs(r, &work.actual)) {
                world.insert_allocation(record.clone(), revision);
            }
        }
        let Some(entry) = world.deployments.get_mut(&work.key) else { return Ok(Vec::new()) };
        if entry.failure != failure {
            if let Some(failure) = &failure {
                tracing::warn!(deployment = %work.key, kind = %failure.kind, message = failure.message, "no decision");
            }
            entry.changed.notify_waiters();
        }
        entry.unplaced = unplaced;
        entry.failure = failure;
        if !failed {
            entry.planned = work.record.generation;
        }
        Ok(records.into_iter().filter_map(|record| job(entry, snapshot, record, &work.record.deleting)).collect())
    }

    /// The expectation that a record is still what was decided about. Observations are written beside decisions.
    fn unchanged(&self, before: &AllocationRecord) -> Result<Expect, Error> {
        let mut world = lock(&self.world);
        match world.live_mut(&before.id) {
            Some(live) if live.record == *before => Ok(Expect::AtRevision { key: before.path(), revision: live.revision }),
            _ => Err(Error::Conflict { key: before.path() }),
        }
    }

    /// Each step's record as it shall be stored.
    fn records(&self, work: &Work, desired: &[Desired], steps: &[Step]) -> Vec<AllocationRecord> {
        let now = self.clock.now();
        // Without a plan (the policy failed) what is there stays as it is.
        if steps.is_empty() {
            return work.actual.clone();
        }
        let by_id: BTreeMap<&AllocationId, &AllocationRecord> = work.actual.iter().map(|r| (&r.id, r)).collect();
        let record = |step: &Step| {
            let existing = step.allocation.as_ref().and_then(|id| by_id.get(id)).map(|r| (*r).clone());
            let want = step.desired.and_then(|i| desired.get(i));
            match (step.action, existing, want) {
                (ChangeAction::Create, _, Some(want)) => Some(AllocationRecord {
                    v: 1,
                    id: AllocationId::new(self.ulid()),
                    namespace: work.key.namespace.clone(),
                    deployment: work.key.name.clone(),
                    task: want.task.clone(),
                    target: want.target.clone(),
                    provider: step.placement.provider.clone(),
                    offer: step.placement.offer.clone(),
                    hourly: step.placement.hourly,
                    replicas: step.placement.replicas,
                    generation: work.record.generation,
                    workload: want.workload.clone(),
                    need: want.need,
                    decision: want.decision.clone(),
                    stage: Stage::Intended,
                    superseded: false,
                    attempt: 0,
                    state: None,
                    phase: Phase::Pending,
                    created_at: now,
                }),
                (ChangeAction::Update | ChangeAction::Resize, Some(mut r), Some(want)) => {
                    (r.replicas, r.hourly, r.offer) = (step.placement.replicas, step.placement.hourly, step.placement.offer.clone());
                    (r.workload, r.need) = (want.workload.clone(), want.need);
                    r.decision = want.decision.clone().or(r.decision);
                    (r.generation, r.stage, r.attempt, r.phase) = (work.record.generation, Stage::Intended, r.attempt + 1, Phase::Starting);
                    Some(r)
                }
                (ChangeAction::Destroy, Some(mut r), _) => {
                    let replaced = desired.iter().any(|d| d.task == r.task && d.target == r.target && !d.placements.is_empty());
                    match replaced && r.phase != Phase::Gone && r.stage != Stage::Removing {
                        true => r.superseded = true,
                        false => r.stage = Stage::Removing,
                    }
                    Some(r)
                }
                (_, existing, _) => existing,
            }
        };
        let mut records: Vec<AllocationRecord> = steps.iter().filter_map(record).collect();
        self.retire(work, &mut records);
        records
    }

    /// What has been superseded goes once its replacement is ready.
    fn retire(&self, work: &Work, records: &mut [AllocationRecord]) {
        let world = lock(&self.world);
        let Some(entry) = world.deployments.get(&work.key) else { return };
        let ready = |r: &AllocationRecord| r.stage == Stage::Applied && entry.allocations.get(&r.id).is_some_and(|l| l.is_ready());
        let waiting: Vec<_> = records
            .iter()
            .filter(|r| !r.superseded && r.stage != Stage::Removing && !ready(r))
            .map(|r| (r.task.clone(), r.target.clone()))
            .collect();
        for r in records.iter_mut().filter(|r| r.superseded && r.stage != Stage::Removing) {
            let dead = matches!(r.phase, Phase::Gone | Phase::Failed | Phase::Succeeded);
            if dead || !waiting.iter().any(|(task, target)| *task == r.task && *target == r.target) {
                r.stage = Stage::Removing;
            }
        }
    }

    /// Notes what the steps promise, so that the next batch does not promise it again.
    fn reserve(&self, world: &mut World, before: &[AllocationRecord], after: &[AllocationRecord]) {
        for record in after.iter().filter(|r| r.stage == Stage::Intended) {
            let held = before.iter().find(|r| r.id == record.id).map_or(0, |r| if r.state.is_some() { r.replicas } else { 0 });
            let reserved = Reserved {
                offer: record.offer.id.clone(),
                replicas: record.replicas.saturating_sub(held),
                cpu: record.workload.resources.cpu.0,
                memory: record.workload.resources.memory.0,
                settled: None,
            };
            if reserved.replicas > 0 {
                world.reserved.entry(record.provider.clone()).or_default().insert((record.id.clone(), record.attempt), reserved);
            }
        }
    }
}

fn differs(record: &AllocationRecord, actual: &[AllocationRecord]) -> bool {
    actual.iter().find(|r| r.id == record.id) != Some(record)
}

/// What has to be done at the provider for a record, if anything.
fn job(entry: &Entry, snapshot: &Snapshot, record: AllocationRecord, deleting: &bool) -> Option<Job> {
    let live = entry.allocations.get(&record.id)?;
    // An input that can never work is not tried again before something has changed: a change clears the failure.
    let hopeless = live.failure.as_ref().is_some_and(|f| f.kind == FailureKind::Invalid) && live.failures > 0;
    match record.stage {
        Stage::Applied => None,
        Stage::Intended if hopeless && !deleting => None,
        Stage::Intended | Stage::Removing => {
            let provider = snapshot.providers.get(&record.provider).cloned();
            Some(Job { revision: live.revision, failures: live.failures, provider, record })
        }
    }
}

/// How long until a failed call is tried again; none: not before something changes.
pub(super) fn retry_delay(failure: &Failure, failures: u32) -> Option<Duration> {
    match failure.kind {
        FailureKind::Invalid => None,
        FailureKind::Throttled => Some(failure.retry_after.map_or_else(|| backoff(failures), |after| after.std().min(RETRY_LONGEST))),
        FailureKind::Denied => Some(RETRY_LONGEST),
        _ => Some(backoff(failures)),
    }
}

/// How long until a deployment with something left to do is looked at again.
pub(super) fn look_again(entry: &Entry) -> Option<Duration> {
    let retries = entry.allocations.values().filter(|l| l.record.stage != Stage::Applied);
    let retry = retries.filter_map(|l| l.failure.as_ref().map_or(Some(Duration::ZERO), |f| retry_delay(f, l.failures))).min();
    let failed = entry.failure.as_ref().map(|_| backoff(entry.attempts));
    let unplaced = (!entry.unplaced.is_empty()).then_some(LOOK_AGAIN);
    [retry, failed, unplaced].into_iter().flatten().min()
}
