//! What is known of each instance: what serves, what the folder holds, what was refused, what served before. Plain state: no clock, no disk.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Semaphore;
use tradewind_api::{PluginState, PluginView, Rejection, Served};
use tradewind_core::{
    identity::Scope,
    names::{Digest, InstanceName},
    units::Instant,
};

use crate::{
    base::pair::Pair,
    history::versions::{Entry, History, Pin},
    load::{candidate::Candidate, instance_file::InstanceFile, version::Version},
    runtime::{call::Stats, census::Census},
    trial::canary::Incumbent,
};

/// Everything known of one instance. Replaced as a whole.
#[derive(Clone, Default)]
pub(super) struct Slot {
    active: Option<Arc<Version>>,
    history: History,
    rejection: Option<Rejection>,
    /// A version is being loaded.
    compiling: bool,
    /// What the folder held at the last look, when it was readable.
    folder: Option<Pair>,
    stats: Arc<Stats>,
    /// The queue and its size, shared by versions that agree on it.
    gate: Option<(u32, Arc<Semaphore>)>,
    /// Versions alive, those that drain included.
    census: Census,
}

#[derive(Clone, Default)]
pub(super) struct Instances {
    slots: BTreeMap<InstanceName, Slot>,
}

/// Where a version comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The folder holds it.
    Folder,
    /// It served before, or is on trial.
    Kept,
}

/// What is to be done about what the folder holds of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    Load,
    /// This kept version is to serve instead.
    Recall(Pair),
}

/// What becomes of what was refused before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusals {
    Stay,
    /// They are tried again.
    Again,
}

// === impl Instances ===

