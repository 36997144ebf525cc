//! What can be typed.

mod canary;
mod conformance;
mod lists;
mod policy;

use std::{num::NonZeroU32, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tradewind_core::{
    identity::Role,
    names::{Digest, MetricName, NameError, TaskName},
    units::Millis,
};

pub use canary::{Canary, CanaryStart};
pub use conformance::PluginTest;
pub use lists::{
    Decisions, Deployments, Namespaces, Offers, Paging, Plans, Plugins, Regions, Revisions, Tokens,
};
pub use policy::{Policy, Shadow, ShadowName, ShadowStart};

const EXIT_CODES: &str = "\
Exit codes:
  0  done            4  the manifest is not valid
  1  failed          5  another change came first, or it is not possible now
  2  wrong usage     6  the daemon can't be reached
  3  not found       7  not done within the time allowed
                     8  no token, or one that may not do this
`plan` ends with 4 when something can never be placed, and `plan --exit-code` with 2 when something would change.";

/// State what should run; Tradewind decides where, makes it so, and can say why.
#[derive(Debug, Parser)]
#[command(name = "tradewind", version, after_long_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// The daemon's URL. Default: the one that runs with the same data folder
    #[arg(long, global = true, env = "TRADEWIND_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// The SHA-256 of the public key of the daemon's certificate, as `sha256:` and 64 digits: no other is accepted. That of the certificate
    /// itself is taken, too, as long as it is shown. Default: that of the data folder's daemon
    #[arg(
        long,
        global = true,
        env = "TRADEWIND_FINGERPRINT",
        value_name = "DIGEST"
    )]
    pub fingerprint: Option<Digest>,
    /// A file with the certificates, in PEM form, that the daemon's may be signed by. Default: those that this machine trusts
    #[arg(
        long,
        global = true,
        env = "TRADEWIND_CA",
        value_name = "FILE",
        conflicts_with = "fingerprint"
    )]
    pub ca: Option<PathBuf>,
    /// A file with the token to send. Default: the variable TRADEWIND_TOKEN, else the admin token in the data folder, which goes to the
    /// daemon of that folder alone
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The namespace. Default: `default`; lists show all
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Form::Table)]
    pub output: Form,
    /// The configuration file. Default: tradewind/config.toml in the user's configuration folder; also TRADEWIND_CONFIG
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The daemon's data folder (the setting `data`); also TRADEWIND_DATA
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Table,
    /// For programs
    Json,
    Yaml,
    /// A page with charts (`assess` only)
    Html,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Serve(Serve),
    /// Compile what comes on standard input, for another process of this program
    #[command(hide = true)]
    CompileComponent,
    /// Copy the output of processes into files of bounded size, for the daemon that starts it
    #[command(hide = true)]
    CollectOutput { folder: PathBuf },
    /// Create or change deployments from manifests and wait until they run
    Apply(Apply),
    /// Show what applying a manifest would change, where, what it costs and why; store, compare, approve and apply such plans
    Plan(Plan),
    /// List stored plans
    Plans(Plans),
    /// List deployments, or show one
    Get {
        #[arg(conflicts_with_all = ["status", "selector", "limit", "cursor"])]
        name: Option<String>,
        #[command(flatten)]
        list: Deployments,
    },
    /// Show a deployment in full: tasks, places, replicas, endpoints, the last decision, events
    Describe { name: String },
    /// List a deployment's kept revisions: who made them, why, what became of them
    Revisions {
        name: String,
        #[command(flatten)]
        list: Revisions,
    },
    /// Show what differs between two revisions
    Diff {
        name: String,
        #[arg(long, value_name = "REVISION")]
        from: u64,
        #[arg(long, value_name = "REVISION")]
        to: u64,
    },
    /// Return to an earlier revision and wait until it runs
    Rollback(Rollback),
    /// Let an update pass what it waits for
    Promote { name: String },
    /// Break an update off, and return to the last healthy revision
    Abort { name: String },
    /// Updates
    #[command(subcommand)]
    Rollout(Rollout),
    /// Delete a deployment and wait until it is gone
    Delete(Delete),
    /// Set a task's number of replicas
    Scale(Scale),
    /// Give what has been scaled to zero a replica again
    Wake(Wake),
    /// Measures that tasks follow
    #[command(subcommand)]
    Metric(Metric),
    /// Print what a deployment's replicas wrote
    Logs(Logs),
    /// Print what has happened
    Events(Events),
    /// The audit log: show it, export it, check that nobody changed it
    #[command(subcommand)]
    Audit(Audit),
    /// Write the whole state to a file while the daemon works. Not in it: secrets, tokens in clear, TLS keys, output of processes
    Backup { file: PathBuf },
    /// Put a backup back into the data folder; no daemon may run on it
    Restore {
        #[arg(required_unless_present = "confirm")]
        file: Option<PathBuf>,
        /// Set a state that is there aside
        #[arg(long, requires = "file")]
        force: bool,
        /// Say that the daemon which made the backup has ended for good. Without it, no daemon starts on a state that was restored
        /// elsewhere. Without FILE: for what was restored before
        #[arg(long)]
        confirm: bool,
        /// Do it without asking: what comes into force is listed first, tokens and what plugins are granted
        #[arg(long, short = 'y', requires = "file")]
        yes: bool,
        /// Only if the file has this digest, which `tradewind backup` has printed
        #[arg(long, value_name = "DIGEST", requires = "file")]
        expect: Option<Digest>,
        /// Let the backup's tokens in where there is no state that says which were revoked since
        #[arg(long, requires = "file")]
        keep_tokens: bool,
    },
    /// Run a job again that has ended, and wait until it has ended again
    Run(Run),
    /// List what the providers can supply now
    Offers(Offers),
    /// List every provider's regions: how they have been doing, and which are left alone for now
    Regions(Regions),
    /// Moving to where it costs less
    #[command(subcommand)]
    Replacement(Replacement),
    /// Show what every cloud would cost for a manifest or for a shape, and how it performs
    Assess(Assess),
    /// List decisions, the newest first
    Decisions(Decisions),
    /// Decisions one by one
    #[command(subcommand)]
    Decision(Decision),
    /// Have a decision made once more by the policy that made it, and compare the answers bit for bit: ends with 1 when they differ
    Replay {
        id: String,
        /// Another policy's component instead: shows what it would choose and what that would cost. Takes an admin, unless api.uploads lets operators
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Show why a deployment runs where it runs: every candidate's score and cost, what excluded the others, and at which price or capacity
    /// the answer would be another
    Explain {
        name: String,
        /// At most so many candidates, and so many excluded offers, of each task
        #[arg(long, default_value_t = 20)]
        rows: usize,
    },
    /// Run a trace of requests against recorded offers with a policy's component, without a daemon: cost, utilisation, queueing, preemptions
    Simulate(Simulate),
    /// Providers and policies: list, inspect, reload, roll back, write, build
    #[command(subcommand)]
    Plugin(Plugin),
    /// Policies on trial
    #[command(subcommand)]
    Policy(Policy),
    /// Namespaces: budgets, quotas, and what has been spent
    #[command(subcommand)]
    Namespace(NamespaceCommand),
    /// Credentials of the daemon: where they come from, and those that are stored sealed
    #[command(subcommand)]
    Credential(Credential),
    /// Tokens: who may do what
    #[command(subcommand)]
    Token(Token),
    /// Show what the token in use may do
    Whoami,
    /// The settings: what is in force, where each came from
    Config(Config),
    /// Print the JSON Schema of the manifest
    Schema,
    /// Print a completion script
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages into a folder, one for each command
    Manual {
        /// The folder. It is made if it is missing
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Where the API listens (the setting `listen`); port 0 lets the system choose; also TRADEWIND_LISTEN
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The plugin folder (the setting `plugins`); also TRADEWIND_PLUGINS
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// The data folder was moved here, or is a copy that takes over from an original that is used no more: adopt what runs
    #[arg(long)]
    pub moved: bool,
}

#[derive(Debug, Args)]
pub struct Files {
    /// A manifest in YAML or JSON; `-` reads standard input. May be given several times
    #[arg(short, long = "file", required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
#[group(skip)]
pub struct Assess {
    /// A manifest in YAML or JSON; `-` reads standard input. May be given several times
    #[arg(short, long = "file", value_name = "FILE", required_unless_present = "cpu", conflicts_with_all = ["cpu", "memory"])]
    pub files: Vec<PathBuf>,
    /// Without a manifest: the cores of one replica, such as 2 or 500m
    #[arg(long, requires = "memory")]
    pub cpu: Option<String>,
    /// The memory of one replica, such as 4Gi
    #[arg(long, requires = "cpu")]
    pub memory: Option<String>,
    /// The kind of accelerator. Default: any
    #[arg(long, requires = "cpu", value_name = "KIND")]
    pub accelerator: Option<String>,
    /// Accelerators of one replica
    #[arg(long, requires = "cpu", value_name = "NUMBER")]
    pub accelerators: Option<u32>,
    /// Default 1
    #[arg(long, requires = "cpu")]
    pub replicas: Option<u32>,
    /// How long it is to run. Default: a month of 730 hours
    #[arg(long, requires = "cpu")]
    pub hours: Option<f64>,
    /// What one replica sends out of its region per hour, such as 2Gi
    #[arg(long, requires = "cpu", value_name = "SIZE")]
    pub egress: Option<String>,
    /// Count offers that may be taken back at any time
    #[arg(long, requires = "cpu")]
    pub spot: bool,
}

#[derive(Debug, Args)]
pub struct Apply {
    /// A manifest in YAML or JSON; `-` reads standard input. May be given several times
    #[arg(
        short,
        long = "file",
        required_unless_present = "plan",
        value_name = "FILE"
    )]
    pub files: Vec<PathBuf>,
    /// A stored plan instead, as `plan apply` does
    #[arg(long, value_name = "NAME", conflicts_with = "files")]
    pub plan: Option<String>,
    /// Do not wait until it runs
    #[arg(long)]
    pub detach: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Millis,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Plan {
    #[command(subcommand)]
    pub command: Option<PlanCommand>,
    #[command(flatten)]
    pub files: Files,
    /// End with 2 when something would change
    #[arg(long)]
    pub exit_code: bool,
    /// Store the plan, under this name or a drawn one, so that others can see and approve it
    #[arg(long, value_name = "NAME", num_args = 0..=1)]
    pub out: Option<Option<String>>,
    /// Plan to delete the deployments that the manifests name
    #[arg(long, requires = "out")]
    pub delete: bool,
    /// How long the stored plan can be applied, such as 2h. Default: the setting `plans.expiry`
    #[arg(long, value_name = "DURATION", requires = "out")]
    pub expires: Option<Millis>,
}

#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// List stored plans
    List(Plans),
    /// Show a stored plan
    Show { id: String },
    /// Show what differs between two stored plans
    Diff { from: String, to: String },
    /// Let somebody else's plan go ahead
    Approve(PlanReview),
    /// Refuse a plan for good
    Reject(PlanReview),
    /// Carry a plan out as it is and wait until it runs; refused when anything that it was made from has moved
    Apply(PlanApply),
    /// Delete a stored plan
    Delete { id: String },
}

