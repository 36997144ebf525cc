//! The registry's single writer: compares the folder with what serves, loads what changed, and publishes it once it is proven.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    task::spawn_blocking,
    time::{Instant as Tick, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    names::{Digest, InstanceName},
    units::Instant,
};

use crate::{
    canary::Verdicts,
    folder::{self, Component, Found, Scan},
    history_store::{Entry, HistoryStore, Pair, Pin},
    host::{Believes, RollbackError},
    instance_file::InstanceFile,
    load::{self, Candidate, Loader},
    registry::{Change, Contents, Registry, Slot},
    version::Version,
    view::{PluginView, Problem, Refused, Rejection, Report},
};

/// Why the folder is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// An event or the timer: what was refused stays refused.
    Hint,
    /// An operator asks: what was refused is tried again.
    Demand,
    /// The host starts: what takes long to load is put off, so that it keeps nothing else from serving.
    Start,
}

/// How long a start waits for plugins that load.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Writer {
    pub(crate) folder: PathBuf,
    pub(crate) size_cap: u64,
    pub(crate) believes: Believes,
    pub(crate) loader: Arc<Loader>,
    pub(crate) ledger: HistoryStore,
    pub(crate) registry: Arc<Registry>,
    pub(crate) contents: Contents,
    pub(crate) verdicts: Verdicts,
    /// Cancelled when the host is to stop: it does not wait for what loads.
    pub(crate) ending: CancellationToken,
}

/// The outcome of one look.
pub(crate) struct Looked {
    pub(crate) report: Report,
    /// A file was being written: look again soon.
    pub(crate) unsettled: bool,
}

/// Something to load, with the bytes that are to be kept if it proves good.
pub(crate) struct Job {
    candidate: Candidate,
    text: Vec<u8>,
    why: Why,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The folder holds it.
    Folder,
    /// It served before, and what the folder holds is refused or rolled back.
    LastGood,
}

pub(crate) type Loaded = (InstanceName, Result<Version, load::Error>, Kept);

/// What is kept of a version that proves good.
pub(crate) struct Kept {
    component: Arc<[u8]>,
    text: Vec<u8>,
    file: String,
    pair: Pair,
    why: Why,
}

impl Writer {
    /// Reads the histories of earlier runs.
    pub(crate) fn remember(&mut self) -> io::Result<()> {
        for (instance, history) in self.ledger.histories()? {
            self.contents.slots.insert(
                instance,
                Slot {
                    history,
                    ..Slot::default()
                },
            );
        }
        Ok(())
    }

    pub(crate) fn publish(&self, change: Change) {
        self.registry.publish(self.contents.clone(), change);
    }

    pub(crate) fn now(&self) -> Instant {
        self.loader.capabilities.clock.now()
    }

    /// # Errors
    /// When the folder can't be listed: everything stays as it is.
    pub(crate) async fn reconcile(&mut self, cause: Cause) -> Result<Looked, io::Error> {
        let (folder, cap, believes) = (self.folder.clone(), self.size_cap, self.believes);
        let Scan {
            instances,
            problems,
        } = spawn_blocking(move || folder::scan(&folder, cap, believes))
            .await
            .map_err(io::Error::other)??;
        let mut report = Report::default();
        let mut unsettled = false;
        self.contents.problems = problems
            .into_iter()
            .map(|(file, reason)| Problem { file, reason })
            .collect();

        self.drain_missing(&instances, &mut report).await;
        let mut jobs = Vec::new();
        for (instance, found) in instances {
            match self
                .examine(instance.clone(), found, cause, &mut report)
                .await
            {
                Examined::Same => report.unchanged.push(instance),
                Examined::Told => {}
                Examined::Unsettled => unsettled = true,
                Examined::Load(job) => jobs.push(*job),
                Examined::Recall(pair) => {
                    jobs.extend(self.load_kept(&instance, pair).await.map(|job| *job))
                }
            }
        }
        let patience = (cause == Cause::Start).then(|| Tick::now() + PATIENCE);
        unsettled |= !self.load_all(jobs, patience, &mut report).await;
        self.publish(Change::Views);
        report.version = self.registry.load().snapshot.version;
        report.problems = self.contents.problems.clone();
        Ok(Looked { report, unsettled })
    }

