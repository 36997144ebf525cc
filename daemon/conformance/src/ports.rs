//! The capabilities as the plugin under test gets them: the real ones, with the script between. One line for each call of a port.

use std::sync::Arc;

use async_trait::async_trait;
use tradewind_core::{
    capability::{
        Attempt, Http, HttpRequest, HttpResponse, Machine, ProcessKey, ProcessSpec, ProcessStatus,
        Processes,
        aws::{self, Asker, Aws},
        containers::{ContainerKey, ContainerSpec, ContainerStatus, Containers, EngineInfo},
        kubernetes::{self, Caller, Kubernetes},
    },
    failure::Failure,
    grant::{ContainersGrant, HttpGrant, KubernetesGrant, ProcessGrant},
    names::{AllocationId, InstanceName},
    workload::{LogChunk, LogQuery},
};
use tradewind_wasm::Capabilities;

use crate::script::Script;

struct Scripted<P: ?Sized> {
    real: Arc<P>,
    script: Arc<Script>,
}

/// Writes the wrapper of a port out of its signatures.
macro_rules! scripted {
    ($port:ident { $(async fn $call:ident(&self $(, $name:ident: $type:ty)*) -> $answer:ty;)* }) => {
        #[async_trait]
        impl $port for Scripted<dyn $port> {
            $(async fn $call(&self $(, $name: $type)*) -> Result<$answer, Failure> {
                self.script.pass(stringify!($call), self.real.$call($($name),*)).await
            })*
        }
    };
}

scripted!(Processes {
    async fn ensure(&self, owner: &InstanceName, grant: &ProcessGrant, key: ProcessKey, spec: ProcessSpec) -> ProcessStatus;
    async fn status(&self, owner: &InstanceName, keys: &[ProcessKey]) -> Vec<Option<ProcessStatus>>;
    async fn remove(&self, owner: &InstanceName, key: &ProcessKey) -> bool;
    async fn owned(&self, owner: &InstanceName) -> Vec<ProcessKey>;
    async fn logs(&self, owner: &InstanceName, allocation: &AllocationId, query: &LogQuery) -> LogChunk;
    async fn machine(&self, owner: &InstanceName, grant: &ProcessGrant) -> Machine;
});

scripted!(Http {
    async fn send(&self, owner: &InstanceName, grant: &HttpGrant, request: HttpRequest) -> HttpResponse;
});

scripted!(Containers {
    async fn info(&self, owner: &InstanceName, grant: &ContainersGrant) -> EngineInfo;
    async fn ensure(&self, owner: &InstanceName, grant: &ContainersGrant, attempt: &Attempt, key: ContainerKey, spec: ContainerSpec) -> ContainerStatus;
    async fn status(&self, owner: &InstanceName, grant: &ContainersGrant, keys: &[ContainerKey]) -> Vec<Option<ContainerStatus>>;
    async fn remove(&self, owner: &InstanceName, grant: &ContainersGrant, key: &ContainerKey) -> bool;
    async fn owned(&self, owner: &InstanceName, grant: &ContainersGrant) -> Vec<ContainerKey>;
    async fn logs(&self, owner: &InstanceName, grant: &ContainersGrant, allocation: &AllocationId, query: &LogQuery) -> LogChunk;
});

scripted!(Kubernetes {
    async fn info(&self, grant: &KubernetesGrant) -> kubernetes::ClusterInfo;
    async fn apply(&self, caller: &Caller, grant: &KubernetesGrant, objects: Vec<String>) -> Vec<String>;
    async fn apply_secret(&self, caller: &Caller, grant: &KubernetesGrant, namespace: &str, name: &str, items: Vec<kubernetes::SecretItem>) -> String;
    async fn get(&self, caller: &Caller, grant: &KubernetesGrant, object: &kubernetes::Reference) -> Option<String>;
    async fn list(&self, caller: &Caller, grant: &KubernetesGrant, query: &kubernetes::ListQuery) -> kubernetes::Page;
    async fn delete(&self, caller: &Caller, grant: &KubernetesGrant, objects: Vec<kubernetes::Reference>, propagation: kubernetes::Propagation) -> Vec<kubernetes::Deletion>;
    async fn owned(&self, caller: &Caller, grant: &KubernetesGrant) -> Vec<kubernetes::OwnedObject>;
    async fn logs(&self, caller: &Caller, grant: &KubernetesGrant, query: &kubernetes::PodLogQuery) -> kubernetes::PodLog;
    async fn nodes(&self, grant: &KubernetesGrant, annotations: &[String]) -> Vec<kubernetes::Node>;
});

