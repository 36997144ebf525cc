//! The manifest: what a user writes. Types only: the crate `tradewind-manifest` reads their text; `resolve` turns one into workloads and needs.

mod affinity;
pub mod forms;
pub mod namespace;
mod recovery;
mod replacement;
mod resolve;
mod scale;
mod schema;
mod update;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::{
        names::{DeploymentName, InstanceName, Labels, Namespace, PortName, TaskName},
        units::{Bytes, MicroUsd, MilliCpu, Millis},
    },
    spec::{
        policy_call::Spread,
        workload::{Exposure, Protocol},
    },
};

pub use affinity::{AffinityDomain, AffinitySpec};
pub use forms::{EnvSpec, GpuSpec, PortSpec};
pub use recovery::{HedgeSpec, PortionSpec, RecoverySpec};
pub use replacement::ReplacementSpec;
pub use resolve::{Constraints, Resolved, SERVICE_DURATION, Target, resolve};
pub use scale::{MetricTarget, ScaleSpec, ScaleTarget, Stabilization};
pub use schema::{bound_integers, json_schema};
pub use update::{CanaryStepSpec, UpdateSpec};

/// The only API version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first version.
    #[serde(rename = "tradewind.dev/v1")]
    V1,
}

/// What a document describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A deployment.
    CloudDeployment,
}

/// What should run. Tradewind decides where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(example = schema::example())]
pub struct Manifest {
    /// Always tradewind.dev/v1.
    pub api_version: ApiVersion,
    /// Always CloudDeployment.
    pub kind: Kind,
    /// Its name and labels.
    pub metadata: Metadata,
    /// Its services and jobs, and where they may run.
    pub spec: Spec,
}

/// What a deployment is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Unique in its namespace.
    pub name: DeploymentName,
    /// Default "default".
    #[serde(default = "Namespace::default_namespace")]
    pub namespace: Namespace,
    /// Labels of the deployment, for selecting and for reports.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// What runs, and the rules for all of it. There is at least one service or job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("anyOf" = schema::something_to_run()))]
pub struct Spec {
    /// The policy instance that decides. Default: the daemon's default policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<InstanceName>,
    /// Higher goes first when there is not enough for all. A task's own priority wins.
    #[serde(default)]
    pub priority: i32,
    /// Constraints for every task.
    #[serde(default, skip_serializing_if = "Placement::is_empty")]
    pub placement: Placement,
    /// How a new version of a service takes the place of the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateSpec>,
    /// Long-running tasks, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub services: IndexMap<TaskName, Service>,
    /// Tasks that run to their end, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub jobs: IndexMap<TaskName, Job>,
    /// How what fails is brought back, for every task.
    #[serde(default, skip_serializing_if = "RecoverySpec::is_empty")]
    pub recovery: RecoverySpec,
    /// For every service: new replicas are asked for in several places at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<HedgeSpec>,
    /// Lets services move to where they cost less, if that is worth it. Absent: they stay where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<ReplacementSpec>,
    /// Places where listed services must run, each in full. Without targets the policy chooses the places. Jobs are never pinned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetSpec>,
}

/// One place of a multi-cloud deployment: every listed service runs there with all its replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetSpec {
    /// A provider instance.
    pub provider: InstanceName,
    /// One of its regions; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<crate::base::names::Region>,
    /// Services that run here; absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<TargetService>,
}

/// A service at a target. `type` names the kind of managed platform (`EKS`, `AKS`, `GKE`), matched against the offers' label `platform`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetService {
    /// One of the services.
    pub name: TaskName,
    /// The kind of managed platform; absent: any.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Copies here. Default: the service's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
}

/// Hard constraints on where a task may run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Placement {
    /// Provider instances that may be used; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<InstanceName>,
    /// Regions that may be used; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<crate::base::names::Region>,
    /// Whether offers that may be taken back at any time are allowed. Default: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot: Option<bool>,
    /// The most a replica may cost per hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<MicroUsd>,
    /// How replicas are spread, so that one failure does not take all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<SpreadSpec>,
    /// Tasks of the namespace with the same word run in one domain, all their replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<AffinitySpec>,
    /// Tasks of the namespace with the same word share no domain. Replicas of one task may: `spread` is for those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anti_affinity: Option<AffinitySpec>,
    /// Labels that the offer must carry.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl Placement {
    /// It constrains nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How the replicas of a task are spread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SpreadSpec {
    /// The domain over which replicas are spread.
    pub over: Spread,
    /// The most replicas in one domain. Default: as even as the domains allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