impl Instances {
    /// As earlier runs left them: nothing serves yet.
    pub(super) fn remembered(histories: Vec<(InstanceName, History)>) -> Self {
        let slots = histories.into_iter().map(|(instance, history)| {
            let slot = Slot {
                history,
                ..Slot::default()
            };
            (instance, slot)
        });
        Self {
            slots: slots.collect(),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &InstanceName> {
        self.slots.keys()
    }

    pub(super) fn get(&self, instance: &InstanceName) -> Option<&Slot> {
        self.slots.get(instance)
    }

    fn slot(&mut self, instance: &InstanceName) -> &mut Slot {
        self.slots.entry(instance.clone()).or_default()
    }

    /// There is such an instance, if only by name.
    pub(super) fn mention(&mut self, instance: &InstanceName) {
        self.slot(instance);
    }

    pub(super) fn active(&self) -> impl Iterator<Item = (&InstanceName, &Arc<Version>)> {
        self.slots
            .iter()
            .filter_map(|(name, slot)| Some((name, slot.active.as_ref()?)))
    }

    pub(super) fn serving(&self, instance: &InstanceName) -> Option<Pair> {
        self.get(instance)?.serving()
    }

    pub(super) fn incumbent(&self, instance: &InstanceName) -> Incumbent {
        let slot = self.get(instance);
        Incumbent {
            active: slot.and_then(|slot| slot.active.clone()),
            census: slot.map(|slot| slot.census.clone()).unwrap_or_default(),
        }
    }

    /// Something to load for it, with its counts and, if its size stays, its queue.
    pub(super) fn candidate(
        &self,
        instance: &InstanceName,
        (file, settings): (InstanceFile, Digest),
        component: (Arc<[u8]>, Digest),
    ) -> Candidate {
        let concurrency = file.limits.concurrency;
        let apart = Candidate::apart(instance.clone(), (file, settings), component);
        let Some(slot) = self.get(instance) else {
            return apart;
        };
        let gate = slot
            .gate
            .as_ref()
            .filter(|(size, _)| *size == concurrency)
            .map(|(_, gate)| gate.clone());
        Candidate {
            stats: slot.stats.clone(),
            gate,
            census: slot.census.clone(),
            ..apart
        }
    }

    /// The name of the component's file in an earlier version.
    pub(super) fn file_of(&self, instance: &InstanceName, pair: Pair) -> String {
        let known = self
            .get(instance)
            .and_then(|slot| slot.history.file_of(pair));
        known.map_or_else(|| format!("{instance}.wasm"), str::to_owned)
    }

    /// The version that served when the daemon last stopped, if nothing serves now.
    pub(super) fn last_good(&self, instance: &InstanceName) -> Option<Pair> {
        let slot = self.get(instance)?;
        slot.history.open().filter(|_| slot.active.is_none())
    }

    /// Versions of these, and of no others, are being loaded.
    pub(super) fn compiling<'a>(&mut self, these: impl IntoIterator<Item = &'a InstanceName>) {
        self.slots
            .values_mut()
            .for_each(|slot| slot.compiling = false);
        for instance in these {
            self.slot(instance).compiling = true;
        }
    }

    /// The folder holds this of it, whole.
    pub(super) fn found(
        &mut self,
        instance: &InstanceName,
        pair: Pair,
        refusals: Refusals,
    ) -> Step {
        let slot = self.slot(instance);
        slot.folder = Some(pair);
        if let Some(pin) = slot.history.pin {
            if pin.refused == pair {
                return if slot.serving() == Some(pin.target) {
                    Step::Nothing
                } else {
                    Step::Recall(pin.target)
                };
            }
            slot.history.pin = None;
        }
        if slot.serving() == Some(pair) {
            slot.no_longer_refused();
            return Step::Nothing;
        }
        let known_bad = slot
            .rejection
            .as_ref()
            .is_some_and(|r| r.current && (r.component, r.settings) == (Some(pair.0), pair.1));
        if known_bad && refusals == Refusals::Stay {
            return Step::Nothing;
        }
        Step::Load
    }

    /// The folder holds nothing of it any more.
    pub(super) fn gone_from_folder(&mut self, instance: &InstanceName) {
        if let Some(slot) = self.slots.get_mut(instance) {
            slot.folder = None;
            slot.no_longer_refused();
        }
    }

    /// Remembers a refusal. False: it is known.
    pub(super) fn refuse(&mut self, instance: &InstanceName, rejection: Rejection) -> bool {
        let slot = self.slot(instance);
        let same = |old: &Rejection| {
            old.current
                && old.component == rejection.component
                && old.settings == rejection.settings
                && old.reason == rejection.reason
        };
        if slot.rejection.as_ref().is_some_and(same) {
            slot.compiling = false;
            return false;
        }
        slot.compiling = false;
        slot.rejection = Some(rejection);
        true
    }

    /// It serves from now on. Returns the history as it is to be written.
    pub(super) fn activate(
        &mut self,
        instance: &InstanceName,
        version: Version,
        (file, origin): (&str, Origin),
        now: Instant,
    ) -> History {
        let slot = self.slot(instance);
        let id = version.identity.clone();
        slot.gate = Some((version.limits.concurrency, version.gate.clone()));
        slot.compiling = false;
        slot.active = Some(Arc::new(version));
        if origin == Origin::Folder {
            slot.no_longer_refused();
        }
        slot.history.begin(Entry {
            component: id.component,
            settings: id.settings,
            file: file.to_owned(),
            plugin: id.plugin.clone(),
            version: id.version.clone(),
            since: now,
            until: None,
            rolled_back: false,
        });
        slot.history.clone()
    }

    /// Its period ends, and with it a roll-back. Returns the history as it is to be written; none when it has ended before.
    pub(super) fn end(&mut self, instance: &InstanceName, now: Instant) -> Option<History> {
        let slot = self.slots.get_mut(instance)?;
        slot.history.open()?;
        slot.history.end(now);
        slot.history.pin = None;
        Some(slot.history.clone())
    }

    /// It serves no more. False: it did not.
    pub(super) fn deactivate(&mut self, instance: &InstanceName) -> bool {
        self.slots
            .get_mut(instance)
            .is_some_and(|slot| slot.active.take().is_some())
    }

    /// This version serves as long as the folder holds what it holds now.
    pub(super) fn pin(&mut self, instance: &InstanceName, target: Pair) {
        if let Some(slot) = self.slots.get_mut(instance) {
            slot.history.pin = slot
                .folder
                .filter(|folder| *folder != target)
                .map(|refused| Pin { refused, target });
        }
    }

    /// An operator goes back from what serves.
    pub(super) fn mark_rolled_back(&mut self, instance: &InstanceName) {
        let slot = self.slot(instance);
        let serving = slot.serving();
        slot.history.mark_rolled_back(serving);
    }

    /// None: there is and was no such instance.
    pub(super) fn view(&self, instance: &InstanceName) -> Option<PluginView> {
        self.get(instance).map(|slot| slot.view(instance))
    }
}

// === impl Slot ===

impl Slot {
    /// The pair that serves.
    pub(super) fn serving(&self) -> Option<Pair> {
        self.active.as_ref().map(|v| v.pair())
    }

