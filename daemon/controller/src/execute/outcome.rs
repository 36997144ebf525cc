//! What a provider call did, brought into the record as it is by then: the record may have moved on while the call was under way.
//! What the provider gave back is always kept; the rest counts only if it is still what was asked for.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant as Tick;
use tradewind_core::{
    capability::Clock,
    event::{Cause, Event, Reason, Severity},
    failure::{Failure, FailureKind},
    job::deadline,
    ledger::Meter,
    metering,
    names::AllocationId,
    place_health::Place,
    record::{AllocationRecord, DeploymentKey, Stage},
    retry,
    store::Error,
    workload::Phase,
};

use crate::{
    lock,
    observe::poller::PollSchedule,
    schedule::offers::OfferCache,
    schedule::preemption::Nominations,
    schedule::refusals::Refusals,
    state::cache::{AllocationCall, Cache, InFlight},
    state::commit::{Change, Committer},
    state::journal::{self, CONTROLLER, allocation_event, event},
    state::reads::Reads,
};

/// How soon a removal that has begun is asked for again: the first time, and at the longest.
const GOING: Duration = Duration::from_millis(50);
const GOING_LONGEST: Duration = Duration::from_secs(5);

/// How a call ended.
pub(crate) enum CallOutcome {
    /// It is on record, or nothing had to be done.
    Done,
    /// The removal has begun: ask again.
    InProgress,
    /// No call was made: the place is left alone until then, and why if that is bad news.
    Deferred(Tick, Option<Box<Failure>>),
    /// Nothing is left of what was applied before: it is made anew.
    Recreate,
    Failed(Box<Failure>),
}

/// What becomes of a record.
enum Revised {
    Put(Box<AllocationRecord>),
    Deleted(Box<Event>),
}

/// Brings what calls did into the state.
pub(crate) struct Outcomes {
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) store: Reads,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) quotes: Arc<OfferCache>,
    pub(crate) poll_schedule: Arc<PollSchedule>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) nominations: Arc<Nominations>,
}

impl Outcomes {
    /// Ends an allocation's in_flight: its deployment is looked at again.
    pub(crate) fn finish_call(&self, key: &DeploymentKey, id: &AllocationId, ended: CallOutcome) {
        {
            let mut cache = lock(&self.cache);
            let now = Tick::now();
            if let Some(live) = cache.live_mut(id) {
                let current = live.in_flight.take() == Some(InFlight::of(&live.record));
                match ended {
                    CallOutcome::Done => {}
                    CallOutcome::InProgress if current => {
                        live.retry_at = Some(
                            now + GOING
                                .saturating_mul(1 << live.asked.min(8))
                                .min(GOING_LONGEST),
                        );
                        live.asked = live.asked.saturating_add(1);
                    }
                    CallOutcome::Deferred(until, cause) => {
                        live.retry_at = Some(until);
                        live.failure = cause.map(|c| *c);
                    }
                    CallOutcome::Recreate => {
                        live.retry_at = Some(
                            now + retry::backoff(live.record.intent.attempt, id.as_str()).std(),
                        )
                    }
                    CallOutcome::Failed(failure) if current => {
                        live.retry_at = retry::after(&failure, live.failures, id.as_str())
                            .map(|delay| now + delay.std());
                        live.failures = live.failures.saturating_add(1);
                        live.failure = Some(*failure);
                    }
                    CallOutcome::InProgress | CallOutcome::Failed(_) => {}
                }
            }
            cache.enqueue(key);
            if let Some(entry) = cache.deployments.get(key) {
                entry.changed.notify_waiters();
            }
        }
        self.committer.wake.notify_one();
    }

    /// The provider has accepted it.
    pub(crate) async fn applied(
        &self,
        job: &AllocationCall,
        state: Vec<u8>,
        pinned: bool,
    ) -> Result<(), Error> {
        let record = &job.record;
        let less = record.handle.held > record.intent.replicas;
        self.revise(&record.id, |current| {
            let mut after = current.clone();
            after.handle.state = Some(state.clone());
            after.handle.pinned |= pinned;
            if InFlight::of(current) == InFlight::of(record) {
                (after.intent.stage, after.handle.held) = (Stage::Applied, record.intent.replicas);
                // What the provider said of the cost was said of what was there before.
                after.status.meter = after.status.meter.map(|m| Meter { metered: None, ..m });
            }
            Some(Revised::Put(Box::new(after)))
        })
        .await?;
        {
            let mut cache = lock(&self.cache);
            // The promises of attempts that it went over are kept with it.
            let promises = cache
                .reserved
                .get_mut(&record.intent.provider)
                .into_iter()
                .flatten();
            for (_, reserved) in promises
                .filter(|((id, attempt), _)| *id == record.id && *attempt <= record.intent.attempt)
            {
                reserved.settled.get_or_insert(Tick::now());
            }
            if let Some(live) = cache.live_mut(&record.id) {
                // What was seen before says nothing about what has been applied now.
                (
                    live.failure,
                    live.failures,
                    live.retry_at,
                    live.outcome_unknown,
                ) = (None, 0, None, false);
                if !std::mem::take(&mut live.resized) {
                    live.observation = None;
                    live.ready_since.clear();
                    live.running.clear();
                    live.settled.clear();
                }
            }
        }
        self.poll_schedule
            .request_observation(&record.intent.provider, [record.id.clone()]);
        if less {
            self.quotes.invalidate(&record.intent.provider);
        }
        self.nominations.on_capacity_freed(&record.intent.provider);
        Ok(())
    }

