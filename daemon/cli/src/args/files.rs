//! What can be typed of files: which ones, and how they are read.

use std::path::PathBuf;

use clap::Args;
use tradewind_core::{list::Selector, units::Millis};
use tradewind_manifest::variables;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Files {
    /// A manifest in YAML or JSON, a folder, a pattern such as `'*.yaml'`, or a URL; `-` reads
    /// standard input. May be given several times
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
}

/// How files become manifests.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct Reading {
    /// Look into folders within folders as well
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Give a variable of the manifests a value: `${KEY}` is replaced. May be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<Setting>,
    /// A file of variables and their values. May be given several times: later files win, and
    /// `--set` wins over all
    #[arg(long, value_name = "FILE")]
    pub values: Vec<PathBuf>,
    /// Let variables whose names begin so come from the environment, if nothing else gives them a
    /// value
    #[arg(long, value_name = "PREFIX", value_parser = prefix)]
    pub env_vars: Option<String>,
    /// A partial manifest that is laid over the manifests: what it says wins, `null` deletes, lists
    /// are replaced. With a name, over the manifest of that name. May be given several times
    #[arg(long = "overlay", value_name = "FILE")]
    pub overlays: Vec<PathBuf>,
}

/// A variable and its value, read from `KEY=VALUE`.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The name.
    pub name: String,
    /// The value: one line.
    pub value: String,
}

impl std::str::FromStr for Setting {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (name, value) = s
            .split_once('=')
            .ok_or_else(|| format!("\"{s}\" has no value: write KEY=VALUE, such as tag=1.4"))?;
        if !variables::is_name(name) {
            return Err(format!(
                "\"{name}\" is no name of a variable: use letters, digits, _, - and ., a letter or _ first"
            ));
        }
        if value.contains(['\n', '\r']) {
            return Err(format!(
                "the value of \"{name}\" has several lines: use one"
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

fn prefix(text: &str) -> Result<String, String> {
    if variables::is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("use the beginning of the variables' names, such as APP_".to_owned())
    }
}

#[derive(Debug, Args)]
pub struct Fmt {
    /// Manifests in YAML or JSON, or patterns such as `'*.yaml'`; `-` reads standard input, and
    /// prints the result. Of a folder those files in which `tradewind.dev/` stands. Default: the
    /// folder in which you are
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Change nothing. Ends with 2 when a file is not formatted
    #[arg(long)]
    pub check: bool,
    /// Show what changes
    #[arg(long)]
    pub diff: bool,
    /// Look into folders within folders as well
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// The deployment whose revisions are compared
    #[arg(required_unless_present = "files", conflicts_with = "files")]
    pub name: Option<String>,
    /// A manifest to compare with what runs: a file in YAML or JSON, a folder, a pattern such as
    /// `'*.yaml'`, or a URL; `-` reads standard input. May be given several times. Ends with 2 when
    /// something differs
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
    /// The earlier revision. Default: the current one, or the one before it without `--to`
    #[arg(long, value_name = "REVISION", conflicts_with = "files")]
    pub from: Option<u64>,
    /// The later revision. Default: the current one
    #[arg(long, value_name = "REVISION", conflicts_with = "files")]
    pub to: Option<u64>,
    /// End with 2 when the revisions differ
    #[arg(long, conflicts_with = "files")]
    pub exit_code: bool,
}

#[derive(Debug, Args)]
pub struct Edit {
    /// The deployment
    pub name: String,
    /// Do not wait until it runs
    #[arg(long)]
    pub detach: bool,
    /// The longest time to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Millis,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// The deployments
    #[arg(value_name = "NAME", required_unless_present_any = ["files", "selector"])]
    pub names: Vec<String>,
    /// Delete the deployments that these manifests name: files in YAML or JSON, folders, patterns
    /// such as `'*.yaml'`, or URLs; `-` reads standard input. May be given several times
    #[arg(short, long = "file", value_name = "FILE", conflicts_with = "names")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
    /// Delete the deployments of the namespace with these labels: `app=web`, `app!=web`, `app`,
    /// `!app`, or several with commas between. They are listed, and on a terminal it asks first
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with_all = ["names", "files"])]
    pub selector: Option<Selector>,
    /// Do not ask. Without a terminal, `--selector` needs it
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Do not wait until they are gone
    #[arg(long)]
    pub detach: bool,
    /// The longest time to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Millis,
}
