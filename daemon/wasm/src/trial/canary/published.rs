//! What there is to see of the canaries, and a canary as the snapshot has it: one plugin of two versions.

use std::{collections::BTreeMap, sync::Arc};

use tradewind_api::{CanaryEnd, CanaryState, CanaryView};
use tradewind_core::{
    names::InstanceName,
    plugin::{Policy, Provider},
};

use super::{policy, provider, split::Split};
use crate::{base::pair::Pair, load::version::Version, runtime::plugin::Plugin};

/// A version on trial and the version that serves.
#[derive(Clone)]
pub(crate) struct Canary {
    pub(super) version: Arc<Version>,
    pub(super) split: Arc<Split>,
}

/// What is to be seen of them.
#[derive(Clone, Default)]
pub(crate) struct Published {
    pub(super) running: BTreeMap<InstanceName, Canary>,
    /// How the last ones ended.
    pub(super) ends: BTreeMap<InstanceName, CanaryEnd>,
}

// === impl Canary ===

impl Canary {
    /// The instance's provider while both serve.
    pub(crate) fn provider(&self, old: &Version) -> Option<Arc<dyn Provider>> {
        match (&old.plugin, &self.version.plugin) {
            (Plugin::Provider(old), Plugin::Provider(new)) => Some(provider::split(
                old.clone(),
                new.clone(),
                self.split.clone(),
            )),
            _ => None,
        }
    }

    /// The instance's policy while both serve.
    pub(crate) fn policy(&self, old: &Version) -> Option<Arc<dyn Policy>> {
        match (&old.plugin, &self.version.plugin) {
            (Plugin::Policy(old), Plugin::Policy(new)) => {
                Some(policy::split(old.clone(), new.clone(), self.split.clone()))
            }
            _ => None,
        }
    }

    pub(crate) fn pair(&self) -> Pair {
        self.version.pair()
    }

    /// Whether it gets its share.
    pub(super) fn is_open(&self) -> bool {
        self.split.is_open()
    }

    pub(crate) fn view(&self) -> CanaryView {
        let record = self.split.record();
        let (old, new) = self.split.counts();
        CanaryView {
            state: if self.is_open() {
                CanaryState::Running
            } else {
                CanaryState::Returning
            },
            component: record.component,
            settings: record.settings,
            version: self.version.identity.version.clone(),
            terms: record.terms,
            by: record.by.clone(),
            since: record.since,
            old,
            new,
            holds: self.split.holds(),
        }
    }
}

// === impl Published ===

impl Published {
    pub(crate) fn get(&self, instance: &InstanceName) -> Option<&Canary> {
        self.running.get(instance)
    }

    pub(crate) fn end(&self, instance: &InstanceName) -> Option<&CanaryEnd> {
        self.ends.get(instance)
    }
}
