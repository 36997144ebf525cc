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
    pub terms: Terms,
}

/// The canary of an instance, and how the last one ended.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    pub instance: InstanceName,
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
    pub state: CanaryState,
    pub component: Digest,
    pub settings: Digest,
    pub version: String,
    #[serde(flatten)]
    pub terms: Terms,
    #[schemars(with = "String")]
    pub by: Actor,
    pub since: Instant,
    /// Calls of the old version since then, or since the daemon started, by operation.
    pub old: Counts,
    pub new: Counts,
    /// Allocations whose state the new version has made.
    pub holds: usize,
}

/// How the last canary ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryEnd {
    pub at: Instant,
    pub component: Digest,
    pub promoted: bool,
    pub reason: String,
    /// Absent: it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub by: Option<Actor>,
}
