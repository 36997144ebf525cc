//! The deployments in the cache. Whoever changes one here is seen by those who follow the list, without having to think of them.

use std::ops::Deref;

use tradewind_core::record::DeploymentKey;

use crate::state::{cache::DeploymentState, changes::Changes, copy_on_write::Map};

/// Whoever takes one reads it without the lock, as it was then.
#[derive(Default)]
pub(crate) struct Deployments {
    map: Map<DeploymentKey, DeploymentState>,
    pub(crate) changes: Changes,
}

impl Deployments {
    pub(crate) fn insert(&mut self, key: DeploymentKey, state: DeploymentState) {
        self.changes.changed(&key);
        self.map.insert(key, state);
    }

    /// To be changed: followers look at it again once the lock is free.
    pub(crate) fn get_mut(&mut self, key: &DeploymentKey) -> Option<&mut DeploymentState> {
        let entry = self.map.get_mut(key)?;
        self.changes.changed(key);
        Some(entry)
    }

    pub(crate) fn remove(&mut self, key: &DeploymentKey) -> Option<DeploymentState> {
        let entry = self.map.remove(key)?;
        self.changes.removed(key);
        Some(entry)
    }

    /// To be changed in what no list shows.
    pub(crate) fn quietly(&mut self) -> &mut Map<DeploymentKey, DeploymentState> {
        &mut self.map
    }
}

impl Deref for Deployments {
    type Target = Map<DeploymentKey, DeploymentState>;
    fn deref(&self) -> &Self::Target {
        &self.map
    }
}

impl<'a> IntoIterator for &'a Deployments {
    type Item = (&'a DeploymentKey, &'a DeploymentState);
    type IntoIter = <&'a Map<DeploymentKey, DeploymentState> as IntoIterator>::IntoIter;
    fn into_iter(self) -> Self::IntoIter {
        (&self.map).into_iter()
    }
}
