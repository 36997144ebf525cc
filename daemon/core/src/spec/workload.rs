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

/// The long form of accelerators.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Accelerator {
    /// The kind, such as `nvidia-l4`. Empty: any.
    #[serde(default)]
    pub kind: String,
    /// How many one replica needs.
    pub count: u32,
    /// The least memory of each. With 0, any.
    #[serde(default)]
    pub memory: Bytes,
}

/// What one replica needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Its processor share.
    pub cpu: MilliCpu,
    /// Its memory.
    pub memory: Bytes,
    /// Its local disk; 0 for any.
    pub disk: Bytes,
    /// Its accelerators.
    pub accelerators: Vec<Accelerator>,
}

/// The name of a secret, never its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// The secret's name.
    pub name: String,
    /// The key inside it. Absent: the whole secret.
    pub key: Option<String>,
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EnvValue {
    /// As it stands.
    Text(String),
    /// The value of a secret, which the host puts in.
    Secret(SecretRef),
}

/// A variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: EnvValue,
}

/// What is spoken at a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, of which nothing more is known.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// HTTP over TCP.
    Http,
    /// HTTP over TLS.
    Https,
    /// gRPC over TCP.
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

/// A port at which a workload listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Its name within the workload.
    pub name: String,
    /// 0: the provider chooses and passes it in `PORT_<NAME>`, and `PORT` for the first.
    pub number: u16,
    /// The number that callers use. Absent: the provider chooses.
    pub published: Option<u16>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Who may reach it.
    pub exposure: Exposure,
}

/// Where the files of a volume come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeSource {
    /// Scratch space that goes with the replica.
    Scratch {
        /// Its size; 0 for any.
        size: Bytes,
    },
    /// A named volume that outlives the replica.
    Persistent {
        /// Its name.
        name: String,
        /// Its size.
        size: Bytes,
        /// The provider's storage class; empty for its default.
        class: String,
    },
    /// A path of the machine.
    HostPath {
        /// The path.
        path: String,
    },
}

/// Files that a workload finds at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// The absolute path inside the workload.
    pub path: String,
    /// The workload may not change them.
    pub read_only: bool,
    /// Where they come from.
    pub source: VolumeSource,
}

/// A network that a workload takes part in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Its name.
    pub name: String,
    /// No way leads out of it.
    pub internal: bool,
    /// Options of the provider.
    pub options: Labels,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FileContent {
    /// These bytes.
    Data(Vec<u8>),
    /// The value of a secret, which the host puts in.
    Secret(SecretRef),
}

/// A file that a workload finds when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigFile {
    /// Absolute, or relative to the working folder.
    pub path: String,
    /// POSIX permission bits.
    pub mode: u32,
    /// What is in it.
    pub content: FileContent,
}

/// How something about a replica is found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// A request must be answered with one of these statuses.
    Http {
        /// The name of the port.
        port: String,
        /// The path, with its leading slash.
        path: String,
        /// Headers to send.
        headers: Labels,
        /// The lowest status that counts as good.
        status_min: u16,
        /// The highest status that counts as good.
        status_max: u16,
    },
    /// A port must accept a connection.
    Tcp {
        /// The name of the port.
        port: String,
    },
    /// A command inside the workload must end with 0.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
    },
}

/// A check that is repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// The check.
    pub check: Check,
    /// How long after the start the first one is made.
    pub initial_delay: Millis,
    /// Between two of them.
    pub interval: Millis,
    /// The longest that one may take.
    pub timeout: Millis,
    /// So many successes in a row make a replica healthy.
    pub healthy_after: u32,
    /// So many failures in a row make a replica unhealthy.
    pub unhealthy_after: u32,
}

/// How a workload's health is found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probes {
    /// Until it succeeds the others wait.
    pub startup: Option<Probe>,
    /// While it fails the replica gets no traffic.
    pub readiness: Option<Probe>,
    /// When it fails the replica is restarted.
    pub liveness: Option<Probe>,
}

/// How long a replica runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Run {
    /// Until it is stopped.
    Service,
    /// To its end.
    Job {
        /// How often a failed replica is started again.
        retries: u32,
        /// The longest that all its attempts may take. Absent: no limit.
        deadline: Option<Millis>,
    },
}

/// Bounds for a provider that scales by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// The fewest replicas.
    pub min: u32,
    /// The most replicas.
    pub max: u32,
    /// What is measured: `cpu`, `memory`, `requests`.
    pub metric: String,
    /// What one replica should have of it.
    pub target: f64,
}

/// One service or job as a provider shall run it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// How long a replica runs.
    pub run: Run,
    /// The container image. Absent: a plain command.
    pub image: Option<String>,
    /// The program and its arguments. With an image: replaces its entry point.
    pub command: Vec<String>,
    /// Arguments for the image's own entry point.
    pub arguments: Vec<String>,
    /// The folder in which it starts. Absent: the platform's choice.
    pub working_directory: Option<String>,
    /// User and group, in the form the platform takes; empty for its default.
    pub user: String,
    /// Variables of its environment.
    pub env: Vec<EnvVar>,
    /// Ports at which it listens.
    pub ports: Vec<Port>,
    /// Its volumes.
    pub volumes: Vec<Volume>,
    /// Networks that it takes part in.
    pub networks: Vec<Network>,
    /// Files that it finds when it starts.
    pub files: Vec<ConfigFile>,
    /// What one replica needs.
    pub resources: Resources,
    /// Hard limits where they differ from what it needs.
    pub limits: Option<Resources>,
    /// How its health is found out.
    pub probes: Probes,
    /// The signal that asks it to stop, without `SIG`.
    pub stop_signal: String,
    /// How long it may take to stop.
    pub stop_grace: Millis,
    /// Bounds within which the provider scales. Absent: the daemon scales.
    pub scaling: Option<Scaling>,
    /// The user's labels, for the provider to attach.
    pub labels: Labels,
    /// Provider kind to a JSON value.
    pub extensions: BTreeMap<String, serde_json::Value>,
    /// The generation that restarted it; 0: none did. Providers are not told: it makes new replicas of what is equal otherwise.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restart: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
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
    /// The provider's own name for it.
    pub id: String,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// The zone. Empty: the provider chooses one.
    pub zone: String,
    /// The instance type or size class.
    pub size: String,
    /// It may be taken back at any time.
    pub spot: bool,
    /// Per unit and hour.
    pub price: MicroUsd,
    /// The provider's labels.
    pub labels: Labels,
}

