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

/// How much of a list.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct Paging {
    /// At most so many. Default: all
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<NonZeroU32>,
    /// Go on where a command with --limit has said that there are more
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Deployments {
    /// Only those with this status, or with one of several between commas, such as failed,degraded
    #[arg(long)]
    pub status: Option<OneOf<Status>>,
    /// Only those with such labels: app=web, app!=web, app, !app, or several of these between commas
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<Selector>,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Plans {
    /// Only those with this status, or with one of several between commas, such as pending,approved
    #[arg(long)]
    pub status: Option<OneOf<PlanStatus>>,
    /// Only those whose manifest has such labels: app=web, app!=web, app, !app, or several of these between commas
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<Selector>,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Revisions {
    /// Only those that became this, or one of several between commas: rolling-out, healthy, failed, superseded
    #[arg(long)]
    pub status: Option<OneOf<Outcome>>,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Tokens {
    /// Only those with this status, or with one of several between commas: active, expired, revoked
    #[arg(long)]
    pub status: Option<OneOf<TokenState>>,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Plugins {
    /// Only those with this status, or with one of several between commas: active, draining, rejected, removed
    #[arg(long)]
    pub status: Option<OneOf<PluginState>>,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Regions {
    /// Only those whose circuit is so, or in one of several states between commas: closed, open, half-open
    #[arg(long)]
    pub status: Option<OneOf<Circuit>>,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Namespaces {
    /// Only those with such labels: team=red, team!=red, team, !team, or several of these between commas
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<Selector>,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Offers {
    /// Only this provider instance's
    #[arg(long)]
    pub provider: Option<String>,
    /// Only those with such labels: platform=EKS, platform!=EKS, platform, !platform, or several of these between commas
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<Selector>,
    #[command(flatten)]
    pub paging: Paging,
}

#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Decisions {
    /// Only those that concern it
    pub deployment: Option<String>,
    /// At most so many. Default: 20
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<NonZeroU32>,
    /// Go on where a command with --limit has said that there are more
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
}
