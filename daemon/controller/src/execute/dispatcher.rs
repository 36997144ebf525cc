//! Carrying out: each allocation's call to its provider, by itself, so that nobody waits for somebody else's. What a call did is recorded in
//! `outcome`. It must not decide what is wanted: it does what the allocation's record says when its turn comes.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant as Tick;
use tokio_util::task::TaskTracker;
use tradewind_core::{
    event::Reason,
    failure::{Failure, FailureKind},
    names::AllocationId,
    place_health::Place,
    plugin::{Destroyed, Plugins, Provider, Tracked},
    record::{AllocationRecord, DeploymentKey, Stage},
    store::Error,
    workload::{Allocation, Labels, Run, Workload},
};

use crate::{
    execute::images::Images,
    execute::lanes::Lanes,
    execute::outcome::{CallOutcome, Outcomes},
    lock,
    observe::outages::Outages,
    observe::place_health::{PlaceHealth, for_everybody},
    schedule::offers::OfferCache,
    state::cache::{AllocationCall, Cache},
};

/// So many calls in a row without an answer, and nothing that exists: another place is looked for.
const GIVE_UP_AFTER: u32 = 3;

/// Makes the calls.
pub(crate) struct Dispatcher {
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) plugins: Arc<dyn Plugins>,
    pub(crate) lanes: Lanes,
    pub(crate) place_health: Arc<PlaceHealth>,
    pub(crate) quotes: Arc<OfferCache>,
    pub(crate) outages: Arc<Outages>,
    pub(crate) outcomes: Arc<Outcomes>,
    pub(crate) images: Arc<Images>,
    pub(crate) tasks: TaskTracker,
}

impl Dispatcher {
    /// Begins the calls of these allocations, which are in flight already.
    pub(crate) fn launch(self: &Arc<Self>, key: &DeploymentKey, due: Vec<AllocationId>) {
        for id in due {
            let (this, key) = (self.clone(), key.clone());
            self.tasks.spawn(async move {
                let ended = this.execute(&id).await;
                this.outcomes.finish_call(&key, &id, ended);
            });
        }
    }

    async fn execute(&self, id: &AllocationId) -> CallOutcome {
        let Some(place) = lock(&self.cache)
            .live(id)
            .map(|live| Place::of(&live.record))
        else {
            return CallOutcome::Done;
        };
        let most = self
            .plugins
            .snapshot()
            .providers
            .get(&place.provider)
            .map_or(usize::MAX, |p| share(p.as_ref()));
        // None: the controller stops, nothing new is begun.
        let Some(_slot) = self.lanes.enter(&place, most).await else {
            return CallOutcome::Done;
        };
        let Some(job) = lock(&self.cache).begin_call(id) else {
            return CallOutcome::Done;
        };
        let Some(provider) = self
            .plugins
            .snapshot()
            .providers
            .get(&place.provider)
            .cloned()
        else {
            self.outcomes.record_no_effect(&job);
            return CallOutcome::Failed(Box::new(provider_missing(&job.record)));
        };
        let removing = job.record.intent.stage == Stage::Removing;
        if !removing && job.record.is_over() {
            return self.outcomes.over(&job).await.unwrap_or(CallOutcome::Done);
        }
        // Where nothing may exist, the provider is asked what it has before the region is: that may be all.
        let admitted = if removing && job.record.handle.state.is_none() {
            Ok(())
        } else {
            self.place_health.admit(&place)
        };
        let result = match admitted {
            Err(until) => self.on_circuit_open(&job, &place, until).await,
            Ok(()) if removing => self.destroy(&job, provider.as_ref()).await,
            Ok(()) => self.apply(&job, provider.as_ref()).await,
        };
        result.unwrap_or_else(|error| {
            tracing::error!(allocation = %id, error = &error as &dyn std::error::Error, "the outcome could not be stored");
            CallOutcome::Failed(Box::new(Failure::unavailable("the state could not be written").code("store")))
        })
    }

