//! Carrying out: each allocation's call to its provider, by itself, so that nobody waits for somebody else's. What a call did is recorded in
//! `landing`. It must not decide what is wanted: it does what the allocation's record says when its turn comes.

use std::sync::Arc;

use tradewind_core::{
    failure::{Failure, FailureKind},
    names::AllocationId,
    plugin::{Destroyed, Provider, Tracked},
    record::{AllocationRecord, DeploymentKey, Stage},
    store::Error,
    workload::{Allocation, Labels, Phase},
};

use super::{Shared, landing::Ended, lock, state::Job};

impl Shared {
    /// Begins the calls of these allocations, which are in flight already.
    pub(super) fn launch(self: &Arc<Self>, key: &DeploymentKey, due: Vec<AllocationId>) {
        for id in due {
            let (shared, key) = (self.clone(), key.clone());
            self.tasks.spawn(async move {
                let ended = shared.fly(&id).await;
                shared.land(&key, &id, ended);
            });
        }
    }

    async fn fly(&self, id: &AllocationId) -> Ended {
        // A semaphore that is closed means that the controller stops: nothing new is begun.
        let Ok(_slot) = self.slots.acquire().await else { return Ended::Done };
        let Some(job) = lock(&self.world).take_off(id) else { return Ended::Done };
        let Some(provider) = self.plugins.snapshot().providers.get(&job.record.provider).cloned() else {
            self.nothing_happened(&job);
            return Ended::Failed(Box::new(provider_missing(&job.record)));
        };
        let result = match job.record.stage {
            Stage::Removing => self.destroy(&job, provider.as_ref()).await,
            _ => self.apply(&job, provider.as_ref()).await,
        };
        result.unwrap_or_else(|error| {
            tracing::error!(allocation = %id, error = &error as &dyn std::error::Error, "the outcome could not be stored");
            Ended::Failed(Box::new(Failure::unavailable("the state could not be written").code("store")))
        })
    }

    async fn apply(&self, job: &Job, provider: &dyn Provider) -> Result<Ended, Error> {
        let record = &job.record;
        let applied = match prior(job, provider).await {
            Ok(state) => provider.apply(&allocation(record), state.as_deref()).await,
            Err(failure) => Err(failure),
        };
        let failure = match applied {
            Ok(state) => {
                self.applied(job, state).await?;
                return Ok(Ended::Done);
            }
            Err(failure) => failure,
        };
        if is_certain(&failure) {
            self.nothing_happened(job);
        }
        let full = matches!(failure.kind, FailureKind::OutOfCapacity | FailureKind::Quota);
        if full {
            self.offers.cool(&record.provider, &record.offer.id, tokio::time::Instant::now());
            self.offers.forget(&record.provider);
        }
        match failure.kind {
            _ if full && record.state.is_none() => self.give_up(job, &failure).await,
            FailureKind::NotFound if record.state.is_some() => self.begin_anew(job).await,
            _ => {
                self.report(job, "ApplyFailed", &failure).await;
                Ok(Ended::Failed(Box::new(failure)))
            }
        }
    }

    async fn destroy(&self, job: &Job, provider: &dyn Provider) -> Result<Ended, Error> {
        let record = &job.record;
        let state = match &record.state {
            Some(state) => Ok(Some(state.clone())),
            // An apply may have had its effect without its answer having been stored: ask the cloud what it has.
            None => found(record, provider).await,
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
                self.report(job, "DestroyFailed", &failure).await;
                Ok(Ended::Failed(Box::new(failure)))
            }
        }
    }
}

/// What the provider shall begin with. An attempt whose end is not known is repeated under the same token; but where an earlier one with
/// other parameters may have had an effect, another token would make a second copy: so the cloud is asked first.
async fn prior(job: &Job, provider: &dyn Provider) -> Result<Option<Vec<u8>>, Failure> {
    match &job.record.state {
        Some(state) => Ok(Some(state.clone())),
        None if job.unsure && job.record.attempt > 0 => found(&job.record, provider).await,
        None => Ok(None),
    }
}

/// What exists of an allocation at the cloud, by its tag.
async fn found(record: &AllocationRecord, provider: &dyn Provider) -> Result<Option<Vec<u8>>, Failure> {
    let owned = provider.owned().await?;
    Ok(owned.into_iter().find(|o| o.allocation == record.id).map(|o| o.state))
}

/// Whether a failed apply can't have had any effect. One that was throttled may have come half way.
fn is_certain(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::Invalid | FailureKind::Denied | FailureKind::OutOfCapacity | FailureKind::Quota => true,
        FailureKind::Unavailable => failure.code.as_deref() == Some("busy"),
        FailureKind::Throttled | FailureKind::NotFound | FailureKind::Internal => false,
    }
}

pub(super) fn provider_missing(record: &AllocationRecord) -> Failure {
    Failure::unavailable(format!("provider \"{}\" is missing", record.provider))
        .code("provider-missing")
        .remedy("put its component and instance file back into the plugin folder")
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
