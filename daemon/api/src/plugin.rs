//! Plugins, as the API shows them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    grant::Spaces,
    identity::Scope,
    list::{Choice, Listed, SortValue},
    names::{Digest, InstanceName},
    plugin::{Identity, Kind, Limits, Wanted},
    units::{Bytes, Instant},
};

use crate::{CanaryEnd, CanaryView, DegradedView, Page};

/// Every instance, and the files that belong to none.
pub type Plugins = Page<PluginView, OddFiles>;

/// What a list of plugins says beside them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OddFiles {
    /// Files in the plugin folder that can't belong to any instance, and why.
    #[serde(default)]
    pub problems: Vec<FolderProblem>,
}

/// An instance, and whether it may be used.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plugin {
    /// The instance.
    #[serde(flatten)]
    pub plugin: PluginView,
    /// A provider that has refused its credentials or permissions: nothing new is placed with it until its check passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<DegradedView>,
}

/// Which version to go back to.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollback {
    /// The component's digest, out of the history. Default: the one before the active one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// Whether an instance serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PluginState {
    /// Serves.
    Active,
    /// It is being compiled for the first time: nothing serves yet.
    Compiling,
    /// Removed from the folder; calls that began before still run.
    Draining,
    /// What lies in the folder is refused, and no good version is known.
    Rejected,
    /// Not in the folder any more.
    Removed,
}

impl Choice for PluginState {
    const WHAT: &'static str = "a plugin's status";
    const ALL: &'static [Self] = &[
        Self::Active,
        Self::Compiling,
        Self::Draining,
        Self::Rejected,
        Self::Removed,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Compiling => "compiling",
            Self::Draining => "draining",
            Self::Rejected => "rejected",
            Self::Removed => "removed",
        }
    }
}

/// A period in which one version served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// Of the component's bytes.
    pub component: Digest,
    /// Of the instance file's content.
    pub settings: Digest,
    /// The name that the plugin gave.
    pub plugin: String,
    /// The version that the plugin gave.
    pub version: String,
    /// When it began to serve.
    pub since: Instant,
    /// When it ended. Absent: it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Instant>,
    /// Whether it serves now.
    pub current: bool,
    /// An operator went back from it.
    pub rolled_back: bool,
}

/// Why a file did not become active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// Of the refused component; absent when it could not be read whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Digest>,
    /// Of the instance file's content.
    pub settings: Digest,
    /// Why, with what would be right.
    pub reason: String,
    /// When it was refused.
    pub at: Instant,
    /// Whether the folder still holds it.
    pub current: bool,
}

/// One plugin instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginView {
    /// The instance's name: that of its file, without the ending.
    pub instance: InstanceName,
    /// Whether it serves.
    pub state: PluginState,
    /// Whether what lies in the folder is being compiled and tried now. What serves goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compiling: bool,
    /// Whether an earlier version serves because an operator rolled back.
    pub pinned: bool,
    /// Of what serves, and so on; absent when nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The plugin's name and version, and the digests of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// What the plugin says it is for.
    #[serde(default)]
    pub summary: String,
    /// The capabilities that the plugin asks for, and why.
    #[serde(default)]
    pub capabilities: Vec<Wanted>,
    /// Whose deployments may use it.
    #[serde(default, skip_serializing_if = "Spaces::is_all")]
    pub namespaces: Spaces,
    /// What workloads may be given there, as far as the token's namespaces have it: by capability and list of the grant.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub usable: BTreeMap<String, Vec<String>>,
    /// Names of the capabilities granted.
    #[serde(default)]
    pub grants: Vec<String>,
    /// The limits of its calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// The JSON Schema of its settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_schema: Option<serde_json::Value>,
    /// Newest first.
    #[serde(default)]
    pub history: Vec<Served>,
    /// The last file that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rejection: Option<Rejection>,
    /// A new version that is tried on a share of the calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryView>,
    /// How the last one ended, since the daemon started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_canary: Option<CanaryEnd>,
    /// What its calls have come to.
    #[serde(default)]
    pub statistics: CallStatistics,
}

/// A plugin instance that is not in the list any more: it is gone, or left what the list was narrowed to. The data of the event `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginLeft {
    /// The instance.
    pub instance: InstanceName,
}

/// By instance.
impl Listed for PluginView {
    const LIST: &'static str = "plugins";
    const SORTS: &'static [&'static str] = &["instance", "state"];
    type Key = InstanceName;

    fn key(&self) -> InstanceName {
        self.instance.clone()
    }

    fn sort_value(&self, field: &str) -> SortValue {
        match field {
            "instance" => self.instance.as_str().into(),
            "state" => self.state.name().into(),
            _ => SortValue::Nothing,
        }
    }
}

impl PluginView {
    /// Whether somebody who reaches these namespaces may know of it. Of what serves nothing it is not known whose it is.
    pub fn is_seen_by(&self, scope: &Scope) -> bool {
        scope.is_all() || (self.identity.is_some() && scope.sees(&self.namespaces))
    }

    /// What there is to know for who does not administer it: what it is, how it is, and what may be used of it.
    #[must_use]
    pub fn outline(self) -> Self {
        let Self {
            instance,
            state,
            compiling,
            pinned,
            kind,
            identity,
            summary,
            usable,
            ..
        } = self;
        Self {
            instance,
            state,
            compiling,
            pinned,
            kind,
            identity,
            summary,
            usable,
            namespaces: Spaces::All,
            capabilities: Vec::new(),
            grants: Vec::new(),
            limits: None,
            settings_schema: None,
            history: Vec::new(),
            last_rejection: None,
            canary: None,
            last_canary: None,
            statistics: CallStatistics::default(),
        }
    }
}

/// A file in the plugin folder that can't belong to any instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FolderProblem {
    /// The file's name.
    pub file: String,
    /// Why it can't belong to any.
    pub reason: String,
}

/// What one look at the folder changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReloadReport {
    /// The registry's version afterwards.
    pub version: u64,
    /// Instances with a version that serves from now on.
    pub loaded: Vec<InstanceName>,
    /// Instances that serve no more: their files are gone.
    pub removed: Vec<InstanceName>,
    /// Refused now, with the reason; what serves goes on.
    pub rejected: Vec<Refused>,
    /// Instances that are as they were.
    pub unchanged: Vec<InstanceName>,
    /// Files that can't belong to any instance.
    pub problems: Vec<FolderProblem>,
}

/// An instance whose files are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// The instance's name.
    pub instance: InstanceName,
    /// Why, with what would be right.
    pub reason: String,
}

/// What calls of an instance came to since the daemon started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CallStatistics {
    /// All calls.
    pub calls: u64,
    /// All that did not answer well, the plugin's own errors included.
    pub failures: u64,
    /// Calls that ended in a trap of the plugin.
    pub traps: u64,
    /// Calls that took longer than their deadline.
    pub timeouts: u64,
    /// Calls that got no turn in time.
    pub busy: u64,
    /// The time that all calls took, in microseconds.
    pub total_micros: u64,
    /// The time that one call took, in microseconds.
    pub average_micros: u64,
    /// Bytes of linear memory.
    pub peak_memory: Bytes,
    /// Log lines above the plugin's limit.
    pub dropped_log_lines: u64,
}
