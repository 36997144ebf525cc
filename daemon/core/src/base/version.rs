//! Which version of which plugin: what decisions, failures and answers name.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::{Digest, InstanceName};

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
        write!(
            f,
            "{} ({} {} {})",
            self.instance,
            self.plugin,
            self.version,
            self.component.short()
        )
    }
}
