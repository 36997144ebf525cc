//! One revision runs one image: what a tag named when a workload first started is kept, and every later replica of that workload is asked for
//! by its digest, wherever it goes. The tag's registry tells, where the operator has named it, before the first replica is made; else
//! providers tell what runs. What is asked for is still theirs to find.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tradewind_core::{
    capability::Registries,
    event::{Reason, Severity},
    image::{self, Exact, Pins},
    names::AllocationId,
    plan::{Desired, Step},
    plugin::Snapshot,
    record::{AllocationRecord, DeploymentKey, IMAGES},
    store::{self, Store},
    workload::Phase,
};

use crate::{
    execute::outcome::Outcomes,
    lock,
    state::cache::{AllocationCall, AllocationState, Cache, DeploymentState},
    state::commit::{Change, Committer},
    state::journal::{self, allocation_event},
};

/// Puts the kept pins into the deployments that are known.
pub(crate) async fn load(store: &dyn Store, cache: &mut Cache) -> Result<(), store::Error> {
    for stored in store.list(IMAGES).await?.records {
        let pins: Pins = journal::decode(&stored)?;
        if let Some((_, entry)) = cache
            .deployments
            .quietly()
            .iter_mut()
            .find(|(key, _)| key.images_path() == stored.key)
        {
            entry.images = pins;
        }
    }
    Ok(())
}

/// Whether an allocation's later replicas may run another image than its first ones, and what people are told of it.
pub(crate) fn loose(entry: &DeploymentState, live: &AllocationState) -> Option<String> {
    let record = &live.record;
    let image = record
        .intent
        .workload
        .image
        .as_deref()
        .filter(|image| !image.contains('@'))?;
    let runs = live.observation.is_some()
        && record.status.phase == Phase::Running
        && live.images.is_empty();
    let known = record.handle.pinned
        && entry
            .images
            .of(
                &record.task,
                &image::print(&record.intent.workload),
                &record.intent.provider,
            )
            .is_some();
    (runs && !known).then(|| image::loose(image, &record.intent.provider))
}

