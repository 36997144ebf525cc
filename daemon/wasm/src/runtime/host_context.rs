//! What the host lends to one plugin instance, and the tasks that its effects run in. Knows the ports, not the contract's types.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::task::TaskTracker;
use tradewind_core::{
    capability::{
        Attempt, Clock, Http, HttpRequest, HttpResponse, Machine, ProcessKey, ProcessSpec,
        ProcessStatus, Processes,
        aws::Aws,
        containers::{ContainerKey, ContainerSpec, ContainerStatus, Containers, EngineInfo},
        kubernetes::{self, Kubernetes},
    },
    failure::Failure,
    grant::{ContainersGrant, Grants, HttpGrant, KubernetesGrant, ProcessGrant, Spaces},
    names::{AllocationId, InstanceName},
    units::Instant,
    workload::{LogChunk, LogQuery},
};

/// The outer side of every capability.
#[derive(Clone)]
pub struct Capabilities {
    /// Processes on this machine.
    pub processes: Arc<dyn Processes>,
    /// HTTP requests.
    pub http: Arc<dyn Http>,
    /// Containers of an engine.
    pub containers: Arc<dyn Containers>,
    /// Objects of a Kubernetes cluster.
    pub kubernetes: Arc<dyn Kubernetes>,
    /// Instances and load balancers of AWS.
    pub aws: Arc<dyn Aws>,
    /// The names, under `[grants]`, of capabilities that this build does not have: who imports one of them is refused.
    pub absent: &'static [&'static str],
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

/// Shared by the calls of one version.
#[derive(Clone)]
pub(crate) struct HostContext {
    pub(crate) owner: InstanceName,
    pub(crate) namespaces: Spaces,
    /// What workloads of all namespaces may have: a call has the part of its own, from `Call::grants`.
    pub(crate) grants: Arc<Grants>,
    pub(crate) capabilities: Capabilities,
    pub(crate) effects: TaskTracker,
    /// The zero of the monotonic clock.
    pub(crate) epoch: std::time::Instant,
}

impl HostContext {
    /// Runs an effect in a task of the host: when the caller's store is dropped, only the wait goes with it.
    pub(crate) async fn effect<T: Send + 'static>(
        &self,
        effect: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        match self.effects.spawn(effect).await {
            Ok(result) => result,
            Err(_) => Err(
                Failure::internal("the host's side of a capability broke off")
                    .code("capability-failed"),
            ),
        }
    }
}

// === for a look at a file ===

impl Capabilities {
    /// Capabilities that do nothing: every call is denied. The rest of what a test or a bench lends.
    pub fn none() -> Self {
        Self {
            processes: Arc::new(Nothing),
            http: Arc::new(Nothing),
            containers: Arc::new(Nothing),
            kubernetes: Arc::new(Nothing),
            aws: Arc::new(Nothing),
            absent: &[],
            clock: Arc::new(Nothing),
        }
    }

    /// Lets every import link. Nothing is opened by it together with `none`.
    pub(crate) fn every_import() -> Grants {
        let all = r#"{
            "process": { "commands": [] },
            "http": { "hosts": [] },
            "containers": { "images": [] },
            "kubernetes": { "namespaces": [] },
            "aws": { "regions": [], "credentials": "default" }
        }"#;
        serde_json::from_str(all).unwrap_or_default()
    }
}

pub(crate) struct Nothing;

pub(crate) fn denied<T>() -> Result<T, Failure> {
    Err(Failure::denied("nothing is lent while a file is inspected"))
}

#[async_trait]
impl Processes for Nothing {
    async fn ensure(
        &self,
        _: &InstanceName,
        _: &ProcessGrant,
        _: ProcessKey,
        _: ProcessSpec,
    ) -> Result<ProcessStatus, Failure> {
        denied()
    }
    async fn status(
        &self,
        _: &InstanceName,
        _: &[ProcessKey],
    ) -> Result<Vec<Option<ProcessStatus>>, Failure> {
        denied()
    }
    async fn remove(&self, _: &InstanceName, _: &ProcessKey) -> Result<bool, Failure> {
        denied()
    }
    async fn owned(&self, _: &InstanceName) -> Result<Vec<ProcessKey>, Failure> {
        denied()
    }
    async fn logs(
        &self,
        _: &InstanceName,
        _: &AllocationId,
        _: &LogQuery,
    ) -> Result<LogChunk, Failure> {
        denied()
    }
    async fn machine(&self, _: &InstanceName, _: &ProcessGrant) -> Result<Machine, Failure> {
        denied()
    }
}