/// Services and jobs share most fields. (A flattened struct would lose both the refusal of unknown fields and the positions in errors.)
macro_rules! task {
    ($(#[$doc:meta])* $name:ident { $($(#[$m:meta])* $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            /// A container image. Give an image, a command, or both.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub image: Option<String>,
            /// The program and its arguments; with an image it replaces the entry point.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub command: Vec<String>,
            /// Arguments for the image's own entry point.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub args: Vec<String>,
            /// The folder it starts in. Default: the image's own, or one that the provider makes.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub working_directory: Option<String>,
            /// The user it runs as: a name or a number, with a group after a colon. Default: the image's own.
            #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "forms::user")]
            #[schemars(schema_with = "forms::user_schema")]
            pub user: Option<String>,
            /// Environment variables: a text, or `{secret: NAME, key: KEY}`. A variable gets a secret's value without one line end (`\n` or
            /// `\r\n`) at its end. `PORT`, and `PORT_<NAME>` of a port, are the provider's: a text may only repeat the port's own number.
            #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
            pub env: IndexMap<String, EnvSpec>,
            /// Ports by name: a number, or `{port, published, protocol, expose}`. Port 0 or `{}` lets the provider choose.
            #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
            pub ports: IndexMap<PortName, PortSpec>,
            /// Storage, each piece with the path at which it appears.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub volumes: Vec<VolumeSpec>,
            /// Networks to join, by name.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub networks: Vec<String>,
            /// Files to put in place before it starts. A secret's value is written as it is, its last line end included.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub files: Vec<FileSpec>,
            /// What one replica needs.
            #[serde(default)]
            pub resources: ResourcesSpec,
            /// Hard limits where they differ from the resources.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub limits: Option<LimitsSpec>,
            /// How long it is expected to run, for the estimate of the cost: a service by the clock, a job on the reference machine, so that
            /// faster ones need less. Default: a month (730 h) for services, an hour for jobs.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub duration: Option<Millis>,
            /// Higher goes first. Default: the deployment's.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub priority: Option<i32>,
            /// Constraints of this task, on top of the deployment's.
            #[serde(default, skip_serializing_if = "Placement::is_empty")]
            pub placement: Placement,
            /// How it is brought back when it fails. What is left out is the deployment's.
            #[serde(default, skip_serializing_if = "RecoverySpec::is_empty")]
            pub recovery: RecoverySpec,
            /// How it is asked to end. Default: TERM, and KILL after 10s.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub stop: Option<StopSpec>,
            /// Labels for the provider to attach where it can.
            #[serde(default, skip_serializing_if = "Labels::is_empty")]
            pub labels: Labels,
            /// Provider-specific additions: a plugin's name to whatever that plugin documents.
            #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
            pub extensions: IndexMap<String, serde_json::Value>,
            /// Copies. Default 1.
            #[serde(default = "one")]
            pub replicas: u32,
            /// What moving one running copy costs, in US dollars: work that is lost, data that is copied. Default 0.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub migration_cost: Option<MicroUsd>,
            /// Lets the number of copies follow the load. Default: it stays as it is written.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub scale: Option<ScaleSpec>,
            $($(#[$m])* pub $field: $ty,)*
        }
    };
}

task! {
    /// A long-running task.
    Service {
        /// Decides whether a replica counts as ready. Default: it does once it has run for a second, and longer after failures in a row.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        health: Option<HealthSpec>,
        /// Decides whether a replica is restarted. Its failures count from the first success: of `startup`, of `health`, or of itself. A replica
        /// that has none of these is restarted once it has failed for five minutes, counted from the check's first look. Default: health alone
        /// never restarts one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        liveness: Option<HealthSpec>,
        /// For a slow start: until it succeeds, `health` and `liveness` wait. A replica for which it has failed `unhealthyAfter` times is
        /// restarted; the default is as many checks as five minutes hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        startup: Option<HealthSpec>,
        /// How a new version takes the place of the old one, where it differs from the deployment's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        update: Option<UpdateSpec>,
        /// New replicas are asked for in several places at once. Default: the deployment's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hedge: Option<HedgeSpec>,
        /// What one copy is expected to send out of its region per hour, such as 2Gi.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        egress: Option<Bytes>,
        /// Requests per second that all copies together are expected to serve.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_rate: Option<f64>,
    }
}

task! {
    /// A task that runs to its end. Each copy must succeed.
    Job {
        /// How often a failed copy is started again. A copy that is lost with its machine has not failed: it is made again, with all its
        /// retries. Default 0.
        #[serde(default)]
        retries: u32,
        /// The longest a copy may take from its first start to its end, all its attempts and the pauses between them together. It goes on
        /// while a copy that had begun is lost, waits for a place, or is made elsewhere; what waits for its first start has all of it. A copy
        /// past it is ended and has failed, whatever retries are left. Where `duration` is given, places on which one attempt would take longer are
        /// not used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Millis>,
    }
}

fn one() -> u32 {
    1
}

/// A secret's name, and the key inside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSpec {
    /// The secret's name.
    pub secret: String,
    /// The key inside it; absent: its only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The long form of a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PortLong {
    /// The number the process listens on; 0: the provider chooses and passes it in `PORT_<NAME>`, and `PORT` for the first.
    pub port: u16,
    /// The number that callers use; absent: the provider chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<u16>,
    /// What is spoken there. Default tcp.
    pub protocol: Protocol,
    /// Who may reach it. Default internal.
    pub expose: Exposure,
}

/// A piece of storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// The absolute path inside the workload.
    pub path: String,
    /// Whether writing is refused. Default: no.
    #[serde(default)]
    pub read_only: bool,
    /// A named volume of this deployment that outlives the replica, with its size; absent: scratch space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A path of the machine. Needs a grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// The least it must hold. A named volume needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// The class of storage, in the provider's words. Only for a named volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

/// A file inside the workload. Give `content` or `secret`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSpec {
    /// Where the file appears: absolute, or relative to the working folder. Not inside a volume that is named or a path of the machine.
    pub path: String,
    /// The content as text. Give this or a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The content as a secret. Give this or a content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSpec>,
    /// POSIX permission bits, one to four octal digits: "644" in quotes, or 0644 or 0o644. Default "644".
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "forms::mode"
    )]
    #[schemars(schema_with = "forms::mode_schema")]
    pub mode: Option<String>,
}

