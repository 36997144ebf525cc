//! `policy …`: policies on trial.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Paging;

#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Policies that see a namespace's decisions without effect
    #[command(subcommand)]
    Shadow(Shadow),
}

#[derive(Debug, Subcommand)]
pub enum Shadow {
    /// Have a policy see every decision of a namespace, without effect. Takes an admin, unless api.uploads lets operators
    Start(ShadowStart),
    /// List the shadow policies
    List {
        /// Only of this namespace. Default: the one of --namespace, else all
        #[arg(long = "for", value_name = "NAMESPACE")]
        namespace: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show what a shadow policy would have decided otherwise, and what that costs
    Report(ShadowName),
    /// Install a shadow policy as a plugin, and have its namespace use it
    Promote(ShadowName),
    /// Forget a shadow policy
    Stop(ShadowName),
}

#[derive(Debug, Args)]
pub struct ShadowStart {
    /// The policy's component
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Whose decisions it sees. Default: the namespace of --namespace, else default
    #[arg(long = "for", value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Its name, also as a plugin when it is promoted. Default: the file's
    #[arg(long)]
    pub name: Option<String>,
    /// [settings] and [limits] in TOML, as in an instance file without its line `component`
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ShadowName {
    pub name: String,
    /// Its namespace. Default: the one of --namespace, else default
    #[arg(long = "for", value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}
