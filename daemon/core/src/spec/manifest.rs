//! The manifest: what a user writes. Types only: the crate `tradewind-manifest` reads their text; `resolve` turns one into workloads and needs.

mod affinity;
mod after;
pub mod forms;
pub mod namespace;
mod recovery;
mod replacement;
mod resolve;
mod scale;
mod schedule;
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
pub use after::{Milestone, Prerequisite};
pub use forms::{EnvSpec, GpuSpec, PortSpec};
pub use recovery::{HedgeSpec, PortionSpec, RecoverySpec};
pub use replacement::ReplacementSpec;
pub use resolve::{Constraints, Resolved, SERVICE_DURATION, Since, Target, resolve};
pub use scale::{MetricTarget, ScaleSpec, ScaleTarget, Stabilization};
pub use schedule::{Concurrency, ScheduleLong, ScheduleSpec};
pub use schema::{VALUES, bound_integers, json_schema};
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

/// A deployment: what should run. Tradewind decides where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(example = schema::example())]
pub struct Manifest {
    /// Always `tradewind.dev/v1`.
    pub api_version: ApiVersion,
    /// Always `CloudDeployment`.
    pub kind: Kind,
    /// The name and the labels of the deployment.
    pub metadata: Metadata,
    /// The services and jobs of the deployment, and where they may run.
    pub spec: Spec,
}

/// What a deployment is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The name, unique in its namespace.
    pub name: DeploymentName,
    /// The namespace of the deployment. Default: the one that it is sent to, else `default`.
    #[serde(default = "Namespace::default_namespace")]
    pub namespace: Namespace,
    /// Labels of the deployment, for selectors and reports.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// What runs, and the rules for all of it. There is at least one service or job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("anyOf" = schema::something_to_run()))]
pub struct Spec {
    /// The policy instance that decides. Default: the namespace's policy, else the daemon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<InstanceName>,
    /// A higher priority goes first when there is not enough for all. A task's own priority wins.
    #[serde(default)]
    pub priority: i32,
    /// Constraints on the place of every task.
    #[serde(default, skip_serializing_if = "Placement::is_empty")]
    pub placement: Placement,
    /// How a new version of a service replaces the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateSpec>,
    /// Tasks that run until they are deleted, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub services: IndexMap<TaskName, Service>,
    /// Tasks that run to their end, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub jobs: IndexMap<TaskName, Job>,
    /// How failed replicas of every task are brought back.
    #[serde(default, skip_serializing_if = "RecoverySpec::is_empty")]
    pub recovery: RecoverySpec,
    /// Requests new replicas of every service in several places at once. Default: one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<HedgeSpec>,
    /// Lets services move to places that cost less. Default: the namespace's, else services stay
    /// where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<ReplacementSpec>,
    /// Places at which services must run in full. Jobs have no targets. Default: the policy chooses
    /// the places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetSpec>,
}

/// One place of a deployment that runs on several clouds. Each listed service runs there with all
/// its replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetSpec {
    /// The provider instance.
    pub provider: InstanceName,
    /// A region of the provider. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<crate::base::names::Region>,
    /// The services that run at this target. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<TargetService>,
}

/// A service at a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetService {
    /// The name of one of the services.
    pub name: TaskName,
    /// The kind of managed platform, such as `EKS`, `AKS` or `GKE`. It is compared with the label
    /// `platform` of offers. Default: any.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Replicas at this target. Default: the service's `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
}

