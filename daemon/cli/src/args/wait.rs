//! `wait` and `rollout …`: what is waited for, and for how long.

use std::str::FromStr;

use clap::{Args, Subcommand};
use tradewind_api::Status;
use tradewind_core::{
    list::{Choice, Selector},
    units::Millis,
};

use super::RolloutName;

#[derive(Debug, Args)]
pub struct Wait {
    /// The deployments
    #[arg(
        value_name = "NAME",
        required_unless_present = "selector",
        conflicts_with = "selector"
    )]
    pub names: Vec<String>,
    /// What is waited for: `running` (all of it runs, or has completed), `healthy` (the same, and
    /// its update is over), `completed` (every job has succeeded), `gone`, or a status such as
    /// `idle`
    #[arg(long = "for", value_name = "CONDITION", default_value = "running")]
    pub condition: Condition,
    /// The deployments with these labels: `app=web`, `app!=web`, `app`, `!app`, or several with
    /// commas between
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<Selector>,
    /// The longest time to wait, for all of them together
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Millis,
}

/// What a deployment shall have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// All of it runs, or has completed.
    Running,
    /// The same, and its update is over.
    Healthy,
    Completed,
    Gone,
    /// Exactly this status.
    Status(Status),
}

impl Condition {
    /// As it is typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Healthy => "healthy",
            Self::Completed => "completed",
            Self::Gone => "gone",
            Self::Status(status) => status.as_str(),
        }
    }
}

impl FromStr for Condition {
    type Err = String;

    /// `condition=Ready`, `delete` and the like are how `kubectl wait` says it.
    fn from_str(text: &str) -> Result<Self, String> {
        let word = text.strip_prefix("condition=").unwrap_or(text);
        let word = word.to_ascii_lowercase();
        match word.as_str() {
            "running" | "ready" | "available" => return Ok(Self::Running),
            "healthy" => return Ok(Self::Healthy),
            "completed" | "complete" => return Ok(Self::Completed),
            "gone" | "deleted" | "delete" => return Ok(Self::Gone),
            _ => {}
        }
        let status = Status::ALL.iter().find(|status| status.as_str() == word);
        status.map(|status| Self::Status(*status)).ok_or_else(|| {
            "use running, healthy, completed, gone, or one of the statuses pending, waiting, progressing, degraded, idle, failed, deleting"
                .to_owned()
        })
    }
}

#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Show how far a deployment's update is, and wait until it is over
    Status(RolloutStatus),
    /// Stop an update where it is. What runs goes on, and its health is still watched
    Pause(RolloutName),
    /// Let a paused update go on
    Resume(RolloutName),
}

#[derive(Debug, Args)]
pub struct RolloutStatus {
    /// The deployment
    pub name: String,
    /// Show it once, and do not wait
    #[arg(long)]
    pub no_wait: bool,
    /// The longest time to wait
    #[arg(long, default_value = "10m", value_name = "DURATION")]
    pub timeout: Millis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_as_kubectl_writes_them_too() {
        for (text, condition) in [
            ("running", Condition::Running),
            ("condition=Available", Condition::Running),
            ("delete", Condition::Gone),
            ("complete", Condition::Completed),
            ("healthy", Condition::Healthy),
            ("failed", Condition::Status(Status::Failed)),
        ] {
            assert_eq!(text.parse(), Ok(condition), "{text}");
        }
        let refused = "jsonpath={.status}".parse::<Condition>().unwrap_err();
        assert!(refused.contains("healthy"), "{refused}");
    }
}
