//! What replicas use, as their providers measured it last.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    list::{Listed, SortValue},
    names::{AllocationId, DeploymentName, InstanceName, Namespace, TaskName},
    units::Bytes,
    workload::Phase,
};

/// A replica with what it uses and what it asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaUsage {
    /// The deployment's namespace.
    pub namespace: Namespace,
    /// The deployment.
    pub deployment: DeploymentName,
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The allocation that the replica belongs to.
    pub allocation: AllocationId,
    /// The replica's index in the allocation, from 0.
    pub replica: u32,
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// What its provider reported last.
    pub phase: Phase,
    /// Millicores that it uses. Absent: its provider does not measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<f64>,
    /// Bytes of memory that it uses. Absent: its provider does not measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Millicores that it asked for.
    pub cpu_milli_asked: u32,
    /// Memory that it asked for.
    pub memory_asked: Bytes,
    /// How often its provider has started it again.
    pub restarts: u32,
}

/// By deployment.
impl Listed for ReplicaUsage {
    const LIST: &'static str = "usage";
    const SORTS: &'static [&'static str] = &[
        "namespace",
        "deployment",
        "provider",
        "memoryBytes",
        "restarts",
    ];
    type Key = (Namespace, DeploymentName, AllocationId, u32);

    fn key(&self) -> Self::Key {
        (
            self.namespace.clone(),
            self.deployment.clone(),
            self.allocation.clone(),
            self.replica,
        )
    }

    fn sort_value(&self, field: &str) -> SortValue {
        match field {
            "namespace" => self.namespace.as_str().into(),
            "deployment" => self.deployment.as_str().into(),
            "provider" => self.provider.as_str().into(),
            "memoryBytes" => self.memory_bytes.into(),
            "restarts" => self.restarts.into(),
            _ => SortValue::Nothing,
        }
    }
}