    /// Loads side by side; each becomes active as soon as it has proved good. False: some have been put off.
    async fn load_all(
        &mut self,
        mut jobs: Vec<Job>,
        patience: Option<Tick>,
        report: &mut Report,
    ) -> bool {
        let mut again = Vec::new();
        while !jobs.is_empty() {
            let mut running: FuturesUnordered<_> = jobs
                .drain(..)
                .map(|job| run(self.loader.clone(), Box::new(job)))
                .collect();
            loop {
                let late = async {
                    match patience {
                        Some(patience) => sleep_until(patience).await,
                        None => std::future::pending().await,
                    }
                };
                let next = tokio::select! {
                    next = running.next() => next,
                    () = self.ending.cancelled() => return false,
                    () = late => {
                        tracing::warn!(plugins = running.len(), "plugins take long to load: the daemon starts without them, and tries again");
                        return false;
                    }
                };
                let Some((instance, outcome, kept)) = next else {
                    break;
                };
                match outcome {
                    Ok(version) => {
                        self.activate(&instance, version, kept).await;
                        report.loaded.push(instance);
                    }
                    Err(error) => {
                        let pair = kept.pair;
                        let reason = error.to_string();
                        let lasting = !error.may_pass();
                        self.reject(&instance, Some(pair.0), pair.1, reason, report);
                        if lasting && kept.why == Why::Folder {
                            again.push(instance);
                        }
                    }
                }
            }
            // After a restart with a bad file in the folder, the last good version serves.
            for instance in again.drain(..) {
                if let Some(pair) = self.last_good(&instance) {
                    jobs.extend(self.load_kept(&instance, pair).await.map(|job| *job));
                }
            }
        }
        true
    }

    /// The version that served when the daemon last stopped, if nothing serves now.
    fn last_good(&self, instance: &InstanceName) -> Option<Pair> {
        let slot = self.contents.slots.get(instance)?;
        let last = slot.history.entries.last()?;
        (slot.active.is_none() && last.until.is_none()).then(|| last.pair())
    }

    async fn drain_missing(&mut self, found: &BTreeMap<InstanceName, Found>, report: &mut Report) {
        let gone: Vec<InstanceName> = self
            .contents
            .slots
            .keys()
            .filter(|name| !found.contains_key(*name))
            .cloned()
            .collect();
        for instance in gone {
            self.drain(&instance, report).await;
            if let Some(slot) = self.contents.slots.get_mut(&instance) {
                slot.folder = None;
                if let Some(rejection) = &mut slot.rejection {
                    rejection.current = false;
                }
            }
        }
    }

    /// Takes an instance out of the registry. Calls that hold its version go on.
    async fn drain(&mut self, instance: &InstanceName, report: &mut Report) {
        let now = self.now();
        let Some(slot) = self.contents.slots.get_mut(instance) else {
            return;
        };
        let open = slot
            .history
            .entries
            .last()
            .is_some_and(|e| e.until.is_none());
        if open {
            slot.history.end(now);
            slot.history.pin = None;
            let (ledger, name, history) =
                (self.ledger.clone(), instance.clone(), slot.history.clone());
            let written = spawn_blocking(move || ledger.keep(&name, &history, None)).await;
            if let Err(error) = written.map_err(io::Error::other).and_then(|r| r) {
                tracing::error!(%instance, %error, "the plugin's history can't be written");
            }
        }
        if self
            .contents
            .slots
            .get_mut(instance)
            .is_some_and(|slot| slot.active.take().is_some())
        {
            tracing::info!(%instance, "plugin removed; calls that run go on");
            report.removed.push(instance.clone());
            self.publish(Change::Served);
            self.overtake_canary(instance).await;
        }
    }

