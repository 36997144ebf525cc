//! What the rest of the daemon knows of plugins: who they are and what they can do. How they run is `tradewind-wasm`'s business.

pub use crate::base::version::Identity;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::{
        failure::{Failure, NOT_GRANTED},
        names::{AllocationId, InstanceName, Namespace},
        units::{Bytes, Instant, Millis},
    },
    ports::{
        grant::{EVERY, ProbeGrant, Spaces},
        identity::Scope,
        session::{Opening, ReplicaRef, Session, unsupported},
    },
    spec::{
        offer::{Offer, OffersQuery},
        policy_call::{Answer, Request},
        workload::{Allocation, Condition, LogChunk, LogQuery, Observation},
    },
};

/// What a plugin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PluginKind")]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It makes allocations real at a cloud.
    Provider,
    /// It decides where tasks go.
    Policy,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Provider => "provider",
            Self::Policy => "policy",
        })
    }
}

/// A capability the plugin wants, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wanted {
    /// The capability's name.
    pub name: String,
    /// What the plugin does with it.
    pub why: String,
}

/// The `[limits]` of an instance file. All of them hold per call, except `concurrency`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    /// From the start of the instantiation to the answer. Default 10s.
    pub deadline: Millis,
    /// Of all linear memories together. Default 64Mi.
    pub memory: Bytes,
    /// Calls at once; further ones wait. Default 32.
    pub concurrency: u32,
    /// Further lines are dropped, and so are those beyond ten times as many a minute over all calls. Default 100.
    pub log_lines: u32,
    /// Of arguments and results of host calls together, and of one lifted answer. Each host call takes 16 of them at least (the clock takes
    /// none), so that there are so many at most. Default 16Mi.
    pub host_bytes: Bytes,
    /// HTTP requests, and questions to clouds, engines and clusters; further ones are denied. Default 1000.
    pub http_requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Millis::from_secs(10),
            memory: Bytes(64 << 20),
            concurrency: 32,
            log_lines: 100,
            host_bytes: Bytes(16 << 20),
            http_requests: 1000,
        }
    }
}

/// What kinds of workload a provider runs: the contract's `features`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Features {
    /// Container images.
    pub images: bool,
    /// Plain commands.
    pub commands: bool,
    /// What runs until it is stopped.
    pub services: bool,
    /// What runs to its end.
    pub jobs: bool,
    /// Volumes.
    pub volumes: bool,
    /// Networks of their own.
    pub networks: bool,
    /// Secrets in variables and files.
    pub secrets: bool,
    /// Files that a workload finds when it starts.
    pub files: bool,
    /// Another number of replicas without new ones in place of those that stay.
    pub resize: bool,
    /// Checks that are commands, run beside the workload. Known by the host, by the capability that runs them.
    pub command_checks: bool,
    /// Replicas share the ports of one machine. Known by the host, by the capability that runs them.
    pub one_machine: bool,
    /// What its replicas run is told by digest. Known by the host, by the capability that runs them.
    pub tells_images: bool,
    /// What replicas wrote can be read.
    pub logs: bool,
}

/// Opaque bytes a provider wants back for an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// The allocation.
    pub allocation: AllocationId,
    /// The bytes that it returned last.
    pub state: Vec<u8>,
}

/// Something found at the cloud under an instance's tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The allocation whose name it bears.
    pub allocation: AllocationId,
    /// The bytes that the provider wants back.
    pub state: Vec<u8>,
    /// What it is, for people.
    pub description: String,
}

/// How far a removal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destroyed {
    /// Nothing is left.
    Gone,
    /// Ask again until it is gone.
    Going,
}

/// One version of a provider instance, as loaded. Calls on it stay on that version whatever is reloaded meanwhile.
/// Every call runs under the instance's deadline and limits; every failure carries the identity.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Its name, version and digests.
    fn identity(&self) -> &Identity;
    /// What kinds of workload it runs.
    fn features(&self) -> Features;
    /// Calls of this instance at once; further ones wait.
    fn concurrency(&self) -> u32;
    /// Whose deployments may be placed there.
    fn namespaces(&self) -> &Spaces {
        &EVERY
    }
    /// What the daemon may check of what this provider reports.
    fn probe_grant(&self) -> Option<&ProbeGrant>;
    /// Whether credentials, permissions and settings are good.
    async fn check(&self) -> Result<Vec<Condition>, Failure>;
    /// What it can supply now.
    async fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Failure>;
    /// Makes the allocation so, and answers the state to keep. `prior` is the state of the apply before. Repeatable.
    async fn apply(
        &self,
        allocation: &Allocation,
        prior: Option<&[u8]>,
    ) -> Result<Vec<u8>, Failure>;
    /// How allocations are. There is an answer for each one.
    async fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Failure>;
    /// Removes an allocation; to be repeated until it is gone.
    async fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Failure>;
    /// Everything at the cloud that bears the instance's tags.
    async fn owned(&self) -> Result<Vec<Owned>, Failure>;
    /// What an allocation's replicas wrote.
    async fn logs(&self, tracked: &Tracked, query: &LogQuery) -> Result<LogChunk, Failure>;
    /// Opens a session with a replica, where the daemon itself starts what runs there. The plugin is not asked.
    async fn open(&self, _replica: &ReplicaRef, what: Opening) -> Result<Session, Failure> {
        Err(unsupported(&what))
    }
}

