//! What is to be loaded: one component and the file that configures it.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tradewind_core::names::{Digest, InstanceName};

use super::instance_file::InstanceFile;
use crate::runtime::{call::Stats, census::Census};

pub(crate) struct Candidate {
    pub(crate) instance: InstanceName,
    pub(crate) file: InstanceFile,
    pub(crate) settings_digest: Digest,
    pub(crate) component: Arc<[u8]>,
    pub(crate) component_digest: Digest,
    /// The instance's counts go on over its versions.
    pub(crate) stats: Arc<Stats>,
    /// The instance's queue, when its `concurrency` stays the same.
    pub(crate) gate: Option<Arc<Semaphore>>,
    /// The instance's count of living versions.
    pub(crate) census: Census,
}

impl Candidate {
    /// With counts and a queue of its own: what serves is not charged for it.
    pub(crate) fn apart(
        instance: InstanceName,
        (file, settings_digest): (InstanceFile, Digest),
        (component, component_digest): (Arc<[u8]>, Digest),
    ) -> Self {
        Self {
            instance,
            file,
            settings_digest,
            component,
            component_digest,
            stats: Arc::default(),
            gate: None,
            census: Census::default(),
        }
    }
}
