//! Carrying out: the provider calls of one deployment, side by side, each followed by the record of what it did.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::Instant as Tick;
use tradewind_core::{
    failure::{Failure, FailureKind},
    plugin::{Destroyed, Provider, Tracked},
    record::{AllocationRecord, DeploymentKey, Stage},
    store::{Error, Expect, Revision, Txn},
    view::Severity,
    workload::{Allocation, Labels, Phase},
};

use super::{
    Shared,
    journal::{CONTROLLER, allocation_event, event},
    lock,
    reconcile::look_again,
};

/// How soon a removal that has begun is asked for again: the first time, and at the longest.
const GOING: Duration = Duration::from_millis(50);
const GOING_LONGEST: Duration = Duration::from_secs(5);

/// One allocation's next effect. Its intent is stored.
pub(super) struct Job {
    pub(super) record: AllocationRecord,
    /// Of the stored record.
    pub(super) revision: Revision,
    pub(super) failures: u32,
    /// None: the plugin instance is not loaded.
    pub(super) provider: Option<Arc<dyn Provider>>,
}

/// How a job ended.
enum Ended {
    Done,
    /// Ask again after this.
    Going,
}

impl Shared {
    /// Does a deployment's jobs, then gives it back.
    pub(super) async fn carry_out(self: Arc<Self>, key: DeploymentKey, jobs: Vec<Job>) {
        let ended = join_all(jobs.into_iter().map(|job| self.job(job))).await;
        let going = ended.iter().any(|e| matches!(e, Ended::Going));
        let removed = self.finish_deletion(&key).await;
        if removed {
            return;
        }
        let again = {
            let mut world = lock(&self.world);
            let Some(entry) = world.deployments.get_mut(&key) else { return };
            let going = going.then(|| GOING.saturating_mul(1u32 << entry.attempts.min(8)).min(GOING_LONGEST));
            let again = going.or_else(|| look_again(entry));
            entry.attempts = if again.is_some() { entry.attempts.saturating_add(1) } else { 0 };
            again
        };
        self.release(&key, again);
    }

    async fn job(&self, job: Job) -> Ended {
        // A semaphore that is closed means that the controller stops: nothing new is begun.
        let Ok(_slot) = self.slots.acquire().await else { return Ended::Done };
        let Some(provider) = job.provider.clone() else {
            let name = job.record.provider.clone();
            let failure = Failure::unavailable(format!("provider \"{name}\" is missing"))
                .code("provider-missing")
                .remedy("put its component and instance file back into the plugin folder");
            self.failed(&job, failure);
            return Ended::Done;
        };
        let result = match job.record.stage {
            Stage::Removing => self.destroy(&job, provider.as_ref()).await,
            _ => self.apply(&job, provider.as_ref()).await,
        };
        match result {
            Ok(ended) => ended,
            Err(Error::Conflict { .. }) => Ended::Done,
            Err(error) => {
                tracing::error!(allocation = %job.record.id, error = &error as &dyn std::error::Error, "the outcome could not be stored");
                self.failed(&job, Failure::unavailable("the state could not be written").code("store"));
                Ended::Done
            }
        }
    }

    async fn apply(&self, job: &Job, provider: &dyn Provider) -> Result<Ended, Error> {
        let record = &job.record;
        match provider.apply(&allocation(record), record.state.as_deref()).await {
            Ok(state) => {
                let mut done = record.clone();
                (done.stage, done.state) = (Stage::Applied, Some(state));
                let txn = Txn::new().expect(Expect::AtRevision { key: record.path(), revision: job.revision });
                let revision = self.store.commit(Self::put_allocation(txn, &done)?).await?;
                {
                    let mut world = lock(&self.world);
                    if let Some(reserved) =
                        world.reserved.get_mut(&record.provider).and_then(|r| r.get_mut(&(record.id.clone(), record.attempt)))
                    {
                        reserved.settled = Some(Tick::now());
                    }
                    world.insert_allocation(done, revision);
                    if let Some(live) = world.live_mut(&record.id) {
                        // What was seen before says nothing about what has been applied now.
                        (live.failure, live.failures, live.observation) = (None, 0, None);
                    }
                }
                self.look_at(&record.provider, [record.id.clone()]);
                Ok(Ended::Done)
            }
            Err(failure) => {
                let untouched = record.state.is_none();
                let full = matches!(failure.kind, FailureKind::OutOfCapacity | FailureKind::Quota);
                if full {
                    self.offers.cool(&record.provider, &record.offer.id, Tick::now());
                    self.offers.forget(&record.provider);
                }
                if full && untouched {
                    self.give_up(job, &failure).await?;
                } else if failure.kind == FailureKind::NotFound && !untouched {
                    self.begin_anew(job).await?;
                } else {
                    self.report(record, "ApplyFailed", &failure, job.failures).await;
                    self.failed(job, failure);
                }
                Ok(Ended::Done)
            }
        }
    }

    /// The offer can't supply it and nothing exists: the next decision chooses another.
    async fn give_up(&self, job: &Job, failure: &Failure) -> Result<(), Error> {
        let record = &job.record;
        let txn = Txn::new().expect(Expect::AtRevision { key: record.path(), revision: job.revision }).delete(record.path());
        let message = format!("{}: {}", record.offer.id, failure.message);
        self.store.commit(self.tell(txn, allocation_event(Severity::Warning, "OutOfCapacity", record, message))?).await?;
        let mut world = lock(&self.world);
        world.remove_allocation(&record.id);
        world.mark(&record.key());
        Ok(())
    }

