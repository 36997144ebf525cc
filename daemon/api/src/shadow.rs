//! Shadow policies, as the API shows and takes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::{
    list::Listed,
    names::{Actor, Digest, InstanceName, Namespace},
    plugin::Identity,
    shadow::Report,
    units::Instant,
};

use crate::{CallStatistics, base64::Base64};

/// A shadow policy and what has come of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowPolicy {
    /// The policy.
    #[serde(flatten)]
    pub shadow: ShadowView,
    /// How its answers differ from those that counted.
    pub report: Report,
}

/// A policy to be tried.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShadowStart {
    /// Its name: of the plugin instance that it becomes when it is promoted.
    pub name: InstanceName,
    /// The component's bytes in base64.
    #[schemars(with = "Base64")]
    pub component: String,
    /// `[settings]` and `[limits]` in TOML, as in an instance file without its line `component`. Default: none.
    #[serde(default)]
    pub settings: String,
}

/// A shadow policy, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowView {
    /// Which policy it is, and whose decisions it sees.
    #[serde(flatten)]
    pub record: ShadowFacts,
    /// Absent when it does not load any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Why it does not load any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What its calls have come to.
    #[serde(default)]
    pub statistics: CallStatistics,
}

/// By name, which no other shadow has.
impl Listed for ShadowView {
    const LIST: &'static str = "shadows";
    type Key = InstanceName;

    fn key(&self) -> InstanceName {
        self.record.name.clone()
    }
}

/// Which policy it is, whose decisions it sees, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowFacts {
    /// Its name.
    pub name: InstanceName,
    /// Whose decisions it sees.
    pub namespace: Namespace,
    /// Of the component's bytes.
    pub component: Digest,
    /// Of the instance file's content.
    pub settings: Digest,
    /// Who started it.
    #[schemars(with = "String")]
    pub by: Actor,
    /// When it was started.
    pub since: Instant,
}
