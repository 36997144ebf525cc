//! What the host lends to plugins, as ports. `tradewind-cloud` implements them; `tradewind-wasm` calls them with the grant of the
//! instance that asks, and the implementation checks every argument against it.

pub mod aws;
pub mod containers;
pub mod kubernetes;

use std::net::SocketAddr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    base::{
        failure::Failure,
        names::{AllocationId, Digest, InstanceName, Labels, Namespace},
        units::{Instant, Millis},
    },
    ports::{
        grant::{HttpGrant, ProbeGrant, ProcessGrant},
        session::{Opening, ReplicaRef, Session, unsupported},
    },
    spec::{
        health::Pace,
        workload::{
            Check, ConfigFile, Endpoint, EnvVar, Health, LogChunk, LogQuery, Phase, Port, Probe,
            Resources, Usage,
        },
    },
};

/// On whose behalf a plugin is called to make something so. The host knows it from the call itself, so a plugin can neither name nor forge
/// it: what a capability creates bears these tags, and its idempotency tokens come from this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The allocation.
    pub allocation: AllocationId,
    /// Whose workload it is: the host's record says so, no plugin does.
    pub namespace: Namespace,
    /// The same for repeated calls that mean the same effect.
    pub token: String,
    /// The tags that everything bears that is made for it.
    pub tags: Labels,
    /// What each replica was placed with. Admission counts this, as the placement did; hard limits may be higher.
    pub resources: Resources,
    /// The allocation's startup check: contract 0.1 has no field for it in a process's spec, so it comes this way.
    pub startup: Option<Probe>,
}

/// Names a process: one replica of an allocation of a plugin instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessKey {
    /// The allocation.
    pub allocation: AllocationId,
    /// The replica's index, from 0.
    pub replica: u32,
}

/// The contract's `process.spec`, and what the host adds to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables of its environment.
    pub env: Vec<EnvVar>,
    /// The folder in which it starts. `None`: its own.
    pub working_directory: Option<String>,
    /// Ports at which it listens.
    pub ports: Vec<Port>,
    /// Files that it finds when it starts.
    pub files: Vec<ConfigFile>,
    /// Hard limits. `None`: none.
    pub limits: Option<Resources>,
    /// What is promised to it; none: its limits. Known by the host, so it is no part of the contract's spec and of its digest.
    #[serde(skip)]
    pub promised: Option<Resources>,
    /// The host's addition. Absent from the stored form of specs without it, whose digests are those of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// While it fails the process gets no traffic.
    pub readiness: Option<Probe>,
    /// When it fails the process is restarted.
    pub liveness: Option<Probe>,
    /// How often it is started again after it failed.
    pub restarts: u32,
    /// It is started again whatever it ended with, without limit.
    pub restart_always: bool,
    /// The longest that all its attempts may take. `None`: no limit.
    pub deadline: Option<Millis>,
    /// The signal that asks it to stop, without `SIG`.
    pub stop_signal: String,
    /// How long it may take to stop.
    pub stop_grace: Millis,
}

/// How a process is.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessStatus {
    /// Which process it is.
    pub key: ProcessKey,
    /// How far it is.
    pub phase: Phase,
    /// What its checks say.
    pub health: Health,
    /// 0 when it does not run.
    pub pid: u32,
    /// Where its ports answer.
    pub endpoints: Vec<Endpoint>,
    /// How often it was started again.
    pub restarts: u32,
    /// When it began. `None`: not yet.
    pub started_at: Option<Instant>,
    /// When it ended. `None`: not yet.
    pub ended_at: Option<Instant>,
    /// What it ended with. `None`: not yet, or nobody saw it.
    pub exit_code: Option<i32>,
    /// What there is to say about it. Empty: nothing.
    pub message: String,
    /// What it uses now. `None`: unknown.
    pub usage: Option<Usage>,
}

/// The machine that processes run on.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Its name.
    pub hostname: String,
    /// Its operating system: `linux`.
    pub os: String,
    /// Its architecture: `x86_64`.
    pub arch: String,
    /// Millicores.
    pub cpu: u64,
    /// Millicores that are not promised to anybody.
    pub free_cpu: u64,
    /// Bytes.
    pub memory: u64,
    /// Bytes that are not promised to anybody.
    pub free_memory: u64,
    /// One-minute load average divided by the cores.
    pub load: f64,
}

