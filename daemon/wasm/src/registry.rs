//! What serves now. One writer publishes, anyone reads without waiting.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};
use tradewind_core::{
    identity::Scope,
    names::InstanceName,
    plugin::{Plugins, Snapshot},
};

use crate::{
    call::Stats,
    canary::{Canary, CanaryEnd},
    history_store::{History, Pair},
    shadow::Trial,
    v0_1::Callable,
    version::{Census, Version},
    view::{PluginView, Problem, Rejection, Served, State},
};

/// Everything known of one instance. Replaced as a whole.
#[derive(Clone, Default)]
pub(crate) struct Slot {
    pub(crate) active: Option<Arc<Version>>,
    pub(crate) history: History,
    pub(crate) rejection: Option<Rejection>,
    /// What the folder held at the last look, when it was readable.
    pub(crate) folder: Option<Pair>,
    pub(crate) stats: Arc<Stats>,
    /// The queue and its size, shared by versions that agree on it.
    pub(crate) gate: Option<(u32, Arc<Semaphore>)>,
    /// Versions alive, those that drain included.
    pub(crate) census: Census,
}

/// One published state.
#[derive(Default)]
pub(crate) struct Published {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) contents: Contents,
}

/// What the writer knows.
#[derive(Default, Clone)]
pub(crate) struct Contents {
    pub(crate) slots: BTreeMap<InstanceName, Slot>,
    pub(crate) shadows: BTreeMap<InstanceName, Trial>,
    pub(crate) canaries: BTreeMap<InstanceName, Canary>,
    /// How the last canaries ended.
    pub(crate) ends: BTreeMap<InstanceName, CanaryEnd>,
    pub(crate) problems: Vec<Problem>,
}

/// The registry as everyone sees it.
pub(crate) struct Registry {
    published: ArcSwap<Published>,
    changes: watch::Sender<u64>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            published: ArcSwap::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub(crate) fn load(&self) -> Arc<Published> {
        self.published.load_full()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Only the one writer calls this. The snapshot's version grows when what serves has changed; subscribers wake in any case.
    pub(crate) fn publish(&self, contents: Contents, served_changed: Change) {
        let old = self.published.load();
        let snapshot = match served_changed {
            Change::Views => old.snapshot.clone(),
            Change::Served => Arc::new(snapshot(old.snapshot.version + 1, &contents)),
        };
        let version = snapshot.version;
        self.published
            .store(Arc::new(Published { snapshot, contents }));
        self.changes.send_replace(version);
    }
}

/// What a publication changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Served,
    /// Only what operators see.
    Views,
}

impl Plugins for Registry {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load().snapshot.clone()
    }
}

fn snapshot(version: u64, contents: &Contents) -> Snapshot {
    let mut snapshot = Snapshot {
        version,
        ..Snapshot::default()
    };
    for (name, slot) in &contents.slots {
        let Some(active) = slot.active.as_deref() else {
            continue;
        };
        let canary = contents.canaries.get(name);
        match &active.callable {
            Callable::Provider(p) => {
                let both = canary.and_then(|c| c.provider(active));
                snapshot
                    .providers
                    .insert(name.clone(), both.unwrap_or_else(|| p.clone()));
            }
            Callable::Policy(p) => {
                let both = canary.and_then(|c| c.policy(active));
                snapshot
                    .policies
                    .insert(name.clone(), both.unwrap_or_else(|| p.clone()));
            }
        }
    }
    snapshot.shadows.extend(
        contents
            .shadows
            .iter()
            .filter_map(|(name, trial)| Some((name.clone(), trial.callable()?))),
    );
    snapshot
}

impl Contents {
    /// The same, as whoever reaches these namespaces may know of it.
    pub(crate) fn view_for(&self, instance: &InstanceName, scope: &Scope) -> Option<PluginView> {
        let mut view = self.view(instance).filter(|view| view.is_seen_by(scope))?;
        if let Some(active) = self
            .slots
            .get(instance)
            .and_then(|slot| slot.active.as_deref())
            .filter(|_| !scope.is_all())
        {
            view.usable = active.grants.usable(scope);
        }
        Some(view)
    }

    /// None: there is and was no such instance.
    pub(crate) fn view(&self, instance: &InstanceName) -> Option<PluginView> {
        let canary = self.canaries.get(instance).map(Canary::view);
        let last_canary = self.ends.get(instance).cloned();
        self.slots.get(instance).map(|slot| PluginView {
            canary,
            last_canary,
            ..slot.view(instance)
        })
    }
}

impl Slot {
    /// The pair that serves.
    pub(crate) fn serving(&self) -> Option<Pair> {
        self.active
            .as_ref()
            .map(|v| (v.identity.component, v.identity.settings))
    }

    fn view(&self, instance: &InstanceName) -> PluginView {
        let active = self.active.as_deref();
        let refused_now = self.rejection.as_ref().is_some_and(|r| r.current);
        let state = match active {
            Some(_) => State::Active,
            None if self.census.alive() > 0 => State::Draining,
            None if refused_now => State::Rejected,
            None => State::Removed,
        };
        let about = active.map(|v| &v.about);
        PluginView {
            instance: instance.clone(),
            state,
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
        let one = |e: &crate::history_store::Entry| Served {
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