    /// It is not to be had there: the next decision looks elsewhere. Where an earlier call may have made something, that is removed.
    pub(crate) async fn give_up(
        &self,
        job: &AllocationCall,
        failure: &Failure,
    ) -> Result<CallOutcome, Error> {
        let record = &job.record;
        let shared = self
            .quotes
            .is_shared(&record.intent.provider, &record.intent.offer.id);
        if failure.concerns_the_workload() || failure.lacks_room_for_the_request(shared) {
            self.refusals.refused(record, failure);
        }
        let message = format!("{}: {}", record.intent.offer.id, failure.told());
        let reason = match failure.kind {
            FailureKind::OutOfCapacity | FailureKind::Quota => Reason::OutOfCapacity,
            _ => Reason::AllocationGivenUp,
        };
        let told = allocation_event(Severity::Warning, reason, record, message);
        let told = Box::new(told.because(Cause::Failure(failure.kind.to_string())));
        let still = |current: &AllocationRecord| InFlight::of(current) == InFlight::of(record);
        if self.has_unknown_outcome(job) {
            self.committer.emit_event((*told).clone()).await;
            let remove = |current: &AllocationRecord| {
                let mut after = current.clone();
                after.intent.stage = Stage::Removing;
                Revised::Put(Box::new(after))
            };
            self.revise(&record.id, |current| {
                still(current).then(|| remove(current))
            })
            .await?;
        } else {
            self.revise(&record.id, |current| {
                still(current).then(|| Revised::Deleted(told.clone()))
            })
            .await?;
        }
        Ok(CallOutcome::Done)
    }

    /// Everything of a job has ended: there is nothing to be asked for.
    pub(crate) async fn over(&self, job: &AllocationCall) -> Result<CallOutcome, Error> {
        self.record_no_effect(job);
        let settled = |current: &AllocationRecord| {
            let mut after = current.clone();
            after.intent.stage = Stage::Applied;
            after.handle.held = current.intent.replicas;
            after.status.phase = tradewind_core::job::outcome(current);
            Revised::Put(Box::new(after))
        };
        self.revise(&job.record.id, |current| {
            (InFlight::of(current) == InFlight::of(&job.record)).then(|| settled(current))
        })
        .await?;
        Ok(CallOutcome::Done)
    }

    /// What the provider remembered of it does not exist any more: the next attempt creates it.
    pub(crate) async fn recreate(&self, job: &AllocationCall) -> Result<CallOutcome, Error> {
        let now = self.clock.now();
        let anew = |current: &AllocationRecord| {
            if !current.status.ended.is_empty() {
                // What has ended is not run again: the others are made elsewhere.
                let mut closed = current.clone();
                tradewind_core::job::close(&mut closed);
                return Revised::Put(Box::new(closed));
            }
            let mut anew = current.clone();
            anew.handle.state = None;
            anew.intent.attempt += 1;
            anew.status.phase = Phase::Pending;
            Revised::Put(Box::new(deadline::anew(anew, now)))
        };
        self.revise(&job.record.id, |current| {
            (InFlight::of(current) == InFlight::of(&job.record)).then(|| anew(current))
        })
        .await?;
        self.record_no_effect(job);
        Ok(CallOutcome::Recreate)
    }

    /// Its replicas run several images: it is applied once more, with the one that is kept.
    pub(crate) async fn make_alike(&self, id: &AllocationId) -> Result<(), Error> {
        let again = |current: &AllocationRecord| {
            let mut after = current.clone();
            after.intent.apply_again();
            Revised::Put(Box::new(after))
        };
        self.revise(id, |current| {
            (current.intent.stage == Stage::Applied).then(|| again(current))
        })
        .await?;
        let mut cache = lock(&self.cache);
        if let Some(key) = cache.owners.get(id).cloned() {
            cache.enqueue(&key);
        }
        drop(cache);
        self.committer.wake.notify_one();
        Ok(())
    }

