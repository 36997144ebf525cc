//! Policies for a second look: an earlier version out of the kept bytes, or a component that somebody brings along. They run under the same
//! audit, limits and sandbox as those in the plugin folder, and never serve.

use std::{io, sync::Arc};

use tokio::sync::Semaphore;
use tradewind_core::{
    names::{Digest, InstanceName},
    plugin::{Identity, Policy},
};

use crate::{
    base::pair::Pair,
    history::store::HistoryStore,
    load::{Load, candidate::Candidate, error, instance_file::InstanceFile},
    runtime::plugin::Plugin,
};

/// Why a policy with which a recorded decision is to be made once more is not loaded.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum RecallError {
    #[error(
        "the policy \"{instance}\" of that time, {digest} with the settings {settings}, is not kept any more"
    )]
    NotKept {
        instance: InstanceName,
        digest: Digest,
        settings: Digest,
        source: io::Error,
    },
    #[error("the kept version {digest} of \"{instance}\" does not load any more")]
    Load {
        instance: InstanceName,
        digest: Digest,
        source: Box<error::Error>,
    },
    #[error("the component {digest} can't be used: {source}")]
    Refused {
        digest: Digest,
        source: Box<error::Error>,
    },
    #[error("the component {digest} is a provider, not a policy")]
    NotAPolicy { digest: Digest },
}

/// The name under which a component that somebody brings along is told of.
const VISITOR: &str = "visitor";

/// Loads what never serves.
pub(crate) struct Recall {
    loader: Arc<dyn Load>,
    store: HistoryStore,
    /// Of those that load kept versions.
    turns: Semaphore,
}

impl Recall {
    pub(crate) fn new(loader: Arc<dyn Load>, store: HistoryStore) -> Self {
        Self {
            loader,
            store,
            turns: Semaphore::new(1),
        }
    }

    /// A version of a policy out of the kept bytes.
    ///
    /// # Errors
    /// When it is not kept any more, or does not load any more.
    pub(crate) async fn version(
        &self,
        identity: &Identity,
    ) -> Result<Arc<dyn Policy>, RecallError> {
        let pair = (identity.component, identity.settings);
        let instance = &identity.instance;
        let not_kept = |source| RecallError::NotKept {
            instance: instance.clone(),
            digest: identity.component,
            settings: identity.settings,
            source,
        };
        let (component, text) = self.kept(pair).await.map_err(not_kept)?;
        let file = file(&text, identity).map_err(not_kept)?;
        let candidate = Candidate::apart(instance.clone(), (file, pair.1), (component, pair.0));
        let loaded = self.load_in_turn(candidate).await;
        let failed = |source| RecallError::Load {
            instance: instance.clone(),
            digest: pair.0,
            source: Box::new(source),
        };
        policy(loaded.map_err(failed)?, pair.0)
    }

    /// A component that does not lie in the plugin folder, with the settings and limits that another policy had if it takes them and they are
    /// kept, else with none. It is granted nothing.
    ///
    /// # Errors
    /// When it is no policy that could serve.
    pub(crate) async fn visitor(
        &self,
        component: Vec<u8>,
        like: &Identity,
    ) -> Result<Arc<dyn Policy>, RecallError> {
        let digest = Digest::of(&component);
        let component: Arc<[u8]> = component.into();
        let name =
            InstanceName::try_from(VISITOR.to_owned()).unwrap_or_else(|_| like.instance.clone());
        let refused = |source| RecallError::Refused {
            digest,
            source: Box::new(source),
        };
        let kept = self.kept((like.component, like.settings)).await.ok();
        if let Some(mut file) = kept.and_then(|(_, text)| file(&text, like).ok()) {
            file.grants = Default::default();
            let candidate = Candidate::apart(
                name.clone(),
                (file, like.settings),
                (component.clone(), digest),
            );
            match self.load(candidate).await {
                // It takes other settings: its own defaults have to do.
                Err(error::Error::Settings { .. }) => {}
                loaded => return policy(loaded.map_err(refused)?, digest),
            }
        }
        // Not in the turns of second looks: what a visitor's bytes may take is bounded where they are compiled, and keeps no other look waiting.
        let candidate = Candidate::apart(
            name,
            (InstanceFile::bare("visitor.wasm"), Digest::of(b"")),
            (component, digest),
        );
        policy(self.load(candidate).await.map_err(refused)?, digest)
    }

    async fn kept(&self, pair: Pair) -> io::Result<(Arc<[u8]>, Vec<u8>)> {
        let (component, text) = self.store.apart(move |store| store.bytes(pair)).await?;
        Ok((component.into(), text))
    }

    /// One at a time: compiling takes a core for itself, which those that serve may need.
    async fn load_in_turn(&self, candidate: Candidate) -> Result<Plugin, error::Error> {
        let _turn = self
            .turns
            .acquire()
            .await
            .map_err(|_| error::Error::Aborted)?;
        self.load(candidate).await
    }

    async fn load(&self, candidate: Candidate) -> Result<Plugin, error::Error> {
        self.loader
            .load(candidate)
            .await
            .map(|version| version.plugin)
    }
}

fn file(text: &[u8], identity: &Identity) -> io::Result<InstanceFile> {
    InstanceFile::kept(text, &format!("{}.wasm", identity.instance)).map_err(io::Error::other)
}

fn policy(plugin: Plugin, digest: Digest) -> Result<Arc<dyn Policy>, RecallError> {
    match plugin {
        Plugin::Policy(policy) => Ok(policy),
        Plugin::Provider(_) => Err(RecallError::NotAPolicy { digest }),
    }
}