    async fn examine(
        &mut self,
        instance: InstanceName,
        found: Found,
        cause: Cause,
        report: &mut Report,
    ) -> Examined {
        let slot = self.contents.slots.entry(instance.clone()).or_default();
        let (bytes, digest) = match found.component {
            Component::Read { bytes, digest } => (bytes, digest),
            Component::Unsettled => return Examined::Unsettled,
            Component::Missing { name } => {
                self.drain(&instance, report).await;
                let reason = format!("component \"{name}\" is not in the plugin folder");
                self.reject(&instance, None, found.settings, reason, report);
                return Examined::Told;
            }
            Component::Unusable { why } => {
                self.reject(&instance, None, found.settings, why, report);
                return self.fall_back(&instance);
            }
            Component::Unnamed => {
                let why = found.file.err().unwrap_or_default();
                self.reject(&instance, None, found.settings, why, report);
                return self.fall_back(&instance);
            }
        };
        let Ok(file) = found.file else {
            return Examined::Told;
        };
        let pair = (digest, found.settings);
        slot.folder = Some(pair);
        if let Some(pin) = slot.history.pin {
            if pin.refused == pair {
                return if slot.serving() == Some(pin.target) {
                    Examined::Same
                } else {
                    Examined::Recall(pin.target)
                };
            }
            slot.history.pin = None;
        }
        if slot.serving() == Some(pair) {
            if let Some(rejection) = &mut slot.rejection {
                rejection.current = false;
            }
            return Examined::Same;
        }
        let known_bad = slot.rejection.as_ref().is_some_and(|r| {
            r.current && r.component == Some(digest) && r.settings == found.settings
        });
        if known_bad && cause != Cause::Demand {
            return Examined::Same;
        }
        let candidate = candidate(slot, instance, file, found.settings, bytes, digest);
        Examined::Load(Box::new(Job {
            candidate,
            text: found.text,
            why: Why::Folder,
        }))
    }

    fn fall_back(&self, instance: &InstanceName) -> Examined {
        self.last_good(instance)
            .map_or(Examined::Told, Examined::Recall)
    }

    /// A version from the ledger.
    async fn load_kept(&mut self, instance: &InstanceName, pair: Pair) -> Option<Box<Job>> {
        match self.recalled(instance, pair).await {
            Ok(job) => Some(job),
            Err(error) => {
                tracing::error!(%instance, %error, "the last good version of the plugin can't be read");
                None
            }
        }
    }

    pub(crate) async fn recalled(
        &mut self,
        instance: &InstanceName,
        pair: Pair,
    ) -> io::Result<Box<Job>> {
        let ledger = self.ledger.clone();
        let (component, text) = spawn_blocking(move || ledger.bytes(pair))
            .await
            .map_err(io::Error::other)??;
        let slot = self.contents.slots.entry(instance.clone()).or_default();
        let entry = slot.history.entries.iter().rev().find(|e| e.pair() == pair);
        let name = entry.map_or_else(|| format!("{instance}.wasm"), |e| e.file.clone());
        let file = if text.is_empty() {
            InstanceFile::bare(&name)
        } else {
            InstanceFile::parse(&text).map_err(io::Error::other)?
        };
        let candidate = candidate(
            slot,
            instance.clone(),
            file,
            pair.1,
            component.into(),
            pair.0,
        );
        Ok(Box::new(Job {
            candidate,
            text,
            why: Why::LastGood,
        }))
    }

    pub(crate) async fn activate(&mut self, instance: &InstanceName, version: Version, kept: Kept) {
        let now = self.now();
        let slot = self.contents.slots.entry(instance.clone()).or_default();
        let id = version.identity.clone();
        slot.gate = Some((version.limits.concurrency, version.callable.gate()));
        slot.active = Some(Arc::new(version));
        if kept.why == Why::Folder
            && let Some(rejection) = &mut slot.rejection
        {
            rejection.current = false;
        }
        slot.history.begin(Entry {
            component: id.component,
            settings: id.settings,
            file: kept.file,
            plugin: id.plugin.clone(),
            version: id.version.clone(),
            since: now,
            until: None,
            rolled_back: false,
        });
        tracing::info!(%instance, plugin = id.plugin, version = id.version, digest = id.component.short(), "plugin active");
        let (ledger, name, history) = (self.ledger.clone(), instance.clone(), slot.history.clone());
        self.publish(Change::Served);
        let written = spawn_blocking(move || {
            ledger.keep(&name, &history, Some((&kept.component, &kept.text)))?;
            ledger.sweep()
        });
        if let Err(error) = written.await.map_err(io::Error::other).and_then(|r| r) {
            tracing::error!(%instance, %error, "the plugin's history can't be written: a roll-back to this version may fail");
        }
        self.overtake_canary(instance).await;
    }

