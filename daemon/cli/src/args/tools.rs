//! Commands about the work with Tradewind itself: manifests, versions, rights, and what is wrong.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct Explain {
    /// The deployment; or a field of the manifest, such as `spec.services.web.update`. `manifest`
    /// means the whole manifest
    #[arg(value_name = "NAME|FIELD")]
    pub name: String,
    /// The most candidates, and the most excluded offers, of each task
    #[arg(long, default_value_t = 20)]
    pub rows: usize,
    /// Take the name for a deployment's, be it `manifest`
    #[arg(long)]
    pub deployment: bool,
}

#[derive(Debug, Subcommand)]
pub enum Auth {
    /// Say whether the token in use may do something: `yes`, or `no` and exit code 1
    CanI(CanI),
    /// Show what the token in use may do
    Whoami,
}

#[derive(Debug, Args)]
pub struct CanI {
    /// The verb: `get`, `list`, `create`, `update`, `delete`, or an action such as `scale`
    #[arg(required_unless_present = "list")]
    pub verb: Option<String>,
    /// The resource, such as `deployments` or `deployments/logs`
    #[arg(required_unless_present = "list")]
    pub resource: Option<String>,
    /// List everything that there is to do, and whether the token may
    #[arg(long, conflicts_with_all = ["verb", "resource"])]
    pub list: bool,
}

#[derive(Debug, Args)]
pub struct SupportBundle {
    /// The file to write, such as `bundle.tar.gz`
    #[arg(value_name = "FILE.tar.gz")]
    pub file: PathBuf,
    /// A file with the daemon's log, to put its end into the bundle
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}