/// What the images of deployments are.
pub(crate) struct Images {
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) registries: Arc<dyn Registries>,
    pub(crate) outcomes: Arc<Outcomes>,
    /// The turn of who writes what the images of deployments are.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl Images {
    /// What a plan's steps leave to what a tag will name.
    pub(crate) fn left_loose(
        &self,
        key: &DeploymentKey,
        snapshot: &Snapshot,
        desired: &[Desired],
        steps: &[Step],
    ) -> Vec<String> {
        let cache = lock(&self.cache);
        let entry = cache.deployments.get(key);
        let loose = |step: &Step| {
            let (want, provider) = (desired.get(step.desired?)?, &step.placement.provider);
            let image = want
                .workload
                .image
                .as_deref()
                .filter(|image| !image.contains('@'))?;
            let tells = snapshot
                .providers
                .get(provider)
                .is_none_or(|known| known.features().tells_images);
            let existing = step
                .allocation
                .as_ref()
                .and_then(|id| entry?.allocations.get(id))
                .map(|live| &live.record);
            // What runs by its tag stays as it is.
            let by_tag = existing.is_some_and(|record| record.handle.runs_by_tag());
            let known = || {
                entry.is_some_and(|entry| {
                    entry
                        .images
                        .of(&step.task, &image::print(&want.workload), provider)
                        .is_some()
                })
            };
            let pinned = !by_tag && (known() || self.registries.knows(image));
            (!tells && !pinned).then(|| image::loose(image, provider))
        };
        let told: BTreeSet<String> = steps.iter().filter_map(loose).collect();
        told.into_iter().collect()
    }

    /// Asks a workload's registry what its tag names, before its first replica is made. Where it can't tell, the tag is asked for as it is.
    pub(crate) async fn find_image(&self, job: &AllocationCall) {
        let record = &job.record;
        let tag = record
            .intent
            .workload
            .image
            .as_deref()
            .filter(|image| !image.contains('@') && self.registries.knows(image));
        let Some(tag) = tag else { return };
        // An attempt whose end is not known is repeated as it was.
        if job.outcome_unknown || record.handle.runs_by_tag() || self.known_image(record).is_some()
        {
            return;
        }
        match self.registries.digest(tag).await {
            Ok(digest) => self.take_image(record, Exact::Digest(digest)).await,
            Err(failure) => {
                tracing::warn!(deployment = %record.key(), image = tag, %failure, "the registry does not tell what a tag names");
                if job.failures == 0 {
                    let message = format!(
                        "{}: {}",
                        image::loose(tag, &record.intent.provider),
                        failure.told()
                    );
                    self.committer
                        .emit_event(allocation_event(
                            Severity::Warning,
                            Reason::ImageNotPinned,
                            record,
                            message,
                        ))
                        .await;
                }
            }
        }
    }

    fn known_image(&self, record: &AllocationRecord) -> Option<Exact> {
        let cache = lock(&self.cache);
        cache.deployments.get(&record.key())?.images.of(
            &record.task,
            &image::print(&record.intent.workload),
            &record.intent.provider,
        )
    }

    /// Keeps what a workload's image is, unless somebody has told it meanwhile.
    async fn take_image(&self, record: &AllocationRecord, image: Exact) {
        let _turn = self.turn.lock().await;
        let (key, workload) = (record.key(), image::print(&record.intent.workload));
        let pins = {
            let mut cache = lock(&self.cache);
            let Some(entry) = cache.deployments.get_mut(&key) else {
                return;
            };
            if entry
                .images
                .of(&record.task, &workload, &record.intent.provider)
                .is_some()
            {
                return;
            }
            entry.images.keep(
                record.task.clone(),
                workload,
                &record.intent.provider,
                image,
            );
            entry.images.clone()
        };
        if let Err(error) = self.keep(&key, &pins).await {
            tracing::error!(deployment = %key, error = &error as &dyn std::error::Error, "the images of a deployment could not be stored");
        }
    }

    /// The reference by which a provider is asked for an allocation's image; none: as the manifest has it. What runs under a tag at a provider
    /// that does not tell what it found there is left as it is: the same image by another name would be another workload to it.
    pub(crate) fn pin(&self, record: &AllocationRecord) -> Option<String> {
        let image = record
            .intent
            .workload
            .image
            .as_deref()
            .filter(|image| !image.contains('@'))?;
        let cache = lock(&self.cache);
        let entry = cache.deployments.get(&record.key())?;
        let tells = entry
            .allocations
            .get(&record.id)
            .is_some_and(|live| !live.images.is_empty());
        if record.handle.runs_by_tag() && !tells {
            return None;
        }
        let exact = entry.images.of(
            &record.task,
            &image::print(&record.intent.workload),
            &record.intent.provider,
        )?;
        Some(image::pinned(image, &exact))
    }

    /// Takes in what runs in these allocations: the first is kept, and what differs from it is made again with the kept one.
    pub(crate) async fn learn_images(&self, ids: Vec<AllocationId>) {
        if ids.is_empty() {
            return;
        }
        // One write after the other: an earlier one must not come last.
        let _turn = self.turn.lock().await;
        let (mut learnt, mut strays) = (BTreeMap::<DeploymentKey, Pins>::new(), Vec::new());
        {
            let mut cache = lock(&self.cache);
            for id in ids {
                let Some(live) = cache.live(&id) else {
                    continue;
                };
                let (key, task, provider) = (
                    live.record.key(),
                    live.record.task.clone(),
                    live.record.intent.provider.clone(),
                );
                let Some(name) = live
                    .record
                    .intent
                    .workload
                    .image
                    .as_deref()
                    .filter(|image| !image.contains('@'))
                else {
                    continue;
                };
                let runs: Vec<Exact> = live
                    .images
                    .iter()
                    .filter(|(of, _)| of == name)
                    .map(|(_, exact)| *exact)
                    .collect();
                let (Some(first), workload) = (
                    runs.first().copied(),
                    image::print(&live.record.intent.workload),
                ) else {
                    continue;
                };
                let Some(entry) = cache.deployments.get_mut(&key) else {
                    continue;
                };
                let known = entry.images.of(&task, &workload, &provider);
                if known.is_none() {
                    entry.images.keep(task, workload, &provider, first);
                    learnt.insert(key, entry.images.clone());
                }
                if runs
                    .iter()
                    .any(|exact| exact.differs(&known.unwrap_or(first)))
                {
                    strays.push(id);
                }
            }
        }
        for (key, pins) in learnt {
            if let Err(error) = self.keep(&key, &pins).await {
                tracing::error!(deployment = %key, error = &error as &dyn std::error::Error, "the images of a deployment could not be stored");
            }
        }
        for id in strays {
            if let Err(error) = self.outcomes.make_alike(&id).await {
                tracing::error!(allocation = %id, error = &error as &dyn std::error::Error, "an allocation of several images stays as it is");
            }
        }
    }

    async fn keep(&self, key: &DeploymentKey, pins: &Pins) -> Result<(), store::Error> {
        let mut change = Change::new();
        change.put(key.images_path(), pins)?;
        self.committer.commit(change).await.map(drop)
    }
}