/// What a provider's `apply` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// Unique, stable, at most 63 characters of `[a-z0-9-]`.
    pub id: AllocationId,
    /// The namespace of its deployment.
    pub namespace: Namespace,
    /// The deployment that it belongs to.
    pub deployment: DeploymentName,
    /// The task's name in the deployment.
    pub task: TaskName,
    /// The deployment's generation that it comes from.
    pub generation: u64,
    /// Replicas that it shall have.
    pub replicas: u32,
    /// What runs.
    pub workload: Workload,
    /// The offer that it is bound to.
    pub offer: ChosenOffer,
    /// The host's idempotency token for this attempt.
    pub token: String,
    /// The host's tags.
    pub tags: Labels,
    /// Thousandths of the task's traffic.
    pub traffic: Option<u32>,
}

/// How far something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Accepted; nothing runs yet.
    Pending,
    /// Something is being created or started.
    Starting,
    /// Runs (a service), or has begun (a job).
    Running,
    /// A job's replica has ended well.
    Succeeded,
    /// Has ended badly, and the provider does not start it again.
    Failed,
    /// Is being removed.
    Stopping,
    /// Does not exist any more.
    Gone,
}

impl Phase {
    /// As the API and the command line write it.
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

/// What the last checks said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// There is no check, or none has answered yet.
    #[default]
    Unknown,
    /// They pass.
    Healthy,
    /// They fail.
    Unhealthy,
}

impl Health {
    /// As the API and the command line write it.
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
    /// The port's name.
    pub port: String,
    /// What is spoken there.
    pub protocol: Protocol,
    /// A host name or an address, without brackets.
    pub host: String,
    /// The number that callers use.
    pub number: u16,
    /// Who may reach it.
    pub exposure: Exposure,
}

/// What a replica uses now. NaN never enters: unknown values are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Millicores.
    pub cpu: f64,
    /// Memory in use.
    pub memory: Bytes,
    /// Requests per second.
    pub requests: f64,
}

/// One replica, as its provider reports it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replica {
    /// Its index in the allocation, from 0.
    pub index: u32,
    /// The cloud's own name for it: an instance, pod, container or process.
    pub id: String,
    /// How far it is.
    pub phase: Phase,
    /// What its checks say.
    pub health: Health,
    /// Where its ports answer.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// What its provider says about it. Empty: nothing.
    #[serde(default)]
    pub message: String,
    /// How often its provider has started it again.
    #[serde(default)]
    pub restarts: u32,
    /// When it began. Absent: not yet, or unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Instant>,
    /// When it ended. Absent: not yet, or unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Instant>,
    /// What it ended with. Absent: not yet, or unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// What it uses now. Absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// A statement with a reason, in the manner of Kubernetes' conditions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about, in CamelCase: `LoadBalancerReady`.
    pub kind: String,
    /// Whether that is so.
    pub met: bool,
    /// Why, in CamelCase: `QuotaExceeded`.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

/// What a provider reports of an allocation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// The allocation.
    pub allocation: AllocationId,
    /// How far it is as a whole.
    pub phase: Phase,
    /// Addresses that stand for the whole allocation. Those of single replicas are in `replicas`.
    pub endpoints: Vec<Endpoint>,
    /// Its replicas.
    pub replicas: Vec<Replica>,
    /// What the provider says about it. Empty: nothing.
    pub message: String,
    /// Further statements about it.
    pub conditions: Vec<Condition>,
    /// New state; absent: unchanged.
    pub state: Option<Vec<u8>>,
    /// Per hour, as the cloud itself says.
    pub metered_cost: Option<MicroUsd>,
}

/// The stream that a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The provider does not tell the two apart.
    Combined,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only this replica's. Absent: those of all.
    pub replica: Option<u32>,
    /// The last so many lines, when `after` is absent.
    pub tail: u32,
    /// Those behind this cursor, taken from an earlier answer.
    pub after: Option<String>,
    /// Those of the run before the present one, of replicas that have been started again. Contract 0.1 has no field for it: it reaches a
    /// capability beside the plugin.
    pub previous: bool,
}

/// A line that a replica wrote, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// The replica's index.
    pub replica: u32,
    /// The stream that it was written to.
    pub output: Output,
    /// When it was written, where the provider knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Instant>,
    /// The line, without its end.
    pub text: String,
    /// It goes on from the piece before it of the same stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    /// It does not end here: the rest comes as a line that `continues` it, or has not been written yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// It is the first of a run that is not the replica's first, where the provider knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
}

/// The start of a run that is not the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// The number of the run, the first being 1.
    pub run: u32,
    /// When it began.
    pub at: Instant,
}

/// Some lines, and where to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogChunk {
    /// The lines, the oldest first.
    pub lines: Vec<LogLine>,
    /// To go on; absent when no more can come.
    pub next: Option<String>,
}