#[derive(Debug, Args)]
pub struct PlanReview {
    pub id: String,
    /// Why
    #[arg(short, long, default_value = "")]
    pub message: String,
}

#[derive(Debug, Args)]
pub struct PlanApply {
    pub id: String,
    /// Do not wait until it runs
    #[arg(long)]
    pub detach: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Millis,
}

#[derive(Debug, Args)]
pub struct Delete {
    pub name: String,
    /// Do not wait until it is gone
    #[arg(long)]
    pub detach: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Millis,
}

#[derive(Debug, Args)]
pub struct Scale {
    pub name: String,
    pub task: String,
    /// How many, at each target
    #[arg(long)]
    pub replicas: u32,
}

#[derive(Debug, Args)]
pub struct Run {
    pub name: String,
    /// Only this job. Default: every job of the deployment
    pub task: Option<String>,
    /// Do not wait until it has ended
    #[arg(long)]
    pub detach: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Millis,
}

#[derive(Debug, Args)]
pub struct Wake {
    pub name: String,
    /// Only this one. Default: every task without replicas
    pub task: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Metric {
    /// Say how much there is of something that a task follows
    Push(MetricPush),
}

#[derive(Debug, Args)]
pub struct MetricPush {
    pub name: String,
    pub task: TaskName,
    /// Over all replicas together
    #[arg(required = true, value_name = "METRIC=VALUE")]
    pub values: Vec<MetricValue>,
}

#[derive(Debug, Clone)]
pub struct MetricValue {
    pub metric: MetricName,
    pub value: f64,
}

impl std::str::FromStr for MetricValue {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (metric, value) = s.split_once('=').ok_or_else(|| {
            format!("\"{s}\" has no value: write METRIC=VALUE, such as queue-depth=12")
        })?;
        let metric = metric.parse().map_err(|e: NameError| e.to_string())?;
        let value = value
            .parse()
            .map_err(|_| format!("\"{value}\" is not a number: write one such as 12 or 0.5"))?;
        Ok(Self { metric, value })
    }
}