scripted!(Aws {
    async fn zones(&self, asker: &Asker, region: &str) -> Vec<String>;
    async fn instance_types(&self, asker: &Asker, region: &str, types: &[String]) -> Vec<aws::InstanceType>;
    async fn spot_prices(&self, asker: &Asker, region: &str, types: &[String]) -> Vec<aws::SpotPrice>;
    async fn images(&self, asker: &Asker, region: &str, ids: &[String]) -> Vec<aws::Image>;
    async fn run(&self, asker: &Asker, attempt: &Attempt, request: &aws::RunRequest) -> aws::Instance;
    async fn instances(&self, asker: &Asker, region: &str, allocations: &[String]) -> Vec<aws::Instance>;
    async fn terminate(&self, asker: &Asker, region: &str, ids: &[String]) -> ();
    async fn console(&self, asker: &Asker, region: &str, id: &str) -> String;
    async fn create_load_balancer(&self, asker: &Asker, attempt: &Attempt, request: &aws::LoadBalancerRequest) -> aws::LoadBalancer;
    async fn create_target_group(&self, asker: &Asker, attempt: &Attempt, request: &aws::TargetGroupRequest) -> aws::TargetGroup;
    async fn create_listener(&self, asker: &Asker, attempt: &Attempt, request: &aws::ListenerRequest) -> aws::Listener;
    async fn load_balancers(&self, asker: &Asker, region: &str, allocations: &[String]) -> Vec<aws::LoadBalancer>;
    async fn target_groups(&self, asker: &Asker, region: &str, allocations: &[String]) -> Vec<aws::TargetGroup>;
    async fn listeners(&self, asker: &Asker, region: &str, load_balancer: &str) -> Vec<aws::Listener>;
    async fn register(&self, asker: &Asker, region: &str, target_group: &str, targets: &[aws::Target]) -> ();
    async fn deregister(&self, asker: &Asker, region: &str, target_group: &str, targets: &[aws::Target]) -> ();
    async fn health(&self, asker: &Asker, region: &str, target_groups: &[String]) -> Vec<aws::TargetHealth>;
    async fn delete_listener(&self, asker: &Asker, region: &str, id: &str) -> bool;
    async fn delete_load_balancer(&self, asker: &Asker, region: &str, id: &str) -> bool;
    async fn delete_target_group(&self, asker: &Asker, region: &str, id: &str) -> bool;
});

/// The same capabilities behind a script. Clocks don't fail.
pub(crate) fn behind(real: &Capabilities, script: &Arc<Script>) -> Capabilities {
    Capabilities {
        processes: Arc::new(Scripted {
            real: real.processes.clone(),
            script: script.clone(),
        }),
        http: Arc::new(Scripted {
            real: real.http.clone(),
            script: script.clone(),
        }),
        containers: Arc::new(Scripted {
            real: real.containers.clone(),
            script: script.clone(),
        }),
        kubernetes: Arc::new(Scripted {
            real: real.kubernetes.clone(),
            script: script.clone(),
        }),
        aws: Arc::new(Scripted {
            real: real.aws.clone(),
            script: script.clone(),
        }),
        absent: real.absent,
        clock: real.clock.clone(),
    }
}

/// Removes, past the plugin, what is left of its instance. Answers how much that was.
pub(crate) async fn sweep(real: &Capabilities, owner: &InstanceName) -> Result<usize, Failure> {
    let keys = real.processes.owned(owner).await?;
    for key in &keys {
        real.processes.remove(owner, key).await?;
    }
    Ok(keys.len())
}

/// How many replicas of an allocation there really are, past the plugin. None where no capability can tell.
pub(crate) async fn really(
    real: &Capabilities,
    owner: &InstanceName,
    allocation: &AllocationId,
) -> Option<usize> {
    let keys = real.processes.owned(owner).await.ok()?;
    Some(
        keys.iter()
            .filter(|key| key.allocation == *allocation)
            .count(),
    )
}
