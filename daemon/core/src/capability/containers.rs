//! Containers of an engine, as a port.

use async_trait::async_trait;

use crate::{failure::Failure, grant::ContainersGrant, names::InstanceName};

/// The engine and its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// `docker` or `podman`.
    pub name: String,
    pub version: String,
    pub os: String,
    pub arch: String,
    /// Millicores.
    pub cpu: u64,
    /// Bytes.
    pub memory: u64,
}

/// Containers of an engine. The implementation checks every argument against the grant and owns every effect.
#[async_trait]
pub trait Containers: Send + Sync {
    async fn info(&self, owner: &InstanceName, grant: &ContainersGrant) -> Result<EngineInfo, Failure>;
}
