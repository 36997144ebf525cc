//! What `plugin test` takes.

use std::path::PathBuf;

use clap::Args;
use tradewind_core::units::Millis;

#[derive(Debug, Args)]
pub struct PluginTest {
    /// The component
    #[arg(value_name = "FILE.wasm", required_unless_present = "list")]
    pub component: Option<PathBuf>,
    /// The instance file with its settings, grants and limits. A provider does real things at the
    /// place that it names
    #[arg(long, value_name = "FILE.toml", conflicts_with = "settings")]
    pub instance: Option<PathBuf>,
    /// A file with the settings alone, as below `[settings]` of an instance file: no grants, the
    /// default limits
    #[arg(long, value_name = "FILE.toml")]
    pub settings: Option<PathBuf>,
    /// A manifest: a provider runs its first service and its first job. Default: a command that
    /// sleeps, and one that ends
    #[arg(long, value_name = "FILE")]
    pub allocation: Option<PathBuf>,
    /// An earlier version of the component, whose state this one must read
    #[arg(long, value_name = "OLD.wasm")]
    pub previous: Option<PathBuf>,
    /// Only this check and those that it needs. May be given several times
    #[arg(long = "check", value_name = "NAME")]
    pub checks: Vec<String>,
    /// How long each thing may take: to run, to change, to be gone
    #[arg(long, default_value = "60s", value_name = "DURATION")]
    pub deadline: Millis,
    /// The number from which random batches for a policy are drawn
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only list the checks, and what each asks
    #[arg(long)]
    pub list: bool,
}