    pub(super) fn active(&self) -> Option<&Version> {
        self.active.as_deref()
    }

    /// What the folder held at the last look.
    pub(super) fn folder(&self) -> Option<Pair> {
        self.folder
    }

    /// Why the last file did not become active.
    pub(super) fn rejection(&self) -> Option<&Rejection> {
        self.rejection.as_ref()
    }

    /// Whether it serves or the folder has something of its name.
    pub(super) fn is_in_use(&self) -> bool {
        self.active.is_some()
            || self.folder.is_some()
            || self.rejection.as_ref().is_some_and(|r| r.current)
    }

    /// The version to go back to: the given component's last one, or the last that differs from what serves.
    pub(super) fn before(&self, wanted: Option<Digest>) -> Option<Pair> {
        self.history.before(self.serving(), wanted).map(Entry::pair)
    }

    fn no_longer_refused(&mut self) {
        if let Some(rejection) = &mut self.rejection {
            rejection.current = false;
        }
    }

    fn view(&self, instance: &InstanceName) -> PluginView {
        let active = self.active.as_deref();
        let refused_now = self.rejection.as_ref().is_some_and(|r| r.current);
        let state = match active {
            Some(_) => PluginState::Active,
            None if self.compiling => PluginState::Compiling,
            None if self.census.alive() > 0 => PluginState::Draining,
            None if refused_now => PluginState::Rejected,
            None => PluginState::Removed,
        };
        let about = active.map(|v| &v.about);
        PluginView {
            instance: instance.clone(),
            state,
            compiling: self.compiling,
            pinned: self.history.pin.is_some(),
            kind: about.map(|a| a.kind),
            identity: active.map(|v| (*v.identity).clone()),
            summary: about.map(|a| a.summary.clone()).unwrap_or_default(),
            capabilities: about.map(|a| a.capabilities.clone()).unwrap_or_default(),
            namespaces: active.map(|v| v.namespaces.clone()).unwrap_or_default(),
            usable: active
                .map(|v| v.grants.usable(&Scope::All))
                .unwrap_or_default(),
            grants: active.map(granted).unwrap_or_default(),
            limits: active.map(|v| v.limits.clone()),
            settings_schema: about.map(|a| a.settings_schema.clone()),
            history: self.served(),
            last_rejection: self.rejection.clone(),
            canary: None,
            last_canary: None,
            statistics: self.stats.read(),
        }
    }

    fn served(&self) -> Vec<Served> {
        let one = |e: &Entry| Served {
            component: e.component,
            settings: e.settings,
            plugin: e.plugin.clone(),
            version: e.version.clone(),
            since: e.since,
            until: e.until,
            current: e.until.is_none() && self.active.is_some(),
            rolled_back: e.rolled_back,
        };
        self.history.entries.iter().rev().map(one).collect()
    }
}

fn granted(version: &Version) -> Vec<String> {
    let grants = &version.grants;
    let all = [
        ("process", grants.process.is_some()),
        ("http", grants.http.is_some()),
        ("containers", grants.containers.is_some()),
        ("kubernetes", grants.kubernetes.is_some()),
        ("aws", grants.aws.is_some()),
        ("probe", grants.probe.is_some()),
    ];
    all.into_iter()
        .filter(|(_, granted)| *granted)
        .map(|(name, _)| name.to_owned())
        .collect()
}