/// Hard constraints on where a task may run. A list of a task replaces the deployment's list;
/// labels add up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Placement {
    /// The provider instances that may be used. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<InstanceName>,
    /// The regions that may be used. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<crate::base::names::Region>,
    /// Whether spot offers may be used. Their provider may take them back at any time. Default:
    /// `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spot: Option<bool>,
    /// The most that a replica may cost per hour, in US dollars. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<MicroUsd>,
    /// Spreads the replicas of a task, so that one failure does not take all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<SpreadSpec>,
    /// Tasks of a namespace with the same word run in one domain, with all their replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<AffinitySpec>,
    /// Tasks of a namespace with the same word share no domain. Replicas of one task may share one;
    /// use `spread` to separate them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anti_affinity: Option<AffinitySpec>,
    /// Labels that an offer must have.
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
            /// The container image. Give `image`, `command`, or both.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub image: Option<String>,
            /// The program and its arguments. With an image, they replace its entry point.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub command: Vec<String>,
            /// Arguments for the image's own entry point.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub args: Vec<String>,
            /// The folder in which the program starts. Default: the image's, or one that the
            /// provider makes.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub working_directory: Option<String>,
            /// The user that the program runs as: a name or a number, with a group after a colon.
            /// Default: the image's.
            #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "forms::user")]
            #[schemars(schema_with = "forms::user_schema")]
            pub user: Option<String>,
            /// Environment variables by name: a text, or `{secret: NAME, key: KEY}`. The value of a
            /// secret loses one line end (`\n` or `\r\n`) at its end. The provider sets `PORT`, and
            /// `PORT_<NAME>` for each port; a text for them may only repeat the port's number.
            #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
            pub env: IndexMap<String, EnvSpec>,
            /// Ports by name: a number, or the long form. With port 0 or `{}`, the provider chooses
            /// the number.
            #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
            pub ports: IndexMap<PortName, PortSpec>,
            /// Storage, each with the path at which it appears.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub volumes: Vec<VolumeSpec>,
            /// The names of the networks that it joins.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub networks: Vec<String>,
            /// Files that exist before the program starts. A secret's value is written unchanged,
            /// with its last line end.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub files: Vec<FileSpec>,
            /// What one replica needs.
            #[serde(default)]
            pub resources: ResourcesSpec,
            /// Hard limits, where they differ from `resources`. Default: what `resources` asks for.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub limits: Option<LimitsSpec>,
            /// How long the task is expected to run; the estimate of the cost uses it. A service's
            /// is time of the clock. A job's is time on the reference machine, so that faster
            /// machines need less. Default: 730h for services, 1h for jobs.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub duration: Option<Millis>,
            /// A higher priority goes first. Default: the deployment's.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub priority: Option<i32>,
            /// Constraints of this task, in addition to the deployment's.
            #[serde(default, skip_serializing_if = "Placement::is_empty")]
            pub placement: Placement,
            /// Tasks of this deployment that must have come so far before this one begins, and
            /// before a new version of it replaces the old one. Default: it begins at once.
            #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
            pub after: IndexMap<TaskName, Milestone>,
            /// How its failed replicas are brought back. A field that is left out is the
            /// deployment's.
            #[serde(default, skip_serializing_if = "RecoverySpec::is_empty")]
            pub recovery: RecoverySpec,
            /// How its program is asked to end. Default: TERM, and KILL after 10s.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub stop: Option<StopSpec>,
            /// Labels that the provider attaches where it can.
            #[serde(default, skip_serializing_if = "Labels::is_empty")]
            pub labels: Labels,
            /// Additions for one provider: the name of a plugin, and what that plugin documents.
            #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
            pub extensions: IndexMap<String, serde_json::Value>,
            /// How many run. A service has 0 to 10000; a job at least 1, or 0 with `scale.min: 0`.
            #[serde(default = "one")]
            pub replicas: u32,
            /// What the move of one running replica costs, in US dollars: lost work, copied data.
            /// Default: `0`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub migration_cost: Option<MicroUsd>,
            /// Lets the number of replicas follow the load. Default: it stays as written.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub scale: Option<ScaleSpec>,
            $($(#[$m])* pub $field: $ty,)*
        }
    };
}

task! {
    /// A task that runs until it is deleted.
    Service {
        /// The check that decides whether a replica is ready. Default: it is ready once it has run
        /// for a second, later after failures in a row.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        health: Option<HealthSpec>,
        /// The check that decides whether a replica is restarted. Its failures count from the first
        /// success of `startup`, of `health` or of itself. A replica without any success is
        /// restarted when the check has failed for 5m from its first run. Default: no replica is
        /// restarted because of a check.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        liveness: Option<HealthSpec>,
        /// The check of a slow start. `health` and `liveness` wait until it succeeds. A replica is
        /// restarted when it has failed `unhealthyAfter` times in a row. Default: `health` and
        /// `liveness` begin at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        startup: Option<HealthSpec>,
        /// How a new version replaces the old one. A field that is left out is the deployment's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        update: Option<UpdateSpec>,
        /// Requests new replicas in several places at once. Default: the deployment's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hedge: Option<HedgeSpec>,
        /// What one replica is expected to send out of its region per hour. Default: `0`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        egress: Option<Bytes>,
        /// Requests per second that all replicas together are expected to serve.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_rate: Option<f64>,
    }
}

