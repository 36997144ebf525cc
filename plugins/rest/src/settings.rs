//! The settings: where the cloud is, and how far it can be behind.

use serde::Deserialize;
use tradewind_plugin_sdk::{Error, api, units::Span};

pub(crate) const SCHEMA: &str = include_str!("settings.schema.json");

/// As the operator writes them. The defaults are those of the schema.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Where the API begins: `https://api.example.com`.
    pub(crate) url: String,
    /// The granted credential that signs requests; "" for none.
    #[serde(default = "credential")]
    pub(crate) credential: String,
    /// Only these regions; empty: all.
    #[serde(default)]
    pub(crate) regions: Vec<String>,
    /// How long one request may take.
    #[serde(default = "timeout")]
    pub(crate) timeout: Span,
    /// How long what is new may be missing from the cloud's lists.
    #[serde(default = "settle")]
    pub(crate) settle: Span,
    /// An instance that is still being created after so long has failed.
    #[serde(default = "create_timeout")]
    pub(crate) create_timeout: Span,
}

fn credential() -> String {
    "cloud".to_owned()
}
fn timeout() -> Span {
    Span::seconds(10)
}
fn settle() -> Span {
    Span::seconds(15)
}
fn create_timeout() -> Span {
    Span::seconds(600)
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        api::check_url(&self.url, "settings.url")
    }

    /// Whether a region may be used.
    pub(crate) fn uses(&self, region: &str) -> bool {
        self.regions.is_empty() || self.regions.iter().any(|r| r == region)
    }
}