    /// Nothing is left of it at the cloud.
    pub(crate) async fn record_destroyed(
        &self,
        job: &AllocationCall,
    ) -> Result<CallOutcome, Error> {
        let record = &job.record;
        let message = format!(
            "{} × {} removed from {}",
            record.intent.replicas,
            record.task,
            Place::of(record)
        );
        let told = allocation_event(Severity::Info, Reason::AllocationRemoved, record, message);
        let told = Box::new(journal::changing(told, Some(record), None));
        self.revise(&record.id, |current| {
            (current.intent.stage == Stage::Removing).then(|| Revised::Deleted(told.clone()))
        })
        .await?;
        self.quotes.invalidate(&record.intent.provider);
        lock(&self.cache).room_freed(&record.intent.provider);
        Ok(CallOutcome::Done)
    }

    fn has_unknown_outcome(&self, job: &AllocationCall) -> bool {
        lock(&self.cache)
            .live(&job.record.id)
            .is_some_and(|live| live.outcome_unknown)
    }

    /// The call that has just ended had no effect: what is known of the allocation is what was known before it.
    pub(crate) fn record_no_effect(&self, job: &AllocationCall) {
        if let Some(live) = lock(&self.cache).live_mut(&job.record.id) {
            live.outcome_unknown = job.outcome_unknown;
        }
    }

    /// Tells of a failure once, not at every repetition.
    pub(crate) async fn report(&self, job: &AllocationCall, reason: Reason, failure: &Failure) {
        let record = &job.record;
        tracing::warn!(
            deployment = %record.key(), allocation = %record.id, provider = %record.intent.provider,
            kind = %failure.kind, code = failure.code, message = failure.message, "{reason}"
        );
        if job.failures == 0 {
            let message = format!("{}: {}", failure.kind, failure.told());
            self.committer
                .emit_event(allocation_event(Severity::Error, reason, record, message))
                .await;
        }
    }

    /// Changes a record as it is now. When another write comes first, `revise` is asked again about what that left; none: nothing to store.
    async fn revise(
        &self,
        id: &AllocationId,
        revise: impl Fn(&AllocationRecord) -> Option<Revised>,
    ) -> Result<(), Error> {
        loop {
            let known = lock(&self.cache)
                .live(id)
                .map(|l| (l.record.clone(), l.revision));
            let Some((current, revision)) = known else {
                return Ok(());
            };
            let Some(revised) = revise(&current) else {
                return Ok(());
            };
            let mut change = Change::new();
            match revised {
                Revised::Put(mut after) => {
                    change.segment(id, metering::turn(&mut after, self.clock.now()));
                    let seen = || {
                        Cause::Observation(format!(
                            "the provider's answer to attempt {}",
                            current.intent.attempt
                        ))
                    };
                    if let Some(told) = journal::revision_event(&current, &after) {
                        change.event(told.because(seen()));
                    }
                    change.put_allocation(*after, revision)?;
                }
                Revised::Deleted(told) => {
                    change.segment(id, metering::close(&current, self.clock.now()));
                    change.event(*told);
                    change.delete_allocation(&current, revision);
                }
            }
            match self.committer.commit(change).await {
                Err(Error::Conflict { .. }) => self.catch_up(id, &current.path()).await?,
                answer => return answer.map(drop),
            }
        }
    }

    /// Shows a record as another write has left it.
    async fn catch_up(&self, id: &AllocationId, path: &str) -> Result<(), Error> {
        let stored = self.store.get(path).await?;
        let record: Option<AllocationRecord> = stored.as_ref().map(journal::decode).transpose()?;
        let mut cache = lock(&self.cache);
        match (record, stored) {
            (Some(record), Some(stored)) => cache.insert_allocation(record, stored.revision),
            _ => cache.remove_allocation(id),
        }
        Ok(())
    }

    /// Removes a deployment of which nothing is left.
    pub(crate) async fn finish_deletion(&self, key: &DeploymentKey) {
        let (revision, record) = match lock(&self.cache).deployments.get(key) {
            Some(e) if e.record.deleting && e.allocations.is_empty() => {
                (e.revision, e.record.clone())
            }
            _ => return,
        };
        let mut change = Change::of(event(
            Severity::Info,
            Reason::DeploymentDeleted,
            CONTROLLER,
            key,
            "everything of it has been removed",
        ));
        change.delete_deployment(key, &record, revision);
        if let Err(error) = self.committer.commit(change).await {
            tracing::error!(deployment = %key, error = &error as &dyn std::error::Error, "the end of a deployment could not be stored");
            lock(&self.cache).enqueue_at(key, Tick::now() + Duration::from_secs(1));
        }
    }
}
