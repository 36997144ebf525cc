//! The container engine's side of its capability: the Docker Engine API on a Unix socket.

use std::path::PathBuf;

use async_trait::async_trait;
use tradewind_core::{
    capability::containers::{Containers, EngineInfo},
    failure::Failure,
    grant::ContainersGrant,
    names::InstanceName,
};
use tradewind_credentials::Credentials;

/// What it works with.
#[derive(Clone)]
pub struct Options {
    pub credentials: Credentials,
    /// Holds the secrets of workloads as files.
    pub secrets: PathBuf,
}

/// Serves the capability for every instance. Cheap to clone.
#[derive(Clone)]
pub struct Engines {
    _options: Options,
}

impl Engines {
    pub fn new(options: Options) -> Self {
        Self { _options: options }
    }
}

#[async_trait]
impl Containers for Engines {
    async fn info(&self, _: &InstanceName, _: &ContainersGrant) -> Result<EngineInfo, Failure> {
        Err(Failure::unavailable("under construction"))
    }
}
