//! Containers of an engine, as a port.
#![allow(
    missing_docs,
    reason = "types, fields and calls are those of `wit/containers-v0.1`, where each is described"
)]

use async_trait::async_trait;
use serde::Serialize;

use super::Attempt;
use crate::{
    base::{
        failure::Failure,
        names::{AllocationId, InstanceName, Labels},
        units::{Instant, Millis},
    },
    ports::{
        grant::ContainersGrant,
        session::{Opening, ReplicaRef, Session, unsupported},
    },
    spec::workload::{
        ConfigFile, Endpoint, EnvVar, Health, LogChunk, LogQuery, Network, Phase, Port, Probe,
        Resources, Run, Volume,
    },
};

/// The engine and its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// `docker` or `podman`.
    pub name: String,
    pub version: String,
    pub hostname: String,
    pub os: String,
    pub arch: String,
    /// Millicores.
    pub cpu: u64,
    pub free_cpu: u64,
    /// Bytes.
    pub memory: u64,
    pub free_memory: u64,
}

/// Names a container: one replica of an allocation of a plugin instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerKey {
    pub allocation: AllocationId,
    pub replica: u32,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    #[default]
    Missing,
    Always,
    Never,
}

/// The capability's `engine.spec`. Its serialised form is digested: a container with another digest is another container.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContainerSpec {
    pub image: String,
    pub pull: Pull,
    pub run: Run,
    /// Of a service, by the engine.
    pub restarts: u32,
    pub command: Vec<String>,
    pub arguments: Vec<String>,
    pub working_directory: Option<String>,
    pub user: String,
    pub env: Vec<EnvVar>,
    pub ports: Vec<Port>,
    pub volumes: Vec<Volume>,
    pub networks: Vec<Network>,
    pub host_network: bool,
    pub files: Vec<ConfigFile>,
    pub resources: Resources,
    pub limits: Option<Resources>,
    pub privileged: bool,
    pub health: Option<Probe>,
    pub stop_signal: String,
    pub stop_grace: Millis,
    pub labels: Labels,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ContainerStatus {
    pub key: ContainerKey,
    /// The engine's.
    pub id: String,
    pub phase: Phase,
    pub health: Health,
    pub endpoints: Vec<Endpoint>,
    pub restarts: u32,
    pub started_at: Option<Instant>,
    pub ended_at: Option<Instant>,
    pub exit_code: Option<i32>,
    pub message: String,
    /// The image that it was made from, with its digest; empty: not known.
    pub image: String,
}

/// Containers of an engine. The implementation checks every argument against the grant and owns every effect: dropping a future drops the
/// wait, never the effect, if the caller runs it in a task of its own.
#[async_trait]
pub trait Containers: Send + Sync {
    async fn info(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
    ) -> Result<EngineInfo, Failure>;
    async fn ensure(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
        attempt: &Attempt,
        key: ContainerKey,
        spec: ContainerSpec,
    ) -> Result<ContainerStatus, Failure>;
    async fn status(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
        keys: &[ContainerKey],
    ) -> Result<Vec<Option<ContainerStatus>>, Failure>;
    /// True when nothing is left of it.
    async fn remove(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
        key: &ContainerKey,
    ) -> Result<bool, Failure>;
    async fn owned(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
    ) -> Result<Vec<ContainerKey>, Failure>;
    async fn logs(
        &self,
        owner: &InstanceName,
        grant: &ContainersGrant,
        allocation: &AllocationId,
        query: &LogQuery,
    ) -> Result<LogChunk, Failure>;
    /// Opens a session with a container that runs.
    async fn open(
        &self,
        _owner: &InstanceName,
        _grant: &ContainersGrant,
        _replica: &ReplicaRef,
        what: Opening,
    ) -> Result<Session, Failure> {
        Err(unsupported(&what))
    }
}
