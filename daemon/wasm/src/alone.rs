//! A policy by itself, without a plugin folder or a daemon: under the same audit, limits and sandbox as one that serves.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tradewind_core::{
    names::{Digest, InstanceName},
    plugin::Policy,
    units::Bytes,
};

use crate::{
    engine::{self, Engine},
    instance_file::InstanceFile,
    lent::Capabilities,
    load::{self, Candidate, Loader},
    v0_1::Callable,
    version::Census,
};

#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("{0}")]
    InstanceFile(String),
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    Load(#[from] load::Error),
    #[error("it is a provider, not a policy")]
    NotAPolicy,
}

/// Loads a policy out of a component's bytes and, if there is one, the content of its instance file.
///
/// # Errors
/// When the daemon would not let it serve either.
pub async fn policy(
    name: InstanceName,
    component: Vec<u8>,
    instance_file: Option<&[u8]>,
    cache_folder: PathBuf,
) -> Result<Arc<dyn Policy>, PolicyError> {
    let file = match instance_file {
        Some(text) => InstanceFile::parse(text).map_err(|e| PolicyError::InstanceFile(e.to_string()))?,
        None => InstanceFile::bare(&format!("{name}.wasm")),
    };
    let options = engine::Options { cache_folder, memory_ceiling: Bytes(512 << 20), slots: 64, plugin_folder: PathBuf::from("/dev/null") };
    let engine = tokio::task::spawn_blocking(move || Engine::start(&options)).await.map_err(|_| load::Error::Aborted)??;
    let loader = Loader::new(engine, Capabilities::none(), Duration::from_secs(5));
    let candidate = Candidate {
        instance: name,
        file,
        settings_digest: Digest::of(instance_file.unwrap_or_default()),
        component_digest: Digest::of(&component),
        component: component.into(),
        stats: Arc::default(),
        gate: None,
        census: Census::default(),
    };
    match loader.load(candidate).await?.callable {
        Callable::Policy(policy) => Ok(policy),
        Callable::Provider(_) => Err(PolicyError::NotAPolicy),
    }
}