    /// Remembers a refusal. What serves goes on.
    fn reject(
        &mut self,
        instance: &InstanceName,
        component: Option<Digest>,
        settings: Digest,
        reason: String,
        report: &mut Report,
    ) {
        let at = self.now();
        let slot = self.contents.slots.entry(instance.clone()).or_default();
        let rejection = Rejection {
            component,
            settings,
            reason: reason.clone(),
            at,
            current: true,
        };
        let known = slot.rejection.as_ref().is_some_and(|old| {
            old.current
                && old.component == component
                && old.settings == settings
                && old.reason == reason
        });
        if known {
            report.unchanged.push(instance.clone());
            return;
        }
        tracing::warn!(%instance, reason, "plugin refused");
        slot.rejection = Some(rejection);
        report.rejected.push(Refused {
            instance: instance.clone(),
            reason,
        });
    }

    /// Goes back to an earlier version until the folder holds something else.
    ///
    /// # Errors
    /// When there is nothing to go back to, or it does not load any more.
    pub(crate) async fn roll_back(
        &mut self,
        instance: &InstanceName,
        wanted: Option<Digest>,
    ) -> Result<PluginView, RollbackError> {
        let unknown = || RollbackError::UnknownInstance {
            instance: instance.clone(),
        };
        let slot = self.contents.slots.get(instance).ok_or_else(unknown)?;
        let refused = slot.folder.ok_or_else(unknown)?;
        let current = slot.serving();
        let target = slot
            .history
            .before(current, wanted)
            .map(Entry::pair)
            .ok_or_else(|| match wanted {
                Some(digest) => RollbackError::UnknownVersion {
                    instance: instance.clone(),
                    digest,
                },
                None => RollbackError::NoEarlier {
                    instance: instance.clone(),
                },
            })?;
        let job =
            self.recalled(instance, target)
                .await
                .map_err(|source| RollbackError::Unreadable {
                    instance: instance.clone(),
                    digest: target.0,
                    source,
                })?;
        let (_, outcome, kept) = run(self.loader.clone(), job).await;
        let version = outcome.map_err(|source| RollbackError::Load {
            instance: instance.clone(),
            digest: target.0,
            source: Box::new(source),
        })?;
        let slot = self.contents.slots.entry(instance.clone()).or_default();
        slot.history.pin = (refused != target).then_some(Pin { refused, target });
        if let Some(entry) = slot
            .history
            .entries
            .last_mut()
            .filter(|e| Some(e.pair()) == current)
        {
            entry.rolled_back = true;
        }
        self.activate(instance, version, kept).await;
        self.contents.view(instance).ok_or_else(unknown)
    }
}

/// What is to be done about one instance.
enum Examined {
    Same,
    /// A refusal was noted, nothing more.
    Told,
    Unsettled,
    Load(Box<Job>),
    /// Fetch this version from the ledger.
    Recall(Pair),
}

fn candidate(
    slot: &Slot,
    instance: InstanceName,
    file: InstanceFile,
    settings: Digest,
    bytes: Arc<[u8]>,
    digest: Digest,
) -> Candidate {
    let gate = slot
        .gate
        .as_ref()
        .filter(|(size, _)| *size == file.limits.concurrency)
        .map(|(_, gate)| gate.clone());
    Candidate {
        instance,
        file,
        settings_digest: settings,
        component: bytes,
        component_digest: digest,
        stats: slot.stats.clone(),
        gate,
        census: slot.census.clone(),
    }
}

pub(crate) async fn run(loader: Arc<Loader>, job: Box<Job>) -> Loaded {
    let Job {
        candidate,
        text,
        why,
    } = *job;
    let instance = candidate.instance.clone();
    let kept = Kept {
        component: candidate.component.clone(),
        text,
        file: candidate.file.component.clone(),
        pair: (candidate.component_digest, candidate.settings_digest),
        why,
    };
    (instance, loader.load(candidate).await, kept)
}
