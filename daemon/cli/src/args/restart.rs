//! `restart`, `rollout pause` and `rollout resume`.

use clap::Args;
use tradewind_core::units::Millis;

#[derive(Debug, Args)]
pub struct Restart {
    /// The deployment
    pub name: String,
    /// Only this service. Default: every service of the deployment
    pub task: Option<String>,
    /// The reason, for `tradewind revisions`: one line
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not wait until it runs
    #[arg(long)]
    pub detach: bool,
    /// The longest time to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Millis,
}

#[derive(Debug, Args)]
pub struct RolloutName {
    /// The deployment
    pub name: String,
}
