//! One loaded version of one instance.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tradewind_core::{
    grant::{Grants, Spaces},
    plugin::{Identity, Limits},
};

use crate::{
    base::pair::Pair,
    runtime::{plugin::Plugin, plugin_info::PluginInfo},
};

/// What the registry holds of an active instance.
pub(crate) struct Version {
    pub(crate) identity: Arc<Identity>,
    pub(crate) about: PluginInfo,
    pub(crate) limits: Limits,
    pub(crate) namespaces: Spaces,
    pub(crate) grants: Arc<Grants>,
    /// The instance's queue.
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) plugin: Plugin,
}

impl Version {
    pub(crate) fn pair(&self) -> Pair {
        (self.identity.component, self.identity.settings)
    }
}
