//! The capabilities as the plugin under test gets them: the real ones, with the script between. One line for each call of a port.

use std::sync::Arc;

use async_trait::async_trait;
use tradewind_core::{
    capability::{
        Http, HttpRequest, HttpResponse, Machine, ProcessKey, ProcessSpec, ProcessStatus, Processes,
        aws::Aws,
        containers::{Containers, EngineInfo},
        kubernetes::Kubernetes,
    },
    failure::Failure,
    grant::{AwsGrant, ContainersGrant, HttpGrant, KubernetesGrant, ProcessGrant},
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
});

scripted!(Kubernetes {
    async fn version(&self, owner: &InstanceName, grant: &KubernetesGrant) -> String;
});

scripted!(Aws {
    async fn zones(&self, owner: &InstanceName, grant: &AwsGrant, region: &str) -> Vec<String>;
});

/// The same capabilities behind a script. Clocks don't fail.
pub(crate) fn behind(real: &Capabilities, script: &Arc<Script>) -> Capabilities {
    Capabilities {
        processes: Arc::new(Scripted { real: real.processes.clone(), script: script.clone() }),
        http: Arc::new(Scripted { real: real.http.clone(), script: script.clone() }),
        containers: Arc::new(Scripted { real: real.containers.clone(), script: script.clone() }),
        kubernetes: Arc::new(Scripted { real: real.kubernetes.clone(), script: script.clone() }),
        aws: Arc::new(Scripted { real: real.aws.clone(), script: script.clone() }),
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
pub(crate) async fn really(real: &Capabilities, owner: &InstanceName, allocation: &AllocationId) -> Option<usize> {
    let keys = real.processes.owned(owner).await.ok()?;
    Some(keys.iter().filter(|key| key.allocation == *allocation).count())
}
