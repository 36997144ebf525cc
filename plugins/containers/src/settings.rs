//! The settings: where the engine's machine stands, what using it is worth, and how containers are run.

use std::collections::BTreeMap;

use serde::Deserialize;
use tradewind_plugin_sdk::{host, units::Money};

/// `settings.schema.json` describes each.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Default: "local".
    pub region: Option<String>,
    pub zone: String,
    /// Per core and hour. Neither this nor the next: nobody has set a price.
    pub cpu_price: Option<Money>,
    /// Per GiB of memory and hour.
    pub memory_price: Option<Money>,
    /// Relative to the reference machine. Default 1.
    pub performance: Option<f64>,
    pub availability: Option<f64>,
    /// Milliseconds.
    pub latency: Option<f64>,
    pub carbon: Option<f64>,
    pub labels: BTreeMap<String, String>,
    pub network: Network,
    pub pull: Pull,
    /// Default 0: the daemon starts failed services again, by their recovery.
    pub restarts: u32,
}

/// The network of containers that name none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// One of their own.
    #[default]
    Own,
    /// The machine's.
    Host,
}

/// When images are pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    /// When the engine lacks them.
    #[default]
    Missing,
    /// Before each new container.
    Always,
    /// Never.
    Never,
}

impl From<Pull> for host::Pull {
    fn from(pull: Pull) -> Self {
        match pull {
            Pull::Missing => Self::Missing,
            Pull::Always => Self::Always,
            Pull::Never => Self::Never,
        }
    }
}
