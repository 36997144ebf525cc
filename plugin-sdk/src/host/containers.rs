//! The capability `containers`: a container engine as far as the operator's grant allows.

use super::Host;
use crate::{
    Error,
    bindings::provider::tradewind::containers::engine as wire,
    types::{LogChunk, LogQuery},
};

pub use wire::{ContainerStatus, EngineInfo, Key as ContainerKey, Pull, Spec as ContainerSpec};

/// Containers of an engine. Needs the grant `containers`. `wit/containers-v0.1/engine.wit` tells the details.
pub trait Containers {
    /// The engine and its machine.
    fn info(&self) -> Result<EngineInfo, Error>;
    /// Makes sure that this container runs with this spec. Within `apply`, for its allocation.
    fn ensure(&self, key: &ContainerKey, spec: &ContainerSpec) -> Result<ContainerStatus, Error>;
    /// What became of these, in order; none for the unknown.
    fn status(&self, keys: &[ContainerKey]) -> Result<Vec<Option<ContainerStatus>>, Error>;
    /// Stops and removes; true when nothing is left.
    fn remove(&self, key: &ContainerKey) -> Result<bool, Error>;
    /// Every container of this plugin instance.
    fn owned(&self) -> Result<Vec<ContainerKey>, Error>;
    /// Kept output of one allocation.
    fn logs(&self, allocation: &str, query: &LogQuery) -> Result<LogChunk, Error>;
}

impl Containers for Host {
    fn info(&self) -> Result<EngineInfo, Error> {
        Ok(wire::info()?)
    }
    fn ensure(&self, key: &ContainerKey, spec: &ContainerSpec) -> Result<ContainerStatus, Error> {
        Ok(wire::ensure(key, spec)?)
    }
    fn status(&self, keys: &[ContainerKey]) -> Result<Vec<Option<ContainerStatus>>, Error> {
        Ok(wire::status(keys)?)
    }
    fn remove(&self, key: &ContainerKey) -> Result<bool, Error> {
        Ok(wire::remove(key)?)
    }
    fn owned(&self) -> Result<Vec<ContainerKey>, Error> {
        Ok(wire::owned()?)
    }
    fn logs(&self, allocation: &str, query: &LogQuery) -> Result<LogChunk, Error> {
        Ok(wire::logs(allocation, query)?)
    }
}
