//! Objects of Kubernetes clusters, as a port: the interface `cluster` of `wit/kubernetes-v0.1` as domain types.
#![allow(
    missing_docs,
    reason = "types, fields and calls are those of `wit/kubernetes-v0.1`, where each is described"
)]

use async_trait::async_trait;

use super::Attempt;
use crate::{
    base::{
        failure::Failure,
        names::{InstanceName, Labels},
        units::{Bytes, Instant},
    },
    ports::{
        grant::KubernetesGrant,
        session::{Opening, ReplicaRef, Session, unsupported},
    },
    spec::workload::SecretRef,
};

/// Names an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// `Deployment`, or `Kind.group`.
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedKind {
    pub kind: String,
    pub api_version: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    pub version: String,
    pub namespaces: Vec<String>,
    pub kinds: Vec<ServedKind>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    pub kind: String,
    pub namespace: String,
    pub labels: Labels,
    pub fields: Labels,
    /// 0: the implementation's choice.
    pub limit: u32,
    pub after: Option<String>,
}

/// Objects as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub objects: Vec<String>,
    pub next: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Foreground,
    Background,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    Gone,
    Going,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedObject {
    pub object: Reference,
    pub allocation: String,
    pub labels: Labels,
}

/// A key of a secret object and where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretItem {
    pub key: String,
    pub source: SecretRef,
    /// It is for a variable, which gets the value without one line end.
    pub variable: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodLogQuery {
    pub namespace: String,
    pub pod: String,
    /// Empty: the pod's only container.
    pub container: String,
    pub tail: u32,
    pub after: Option<String>,
    /// The lines of the container's run before the present one. The contract has no field for it.
    pub previous: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodLogLine {
    pub time: Option<Instant>,
    pub text: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodLog {
    pub lines: Vec<PodLogLine>,
    pub next: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub resource: String,
    pub count: u32,
    pub free: u32,
}

/// A node and what its pods leave of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub labels: Labels,
    pub annotations: Labels,
    pub usable: bool,
    /// Millicores.
    pub cpu: u64,
    pub free_cpu: u64,
    pub memory: Bytes,
    pub free_memory: Bytes,
    pub disk: Bytes,
    pub pods: u32,
    pub free_pods: u32,
    pub devices: Vec<Device>,
}

/// On whose behalf the cluster is used: a plugin instance, and within `apply` the attempt that the host is making.
#[derive(Debug, Clone)]
pub struct Caller {
    pub owner: InstanceName,
    pub attempt: Option<Attempt>,
}

/// Objects of a cluster. The implementation checks every argument against the grant and owns every effect: dropping a future drops the
/// wait, never the effect.
#[async_trait]
pub trait Kubernetes: Send + Sync {
    async fn info(&self, grant: &KubernetesGrant) -> Result<ClusterInfo, Failure>;
    async fn apply(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
        objects: Vec<String>,
    ) -> Result<Vec<String>, Failure>;
    async fn apply_secret(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
        namespace: &str,
        name: &str,
        items: Vec<SecretItem>,
    ) -> Result<String, Failure>;
    async fn get(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
        object: &Reference,
    ) -> Result<Option<String>, Failure>;
    async fn list(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
        query: &ListQuery,
    ) -> Result<Page, Failure>;
    async fn delete(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
        objects: Vec<Reference>,
        propagation: Propagation,
    ) -> Result<Vec<Deletion>, Failure>;
    async fn owned(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
    ) -> Result<Vec<OwnedObject>, Failure>;
    async fn logs(
        &self,
        caller: &Caller,
        grant: &KubernetesGrant,
        query: &PodLogQuery,
    ) -> Result<PodLog, Failure>;
    async fn nodes(
        &self,
        grant: &KubernetesGrant,
        annotations: &[String],
    ) -> Result<Vec<Node>, Failure>;
    /// Opens a session with a pod that runs.
    async fn open(
        &self,
        _caller: &Caller,
        _grant: &KubernetesGrant,
        _replica: &ReplicaRef,
        what: Opening,
    ) -> Result<Session, Failure> {
        Err(unsupported(&what))
    }
}
