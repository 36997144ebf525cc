//! What the state holds: versioned documents and the keys they live under.

mod allocation;

pub use allocation::{AllocationRecord, AllocationStatus, Handle, Intent, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    base::{
        names::{
            AllocationId, DeploymentName, Digest, InstallationId, InstanceName, Namespace, TaskName,
        },
        revision::Revision,
        units::Instant,
    },
    spec::manifest::{Manifest, namespace},
    state::{
        budget::HeldBack,
        job::Begun,
        ledger::Ledger,
        order::{Released, Waiting},
        plan::stored::Adoption,
        replacement::Moved,
        rollout::{Mark, Rollout},
        scaling::TaskScale,
        schedule::ScheduledJob,
        shadow::Tally,
    },
};

/// What was asked for, by namespace and name.
pub const DEPLOYMENTS: &str = "deployments/";
/// What runs or is to run, by namespace, deployment and id.
pub const ALLOCATIONS: &str = "allocations/";
/// Decisions, by id.
pub const DECISIONS: &str = "decisions/";
/// The exact inputs and answers of policy calls, by the first of the decisions that came of each.
pub const INPUTS: &str = "inputs/";
/// How large each of those is: what is needed to let go of them without reading them.
pub const INPUT_SIZES: &str = "input-sizes/";
/// The manifests of revisions, by deployment and generation.
pub const REVISIONS: &str = "revisions/";
/// Events, by revision and order.
pub const EVENTS: &str = "events/";
/// Limits of namespaces, by name.
pub const NAMESPACES: &str = "namespaces/";
/// Ended intervals of cost that are in no ledger yet.
pub const SEGMENTS: &str = "segments/";
/// What namespaces have spent, by name.
pub const LEDGERS: &str = "ledgers/";
/// What has come of shadow policies, by name.
pub const SHADOWS: &str = "shadows/";
/// What holds deployments back.
pub const HELD: &str = "held/";
/// What the images of deployments' workloads were when they first started.
pub const IMAGES: &str = "images/";
/// What was measured of what was bought, by provider.
pub const MEASURES: &str = "measures/";
/// Where a state that was put back from a backup says so.
pub const RESTORED: &str = "meta/restored";

/// When a state was put back, and what it was then. The clouds may be ahead of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// When it was put back.
    pub at: Instant,
    /// When the backup was made.
    pub created_at: Instant,
    /// The store's revision at the backup.
    pub revision: Revision,
    /// The daemon that made the backup, where this state may be a second one beside it. No daemon starts on it before somebody has
    /// said that the other one has ended.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "origin::optional"
    )]
    pub beside: Option<Origin>,
    /// Where the audit log of the state ended that it took the place of. Absent: there was none, or it could not be read.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::state::forms::head::optional"
    )]
    pub replaced: Option<crate::ports::audit::Head>,
}

/// Where a daemon keeps its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "BackupOrigin")]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The machine's name, for people.
    pub host: String,
    /// The digest of the machine's own identifier. Absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Digest>,
    /// The data folder's absolute path.
    pub data: std::path::PathBuf,
}
/// Which daemon works with the state. A key, not a prefix.
pub const DAEMON: &str = "meta/daemon";

/// The daemon that has started last on this state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DaemonRecord {
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: Instant,
    /// It has not said that it stops.
    pub running: bool,
}

/// What is to be removed at clouds, by provider and allocation.
pub const ORPHANS: &str = "orphans/";
/// A key, not a prefix.
pub const INSTALLATION: &str = "installation";

/// A deployment's identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeploymentKey {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: DeploymentName,
}

impl DeploymentKey {
    /// The key of its record.
    pub fn path(&self) -> String {
        format!("{DEPLOYMENTS}{}/{}", self.namespace, self.name)
    }

    /// The key of what holds it back.
    pub fn held_path(&self) -> String {
        format!("{HELD}{}/{}", self.namespace, self.name)
    }

    /// The key of its images.
    pub fn images_path(&self) -> String {
        format!("{IMAGES}{}/{}", self.namespace, self.name)
    }

    /// The key of a revision's manifest.
    pub fn revision_path(&self, generation: u64) -> String {
        format!(
            "{REVISIONS}{}/{}/{generation:020}",
            self.namespace, self.name
        )
    }
}

