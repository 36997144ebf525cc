//! What serves now, as everyone sees it. One writer publishes, anyone reads without waiting.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tradewind_api::{FolderProblem, PluginView};
use tradewind_core::{
    identity::Scope,
    names::InstanceName,
    plugin::{Plugins, Snapshot},
};

use super::instances::Instances;
use crate::{
    runtime::plugin::Plugin,
    trial::{
        canary::{self, Canary},
        shadow::Trial,
    },
};

/// One published state.
#[derive(Default)]
pub(super) struct Published {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) contents: Contents,
}

/// What the writer knew when it published.
#[derive(Default, Clone)]
pub(super) struct Contents {
    pub(super) instances: Instances,
    pub(super) shadows: BTreeMap<InstanceName, Trial>,
    pub(super) canaries: canary::Published,
    pub(super) problems: Vec<FolderProblem>,
}

/// The registry as everyone sees it.
pub(super) struct Registry {
    published: ArcSwap<Published>,
    changes: watch::Sender<u64>,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            published: ArcSwap::default(),
            changes: watch::Sender::new(0),
        }
    }

    pub(super) fn load(&self) -> Arc<Published> {
        self.published.load_full()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Only the one writer calls this. The snapshot's version grows when what serves has changed; subscribers wake in any case.
    pub(super) fn publish(&self, contents: Contents, served_changed: Change) {
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
pub(super) enum Change {
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
    for (name, active) in contents.instances.active() {
        let canary = contents.canaries.get(name);
        match &active.plugin {
            Plugin::Provider(p) => {
                let both = canary.and_then(|c| c.provider(active));
                snapshot
                    .providers
                    .insert(name.clone(), both.unwrap_or_else(|| p.clone()));
            }
            Plugin::Policy(p) => {
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
    /// None: there is and was no such instance.
    pub(super) fn view(&self, instance: &InstanceName) -> Option<PluginView> {
        Some(PluginView {
            canary: self.canaries.get(instance).map(Canary::view),
            last_canary: self.canaries.end(instance).cloned(),
            ..self.instances.view(instance)?
        })
    }

    /// The same, as whoever reaches these namespaces may know of it.
    pub(super) fn view_for(&self, instance: &InstanceName, scope: &Scope) -> Option<PluginView> {
        let mut view = self.view(instance).filter(|view| view.is_seen_by(scope))?;
        if let Some(active) = self
            .instances
            .get(instance)
            .and_then(|slot| slot.active())
            .filter(|_| !scope.is_all())
        {
            view.usable = active.grants.usable(scope);
        }
        Some(view)
    }
}
