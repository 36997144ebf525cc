//! Loads for the registry: out of the folder, or a version that is kept. It says what came of it; who asked decides what follows.

use std::{io, sync::Arc};

use tradewind_core::names::InstanceName;

use super::instances::{Instances, Origin};
use crate::{
    base::pair::Pair,
    history::store::HistoryStore,
    load::{
        Load, candidate::Candidate, error::Error, instance_file::InstanceFile, version::Version,
    },
};

/// Something to load, with the bytes that are to be kept if it proves good.
pub(super) struct Job {
    pub(super) candidate: Candidate,
    pub(super) text: Vec<u8>,
    pub(super) origin: Origin,
}

/// What is kept of a version that proves good.
pub(super) struct Kept {
    pub(super) component: Arc<[u8]>,
    pub(super) text: Vec<u8>,
    /// The component's file name.
    pub(super) file: String,
    pub(super) pair: Pair,
    pub(super) origin: Origin,
}

pub(super) struct Loaded {
    pub(super) instance: InstanceName,
    pub(super) outcome: Result<Version, Error>,
    pub(super) kept: Kept,
}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Jobs {
    loader: Arc<dyn Load>,
    store: HistoryStore,
}

impl Jobs {
    pub(super) fn new(loader: Arc<dyn Load>, store: HistoryStore) -> Self {
        Self { loader, store }
    }

    /// A version whose bytes are kept.
    ///
    /// # Errors
    /// When they can't be read.
    pub(super) async fn kept(
        &self,
        instances: &Instances,
        instance: &InstanceName,
        pair: Pair,
    ) -> io::Result<Job> {
        let (component, text) = self.store.apart(move |store| store.bytes(pair)).await?;
        let file = InstanceFile::kept(&text, &instances.file_of(instance, pair))
            .map_err(io::Error::other)?;
        let candidate = instances.candidate(instance, (file, pair.1), (component.into(), pair.0));
        Ok(Job {
            candidate,
            text,
            origin: Origin::Kept,
        })
    }

    pub(super) async fn run(&self, job: Job) -> Loaded {
        let Job {
            candidate,
            text,
            origin,
        } = job;
        let instance = candidate.instance.clone();
        let kept = Kept {
            component: candidate.component.clone(),
            text,
            file: candidate.file.component.clone(),
            pair: (candidate.component_digest, candidate.settings_digest),
            origin,
        };
        Loaded {
            instance,
            outcome: self.loader.load(candidate).await,
            kept,
        }
    }
}