#[async_trait]
impl Http for Nothing {
    async fn send(
        &self,
        _: &InstanceName,
        _: &HttpGrant,
        _: HttpRequest,
    ) -> Result<HttpResponse, Failure> {
        denied()
    }
}

#[async_trait]
impl Containers for Nothing {
    async fn info(&self, _: &InstanceName, _: &ContainersGrant) -> Result<EngineInfo, Failure> {
        denied()
    }
    async fn ensure(
        &self,
        _: &InstanceName,
        _: &ContainersGrant,
        _: &Attempt,
        _: ContainerKey,
        _: ContainerSpec,
    ) -> Result<ContainerStatus, Failure> {
        denied()
    }
    async fn status(
        &self,
        _: &InstanceName,
        _: &ContainersGrant,
        _: &[ContainerKey],
    ) -> Result<Vec<Option<ContainerStatus>>, Failure> {
        denied()
    }
    async fn remove(
        &self,
        _: &InstanceName,
        _: &ContainersGrant,
        _: &ContainerKey,
    ) -> Result<bool, Failure> {
        denied()
    }
    async fn owned(
        &self,
        _: &InstanceName,
        _: &ContainersGrant,
    ) -> Result<Vec<ContainerKey>, Failure> {
        denied()
    }
    async fn logs(
        &self,
        _: &InstanceName,
        _: &ContainersGrant,
        _: &AllocationId,
        _: &LogQuery,
    ) -> Result<LogChunk, Failure> {
        denied()
    }
}

#[async_trait]
impl Kubernetes for Nothing {
    async fn info(&self, _: &KubernetesGrant) -> Result<kubernetes::ClusterInfo, Failure> {
        denied()
    }
    async fn apply(
        &self,
        _: &kubernetes::Caller,
        _: &KubernetesGrant,
        _: Vec<String>,
    ) -> Result<Vec<String>, Failure> {
        denied()
    }
    async fn apply_secret(
        &self,
        _: &kubernetes::Caller,
        _: &KubernetesGrant,
        _: &str,
        _: &str,
        _: Vec<kubernetes::SecretItem>,
    ) -> Result<String, Failure> {
        denied()
    }
    async fn get(
        &self,
        _: &kubernetes::Caller,
        _: &KubernetesGrant,
        _: &kubernetes::Reference,
    ) -> Result<Option<String>, Failure> {
        denied()
    }
    async fn list(
        &self,
        _: &kubernetes::Caller,
        _: &KubernetesGrant,
        _: &kubernetes::ListQuery,
    ) -> Result<kubernetes::Page, Failure> {
        denied()
    }
    async fn delete(
        &self,
        _: &kubernetes::Caller,
        _: &KubernetesGrant,
        _: Vec<kubernetes::Reference>,
        _: kubernetes::Propagation,
    ) -> Result<Vec<kubernetes::Deletion>, Failure> {
        denied()
    }
    async fn owned(
        &self,
        _: &kubernetes::Caller,
        _: &KubernetesGrant,
    ) -> Result<Vec<kubernetes::OwnedObject>, Failure> {
        denied()
    }
    async fn logs(
        &self,
        _: &kubernetes::Caller,
        _: &KubernetesGrant,
        _: &kubernetes::PodLogQuery,
    ) -> Result<kubernetes::PodLog, Failure> {
        denied()
    }
    async fn nodes(
        &self,
        _: &KubernetesGrant,
        _: &[String],
    ) -> Result<Vec<kubernetes::Node>, Failure> {
        denied()
    }
}

impl Clock for Nothing {
    fn now(&self) -> Instant {
        Instant(0)
    }
}
