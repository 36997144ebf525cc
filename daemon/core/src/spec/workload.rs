//! What runs and what became of it: the contract's workload, allocation and observation as domain types.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{
    names::{AllocationId, DeploymentName, Namespace, TaskName},
    units::{Bytes, Instant, MicroUsd, MilliCpu, Millis},
};

/// String pairs in key order.
pub use crate::base::names::Labels;

#[derive(
    Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Accelerator {
    /// The kind (`nvidia-l4`); empty for any.
    #[serde(default)]
    pub kind: String,
    pub count: u32,
    /// The least memory of each; 0 for any.
    #[serde(default)]
    pub memory: Bytes,
}

/// What one replica needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    pub cpu: MilliCpu,
    pub memory: Bytes,
    pub disk: Bytes,
    pub accelerators: Vec<Accelerator>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    pub name: String,
    pub key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EnvValue {
    Text(String),
    Secret(SecretRef),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    pub name: String,
    pub value: EnvValue,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Http,
    Https,
    Grpc,
}

/// Who may reach a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Exposure {
    /// Only the replica's own machine or pod.
    Local,
    /// Other workloads in the same network.
    #[default]
    Internal,
    /// Anyone.
    Public,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    pub name: String,
    /// 0: the provider chooses and passes it in `PORT_<NAME>`, and `PORT` for the first.
    pub number: u16,
    pub published: Option<u16>,
    pub protocol: Protocol,
    pub exposure: Exposure,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeSource {
    Scratch {
        size: Bytes,
    },
    Persistent {
        name: String,
        size: Bytes,
        class: String,
    },
    HostPath {
        path: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    pub path: String,
    pub read_only: bool,
    pub source: VolumeSource,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    pub name: String,
    pub internal: bool,
    pub options: Labels,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FileContent {
    Data(Vec<u8>),
    Secret(SecretRef),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigFile {
    pub path: String,
    /// POSIX permission bits.
    pub mode: u32,
    pub content: FileContent,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    Http {
        port: String,
        path: String,
        headers: Labels,
        status_min: u16,
        status_max: u16,
    },
    Tcp {
        port: String,
    },
    Command {
        command: Vec<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    pub check: Check,
    pub initial_delay: Millis,
    pub interval: Millis,
    pub timeout: Millis,
    pub healthy_after: u32,
    pub unhealthy_after: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probes {
    pub startup: Option<Probe>,
    pub readiness: Option<Probe>,
    pub liveness: Option<Probe>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Run {
    Service,
    Job {
        retries: u32,
        deadline: Option<Millis>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    pub min: u32,
    pub max: u32,
    pub metric: String,
    pub target: f64,
}

/// One service or job as a provider shall run it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    pub run: Run,
    pub image: Option<String>,
    pub command: Vec<String>,
    pub arguments: Vec<String>,
    pub working_directory: Option<String>,
    pub user: String,
    pub env: Vec<EnvVar>,
    pub ports: Vec<Port>,
    pub volumes: Vec<Volume>,
    pub networks: Vec<Network>,
    pub files: Vec<ConfigFile>,
    pub resources: Resources,
    pub limits: Option<Resources>,
    pub probes: Probes,
    pub stop_signal: String,
    pub stop_grace: Millis,
    pub scaling: Option<Scaling>,
    pub labels: Labels,
    /// Provider kind to a JSON value.
    pub extensions: BTreeMap<String, serde_json::Value>,
}

impl Workload {
    /// The secrets that it gets, in variables and in files.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        let variables = self.env.iter().filter_map(|var| {
            if let EnvValue::Secret(secret) = &var.value {
                Some(secret)
            } else {
                None
            }
        });
        let files = self.files.iter().filter_map(|file| {
            if let FileContent::Secret(secret) = &file.content {
                Some(secret)
            } else {
                None
            }
        });
        variables.chain(files)
    }
}

/// The offer an allocation is bound to, as the provider described it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChosenOffer {
    pub id: String,
    pub region: String,
    pub zone: String,
    pub size: String,
    pub spot: bool,
    /// Per unit and hour.
    pub price: MicroUsd,
    pub labels: Labels,
}

/// What a provider's `apply` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    pub id: AllocationId,
    pub namespace: Namespace,
    pub deployment: DeploymentName,
    pub task: TaskName,
    pub generation: u64,
    pub replicas: u32,
    pub workload: Workload,
    pub offer: ChosenOffer,
    /// The host's idempotency token for this attempt.
    pub token: String,
    /// The host's tags.
    pub tags: Labels,
    /// Thousandths of the task's traffic.
    pub traffic: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Pending,
    Starting,
    Running,
    Succeeded,
    Failed,
    Stopping,
    Gone,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
            Self::Gone => "gone",
        }
    }

    /// Whether it is an end that the provider will not change by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Gone)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    #[default]
    Unknown,
    Healthy,
    Unhealthy,
}

impl Health {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// Where a port answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    pub port: String,
    pub protocol: Protocol,
    pub host: String,
    pub number: u16,
    pub exposure: Exposure,
}

/// What a replica uses now. NaN never enters: unknown values are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Millicores.
    pub cpu: f64,
    pub memory: Bytes,
    /// Requests per second.
    pub requests: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replica {
    pub index: u32,
    pub id: String,
    pub phase: Phase,
    pub health: Health,
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub restarts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Instant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Instant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// A statement with a reason, in the manner of Kubernetes' conditions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    pub kind: String,
    pub met: bool,
    pub reason: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    pub allocation: AllocationId,
    pub phase: Phase,
    pub endpoints: Vec<Endpoint>,
    pub replicas: Vec<Replica>,
    pub message: String,
    pub conditions: Vec<Condition>,
    /// New state; absent: unchanged.
    pub state: Option<Vec<u8>>,
    /// Per hour, as the cloud itself says.
    pub metered_cost: Option<MicroUsd>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    Stdout,
    Stderr,
    Combined,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    pub replica: Option<u32>,
    /// The last so many lines, when `after` is absent.
    pub tail: u32,
    pub after: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    pub replica: u32,
    pub output: Output,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Instant>,
    pub text: String,
    /// It goes on from the piece before it of the same stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    /// It does not end here: the rest comes as a line that `continues` it, or has not been written yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogChunk {
    pub lines: Vec<LogLine>,
    /// To go on; absent when no more can come.
    pub next: Option<String>,
}