#[derive(Debug, Args)]
pub struct Rollback {
    pub name: String,
    /// A kept revision. Default: the last healthy one before the current
    #[arg(long, value_name = "REVISION")]
    pub to: Option<u64>,
    /// Do not wait until it runs
    #[arg(long)]
    pub detach: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Millis,
}

#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Show where the update of a deployment stands
    Status { name: String },
}

#[derive(Debug, Args)]
pub struct Logs {
    pub name: String,
    /// Go on until the deployment is gone, over restarts of the daemon and cut connections
    #[arg(short, long)]
    pub follow: bool,
    /// Only this task's
    #[arg(long)]
    pub task: Option<String>,
    /// Only this replica's
    #[arg(long)]
    pub replica: Option<u32>,
    /// The last so many lines
    #[arg(long, default_value_t = 100)]
    pub tail: u32,
}

#[derive(Debug, Args)]
pub struct Events {
    /// Only this deployment's
    pub deployment: Option<String>,
    /// Go on with those to come
    #[arg(short, long)]
    pub follow: bool,
    /// The last so many. Default: 50
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<NonZeroU32>,
    /// Those before, where a command with --limit has said that there are more
    #[arg(long, value_name = "CURSOR", conflicts_with = "follow")]
    pub cursor: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Print the entries
    Show {
        /// Only those behind this number
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
        /// At most so many; without --after, the last ones. Default: 50
        #[arg(long, value_name = "NUMBER")]
        limit: Option<NonZeroU32>,
        /// Go on where a command with --limit has said that there are more: without --after, with those before
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
    /// Print the number and the hash of the last entry, to be noted elsewhere
    Head,
    /// Check the chain of hashes: names the first entry that was edited, removed, moved or put in, and ends with 1
    Verify {
        /// An export to check, without a daemon; `-` reads standard input. Default: the daemon's log
        file: Option<PathBuf>,
        /// A hash that `audit head` printed earlier: shows also that the end was not cut off
        #[arg(long, value_name = "HASH")]
        expect: Option<Digest>,
    },
    /// Print the whole log as JSON lines that can be checked without the daemon
    Export,
}

#[derive(Debug, Subcommand)]
pub enum Replacement {
    /// Show what would move to where it costs less by now, and why the rest stays
    Report(Paging),
}

#[derive(Debug, Subcommand)]
pub enum Decision {
    /// Show a decision: what was chosen, what was not, and why
    Show { id: String },
}

/// Stored and configured credentials of this machine's daemon; their values are never shown.
#[derive(Debug, Subcommand)]
pub enum Credential {
    /// List the credentials of the settings and the stored ones, and whether each can be read now
    List,
    /// Store a credential, sealed: its value is read from standard input. A running daemon uses it at once
    Seal {
        /// The name for `{ sealed = "NAME" }` in the settings or an instance file
        name: String,
    },
    /// Forget a stored credential
    Remove { name: String },
}

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token and print its text, which is shown this once
    Create(TokenCreate),
    /// List the tokens, those that have ended included
    List(Tokens),
    /// Revoke a token: requests with it are refused from now on, and streams that it has opened end
    Revoke { name: String },
    /// Make the admin token anew in the data folder, while the daemon is stopped; the one before it ends
    ResetAdmin,
}

