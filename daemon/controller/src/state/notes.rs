//! What parts remember of a deployment or an allocation beside its record: plain data in the cache, lost with the daemon. What each note means
//! is known where it is made.

use std::collections::BTreeSet;

use tokio::time::Instant as Tick;
use tradewind_core::{
    manifest::Target,
    names::{Digest, InstanceName, TaskName},
    units::Instant,
    workload::Workload,
};

/// Of the component and its settings: another version is asked anew.
pub(crate) type Version = (Digest, Digest);

/// A decision that some providers were missing from.
#[derive(Clone)]
pub(crate) struct Hasty {
    pub(crate) unanswered: BTreeSet<InstanceName>,
    /// Of the deployment, when it was decided.
    pub(crate) generation: u64,
    pub(crate) since: Instant,
}

/// An allocation as it was at the last look.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) at: Option<Instant>,
    /// Replicas that had been ready once, and those that were.
    pub(crate) known: u32,
    pub(crate) ready: u32,
    /// Replicas whose time to ready is known.
    pub(crate) timed: u32,
}

/// One run of a replica that a command at the provider checks.
#[derive(Clone)]
pub(crate) struct Incarnation {
    pub(crate) index: u32,
    pub(crate) id: String,
    pub(crate) restarts: u32,
    /// Since when it has been seen to run.
    pub(crate) since: Tick,
    /// The provider has found it healthy.
    pub(crate) well: bool,
}

/// An offer where a task has failed too often. That says nothing of the offer, so others' tasks go there as before. Kept in memory only.
#[derive(Clone)]
pub(crate) struct Left {
    pub(crate) task: TaskName,
    pub(crate) target: Option<Target>,
    pub(crate) provider: InstanceName,
    pub(crate) offer: String,
    pub(crate) cause: String,
    pub(crate) until: Tick,
    pub(crate) times: u32,
}

/// Replicas that stay at a drained place, since there is no room for them elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stuck {
    pub(crate) task: TaskName,
    pub(crate) target: Option<Target>,
    pub(crate) replicas: u32,
    pub(crate) reason: String,
}

#[derive(Clone)]
pub(crate) struct Refusal {
    pub(crate) provider: InstanceName,
    /// The one offer that has no room. None: the provider refuses the workload wherever it is.
    pub(crate) offer: Option<String>,
    pub(crate) version: Option<Version>,
    pub(crate) workload: Workload,
    pub(crate) cause: String,
    /// The provider can never run it.
    pub(crate) lasting: bool,
    pub(crate) until: Tick,
    pub(crate) times: u32,
}