    /// What the provider remembered of it does not exist any more: the next attempt creates it.
    async fn begin_anew(&self, job: &Job) -> Result<(), Error> {
        let mut record = job.record.clone();
        (record.state, record.attempt, record.phase) = (None, record.attempt + 1, Phase::Pending);
        let txn = Txn::new().expect(Expect::AtRevision { key: record.path(), revision: job.revision });
        let revision = self.store.commit(Self::put_allocation(txn, &record)?).await?;
        lock(&self.world).insert_allocation(record, revision);
        Ok(())
    }

    async fn destroy(&self, job: &Job, provider: &dyn Provider) -> Result<Ended, Error> {
        let record = &job.record;
        let state = match &record.state {
            Some(state) => Ok(Some(state.clone())),
            // An apply may have had its effect without its answer having been stored: ask the cloud what it has.
            None => provider.owned().await.map(|owned| owned.into_iter().find(|o| o.allocation == record.id).map(|o| o.state)),
        };
        let outcome = match state {
            Ok(Some(state)) => provider.destroy(&Tracked { allocation: record.id.clone(), state }).await,
            Ok(None) => Ok(Destroyed::Gone),
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(Destroyed::Going) => Ok(Ended::Going),
            Ok(Destroyed::Gone) => self.gone(job).await,
            Err(failure) if failure.kind == FailureKind::NotFound => self.gone(job).await,
            Err(failure) => {
                self.report(record, "DestroyFailed", &failure, job.failures).await;
                self.failed(job, failure);
                Ok(Ended::Done)
            }
        }
    }

    async fn gone(&self, job: &Job) -> Result<Ended, Error> {
        let record = &job.record;
        let txn = Txn::new().expect(Expect::AtRevision { key: record.path(), revision: job.revision }).delete(record.path());
        let message = format!("{} × {} removed from {}/{}", record.replicas, record.task, record.provider, record.offer.region);
        self.store.commit(self.tell(txn, allocation_event(Severity::Info, "AllocationRemoved", record, message))?).await?;
        self.offers.forget(&record.provider);
        {
            let mut world = lock(&self.world);
            world.remove_allocation(&record.id);
            world.mark_waiting();
        }
        self.wake.notify_one();
        Ok(Ended::Done)
    }

    fn failed(&self, job: &Job, failure: Failure) {
        let mut world = lock(&self.world);
        if let Some(live) = world.live_mut(&job.record.id) {
            live.failures = live.failures.saturating_add(1);
            live.failure = Some(failure);
        }
    }

    /// Tells of a failure once, not at every repetition.
    async fn report(&self, record: &AllocationRecord, reason: &str, failure: &Failure, failures: u32) {
        tracing::warn!(
            deployment = %record.key(), allocation = %record.id, provider = %record.provider,
            kind = %failure.kind, code = failure.code, message = failure.message, "{reason}"
        );
        if failures == 0 {
            let message = format!("{}: {}", failure.kind, failure.message);
            self.note(allocation_event(Severity::Error, reason, record, message)).await;
        }
    }

    /// Removes a deployment of which nothing is left. True when it is gone.
    async fn finish_deletion(&self, key: &DeploymentKey) -> bool {
        let revision = {
            let world = lock(&self.world);
            match world.deployments.get(key) {
                Some(e) if e.record.deleting && e.allocations.is_empty() => e.revision,
                Some(_) => return false,
                None => return true,
            }
        };
        let txn = Txn::new().expect(Expect::AtRevision { key: key.path(), revision }).delete(key.path());
        let told = self.tell(txn, event(Severity::Info, "DeploymentDeleted", CONTROLLER, key, "everything of it has been removed"));
        let committed = match told {
            Ok(txn) => self.store.commit(txn).await,
            Err(error) => Err(error),
        };
        match committed {
            Ok(_) => {
                let entry = lock(&self.world).deployments.remove(key);
                if let Some(entry) = entry {
                    entry.changed.notify_waiters();
                }
                true
            }
            Err(error) => {
                tracing::error!(deployment = %key, error = &error as &dyn std::error::Error, "the end of a deployment could not be stored");
                lock(&self.world).mark_at(key, Tick::now() + Duration::from_secs(1));
                false
            }
        }
    }
}

/// What the provider is told. Tags and token are the host's.
pub(super) fn allocation(record: &AllocationRecord) -> Allocation {
    let tag = |key: &str, value: &str| (format!("tradewind.dev/{key}"), value.to_owned());
    let tags = [
        tag("allocation", record.id.as_str()),
        tag("namespace", record.namespace.as_str()),
        tag("deployment", record.deployment.as_str()),
        tag("task", record.task.as_str()),
        tag("provider", record.provider.as_str()),
    ];
    Allocation {
        id: record.id.clone(),
        namespace: record.namespace.clone(),
        deployment: record.deployment.clone(),
        task: record.task.clone(),
        generation: record.generation,
        replicas: record.replicas,
        workload: record.workload.clone(),
        offer: record.offer.clone(),
        token: format!("{}-{}", record.id, record.attempt),
        tags: Labels::from(tags),
        traffic: None,
    }
}

/// Whether a phase is an end that the provider will not change by itself.
pub(super) fn is_final(phase: Phase) -> bool {
    matches!(phase, Phase::Succeeded | Phase::Failed | Phase::Gone)
}