#[derive(Debug, Args)]
pub struct TokenCreate {
    /// Shown as token:NAME in events
    pub name: String,
    /// viewer reads; operator also changes deployments; approver also lets plans go ahead; admin does everything
    #[arg(long, default_value_t = Role::Viewer)]
    pub role: Role,
    /// A namespace that it reaches; may be given several times. Default: the one of --namespace, else all
    #[arg(long = "reach", value_name = "NAMESPACE")]
    pub reach: Vec<String>,
    /// How long it is valid, such as 30d. Default: until it is revoked
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<Millis>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Simulate {
    #[command(subcommand)]
    pub command: Option<SimulateCommand>,
    #[command(flatten)]
    pub run: SimulateRun,
}

#[derive(Debug, Subcommand)]
pub enum SimulateCommand {
    /// Make a trace of a table that others have published
    Convert {
        /// Where the table is from. alibaba-gpu-2020: `pai_task_table.csv` of cluster-trace-gpu-v2020; its times are those of starts, and
        /// parts of GPUs become whole ones
        #[arg(long, value_enum)]
        from: TraceSource,
        /// The table; `-` reads standard input
        file: PathBuf,
        /// Where the trace goes. Default: standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TraceSource {
    #[value(name = "alibaba-gpu-2020")]
    AlibabaGpu2020,
}

#[derive(Debug, Args)]
pub struct SimulateRun {
    /// The trace: CSV with the columns at, name, kind, cpu, memory, and replicas, accelerator, accelerators, duration, priority, namespace
    #[arg(long, required = true, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// What `offers -o json` printed, or a list of such prints, each with `at`: the time from which it holds
    #[arg(long, required = true, value_name = "FILE")]
    pub offers: Option<PathBuf>,
    /// The policy's component
    #[arg(long, required = true, value_name = "FILE.wasm")]
    pub policy: Option<PathBuf>,
    /// The policy's instance file. Default: no settings and the usual limits
    #[arg(long, value_name = "FILE.toml")]
    pub settings: Option<PathBuf>,
    /// Where the time series goes
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Where the chart goes
    #[arg(long, value_name = "FILE.svg")]
    pub chart: Option<PathBuf>,
    /// How long a row of the time series is. Default: the finest with at most 1000 rows
    #[arg(long, value_name = "DURATION")]
    pub step: Option<Millis>,
    /// When to stop. Default: with the last event
    #[arg(long, value_name = "DURATION")]
    pub until: Option<Millis>,
    /// The most tasks in one policy call: the first by priority, then by arrival
    #[arg(long, default_value_t = 1000, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch: u32,
    /// Offers that may be taken back may be used
    #[arg(long)]
    pub spot: bool,
    /// Priorities hold across namespaces, as with the setting `controller.preempt-across-namespaces`
    #[arg(long)]
    pub preempt_across_namespaces: bool,
    /// The number that the first policy call is given to break ties with
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// List the plugin instances
    List(Plugins),
    /// Show a plugin instance, or a component file
    Inspect {
        /// The name of an instance, or a file that ends in .wasm
        #[arg(value_name = "NAME|FILE.wasm")]
        what: String,
    },
    /// Compare the plugin folder with what is loaded, now
    Reload,
    /// Go back to an earlier version of an instance
    Rollback {
        name: String,
        /// The component's digest out of its history. Default: the version before the active one
        #[arg(long, value_name = "DIGEST")]
        to: Option<String>,
    },
    /// A new version of an instance on a share of its calls
    #[command(subcommand)]
    Canary(Canary),
    /// Compile plugins and make components of them
    Build {
        /// The folders of the plugins
        #[arg(default_value = ".", value_name = "DIR")]
        folders: Vec<PathBuf>,
        /// Where the components go
        #[arg(long, default_value = ".", value_name = "DIR")]
        out: PathBuf,
    },
    /// Check that a component keeps to what the daemon asks of plugins. No daemon is needed; a provider does real things, and removes them
    Test(PluginTest),
    /// Write a new plugin that works
    New {
        name: String,
        #[arg(long, value_enum)]
        kind: PluginKind,
        /// The folder in which its folder is made
        #[arg(long, default_value = ".", value_name = "DIR")]
        dir: PathBuf,
        /// The plugin SDK's folder. Default: the one beside which this program was built
        #[arg(long, env = "TRADEWIND_SDK", value_name = "DIR")]
        sdk: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum NamespaceCommand {
    /// List the namespaces with what they use and cost
    List(Namespaces),
    /// Show a namespace: limits, usage, spending, and who is held back
    Show { name: String },
    /// Set the limits of namespaces
    Set(Files),
    /// Remove the limits of a namespace that has no deployments
    Delete { name: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PluginKind {
    Provider,
    Policy,
}

#[derive(Debug, Args)]
pub struct Config {
    #[command(subcommand)]
    pub command: Option<ConfigCommand>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting, its value and where that came from
    Show,
    /// Only check that the configuration can be used
    Check,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_plan_is_made_stored_or_handled() {
        let plan =
            |words: &[&str]| match Cli::try_parse_from([&["tradewind", "plan"], words].concat())
                .map(|cli| cli.command)
            {
                Ok(Command::Plan(plan)) => Ok(plan),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.kind()),
            };
        assert_eq!(plan(&["-f", "a", "--out"]).unwrap().out, Some(None));
        assert_eq!(
            plan(&["-f", "a", "--out", "b"]).unwrap().out,
            Some(Some("b".to_owned()))
        );
        assert!(matches!(
            plan(&["show", "x"]).unwrap().command,
            Some(PlanCommand::Show { .. })
        ));
        assert_eq!(
            plan(&[]).unwrap_err(),
            clap::error::ErrorKind::MissingRequiredArgument
        );
        assert_eq!(
            plan(&["-f", "a", "--expires", "2h"]).unwrap_err(),
            clap::error::ErrorKind::MissingRequiredArgument
        );
    }

    #[test]
    fn global_options_go_anywhere() {
        let cli = Cli::parse_from([
            "tradewind",
            "apply",
            "-f",
            "a.yaml",
            "-f",
            "-",
            "-n",
            "team",
            "-o",
            "json",
            "--timeout",
            "1m 30s",
        ]);
        assert_eq!(
            (cli.globals.namespace.as_deref(), cli.globals.output),
            (Some("team"), Form::Json)
        );
        let Command::Apply(apply) = cli.command else {
            panic!("not apply")
        };
        assert_eq!(
            (apply.files.len(), apply.timeout, apply.detach),
            (2, Millis::from_secs(90), false)
        );
    }
}
