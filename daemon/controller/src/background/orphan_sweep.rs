//! The sweep: what a cloud has under one of this installation's names but no record tells of is an orphan, and is removed. It acts only on
//! what it has seen twice, and only after it has written down what it is about to remove. It must not touch what belongs to others.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant as Tick;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tradewind_core::{
    capability::Clock,
    event::{Cause, Event, Reason, Severity},
    failure::{Failure, FailureKind},
    names::{AllocationId, InstallationId, InstanceName},
    place_health::Place,
    plugin::{Destroyed, Owned, Plugins, Provider, Tracked},
    record::{INSTALLATION, InstallationRecord, ORPHANS, OrphanRecord, RESTORED, Restored},
    store::{Error, Expect, Store, Txn},
    units::Millis,
};

use crate::{
    execute::{dispatcher::share, lanes::Lanes},
    lock,
    state::{
        cache::Cache,
        commit::{Change, Committer},
        journal::{self, CONTROLLER, encode},
    },
};

/// How soon to look after the start, and again while something is suspected or being removed.
const SOON: Duration = Duration::from_secs(5);

/// What the sweep stands on.
pub(crate) struct Deps {
    pub(crate) committer: Arc<Committer>,
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) plugins: Arc<dyn Plugins>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lanes: Lanes,
    pub(crate) installation: InstallationId,
    /// Between two looks.
    pub(crate) interval: Duration,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

pub(crate) struct OrphanSweep {
    deps: Deps,
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
pub(crate) async fn installation(
    store: &dyn Store,
    draw: impl FnOnce() -> InstallationId,
) -> Result<InstallationId, Error> {
    if let Some(stored) = store.get(INSTALLATION).await? {
        return Ok(journal::decode::<InstallationRecord>(&stored)?.id);
    }
    let record = InstallationRecord { id: draw() };
    let txn = Txn::new().expect(Expect::Absent {
        key: INSTALLATION.to_owned(),
    });
    store
        .commit(txn.put(INSTALLATION, encode(&record)?))
        .await?;
    Ok(record.id)
}

impl OrphanSweep {
    /// With what an earlier run had still to remove. A state that was put back from a backup is behind the clouds: for `grace` after that
    /// nothing is taken for an orphan, so that somebody can look first.
    ///
    /// # Errors
    /// The state can't be read.
    pub(crate) async fn load(deps: Deps, store: &dyn Store, grace: Millis) -> Result<Self, Error> {
        let not_before = match store.get(RESTORED).await? {
            None => None,
            Some(stored) => {
                let restored: Restored = journal::decode(&stored)?;
                let left = grace
                    .0
                    .saturating_sub(deps.clock.now().since(restored.at).0);
                (left > 0).then(|| Tick::now() + Millis(left).std())
            }
        };
        let mut orphans = BTreeMap::new();
        for stored in store.list(ORPHANS).await?.records {
            let orphan: OrphanRecord = journal::decode(&stored)?;
            orphans.insert(orphan.allocation.clone(), orphan);
        }
        Ok(Self {
            deps,
            suspects: Mutex::default(),
            orphans: Mutex::new(orphans),
            running: Mutex::default(),
            not_before,
        })
    }

    fn is_restless(&self) -> bool {
        !lock(&self.orphans).is_empty() || lock(&self.suspects).values().any(|s| !s.is_empty())
    }
}

impl OrphanSweep {
    /// Runs until the controller stops.
    pub(crate) async fn run(self: Arc<Self>) {
        let interval = self.deps.interval;
        let mut next = Tick::now() + SOON.min(interval);
        loop {
            tokio::select! {
                () = self.deps.stop.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
            }
            let snapshot = self.deps.plugins.snapshot();
            for (name, provider) in &snapshot.providers {
                if !lock(&self.running).insert(name.clone()) {
                    continue;
                }
                let (this, name, provider) = (self.clone(), name.clone(), provider.clone());
                self.deps.tasks.spawn(async move {
                    this.sweep_one(&name, provider.as_ref()).await;
                    lock(&this.running).remove(&name);
                });
            }
            // What the looks found decides when to look again; they are short.
            let glance = Tick::now() + SOON.min(interval);
            tokio::select! {
                () = self.deps.stop.cancelled() => return,
                () = tokio::time::sleep_until(glance) => {}
            }
            next = if self.is_restless() {
                Tick::now()
            } else {
                Tick::now() + interval.saturating_sub(SOON)
            };
        }
    }

