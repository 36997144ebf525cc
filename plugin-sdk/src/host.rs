//! What the host lends to a provider. Each capability is a trait, so that logic written against it runs under `cargo test`;
//! [`Host`] is the real thing. A capability that is not called is not imported, and what is not imported needs no grant.

pub mod aws;
mod containers;
mod kubernetes;

use crate::{
    Error,
    bindings::provider::tradewind::plugin as wire,
    types::{LogChunk, LogQuery},
};

pub use containers::{ContainerKey, ContainerSpec, ContainerStatus, Containers, EngineInfo, Pull};
pub use kubernetes::{
    ClusterInfo, Deletion, Device, Kubernetes, ListQuery as KubernetesListQuery,
    LogLine as PodLogLine, LogPage as PodLogPage, LogQuery as PodLogQuery, Node, OwnedObject,
    Page as KubernetesPage, Propagation, Reference, SecretItem, ServedKind,
};
pub use wire::{
    http::{Request as HttpRequest, Response as HttpResponse},
    process::{Key as ProcessKey, MachineInfo, ProcessStatus, Spec as ProcessSpec},
};

/// The host's capabilities. Works in a component only; in tests use the doubles of [`testing`](crate::testing).
#[derive(Debug, Clone, Copy, Default)]
pub struct Host;

/// Time. Always granted.
pub trait Clock {
    /// Milliseconds since the Unix epoch. May jump.
    fn now(&self) -> u64;
    /// Nanoseconds since an arbitrary point. Never goes back.
    fn monotonic(&self) -> u64;
}

/// Processes on the daemon's machine. Needs the grant `process`. `wit/v0.1/host.wit` tells the details.
pub trait Processes {
    /// Makes sure that this process runs with this spec.
    fn ensure(&self, key: &ProcessKey, spec: &ProcessSpec) -> Result<ProcessStatus, Error>;
    /// What became of these, in order; none for the unknown.
    fn status(&self, keys: &[ProcessKey]) -> Result<Vec<Option<ProcessStatus>>, Error>;
    /// Stops and forgets; true when nothing is left.
    fn remove(&self, key: &ProcessKey) -> Result<bool, Error>;
    /// Every process of this plugin instance.
    fn owned(&self) -> Result<Vec<ProcessKey>, Error>;
    /// Kept output of one allocation.
    fn logs(&self, allocation: &str, query: &LogQuery) -> Result<LogChunk, Error>;
    /// The machine as far as this instance may use it.
    fn machine(&self) -> Result<MachineInfo, Error>;
}

/// Outbound HTTP. Needs the grant `http`.
pub trait Http {
    /// An answer of any status is a response.
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, Error>;
}

impl Clock for Host {
    fn now(&self) -> u64 {
        wire::clock::now()
    }
    fn monotonic(&self) -> u64 {
        wire::clock::monotonic()
    }
}

impl Processes for Host {
    fn ensure(&self, key: &ProcessKey, spec: &ProcessSpec) -> Result<ProcessStatus, Error> {
        Ok(wire::process::ensure(key, spec)?)
    }
    fn status(&self, keys: &[ProcessKey]) -> Result<Vec<Option<ProcessStatus>>, Error> {
        Ok(wire::process::status(keys)?)
    }
    fn remove(&self, key: &ProcessKey) -> Result<bool, Error> {
        Ok(wire::process::remove(key)?)
    }
    fn owned(&self) -> Result<Vec<ProcessKey>, Error> {
        Ok(wire::process::owned()?)
    }
    fn logs(&self, allocation: &str, query: &LogQuery) -> Result<LogChunk, Error> {
        Ok(wire::process::logs(allocation, query)?)
    }
    fn machine(&self) -> Result<MachineInfo, Error> {
        Ok(wire::process::machine()?)
    }
}

impl Http for Host {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, Error> {
        Ok(wire::http::send(request)?)
    }
}
