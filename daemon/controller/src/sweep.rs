//! The sweep: what a cloud has under one of this installation's names but no record tells of is an orphan, and is removed. It acts only on
//! what it has seen twice, and only after it has written down what it is about to remove. It must not touch what belongs to others.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant as Tick;
use tradewind_core::{
    failure::{Failure, FailureKind},
    names::{AllocationId, InstallationId, InstanceName},
    plugin::{Destroyed, Owned, Provider, Tracked},
    record::{INSTALLATION, InstallationRecord, ORPHANS, OrphanRecord, RESTORED, Restored},
    standing::Place,
    store::{Error, Expect, Store, Txn},
    units::{Instant, Millis},
    view::{Cause, Event, Severity},
};

use super::{
    Shared,
    journal::{self, CONTROLLER, encode},
    lock,
};

/// How soon to look after the start, and again while something is suspected or being removed.
const SOON: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Sweeper {
    /// What was there without a record, and when it was first seen.
    suspects: Mutex<HashMap<InstanceName, HashMap<AllocationId, Tick>>>,
    /// To be removed; each is in the state as well.
    orphans: Mutex<BTreeMap<AllocationId, OrphanRecord>>,
    /// Providers that are being looked at.
    running: Mutex<BTreeSet<InstanceName>>,
    /// Nothing is taken for an orphan before this. None: at once.
    not_before: Option<Tick>,
}

/// This installation's name: drawn at the first start, then the same for ever.
///
/// # Errors
/// The state can't be read or written.
pub(super) async fn installation(store: &dyn Store, draw: impl FnOnce() -> InstallationId) -> Result<InstallationId, Error> {
    if let Some(stored) = store.get(INSTALLATION).await? {
        return Ok(journal::decode::<InstallationRecord>(&stored)?.id);
    }
    let record = InstallationRecord { id: draw() };
    let txn = Txn::new().expect(Expect::Absent { key: INSTALLATION.to_owned() });
    store.commit(txn.put(INSTALLATION, encode(&record)?)).await?;
    Ok(record.id)
}

impl Sweeper {
    /// With what an earlier run had still to remove. A state that was put back from a backup is behind the clouds: for `grace` after that
    /// nothing is taken for an orphan, so that somebody can look first.
    ///
    /// # Errors
    /// The state can't be read.
    pub(super) async fn load(store: &dyn Store, now: Instant, grace: Millis) -> Result<Self, Error> {
        let mut sweeper = Self::default();
        if let Some(stored) = store.get(RESTORED).await? {
            let restored: Restored = journal::decode(&stored)?;
            let left = grace.0.saturating_sub(now.since(restored.at).0);
            sweeper.not_before = (left > 0).then(|| Tick::now() + Millis(left).std());
        }
        for stored in store.list(ORPHANS).await?.records {
            let orphan: OrphanRecord = journal::decode(&stored)?;
            lock(&sweeper.orphans).insert(orphan.allocation.clone(), orphan);
        }
        Ok(sweeper)
    }

    fn is_restless(&self) -> bool {
        !lock(&self.orphans).is_empty() || lock(&self.suspects).values().any(|s| !s.is_empty())
    }
}