impl std::fmt::Display for DeploymentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentRecord {
    /// Grows by one with every change of the spec.
    pub generation: u64,
    /// The manifest of that generation.
    pub manifest: Manifest,
    /// Everything of it is to be removed, then the record itself.
    pub deleting: bool,
    /// The numbers of copies of the tasks that follow their load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scales: Vec<TaskScale>,
    /// When it was created.
    pub created_at: Instant,
    /// When it was changed last.
    pub updated_at: Instant,
    /// How far the update to this generation is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// The revisions whose manifests are kept, oldest first, this one included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Mark>,
    /// Places that have been decided elsewhere, to be taken over by the next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<Adoption>,
    /// Replicas that moved to where they cost less, within the last hour.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moves: Vec<Moved>,
    /// Jobs that were asked to run again, each with the generation of its last run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reruns: Vec<Rerun>,
    /// Services that were asked to restart, each with the generation that did it, oldest first. Replicas of an earlier one are replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restarts: Vec<Restart>,
    /// Jobs that run by a schedule, each with its runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<ScheduledJob>,
    /// Jobs with a deadline whose replicas had begun in a place that they have lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub begun: Vec<Begun>,
    /// Versions of tasks with prerequisites that wait no more, the latest of each task last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<Released>,
    /// Tasks that wait for others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
}

/// A job's last run: allocations of earlier generations belong to earlier runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rerun {
    /// The job's name in the deployment.
    pub task: TaskName,
    /// The deployment's generation of that run.
    pub generation: u64,
}

/// A restart of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// The service's name in the deployment.
    pub task: TaskName,
    /// The deployment's generation that restarted it.
    pub generation: u64,
}

/// A revision's manifest. It never changes; what became of it is in its mark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRecord {
    /// The revision's number.
    pub generation: u64,
    /// Its manifest.
    pub manifest: Manifest,
}

/// The limits of a namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceRecord {
    /// Grows by one with every change of the limits.
    pub generation: u64,
    /// The limits, as they were set.
    pub manifest: namespace::Document,
    /// When they were set.
    pub updated_at: Instant,
}

/// What a namespace has spent, but for what is running up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerRecord {
    /// By month and hour.
    pub ledger: Ledger,
}

/// The tasks of a deployment that have fewer replicas than they want. Written with the intent that follows from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldRecord {
    /// Those tasks.
    pub tasks: Vec<HeldBack>,
}

/// What has come of a shadow policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowRecord {
    /// When it was started: an earlier one of its name has left nothing to it.
    pub since: Instant,
    /// What has come of it.
    pub tally: Tally,
}

/// A kept policy call's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputSize {
    /// When the call was made.
    pub at: Instant,
    /// Bytes.
    pub size: u64,
}

/// Whose state this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstallationRecord {
    /// The installation's name, drawn once.
    pub id: InstallationId,
}

/// Something at a cloud that no allocation's record tells of: to be removed there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrphanRecord {
    /// The provider instance.
    pub provider: InstanceName,
    /// The allocation whose name it bears.
    pub allocation: AllocationId,
    /// The provider's opaque bytes.
    #[serde(with = "known_bytes")]
    pub state: Vec<u8>,
    /// What it is, for people.
    pub description: String,
    /// When it was found.
    pub found_at: Instant,
}

impl OrphanRecord {
    /// The key of the record.
    pub fn path(&self) -> String {
        format!("{ORPHANS}{}/{}", self.provider, self.allocation)
    }
}

/// Opaque bytes that are there, as base64 text.
mod known_bytes {
    use super::{Deserializer, Serializer, bytes};

    pub(super) fn serialize<S: Serializer>(known: &[u8], s: S) -> Result<S::Ok, S::Error> {
        bytes::serialize(&Some(known.to_vec()), s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        Ok(bytes::deserialize(d)?.unwrap_or_default())
    }
}

/// Opaque bytes as base64 text.
mod bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(|b| STANDARD.encode(b)).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|t| STANDARD.decode(t).map_err(serde::de::Error::custom))
            .transpose()
    }
}

crate::state::forms::kept!(origin, Origin, "OriginForm", OriginForm);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Origin", rename_all = "camelCase")]
struct OriginForm {
    host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<Digest>,
    data: std::path::PathBuf,
}
