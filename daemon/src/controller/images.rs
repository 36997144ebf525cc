//! One revision runs one image: what a tag named when a workload first started is kept, and every later replica of that workload is asked for
//! by its digest, wherever it goes. Providers tell what runs; what is asked for is still theirs to find.

use std::collections::BTreeMap;

use tradewind_core::{
    image::{self, Exact, Pins},
    names::AllocationId,
    record::{AllocationRecord, DeploymentKey, IMAGES},
    store::{self, Store, Txn},
};

use super::{Shared, journal, lock, state::World};

/// Puts the kept pins into the deployments that are known.
pub(super) async fn load(store: &dyn Store, world: &mut World) -> Result<(), store::Error> {
    for stored in store.list(IMAGES).await?.records {
        let pins: Pins = journal::decode(&stored)?;
        if let Some((_, entry)) = world.deployments.iter_mut().find(|(key, _)| key.images_path() == stored.key) {
            entry.images = pins;
        }
    }
    Ok(())
}

impl Shared {
    /// The reference by which a provider is asked for an allocation's image; none: as the manifest has it. What runs under a tag at a provider
    /// that does not tell what it found there is left as it is: the same image by another name would be another workload to it.
    pub(super) fn pin(&self, record: &AllocationRecord) -> Option<String> {
        let image = record.workload.image.as_deref().filter(|image| !image.contains('@'))?;
        let world = lock(&self.world);
        let entry = world.deployments.get(&record.key())?;
        let tells = entry.allocations.get(&record.id).is_some_and(|live| !live.images.is_empty());
        if record.state.is_some() && !record.pinned && !tells {
            return None;
        }
        let exact = entry.images.of(&record.task, &image::print(&record.workload), &record.provider)?;
        Some(image::pinned(image, &exact))
    }

    /// Takes in what runs in these allocations: the first is kept, and what differs from it is made again with the kept one.
    pub(super) async fn learn_images(&self, ids: Vec<AllocationId>) {
        if ids.is_empty() {
            return;
        }
        // One write after the other: an earlier one must not come last.
        let _turn = self.images.lock().await;
        let (mut learnt, mut strays) = (BTreeMap::<DeploymentKey, Pins>::new(), Vec::new());
        {
            let mut world = lock(&self.world);
            for id in ids {
                let Some(live) = world.live(&id) else { continue };
                let (key, task, provider) = (live.record.key(), live.record.task.clone(), live.record.provider.clone());
                let Some(name) = live.record.workload.image.as_deref().filter(|image| !image.contains('@')) else { continue };
                let runs: Vec<Exact> = live.images.iter().filter(|(of, _)| of == name).map(|(_, exact)| *exact).collect();
                let (Some(first), workload) = (runs.first().copied(), image::print(&live.record.workload)) else { continue };
                let Some(entry) = world.deployments.get_mut(&key) else { continue };
                let known = entry.images.of(&task, &workload, &provider);
                if known.is_none() {
                    entry.images.keep(task, workload, &provider, first);
                    learnt.insert(key, entry.images.clone());
                }
                if runs.iter().any(|exact| exact.differs(&known.unwrap_or(first))) {
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
            if let Err(error) = self.make_alike(&id).await {
                tracing::error!(allocation = %id, error = &error as &dyn std::error::Error, "an allocation of several images stays as it is");
            }
        }
    }

    async fn keep(&self, key: &DeploymentKey, pins: &Pins) -> Result<(), store::Error> {
        self.store.commit(Txn::new().put(key.images_path(), journal::encode(pins)?)).await.map(drop)
    }
}