    /// No call goes there now. What has not begun to exist there need not wait: it is given up, and another place is looked for.
    async fn on_circuit_open(
        &self,
        job: &AllocationCall,
        place: &Place,
        until: Tick,
    ) -> Result<CallOutcome, Error> {
        self.outcomes.record_no_effect(job);
        match self.place_health.shut(place) {
            Some(cause)
                if job.record.intent.stage == Stage::Intended
                    && job.record.handle.state.is_none() =>
            {
                self.outcomes.give_up(job, &cause).await
            }
            cause => Ok(CallOutcome::Deferred(until, cause.map(Box::new))),
        }
    }

    async fn apply(
        &self,
        job: &AllocationCall,
        provider: &dyn Provider,
    ) -> Result<CallOutcome, Error> {
        let (record, began) = (&job.record, Tick::now());
        self.images.find_image(job).await;
        let pin = self.images.pin(record);
        let mut wanted = allocation(record);
        wanted.workload.image = pin.clone().or(wanted.workload.image);
        let applied = match prior(job, provider).await {
            Ok(state) => provider.apply(&wanted, state.as_deref()).await,
            Err(failure) => Err(failure),
        };
        self.place_health
            .record_call(record, began, applied.as_ref().err())
            .await;
        let failure = match applied {
            Ok(state) => {
                self.outages.record_reachable(&Place::of(record)).await;
                self.outcomes.applied(job, state, pin.is_some()).await?;
                return Ok(CallOutcome::Done);
            }
            Err(failure) => failure,
        };
        self.outages
            .record_unreachable(&Place::of(record), &for_everybody(record, &failure));
        if is_certain(&failure) {
            self.outcomes.record_no_effect(job);
        }
        let full = matches!(
            failure.kind,
            FailureKind::OutOfCapacity | FailureKind::Quota
        );
        let ended = match failure.kind {
            _ if record.handle.state.is_none() && self.should_relocate(job, &failure) => {
                self.outcomes.give_up(job, &failure).await
            }
            FailureKind::NotFound if record.handle.state.is_some() => {
                self.outcomes.recreate(job).await
            }
            _ => {
                self.outcomes
                    .report(job, Reason::ApplyFailed, &failure)
                    .await;
                Ok(CallOutcome::Failed(Box::new(failure)))
            }
        };
        if full {
            self.quotes.invalidate(&record.intent.provider);
        }
        ended
    }

    /// Whether what does not exist yet had better be tried elsewhere.
    fn should_relocate(&self, job: &AllocationCall, failure: &Failure) -> bool {
        match failure.kind {
            FailureKind::OutOfCapacity | FailureKind::Quota | FailureKind::Denied => true,
            FailureKind::Invalid => failure.is_unsupported(),
            FailureKind::Unavailable | FailureKind::Internal => {
                // A call that hung has cost more time than one that was refused.
                let weight = if failure.code.as_deref() == Some("deadline-exceeded") {
                    2
                } else {
                    1
                };
                job.failures.saturating_add(1).saturating_mul(weight) >= GIVE_UP_AFTER
                    || self.place_health.shut(&Place::of(&job.record)).is_some()
            }
            FailureKind::Throttled | FailureKind::NotFound => false,
        }
    }

    async fn destroy(
        &self,
        job: &AllocationCall,
        provider: &dyn Provider,
    ) -> Result<CallOutcome, Error> {
        let (record, began) = (&job.record, Tick::now());
        let state = match &record.handle.state {
            Some(state) => Ok(Some(state.clone())),
            // An apply may have had its effect without its answer having been stored: ask the cloud what it has.
            None => found(record, provider).await,
        };
        let outcome = match state {
            Ok(Some(state)) => {
                let destroyed = provider
                    .destroy(&Tracked {
                        allocation: record.id.clone(),
                        state,
                    })
                    .await;
                self.place_health
                    .record_call(record, began, destroyed.as_ref().err())
                    .await;
                destroyed
            }
            Ok(None) => Ok(Destroyed::Gone),
            Err(failure) => Err(failure),
        };
        match &outcome {
            Ok(_) => self.outages.record_reachable(&Place::of(record)).await,
            Err(failure) => self
                .outages
                .record_unreachable(&Place::of(record), &for_everybody(record, failure)),
        }
        match outcome {
            Ok(Destroyed::Going) => Ok(CallOutcome::InProgress),
            Ok(Destroyed::Gone) => self.outcomes.record_destroyed(job).await,
            Err(failure) if failure.kind == FailureKind::NotFound => {
                self.outcomes.record_destroyed(job).await
            }
            Err(failure) => {
                self.outcomes
                    .report(job, Reason::DestroyFailed, &failure)
                    .await;
                Ok(CallOutcome::Failed(Box::new(failure)))
            }
        }
    }
}

