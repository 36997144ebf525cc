//! What can be typed of lists: which items, and how many.

use std::num::NonZeroU32;

use clap::Args;
use tradewind_api::{PluginState, Status};
use tradewind_core::{
    identity::TokenState,
    list::{OneOf, Selector},
    place_health::Circuit,
    plan::stored::PlanStatus,
    rollout::Outcome,
};

use super::Shown;

/// How much of a list.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct Paging {
    /// The most items. Default: all
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<NonZeroU32>,
    /// Where to go on: a command with `--limit` that had more printed it
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Deployments {
    /// Only those with this status, or one of several, such as `failed,degraded`
    #[arg(long)]
    pub status: Option<OneOf<Status>>,
    /// Only those with these labels: `app=web`, `app!=web`, `app`, `!app`, or several with commas
    /// between
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<Selector>,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Plans {
    /// Only those with this status, or one of several, such as `pending,approved`
    #[arg(long)]
    pub status: Option<OneOf<PlanStatus>>,
    /// Only those whose manifest has these labels: `app=web`, `app!=web`, `app`, `!app`, or several
    /// with commas between
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<Selector>,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Revisions {
    /// Only those with this outcome, or one of several: `rolling-out`, `healthy`, `failed`,
    /// `superseded`
    #[arg(long)]
    pub status: Option<OneOf<Outcome>>,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Tokens {
    /// Only those with this status, or one of several: `active`, `expired`, `revoked`
    #[arg(long)]
    pub status: Option<OneOf<TokenState>>,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Plugins {
    /// Only those with this status, or one of several: `active`, `draining`, `rejected`, `removed`
    #[arg(long)]
    pub status: Option<OneOf<PluginState>>,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Regions {
    /// Only those whose circuit is in this state, or in one of several: `closed`, `open`,
    /// `half-open`
    #[arg(long)]
    pub status: Option<OneOf<Circuit>>,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Namespaces {
    /// Only those with these labels: `team=red`, `team!=red`, `team`, `!team`, or several with
    /// commas between
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<Selector>,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Offers {
    /// Only this provider instance
    #[arg(long)]
    pub provider: Option<String>,
    /// Only those with these labels: `platform=EKS`, `platform!=EKS`, `platform`, `!platform`, or
    /// several with commas between
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<Selector>,
    #[command(flatten)]
    pub shown: Shown,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Decisions {
    /// Only decisions that concern this deployment
    pub deployment: Option<String>,
    /// The most decisions. Default: `20`
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<NonZeroU32>,
    /// Where to go on: a command with `--limit` that had more printed it
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
    #[command(flatten)]
    pub shown: Shown,
}
