//! What the rest of the daemon knows of plugins: who they are and what they can do. How they run is `tradewind-wasm`'s business.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    grant::ProbeGrant,
    names::{AllocationId, Digest, InstanceName, Namespace},
    offer::{Offer, OffersQuery},
    placement,
    units::Instant,
    workload::{Allocation, Condition, LogChunk, LogQuery, Observation},
};

/// One version of one plugin instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Identity {
    /// The instance's name (`aws-prod`).
    pub instance: InstanceName,
    /// The plugin's own name (`aws`).
    pub plugin: String,
    /// The plugin's semantic version.
    pub version: String,
    /// Of the component's bytes.
    pub component: Digest,
    /// Of the instance file's content.
    pub settings: Digest,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {} {})", self.instance, self.plugin, self.version, self.component.short())
    }
}

/// What kinds of workload a provider runs: the contract's `features`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Features {
    pub images: bool,
    pub commands: bool,
    pub services: bool,
    pub jobs: bool,
    pub volumes: bool,
    pub networks: bool,
    pub secrets: bool,
    pub files: bool,
    pub resize: bool,
    /// Checks that are commands, run beside the workload. Known by the host, by the capability that runs them.
    pub command_checks: bool,
    /// Replicas share the ports of one machine. Known by the host, by the capability that runs them.
    pub one_machine: bool,
    /// What its replicas run is told by digest. Known by the host, by the capability that runs them.
    pub tells_images: bool,
    pub logs: bool,
}

/// Opaque bytes a provider wants back for an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    pub allocation: AllocationId,
    pub state: Vec<u8>,
}

/// Something found at the cloud under an instance's tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    pub allocation: AllocationId,
    pub state: Vec<u8>,
    pub description: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destroyed {
    Gone,
    /// Ask again until it is gone.
    Going,
}

/// One version of a provider instance, as loaded. Calls on it stay on that version whatever is reloaded meanwhile.
/// Every call runs under the instance's deadline and limits; every failure carries the identity.
#[async_trait]
pub trait Provider: Send + Sync {
    fn identity(&self) -> &Identity;
    fn features(&self) -> Features;
    /// Calls of this instance at once; further ones wait.
    fn concurrency(&self) -> u32;
    /// What the daemon may check of what this provider reports.
    fn probe_grant(&self) -> Option<&ProbeGrant>;
    async fn check(&self) -> Result<Vec<Condition>, Failure>;
    async fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Failure>;
    async fn apply(&self, allocation: &Allocation, prior: Option<&[u8]>) -> Result<Vec<u8>, Failure>;
    async fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Failure>;
    async fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Failure>;
    async fn owned(&self) -> Result<Vec<Owned>, Failure>;
    async fn logs(&self, tracked: &Tracked, query: &LogQuery) -> Result<LogChunk, Failure>;
}

/// One version of a policy instance, as loaded.
#[async_trait]
pub trait Policy: Send + Sync {
    fn identity(&self) -> &Identity;
    /// The other version that this decision is drawn to; what it can't decide, this one does. None: this one decides.
    fn drawn(&self, _decision: &[u8]) -> Option<Arc<dyn Policy>> {
        None
    }
    /// The answer is raw: `placement::validate` decides whether it is acceptable.
    async fn place(&self, request: &placement::Request) -> Result<placement::Answer, Failure>;
}

/// A policy that is asked about every decision of a namespace, without effect.
#[derive(Clone)]
pub struct Shadow {
    pub namespace: Namespace,
    /// Tells it from an earlier one of the same name.
    pub since: Instant,
    pub policy: Arc<dyn Policy>,
}

/// One coherent set of plugins. A step of the controller holds one and sees no other.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// Grows by one with every change.
    pub version: u64,
    pub providers: BTreeMap<InstanceName, Arc<dyn Provider>>,
    pub policies: BTreeMap<InstanceName, Arc<dyn Policy>>,
    /// By their own names: no decision uses them.
    pub shadows: BTreeMap<InstanceName, Shadow>,
}

/// Where snapshots come from.
pub trait Plugins: Send + Sync {
    fn snapshot(&self) -> Arc<Snapshot>;
}
