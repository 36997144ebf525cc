//! `plugin canary …`: a new version of an instance on a share of its calls.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tradewind_core::units::{Millis, Percent};

#[derive(Debug, Subcommand)]
pub enum Canary {
    /// Give a new version a share of the calls. It ends by itself when the new version does worse
    Start(CanaryStart),
    /// Show how the new version does
    Status {
        /// The plugin instance
        name: String,
    },
    /// Let the new version have all calls now
    Promote {
        /// The plugin instance
        name: String,
    },
    /// Give all calls back to the old version
    Abort {
        /// The plugin instance
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct CanaryStart {
    /// The plugin instance
    pub name: String,
    /// The component of the new version
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The share of the calls, such as `10%`
    #[arg(long)]
    pub share: Percent,
    /// How long the new version is watched before it is promoted. Default: `10m`
    #[arg(long = "for", value_name = "DURATION")]
    pub lasts: Option<Millis>,
    /// How much more often than the old version it may fail. Default: `5%`
    #[arg(long, value_name = "PERCENT")]
    pub max_error_rate: Option<Percent>,
    /// How long its calls may take, compared with the old version's. Default: `200%`
    #[arg(long, value_name = "PERCENT")]
    pub max_slowdown: Option<Percent>,
    /// The fewest calls from which anything is concluded. Default: `20`
    #[arg(long, value_name = "NUMBER")]
    pub min_calls: Option<u32>,
    /// The instance file of the new version. Default: the one that serves
    #[arg(long, value_name = "FILE")]
    pub instance_file: Option<PathBuf>,
}