task! {
    /// A task that runs to its end. Each replica must succeed.
    Job {
        /// How often a failed replica is started again, 0 to 1000. A replica that is lost with its
        /// machine has not failed: it is made again, with all its retries.
        #[serde(default)]
        retries: u32,
        /// The longest time from a replica's first start to its end, with all attempts and pauses.
        /// It goes on while a replica that had begun is lost, waits for a place or is made
        /// elsewhere. A replica beyond it is ended and has failed, whatever retries are left. With
        /// `duration`, places on which one attempt takes longer are not used. Default: no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Millis>,
        /// When the job runs: a cron expression such as `0 3 * * *`, or the long form. Default: once,
        /// as soon as it has a place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schedule: Option<ScheduleSpec>,
    }
}

fn one() -> u32 {
    1
}

/// A reference to a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSpec {
    /// The name of the secret.
    pub secret: String,
    /// The key inside the secret. Default: its only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The long form of a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PortLong {
    /// The number on which the program listens. With 0, the provider chooses it, and passes it in
    /// `PORT_<NAME>`, and in `PORT` for the first port.
    pub port: u16,
    /// The number that callers use. Default: the provider chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<u16>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Who may reach it.
    pub expose: Exposure,
}

/// A piece of storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// The absolute path inside the workload.
    pub path: String,
    /// Whether writing is refused.
    #[serde(default)]
    pub read_only: bool,
    /// The name of a volume of this deployment that outlives the replica. Default: scratch space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A path of the machine. It needs a grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
    /// The least that the volume must hold. A named volume needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// The class of storage, in the provider's words. Only a named volume has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
}

/// A file inside the workload. Give `content` or `secret`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSpec {
    /// Where the file appears: absolute, or relative to the working folder. Not inside a named
    /// volume or a path of the machine.
    pub path: String,
    /// The content as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The secret whose value is the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSpec>,
    /// POSIX permission bits, one to four octal digits: `"644"` in quotes, or `0644`, or `0o644`.
    /// Default: `"644"`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "forms::mode"
    )]
    #[schemars(schema_with = "forms::mode_schema")]
    pub mode: Option<String>,
}

/// What one replica needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResourcesSpec {
    /// Processor cores.
    pub cpu: MilliCpu,
    /// Memory.
    pub memory: Bytes,
    /// Local disk. Default: `0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
    /// A number of accelerators of any kind, or the long form. Default: none.
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

/// Hard limits of one replica. A field that is left out is what `resources` asks for. Limits
/// reserve nothing: places are found by `resources`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsSpec {
    /// Processor cores, at least as many as `resources.cpu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<MilliCpu>,
    /// Memory of all processes of a replica, at least `resources.memory`. A replica that takes more
    /// is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Local disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
}

/// How a program is asked to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StopSpec {
    /// The signal: `TERM`, `INT`, `QUIT`, `HUP`, `KILL`, `USR1` or `USR2`. Default: `TERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// How long the program has until it is killed; at most 1day. Default: `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Millis>,
}

/// A check of a replica. Give exactly one of `http`, `tcp` and `command`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthSpec {
    /// The path that must answer with a status of 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// With `true`, the port must accept a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<bool>,
    /// The command that must end with 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The name of the port. Default: the first port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
    /// The time from the start to the first check. Default: `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<Millis>,
    /// The time between two checks. Until the first success, checks repeat faster. Default: `5s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Millis>,
    /// How long one check may take. Default: `2s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// Successes in a row until the replica is healthy, 1 to 1000. Default: `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_after: Option<u32>,
    /// Failures in a row until the replica is unhealthy, 1 to 1000. Default: 3; of `startup`, as
    /// many as 5m hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy_after: Option<u32>,
}
