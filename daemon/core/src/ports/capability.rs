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
    ports::grant::{HttpGrant, ProbeGrant, ProcessGrant},
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
    pub allocation: AllocationId,
    /// Whose workload it is: the host's record says so, no plugin does.
    pub namespace: Namespace,
    /// The same for repeated calls that mean the same effect.
    pub token: String,
    pub tags: Labels,
    /// What each replica was placed with. Admission counts this, as the placement did; hard limits may be higher.
    pub resources: Resources,
    /// The allocation's startup check: contract 0.1 has no field for it in a process's spec, so it comes this way.
    pub startup: Option<Probe>,
}

/// Names a process: one replica of an allocation of a plugin instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessKey {
    pub allocation: AllocationId,
    pub replica: u32,
}

/// The contract's `process.spec`, and what the host adds to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessSpec {
    pub command: Vec<String>,
    pub env: Vec<EnvVar>,
    pub working_directory: Option<String>,
    pub ports: Vec<Port>,
    pub files: Vec<ConfigFile>,
    pub limits: Option<Resources>,
    /// What is promised to it; none: its limits. Known by the host, so it is no part of the contract's spec and of its digest.
    #[serde(skip)]
    pub promised: Option<Resources>,
    /// The host's addition. Absent from the stored form of specs without it, whose digests are those of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    pub readiness: Option<Probe>,
    pub liveness: Option<Probe>,
    pub restarts: u32,
    pub restart_always: bool,
    pub deadline: Option<Millis>,
    pub stop_signal: String,
    pub stop_grace: Millis,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ProcessStatus {
    pub key: ProcessKey,
    pub phase: Phase,
    pub health: Health,
    /// 0 when it does not run.
    pub pid: u32,
    pub endpoints: Vec<Endpoint>,
    pub restarts: u32,
    pub started_at: Option<Instant>,
    pub ended_at: Option<Instant>,
    pub exit_code: Option<i32>,
    pub message: String,
    pub usage: Option<Usage>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    pub hostname: String,
    pub os: String,
    pub arch: String,
    /// Millicores.
    pub cpu: u64,
    pub free_cpu: u64,
    /// Bytes.
    pub memory: u64,
    pub free_memory: u64,
    /// One-minute load average divided by the cores.
    pub load: f64,
}

/// Processes on this machine. They outlive the daemon; a restarted daemon finds them again. The implementation owns every effect:
/// dropping a future drops the wait, never the effect.
#[async_trait]
pub trait Processes: Send + Sync {
    async fn ensure(
        &self,
        owner: &InstanceName,
        grant: &ProcessGrant,
        key: ProcessKey,
        spec: ProcessSpec,
    ) -> Result<ProcessStatus, Failure>;
    async fn status(
        &self,
        owner: &InstanceName,
        keys: &[ProcessKey],
    ) -> Result<Vec<Option<ProcessStatus>>, Failure>;
    /// True when nothing is left of it.
    async fn remove(&self, owner: &InstanceName, key: &ProcessKey) -> Result<bool, Failure>;
    async fn owned(&self, owner: &InstanceName) -> Result<Vec<ProcessKey>, Failure>;
    async fn logs(
        &self,
        owner: &InstanceName,
        allocation: &AllocationId,
        query: &LogQuery,
    ) -> Result<LogChunk, Failure>;
    async fn machine(&self, owner: &InstanceName, grant: &ProcessGrant)
    -> Result<Machine, Failure>;
}

#[derive(Debug, Clone, PartialEq)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub credential: Option<String>,
    pub timeout: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Outbound HTTP.
#[async_trait]
pub trait Http: Send + Sync {
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
    pub provider: &'a InstanceName,
    /// The cloud's own name for the replica.
    pub replica: &'a str,
}

/// Checks of endpoints that plugins report, made by the daemon itself where the cloud does not know how a replica is.
#[async_trait]
pub trait Prober: Send + Sync {
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
    fn now(&self) -> Instant;
}
