//! `policy …`: policies on trial.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Paging, Shown};

#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Let policies see a namespace's decisions without effect
    #[command(subcommand)]
    Shadow(Shadow),
}

#[derive(Debug, Subcommand)]
pub enum Shadow {
    /// Let a policy see every decision of a namespace, without effect. It takes the role admin, or
    /// operator with the setting `api.uploads`
    Start(ShadowStart),
    /// List the shadow policies
    List {
        /// Only of this namespace. Default: the one of `--namespace`, else all
        #[arg(long = "for", value_name = "NAMESPACE")]
        namespace: Option<String>,
        #[command(flatten)]
        shown: Shown,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show what a shadow policy would have decided otherwise, and what that costs
    Report(ShadowName),
    /// Install a shadow policy as a plugin, and let its namespace use it
    Promote(ShadowName),
    /// Remove a shadow policy
    Stop(ShadowName),
}

#[derive(Debug, Args)]
pub struct ShadowStart {
    /// The component of the policy
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The namespace whose decisions it sees. Default: the one of `--namespace`, else `default`
    #[arg(long = "for", value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The name of the shadow policy, and of the plugin when it is promoted. Default: the file's
    #[arg(long)]
    pub name: Option<String>,
    /// A file with `[settings]` and `[limits]`, as an instance file without the line `component`
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ShadowName {
    /// The shadow policy
    pub name: String,
    /// The namespace of the shadow policy. Default: the one of `--namespace`, else `default`
    #[arg(long = "for", value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}