impl Shared {
    /// Runs until the controller stops.
    pub(super) async fn sweep(self: Arc<Self>) {
        let interval = self.options.sweep_interval.std();
        let mut next = Tick::now() + SOON.min(interval);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
            }
            let snapshot = self.plugins.snapshot();
            for (name, provider) in &snapshot.providers {
                if !lock(&self.sweeper.running).insert(name.clone()) {
                    continue;
                }
                let (shared, name, provider) = (self.clone(), name.clone(), provider.clone());
                self.tasks.spawn(async move {
                    shared.sweep_one(&name, provider.as_ref()).await;
                    lock(&shared.sweeper.running).remove(&name);
                });
            }
            // What the looks found decides when to look again; they are short.
            let glance = Tick::now() + SOON.min(interval);
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep_until(glance) => {}
            }
            next = if self.sweeper.is_restless() { Tick::now() } else { Tick::now() + interval.saturating_sub(SOON) };
        }
    }

    async fn sweep_one(&self, name: &InstanceName, provider: &dyn Provider) {
        match provider.owned().await {
            Ok(owned) => self.suspect(name, owned).await,
            Err(failure) => {
                tracing::warn!(provider = %name, kind = %failure.kind, message = failure.message, "what the provider has could not be listed");
            }
        }
        let due: Vec<OrphanRecord> = lock(&self.sweeper.orphans).values().filter(|o| o.provider == *name).cloned().collect();
        for orphan in due {
            if let Err(error) = self.remove_orphan(&orphan, provider).await {
                tracing::error!(allocation = %orphan.allocation, error = &error as &dyn std::error::Error, "the removal of an orphan could not be stored");
            }
        }
    }

    /// Compares what is there with what is on record. What had no record the last time either is written down as an orphan.
    async fn suspect(&self, name: &InstanceName, owned: Vec<Owned>) {
        let now = Tick::now();
        let mut unknown: Vec<Owned> = {
            let world = lock(&self.world);
            let ours = |o: &Owned| o.allocation.is_of(&self.installation) && !world.owners.contains_key(&o.allocation);
            owned.into_iter().filter(ours).collect()
        };
        {
            let orphans = lock(&self.sweeper.orphans);
            unknown.retain(|o| !orphans.contains_key(&o.allocation));
        }
        let certain: Vec<Owned> = {
            let mut suspects = lock(&self.sweeper.suspects);
            let known = suspects.remove(name).unwrap_or_default();
            let settled = self.sweeper.not_before.is_none_or(|at| now >= at);
            let is_certain = |o: &Owned| settled && known.contains_key(&o.allocation);
            let (certain, uncertain): (Vec<Owned>, Vec<Owned>) = unknown.into_iter().partition(is_certain);
            let since = |o: Owned| (o.allocation.clone(), known.get(&o.allocation).copied().unwrap_or(now));
            suspects.insert(name.clone(), uncertain.into_iter().map(since).collect());
            certain
        };
        for found in certain {
            let Owned { allocation, state, description } = found;
            let orphan = OrphanRecord { provider: name.clone(), allocation, state, description, found_at: self.clock.now() };
            if let Err(error) = self.intend_removal(orphan).await {
                tracing::error!(provider = %name, error = &error as &dyn std::error::Error, "an orphan could not be recorded");
            }
        }
    }

    async fn intend_removal(&self, orphan: OrphanRecord) -> Result<(), Error> {
        let message = format!("{} \"{}\" has no record here: it is removed", orphan.allocation, orphan.description);
        let event = self.orphan_event(Severity::Warning, "OrphanFound", &orphan, message);
        let txn = Txn::new().put(orphan.path(), encode(&orphan)?);
        self.store.commit(self.tell(txn, event)?).await?;
        lock(&self.sweeper.orphans).insert(orphan.allocation.clone(), orphan);
        Ok(())
    }

    async fn remove_orphan(&self, orphan: &OrphanRecord, provider: &dyn Provider) -> Result<(), Error> {
        let known = lock(&self.world).owners.contains_key(&orphan.allocation);
        let lane = Place { provider: orphan.provider.clone(), region: String::new() };
        let outcome = if known {
            // It has been taken up again meanwhile.
            Ok(None)
        } else {
            let Some(_slot) = self.lanes.enter(&lane, share(provider)).await else { return Ok(()) };
            provider.destroy(&Tracked { allocation: orphan.allocation.clone(), state: orphan.state.clone() }).await.map(Some)
        };
        let event = match outcome {
            Ok(None) => None,
            Ok(Some(Destroyed::Going)) => return Ok(()),
            Ok(Some(Destroyed::Gone)) | Err(Failure { kind: FailureKind::NotFound, .. }) => {
                let message = format!("{} \"{}\" is gone", orphan.allocation, orphan.description);
                Some(self.orphan_event(Severity::Info, "OrphanDestroyed", orphan, message))
            }
            Err(failure) => {
                tracing::warn!(provider = %orphan.provider, allocation = %orphan.allocation, kind = %failure.kind, message = failure.message, "an orphan could not be removed");
                return Ok(());
            }
        };
        let txn = Txn::new().delete(orphan.path());
        let txn = match event {
            Some(event) => self.tell(txn, event)?,
            None => txn,
        };
        self.store.commit(txn).await?;
        lock(&self.sweeper.orphans).remove(&orphan.allocation);
        Ok(())
    }

    fn orphan_event(&self, severity: Severity, reason: &str, orphan: &OrphanRecord, message: String) -> Event {
        Event {
            plugin: Some(orphan.provider.clone()),
            allocation: Some(orphan.allocation.clone()),
            ..Event::new(severity, reason, CONTROLLER, message).because(Cause::Rule("controller.sweep-interval".to_owned()))
        }
    }
}

/// The part of a provider's calls that those which change something may take: the rest is for those that look.
pub(super) fn share(provider: &dyn Provider) -> usize {
    let all = usize::try_from(provider.concurrency()).unwrap_or(usize::MAX);
    (all - all / 4).max(1)
}
