//! The cluster's side of the Kubernetes capability.

use std::path::PathBuf;

use async_trait::async_trait;
use tradewind_core::{capability::kubernetes::Kubernetes, failure::Failure, grant::KubernetesGrant, names::InstanceName};
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
pub struct Clusters {
    _options: Options,
}

impl Clusters {
    pub fn new(options: Options) -> Self {
        Self { _options: options }
    }
}

#[async_trait]
impl Kubernetes for Clusters {
    async fn version(&self, _: &InstanceName, _: &KubernetesGrant) -> Result<String, Failure> {
        Err(Failure::unavailable("under construction"))
    }
}
