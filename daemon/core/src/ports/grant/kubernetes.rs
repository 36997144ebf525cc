//! The grant of the capability `kubernetes`.

use serde::{Deserialize, Serialize};

use super::{CredentialSource, Entry, spaces::for_namespace};
use crate::base::{names::Namespace, units::Millis};

/// Objects of one Kubernetes cluster. How the cluster is found is the first of these that is given: `kubeconfig`, `credential`,
/// `in-cluster`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KubernetesGrant {
    /// The absolute path of a kubeconfig, read again whenever it changes.
    #[serde(default)]
    pub kubeconfig: Option<String>,
    /// A credential whose text is a kubeconfig.
    #[serde(default)]
    pub credential: Option<CredentialSource>,
    /// Whether the service account of the pod that the daemon runs in is used.
    #[serde(default)]
    pub in_cluster: bool,
    /// The context of the kubeconfig. Default: its current context.
    #[serde(default)]
    pub context: Option<String>,
    /// Whether the kubeconfig may have the daemon run a program for its credentials (`exec`), as those of EKS, AKS and GKE do.
    #[serde(default)]
    pub exec: bool,
    /// Namespaces of the cluster whose objects may be read and written.
    pub namespaces: Vec<String>,
    /// Kinds that may be read and written; `Kind.group` for those that are not among the usual ones.
    #[serde(default = "KubernetesGrant::default_kinds")]
    pub kinds: Vec<String>,
    /// Kinds that may only be read. `Node` stands for what nodes have and what all pods together leave of it.
    #[serde(default = "KubernetesGrant::default_read")]
    pub read: Vec<String>,
    /// Secrets that may be passed to workloads, by name: files of the daemon's secrets folder, a namespace's own first.
    #[serde(default)]
    pub secrets: Vec<Entry>,
    /// Secret objects of the cluster that pods may use though Tradewind has not made them: for pulling images.
    #[serde(default)]
    pub cluster_secrets: Vec<Entry>,
    /// Service accounts that pods may run as with their tokens, `default` included. Any pod may run as its namespace's default without its token.
    #[serde(default)]
    pub service_accounts: Vec<Entry>,
    /// Whether pods may use the network of their node, and ports of it; whether checks may ask other hosts than the pod, and services take
    /// addresses from outside or lead to other names.
    #[serde(default)]
    pub host_network: bool,
    /// Whether containers may be privileged, gain capabilities, or see other processes of the node.
    #[serde(default)]
    pub privileged: bool,
    /// Paths of nodes that may be mounted, as absolute patterns in which `*` stands for any characters of one segment between slashes. Not what
    /// lies below them.
    #[serde(default)]
    pub host_paths: Vec<Entry>,
    /// Keys of annotations that objects may bear, as patterns (`prometheus.io/*`). Those without a prefix before a slash are always allowed:
    /// by them nothing in a cluster acts.
    #[serde(default)]
    pub annotations: Vec<Entry>,
    /// Whether fields that another field manager holds are taken from it.
    #[serde(default)]
    pub force_conflicts: bool,
    /// The longest one request to the API server may take.
    #[serde(default = "KubernetesGrant::default_timeout")]
    pub timeout: Millis,
    /// For whose workloads these limits are.
    #[serde(skip)]
    pub namespace: Option<Namespace>,
}

impl KubernetesGrant {
    /// What workloads of one namespace may have of it; none: nobody knows for whom it is asked, and what is for some is left out.
    pub fn for_namespace(&self, namespace: Option<&Namespace>) -> Self {
        Self {
            secrets: for_namespace(&self.secrets, namespace),
            cluster_secrets: for_namespace(&self.cluster_secrets, namespace),
            service_accounts: for_namespace(&self.service_accounts, namespace),
            host_paths: for_namespace(&self.host_paths, namespace),
            annotations: for_namespace(&self.annotations, namespace),
            namespace: namespace.cloned(),
            ..self.clone()
        }
    }

    fn default_kinds() -> Vec<String> {
        let kinds = [
            "Deployment",
            "Service",
            "Job",
            "Secret",
            "ConfigMap",
            "HorizontalPodAutoscaler",
            "PodDisruptionBudget",
        ];
        kinds.map(str::to_owned).to_vec()
    }
    fn default_read() -> Vec<String> {
        ["Pod", "Node", "Event", "ReplicaSet"]
            .map(str::to_owned)
            .to_vec()
    }
    fn default_timeout() -> Millis {
        Millis::from_secs(5)
    }
}