/// What one copy needs. Default: 100m and 128Mi.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResourcesSpec {
    /// Processor cores: 2, 0.5 or 500m.
    pub cpu: MilliCpu,
    /// Memory, such as 512Mi.
    pub memory: Bytes,
    /// Local disk, such as 10Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
    /// A number of accelerators of any kind, or `{kind, count, memory}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuSpec>,
}

impl Default for ResourcesSpec {
    fn default() -> Self {
        Self {
            cpu: MilliCpu(100),
            memory: Bytes(128 << 20),
            disk: None,
            gpu: None,
        }
    }
}

/// Hard limits of one copy. What is absent is limited to what `resources` asks for. They claim no room: places are found, and room is promised,
/// by `resources`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsSpec {
    /// Processor cores, at least what is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<MilliCpu>,
    /// Memory, at least what is asked for. What all processes of a copy fill counts; a copy that takes more is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Local disk, such as 10Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
}

/// How a program is asked to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StopSpec {
    /// Default TERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// How long it may take until it is killed. Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Millis>,
}

/// A health check. Give exactly one of `http`, `tcp`, `command`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthSpec {
    /// The path that must answer with a status of 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// True: the port must accept a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<bool>,
    /// A command that must end with 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The port's name. Default: the first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
    /// How long after the start the first check comes. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<Millis>,
    /// Default 5s (the first check comes at once and repeats quickly until it succeeds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Millis>,
    /// Default 2s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// Consecutive successes until healthy. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_after: Option<u32>,
    /// Consecutive failures until unhealthy. Default 3; of `startup`, as many as five minutes hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy_after: Option<u32>,
}