    async fn sweep_one(&self, name: &InstanceName, provider: &dyn Provider) {
        match provider.owned().await {
            Ok(owned) => self.suspect(name, owned).await,
            Err(failure) => {
                tracing::warn!(provider = %name, kind = %failure.kind, message = failure.message, "what the provider has could not be listed");
            }
        }
        let due: Vec<OrphanRecord> = lock(&self.orphans)
            .values()
            .filter(|o| o.provider == *name)
            .cloned()
            .collect();
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
            let cache = lock(&self.deps.cache);
            let ours = |o: &Owned| {
                o.allocation.is_of(&self.deps.installation)
                    && !cache.owners.contains_key(&o.allocation)
            };
            owned.into_iter().filter(ours).collect()
        };
        {
            let orphans = lock(&self.orphans);
            unknown.retain(|o| !orphans.contains_key(&o.allocation));
        }
        let certain: Vec<Owned> = {
            let mut suspects = lock(&self.suspects);
            let known = suspects.remove(name).unwrap_or_default();
            let settled = self.not_before.is_none_or(|at| now >= at);
            let is_certain = |o: &Owned| settled && known.contains_key(&o.allocation);
            let (certain, uncertain): (Vec<Owned>, Vec<Owned>) =
                unknown.into_iter().partition(is_certain);
            let since = |o: Owned| {
                (
                    o.allocation.clone(),
                    known.get(&o.allocation).copied().unwrap_or(now),
                )
            };
            suspects.insert(name.clone(), uncertain.into_iter().map(since).collect());
            certain
        };
        for found in certain {
            let Owned {
                allocation,
                state,
                description,
            } = found;
            let orphan = OrphanRecord {
                provider: name.clone(),
                allocation,
                state,
                description,
                found_at: self.deps.clock.now(),
            };
            if let Err(error) = self.intend_removal(orphan).await {
                tracing::error!(provider = %name, error = &error as &dyn std::error::Error, "an orphan could not be recorded");
            }
        }
    }

    async fn intend_removal(&self, orphan: OrphanRecord) -> Result<(), Error> {
        let message = format!(
            "{} \"{}\" has no record here: it is removed",
            orphan.allocation, orphan.description
        );
        let event = self.orphan_event(Severity::Warning, Reason::OrphanFound, &orphan, message);
        let mut change = Change::of(event);
        change.put(orphan.path(), &orphan)?;
        self.deps.committer.commit(change).await?;
        lock(&self.orphans).insert(orphan.allocation.clone(), orphan);
        Ok(())
    }

    async fn remove_orphan(
        &self,
        orphan: &OrphanRecord,
        provider: &dyn Provider,
    ) -> Result<(), Error> {
        let known = lock(&self.deps.cache)
            .owners
            .contains_key(&orphan.allocation);
        let lane = Place {
            provider: orphan.provider.clone(),
            region: String::new(),
        };
        let outcome = if known {
            // It has been taken up again meanwhile.
            Ok(None)
        } else {
            let Some(_slot) = self.deps.lanes.enter(&lane, share(provider)).await else {
                return Ok(());
            };
            provider
                .destroy(&Tracked {
                    allocation: orphan.allocation.clone(),
                    state: orphan.state.clone(),
                })
                .await
                .map(Some)
        };
        let event = match outcome {
            Ok(None) => None,
            Ok(Some(Destroyed::Going)) => return Ok(()),
            Ok(Some(Destroyed::Gone))
            | Err(Failure {
                kind: FailureKind::NotFound,
                ..
            }) => {
                let message = format!("{} \"{}\" is gone", orphan.allocation, orphan.description);
                Some(self.orphan_event(Severity::Info, Reason::OrphanDestroyed, orphan, message))
            }
            Err(failure) => {
                tracing::warn!(provider = %orphan.provider, allocation = %orphan.allocation, kind = %failure.kind, message = failure.message, "an orphan could not be removed");
                return Ok(());
            }
        };
        let mut change = event.map(Change::of).unwrap_or_default();
        change.delete(orphan.path());
        self.deps.committer.commit(change).await?;
        lock(&self.orphans).remove(&orphan.allocation);
        Ok(())
    }

    fn orphan_event(
        &self,
        severity: Severity,
        reason: Reason,
        orphan: &OrphanRecord,
        message: String,
    ) -> Event {
        Event {
            plugin: Some(orphan.provider.clone()),
            allocation: Some(orphan.allocation.clone()),
            ..Event::new(severity, reason, CONTROLLER, message)
                .because(Cause::Rule("controller.sweep-interval".to_owned()))
        }
    }
}