/// What the provider shall begin with. An attempt whose end is not known is repeated under the same token; but where an earlier one with
/// other parameters may have had an effect, another token would make a second copy: so the cloud is asked first.
async fn prior(job: &AllocationCall, provider: &dyn Provider) -> Result<Option<Vec<u8>>, Failure> {
    match &job.record.handle.state {
        Some(state) => Ok(Some(state.clone())),
        None if job.outcome_unknown && job.record.intent.attempt > 0 => {
            found(&job.record, provider).await
        }
        None => Ok(None),
    }
}

/// What exists of an allocation at the cloud, by its tag.
async fn found(
    record: &AllocationRecord,
    provider: &dyn Provider,
) -> Result<Option<Vec<u8>>, Failure> {
    let owned = provider.owned().await?;
    Ok(owned
        .into_iter()
        .find(|o| o.allocation == record.id)
        .map(|o| o.state))
}

/// Whether a failed apply can't have had any effect. One that was throttled may have come half way.
fn is_certain(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::Invalid
        | FailureKind::Denied
        | FailureKind::OutOfCapacity
        | FailureKind::Quota => true,
        FailureKind::Unavailable => failure.code.as_deref() == Some("busy"),
        FailureKind::Throttled | FailureKind::NotFound | FailureKind::Internal => false,
    }
}

pub(crate) fn provider_missing(record: &AllocationRecord) -> Failure {
    Failure::unavailable(format!(
        "provider \"{}\" is missing",
        record.intent.provider
    ))
    .code("provider-missing")
    .remedy("put its component and instance file back into the plugin folder")
}

/// What the provider is told. Tags and token are the host's.
pub(crate) fn allocation(record: &AllocationRecord) -> Allocation {
    let tag = |key: &str, value: &str| (format!("tradewind.dev/{key}"), value.to_owned());
    let tags = [
        tag("allocation", record.id.as_str()),
        tag("namespace", record.namespace.as_str()),
        tag("deployment", record.deployment.as_str()),
        tag("task", record.task.as_str()),
        tag("provider", record.intent.provider.as_str()),
    ];
    Allocation {
        id: record.id.clone(),
        namespace: record.namespace.clone(),
        deployment: record.deployment.clone(),
        task: record.task.clone(),
        generation: record.intent.generation,
        replicas: record.intent.replicas,
        workload: within_deadline(record),
        offer: record.intent.offer.clone(),
        token: format!("{}-{}", record.id, record.intent.attempt),
        tags: Labels::from(tags),
        traffic: record.intent.traffic,
    }
}

/// A job that is made anew has what is left of its deadline.
fn within_deadline(record: &AllocationRecord) -> Workload {
    let mut workload = record.intent.workload.clone();
    if let (
        Run::Job {
            deadline: Some(deadline),
            ..
        },
        Some(left),
    ) = (&mut workload.run, record.intent.deadline)
    {
        *deadline = left.min(*deadline);
    }
    workload
}

/// The part of a provider's calls that those which change something may take: the rest is for those that look.
pub(crate) fn share(provider: &dyn Provider) -> usize {
    let all = usize::try_from(provider.concurrency()).unwrap_or(usize::MAX);
    (all - all / 4).max(1)
}
