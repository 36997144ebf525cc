//! Objects of Kubernetes clusters, as a port.

use async_trait::async_trait;

use crate::{failure::Failure, grant::KubernetesGrant, names::InstanceName};

/// Objects of a cluster. The implementation checks every argument against the grant and owns every effect.
#[async_trait]
pub trait Kubernetes: Send + Sync {
    /// The API server's version.
    async fn version(&self, owner: &InstanceName, grant: &KubernetesGrant) -> Result<String, Failure>;
}