/// One version of a policy instance, as loaded.
#[async_trait]
pub trait Policy: Send + Sync {
    /// Its name, version and digests.
    fn identity(&self) -> &Identity;
    /// Whose deployments may name it.
    fn namespaces(&self) -> &Spaces {
        &EVERY
    }
    /// The other version that this decision is drawn to; what it can't decide, this one does. None: this one decides.
    fn drawn(&self, _decision: &[u8]) -> Option<Arc<dyn Policy>> {
        None
    }
    /// The answer is raw: `placement::validate` decides whether it is acceptable.
    async fn place(&self, request: &Request) -> Result<Answer, Failure>;
}

/// A policy that is asked about every decision of a namespace, without effect.
#[derive(Clone)]
pub struct Shadow {
    /// Whose decisions it sees.
    pub namespace: Namespace,
    /// Tells it from an earlier one of the same name.
    pub since: Instant,
    /// The policy.
    pub policy: Arc<dyn Policy>,
}

/// One coherent set of plugins. A step of the controller holds one and sees no other.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// Grows by one with every change.
    pub version: u64,
    /// Providers that serve, by instance.
    pub providers: BTreeMap<InstanceName, Arc<dyn Provider>>,
    /// Policies that serve, by instance.
    pub policies: BTreeMap<InstanceName, Arc<dyn Policy>>,
    /// By their own names: no decision uses them.
    pub shadows: BTreeMap<InstanceName, Shadow>,
}

impl Snapshot {
    /// Whether every instance is open to every namespace, as it is where no instance file says anything else.
    pub fn is_open(&self) -> bool {
        self.providers.values().all(|p| p.namespaces().is_all())
            && self.policies.values().all(|p| p.namespaces().is_all())
    }

    /// The same plugins without those that are closed to this namespace: for its deployments there are no others.
    #[must_use]
    pub fn open_to(&self, namespace: &Namespace) -> Self {
        self.open_where(|spaces| spaces.admits(namespace))
    }

    /// The same plugins without these.
    #[must_use]
    pub fn without(&self, closed: &BTreeSet<InstanceName>) -> Self {
        let mut rest = self.clone();
        rest.providers.retain(|name, _| !closed.contains(name));
        rest.policies.retain(|name, _| !closed.contains(name));
        rest
    }

    /// Those that somebody may know of who reaches these namespaces.
    #[must_use]
    pub fn within(&self, scope: &Scope) -> Self {
        self.open_where(|spaces| scope.sees(spaces))
    }

    fn open_where(&self, admits: impl Fn(&Spaces) -> bool) -> Self {
        let mut open = self.clone();
        open.providers.retain(|_, p| admits(p.namespaces()));
        open.policies.retain(|_, p| admits(p.namespaces()));
        open
    }

    /// The instances that are there and closed to this namespace.
    pub fn closed_to(&self, namespace: &Namespace) -> BTreeSet<InstanceName> {
        let providers = self
            .providers
            .iter()
            .map(|(name, p)| (name, p.namespaces()));
        let policies = self.policies.iter().map(|(name, p)| (name, p.namespaces()));
        providers
            .chain(policies)
            .filter(|(_, spaces)| !spaces.admits(namespace))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// What is answered where something would begin at an instance that is closed to its namespace.
pub fn closed(instance: &InstanceName, namespace: &Namespace) -> Failure {
    Failure::denied(format!(
        "the plugin instance \"{instance}\" is not open to namespace \"{namespace}\""
    ))
    .code(NOT_GRANTED)
    .remedy(format!(
        "add \"{namespace}\" to namespaces in its instance file, or place it elsewhere"
    ))
}

/// Where snapshots come from.
pub trait Plugins: Send + Sync {
    /// What serves now.
    fn snapshot(&self) -> Arc<Snapshot>;
}
