//! New versions on a share of the calls, as the API shows and takes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    canary::{Counts, Terms},
    names::{Actor, Digest, InstanceName},
    units::Instant,
};

use crate::base64::Base64;

/// A new version to be tried on a share of the calls.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanaryStart {
    /// The component's bytes in base64.
    #[schemars(with = "Base64")]
    pub component: String,
    /// The whole instance file. Default: the one that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_file: Option<String>,
    /// The share of calls, and what ends it.
    pub terms: Terms,
}

/// The canary of an instance, and how the last one ended.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// The plugin instance.
    pub instance: InstanceName,
    /// The one that runs. Absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryView>,
    /// Since the daemon started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<CanaryEnd>,
}

/// Where a canary stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CanaryState {
    /// It gets its share.
    Running,
    /// It gets nothing new. What it has made goes back to the old version as soon as that finds it at the cloud.
    Returning,
}

/// A canary as an operator sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryView {
    /// Where it stands.
    pub state: CanaryState,
    /// Of the component's bytes.
    pub component: Digest,
    /// Of the instance file's content.
    pub settings: Digest,
    /// The version that the plugin gave.
    pub version: String,
    /// The share of calls, and what ends it.
    #[serde(flatten)]
    pub terms: Terms,
    /// Who started it.
    #[schemars(with = "String")]
    pub by: Actor,
    /// When it was started.
    pub since: Instant,
    /// Calls of the old version since then, or since the daemon started, by operation.
    pub old: Counts,
    /// Calls of the new version, by operation.
    pub new: Counts,
    /// Allocations whose state the new version has made.
    pub holds: usize,
}

/// How the last canary ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryEnd {
    /// When it ended.
    pub at: Instant,
    /// Of the component's bytes.
    pub component: Digest,
    /// Whether it serves now. Else the old version does.
    pub promoted: bool,
    /// Why it ended.
    pub reason: String,
    /// Absent: it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub by: Option<Actor>,
}
