//! What `plugin test` takes.

use std::path::PathBuf;

use clap::Args;
use tradewind_core::units::Millis;

#[derive(Debug, Args)]
pub struct PluginTest {
    /// The component
    #[arg(value_name = "FILE.wasm", required_unless_present = "list")]
    pub component: Option<PathBuf>,
    /// The instance file whose settings, grants and limits it gets. A provider does real things at the place that it names
    #[arg(long, value_name = "FILE.toml", conflicts_with = "settings")]
    pub instance: Option<PathBuf>,
    /// Only settings, as they stand below [settings] of an instance file: no grants, the default limits
    #[arg(long, value_name = "FILE.toml")]
    pub settings: Option<PathBuf>,
    /// A manifest: a provider is tried with its first service and its first job. Default: a command that sleeps and one that ends
    #[arg(long, value_name = "FILE")]
    pub allocation: Option<PathBuf>,
    /// An earlier version of the component, whose state this one must read
    #[arg(long, value_name = "OLD.wasm")]
    pub previous: Option<PathBuf>,
    /// Only this check and those that it needs; may be repeated
    #[arg(long = "check", value_name = "NAME")]
    pub checks: Vec<String>,
    /// How long anything may take: to run, to change, to be gone
    #[arg(long, default_value = "60s", value_name = "DURATION")]
    pub deadline: Millis,
    /// What random batches for a policy are drawn from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// List the checks and what each asks, and do nothing
    #[arg(long)]
    pub list: bool,
}
