//! Policies for a second look: an earlier version out of the kept bytes, or a component that somebody brings along. They run under the same
//! audit, limits and sandbox as those in the plugin folder, and never serve.

use std::{io, sync::Arc};

use tokio::task::spawn_blocking;
use tradewind_core::{
    names::{Digest, InstanceName},
    plugin::{Identity, Plugins, Policy},
};

use crate::{
    history_store::Pair,
    host::Handle,
    instance_file::InstanceFile,
    load::{self, Candidate},
    v0_1::Callable,
    version::Census,
};

#[derive(Debug, thiserror::Error)]
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
        source: Box<load::Error>,
    },
    #[error("the component {digest} can't be used: {source}")]
    Refused {
        digest: Digest,
        source: Box<load::Error>,
    },
    #[error("the component {digest} is a provider, not a policy")]
    NotAPolicy { digest: Digest },
}

/// The name under which a component that somebody brings along is told of.
const VISITOR: &str = "visitor";

impl Handle {
    /// The version of a policy that has this component and these settings: the one that serves, else one out of the kept bytes.
    ///
    /// # Errors
    /// When it is not kept any more, or does not load any more.
    pub async fn load_version(&self, identity: &Identity) -> Result<Arc<dyn Policy>, RecallError> {
        let pair = (identity.component, identity.settings);
        let instance = &identity.instance;
        if let Some(policy) = self
            .snapshot()
            .policies
            .get(instance)
            .filter(|p| (p.identity().component, p.identity().settings) == pair)
        {
            return Ok(policy.clone());
        }
        let not_kept = |source| RecallError::NotKept {
            instance: instance.clone(),
            digest: identity.component,
            settings: identity.settings,
            source,
        };
        let (component, text) = self.kept(pair).await.map_err(not_kept)?;
        let file = self.file(&text, identity).map_err(not_kept)?;
        let candidate = candidate(instance.clone(), file, pair.1, component, pair.0);
        let loaded = self.load_uncached(candidate).await;
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
    pub async fn load_candidate(
        &self,
        component: Vec<u8>,
        like: &Identity,
    ) -> Result<Arc<dyn Policy>, RecallError> {
        let digest = Digest::of(&component);
        let component: Arc<[u8]> = component.into();
        let name =
            InstanceName::try_from(VISITOR.to_owned()).unwrap_or_else(|_| like.instance.clone());
        let kept = self.kept((like.component, like.settings)).await.ok();
        let settings = kept.and_then(|(_, text)| self.file(&text, like).ok());
        if let Some(mut file) = settings {
            file.grants = Default::default();
            match self
                .load(candidate(
                    name.clone(),
                    file,
                    like.settings,
                    component.clone(),
                    digest,
                ))
                .await
            {
                // It takes other settings: its own defaults have to do.
                Err(load::Error::Settings { .. }) => {}
                loaded => {
                    return policy(
                        loaded.map_err(|source| RecallError::Refused {
                            digest,
                            source: Box::new(source),
                        })?,
                        digest,
                    );
                }
            }
        }
        // Not in the turns of second looks: what a visitor's bytes may take is bounded where they are compiled, and keeps no other look waiting.
        let loaded = self
            .load(candidate(
                name,
                InstanceFile::bare("visitor.wasm"),
                Digest::of(b""),
                component,
                digest,
            ))
            .await;
        policy(
            loaded.map_err(|source| RecallError::Refused {
                digest,
                source: Box::new(source),
            })?,
            digest,
        )
    }

    async fn kept(&self, pair: Pair) -> io::Result<(Arc<[u8]>, Vec<u8>)> {
        let ledger = self.ledger.clone();
        let (component, text) = spawn_blocking(move || ledger.bytes(pair))
            .await
            .map_err(io::Error::other)??;
        Ok((component.into(), text))
    }

    fn file(&self, text: &[u8], identity: &Identity) -> io::Result<InstanceFile> {
        if text.is_empty() {
            return Ok(InstanceFile::bare(&format!("{}.wasm", identity.instance)));
        }
        InstanceFile::parse(text).map_err(io::Error::other)
    }

    /// One at a time: compiling takes a core for itself, which those that serve may need.
    async fn load_uncached(&self, candidate: Candidate) -> Result<Callable, load::Error> {
        let _turn = self
            .looks
            .acquire()
            .await
            .map_err(|_| load::Error::Aborted)?;
        self.load(candidate).await
    }

    async fn load(&self, candidate: Candidate) -> Result<Callable, load::Error> {
        self.loader
            .load(candidate)
            .await
            .map(|version| version.callable)
    }
}

fn policy(callable: Callable, digest: Digest) -> Result<Arc<dyn Policy>, RecallError> {
    match callable {
        Callable::Policy(policy) => Ok(policy),
        Callable::Provider(_) => Err(RecallError::NotAPolicy { digest }),
    }
}

/// With counts and a queue of its own: what serves is not charged for it.
fn candidate(
    instance: InstanceName,
    file: InstanceFile,
    settings: Digest,
    component: Arc<[u8]>,
    digest: Digest,
) -> Candidate {
    Candidate {
        instance,
        file,
        settings_digest: settings,
        component,
        component_digest: digest,
        stats: Arc::default(),
        gate: None,
        census: Census::default(),
    }
}