/// Processes on this machine. They outlive the daemon; a restarted daemon finds them again. The implementation owns every effect:
/// dropping a future drops the wait, never the effect.
#[async_trait]
pub trait Processes: Send + Sync {
    /// Makes it so that the process runs as specified: starts it, leaves it, or replaces it. Repeatable.
    async fn ensure(
        &self,
        owner: &InstanceName,
        grant: &ProcessGrant,
        key: ProcessKey,
        spec: ProcessSpec,
    ) -> Result<ProcessStatus, Failure>;
    /// How these processes are, in the same order. `None`: there is no such process.
    async fn status(
        &self,
        owner: &InstanceName,
        keys: &[ProcessKey],
    ) -> Result<Vec<Option<ProcessStatus>>, Failure>;
    /// True when nothing is left of it.
    async fn remove(&self, owner: &InstanceName, key: &ProcessKey) -> Result<bool, Failure>;
    /// Every process of this plugin instance.
    async fn owned(&self, owner: &InstanceName) -> Result<Vec<ProcessKey>, Failure>;
    /// What an allocation's processes wrote.
    async fn logs(
        &self,
        owner: &InstanceName,
        allocation: &AllocationId,
        query: &LogQuery,
    ) -> Result<LogChunk, Failure>;
    /// The machine, as far as the grant opens it.
    async fn machine(&self, owner: &InstanceName, grant: &ProcessGrant)
    -> Result<Machine, Failure>;
    /// Opens a session with a process that runs: by the grant, as everything that is started.
    async fn open(
        &self,
        _owner: &InstanceName,
        _grant: &ProcessGrant,
        _replica: &ReplicaRef,
        what: Opening,
    ) -> Result<Session, Failure> {
        Err(unsupported(&what))
    }
}

/// A request to a server.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRequest {
    /// The method, in capitals.
    pub method: String,
    /// The address, with its query.
    pub url: String,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body. Empty: none.
    pub body: Vec<u8>,
    /// The name of a credential of the grant, which the host injects or signs with.
    pub credential: Option<String>,
    /// The longest that it may take. `None`: as the grant says.
    pub timeout: Option<Millis>,
}

/// A server's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// The body, as it came.
    pub body: Vec<u8>,
}

/// Outbound HTTP.
#[async_trait]
pub trait Http: Send + Sync {
    /// Sends the request and reads the answer whole. Redirects are not followed.
    async fn send(
        &self,
        owner: &InstanceName,
        grant: &HttpGrant,
        request: HttpRequest,
    ) -> Result<HttpResponse, Failure>;
}

/// Why a check of an endpoint did not succeed.
#[derive(Debug, Clone, PartialEq)]
pub enum Unwell {
    /// It can't be made: nothing is known of the endpoint.
    NotGranted(Box<Failure>),
    /// It was made, with this reason for its failure.
    Failing(String),
}

/// Whose endpoint is checked.
#[derive(Debug, Clone, Copy)]
pub struct Probed<'a> {
    /// The provider instance.
    pub provider: &'a InstanceName,
    /// The cloud's own name for the replica.
    pub replica: &'a str,
}

/// Checks of endpoints that plugins report, made by the daemon itself where the cloud does not know how a replica is.
#[async_trait]
pub trait Prober: Send + Sync {
    /// Makes the check once. Nothing is wrong: it passed.
    async fn probe(
        &self,
        of: Probed<'_>,
        grant: Option<&ProbeGrant>,
        endpoint: &Endpoint,
        check: &Check,
        timeout: Millis,
    ) -> Result<(), Unwell>;
}

/// Who knows the processes of replicas that share this machine's network, where anybody may listen on a replica's number.
#[async_trait]
pub trait Listeners: Send + Sync {
    /// Whether it is the replica that listens on TCP there. What can't be known counts as so.
    ///
    /// # Errors
    /// Who listens instead, for people.
    async fn listens(&self, of: Probed<'_>, address: SocketAddr) -> Result<(), String>;
}

/// Whoever starts replicas again by itself, told how long to wait before it: the contract's specs say nothing of that.
pub trait Paces: Send + Sync {
    /// None: the allocation is gone.
    fn set(&self, allocation: &AllocationId, pace: Option<Pace>);
}

/// Registries of images that the operator has named.
#[async_trait]
pub trait Registries: Send + Sync {
    /// Whether an image's registry is one of them.
    fn knows(&self, image: &str) -> bool;
    /// What an image's tag names now.
    async fn digest(&self, image: &str) -> Result<Digest, Failure>;
}

/// The host's clocks. Everything that needs time gets it from here, so that tests can hold it still.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Instant;
}
