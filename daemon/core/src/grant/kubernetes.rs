//! The grant of the capability `kubernetes`.

use serde::{Deserialize, Serialize};

/// Objects of one Kubernetes cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KubernetesGrant {
    /// The context of the kubeconfig. Default: its current context.
    #[serde(default)]
    pub context: Option<String>,
    /// Namespaces of the cluster whose objects may be read and written.
    pub namespaces: Vec<String>,
}
