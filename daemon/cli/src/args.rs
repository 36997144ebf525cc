//! What can be typed.
#![allow(
    missing_docs,
    reason = "comments here are the text of `--help`: an item has one where that text needs it"
)]

mod canary;
mod conformance;
mod context;
mod dev;
mod files;
mod form;
mod help;
mod lists;
mod narrow;
mod place;
mod policy;
mod restart;
mod session;
mod shown;
mod tools;
mod top;
mod wait;

use std::{num::NonZeroU32, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tradewind_core::{
    identity::Role,
    list::Selector,
    names::{Digest, MetricName, NameError, TaskName},
    units::Millis,
};

pub use canary::{Canary, CanaryStart};
pub use conformance::PluginTest;
pub use context::{ContextCommand, Login, Logout};
pub use dev::{Dev, Init};
pub use files::{Delete, Diff, Edit, Files, Fmt, Reading, Setting};
pub use form::{Form, JsonPath};
pub use help::{EXAMPLES, command};
pub use lists::{
    Decisions, Deployments, Namespaces, Offers, Paging, Plans, Plugins, Regions, Revisions, Tokens,
};
pub use narrow::{EventKind, LineKind, Since};
pub use place::{Cordon, Drain, PlaceName, Uncordon};
pub use policy::{Policy, Shadow, ShadowName, ShadowStart};
pub use restart::{Restart, RolloutName};
pub use session::{Copy, Exec, PortForward, ReplicaArgs};
pub use shown::{Field, Shown};
pub use tools::{Auth, CanI, Explain, SupportBundle};
pub use top::{Top, TopSort};
pub use wait::{Condition, Rollout, RolloutStatus, Wait};

use form::FormParser;

/// What each exit code means.
pub const EXIT_CODES: [(u8, &str); 10] = [
    (0, "done"),
    (1, "failed"),
    (DIFFERENT, "something differs, or would change"),
    (3, "not found"),
    (4, "the manifest is not valid"),
    (5, "another change came first, or it is not possible now"),
    (6, "the daemon can't be reached"),
    (7, "not done within the time allowed"),
    (8, "no token, or one that may not do this"),
    (USAGE, "wrong usage"),
];

/// The exit code for differences, as `terraform plan -detailed-exitcode` has it.
pub const DIFFERENT: u8 = 2;
/// The exit code for wrong usage: `EX_USAGE` of sysexits. A typing mistake is told apart from a difference.
pub const USAGE: u8 = 64;

/// Where `plan` says more by its exit code.
pub const EXIT_CODES_OF_PLAN: &str = "`plan` and `assess` end with 4 when something can never be placed. `diff -f` \
    ends with 2 when something differs, and so does `fmt --check`; `plan` and `diff NAME` do so with `--exit-code`.";

fn exit_codes() -> String {
    let codes = EXIT_CODES.map(|(code, meaning)| format!("  {code}  {meaning}\n"));
    format!("Exit codes:\n{}{EXIT_CODES_OF_PLAN}", codes.concat())
}

/// State what should run; Tradewind decides where, makes it so, and can say why.
#[derive(Debug, Parser)]
#[command(name = "tradewind", version)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// The daemon's URL. Default: that of the current context, else the daemon that runs with the
    /// data folder
    #[arg(long, global = true, env = "TRADEWIND_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// The context, which `login` made: a daemon, a token and a namespace. `local` is this machine's
    /// daemon. Default: the variable `TRADEWIND_CONTEXT`, else the current context
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// SHA-256 of the public key of the daemon's certificate, as `sha256:` and 64 digits. No other
    /// certificate is accepted. The digest of the certificate itself is accepted too, as long as
    /// the daemon shows that certificate. Default: what the data folder's daemon says
    #[arg(
        long,
        global = true,
        env = "TRADEWIND_FINGERPRINT",
        value_name = "DIGEST"
    )]
    pub fingerprint: Option<Digest>,
    /// A file of certificates, in PEM form, one of which signed the daemon's. Default: those that
    /// this machine trusts
    #[arg(
        long,
        global = true,
        env = "TRADEWIND_CA",
        value_name = "FILE",
        conflicts_with = "fingerprint"
    )]
    pub ca: Option<PathBuf>,
    /// A file with the token to send. Default: the variable `TRADEWIND_TOKEN`, else the token of the
    /// context, else the admin token in the data folder. Each of these two is sent to its own daemon
    /// alone
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The namespace. Default: the context's, else `default`; lists show all
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Lists show every namespace, whatever the context says
    #[arg(short = 'A', long, global = true, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// The form of results
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORM",
        value_parser = FormParser,
        default_value = "table"
    )]
    pub output: Form,
    /// Show times in UTC. Default: the zone of the variable `TZ`, else of this machine. Forms for
    /// programs have UTC
    #[arg(long, global = true)]
    pub utc: bool,
    /// The configuration file. Default: the variable `TRADEWIND_CONFIG`, else
    /// `tradewind/config.toml` in the user's configuration folder
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The daemon's data folder: the setting `data`. Default: the variable `TRADEWIND_DATA`, else
    /// the setting
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try it out: run a daemon with a service on this machine until Ctrl-C, which removes all of it
    Dev(Dev),
    /// Write a commented set-up of a daemon into a folder: settings, and examples of plugins
    Init(Init),
    /// Run the daemon
    Serve(Serve),
    /// Answer HTTP on the port of the variable `PORT` with one page: the service of `dev`
    #[command(hide = true)]
    SamplePage,
    /// Compile what comes on standard input, for another process of this program
    #[command(hide = true)]
    CompileComponent,
    /// Copy the output of processes into files of bounded size, for the daemon that starts it
    #[command(hide = true)]
    CollectOutput { folder: PathBuf },
    /// Create or change deployments from manifests, and wait until they run
    Apply(Apply),
    /// Show what applying a manifest would change, where, at what cost and why. Store, compare,
    /// approve and apply such plans
    Plan(Plan),
    /// List stored plans
    Plans(Plans),
    /// List deployments, or show some
    Get {
        /// The deployments to show
        #[arg(value_name = "NAME", conflicts_with_all = ["status", "selector", "limit", "cursor", "sort", "fields"])]
        names: Vec<String>,
        /// Print only the manifest, with its defaults, as YAML or JSON
        #[arg(long, requires = "names", conflicts_with = "watch")]
        manifest: bool,
        /// Go on, and show what changes: on a terminal in place, else each changed row. Over restarts
        /// of the daemon and cut connections
        #[arg(short, long, conflicts_with_all = ["limit", "cursor"])]
        watch: bool,
        #[command(flatten)]
        list: Deployments,
    },
    /// Show a deployment in full: tasks, places, replicas, endpoints, the last decision, events
    Describe {
        /// The deployment
        name: String,
    },
    /// List a deployment's kept revisions: their authors, reasons and outcomes
    Revisions {
        /// The deployment
        name: String,
        #[command(flatten)]
        list: Revisions,
    },
    /// Show what differs between manifests and what runs, or between two revisions
    Diff(Diff),
    /// Change a deployment's manifest in an editor, and wait until it runs
    Edit(Edit),
    /// Return to an earlier revision, and wait until it runs
    Rollback(Rollback),
    /// Let an update pass the stage at which it waits
    Promote {
        /// The deployment
        name: String,
    },
    /// Stop an update, and return to the last healthy revision
    Abort {
        /// The deployment
        name: String,
    },
    /// Show, pause and resume updates, and wait for them
    #[command(subcommand)]
    Rollout(Rollout),
    /// Wait until deployments run, have completed or are gone. Ends with 7 when that takes too long,
    /// and with 1 when it can't happen any more
    Wait(Wait),
    /// Delete deployments, and wait until they are gone
    Delete(Delete),
    /// Set the number of replicas of a task
    Scale(Scale),
    /// Give a task without replicas one replica again
    Wake(Wake),
    /// Push the measures that tasks follow
    #[command(subcommand)]
    Metric(Metric),
    /// Print the output of a deployment's replicas
    Logs(Logs),
    /// Run a command beside a replica, as its user and with its variables. Ends with the command's code
    Exec(Exec),
    /// Forward ports of this machine to a replica's, until Ctrl-C
    PortForward(PortForward),
    /// Copy files from a replica, or to one
    Cp(Copy),
    /// Print events
    Events(Events),
    /// Show, export and verify the audit log
    #[command(subcommand)]
    Audit(Audit),
    /// Write the whole state to a file while the daemon works. Secrets, tokens in clear, TLS keys
    /// and output of processes are not in it
    Backup {
        /// The file to write
        file: PathBuf,
    },
    /// Put a backup back into the data folder. No daemon may run on that folder
    Restore {
        /// The backup
        #[arg(required_unless_present = "confirm")]
        file: Option<PathBuf>,
        /// Set a state that exists aside
        #[arg(long, requires = "file")]
        force: bool,
        /// Say that the daemon which made the backup has ended for good. Without it, no daemon
        /// starts on a state that was restored elsewhere. Without `FILE`, it holds for the state
        /// that was restored before
        #[arg(long)]
        confirm: bool,
        /// Do not ask. The tokens and the grants that come into force are listed first in any case
        #[arg(long, short = 'y', requires = "file")]
        yes: bool,
        /// Restore only a file with this digest, which `tradewind backup` printed
        #[arg(long, value_name = "DIGEST", requires = "file")]
        expect: Option<Digest>,
        /// Accept the tokens of the backup where no state says which were revoked since
        #[arg(long, requires = "file")]
        keep_tokens: bool,
    },
    /// Run a job again that has ended, and wait until it has ended again
    Run(Run),
    /// Replace the replicas of services by new ones without a change of the manifest, as their
    /// updates do, and wait until they run
    Restart(Restart),
    /// List what the providers can supply now
    Offers(Offers),
    /// List the regions of every provider: how they have been doing, and which are left alone for
    /// now
    Regions(Regions),
    /// Place nothing new at a provider or in a region of it. What runs there goes on
    Cordon(Cordon),
    /// Let a provider or a region of it take new replicas again. Ends a drain
    Uncordon(Uncordon),
    /// Cordon a provider or a region of it, move what runs there elsewhere, and wait until nothing
    /// is left. Ends with 7 when something has no other place
    Drain(Drain),
    /// Show the processor time and the memory that deployments use, or the replicas of one
    Top(Top),
    /// Show moves to places that cost less
    #[command(subcommand)]
    Replacement(Replacement),
    /// Show what every cloud would cost for a manifest or a shape, and how it performs
    Assess(Assess),
    /// List decisions, the newest first
    Decisions(Decisions),
    /// Show single decisions
    #[command(subcommand)]
    Decision(Decision),
    /// Make a decision once more with the policy that made it, and compare the answers bit for bit.
    /// Ends with 1 when they differ
    Replay {
        /// The decision
        id: String,
        /// The component of another policy. Shows what it would choose, and what that would cost.
        /// It takes the role admin, or operator with the setting `api.uploads`
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Show why a deployment runs where it runs, or what a field of the manifest means. Of a
    /// deployment: score and cost of every candidate, what excluded the other offers, and the price or
    /// the capacity at which the answer would be another
    Explain(Explain),
    /// Run a trace of requests on recorded offers with a policy's component, without a daemon.
    /// Shows cost, utilisation, queueing and preemptions
    Simulate(Simulate),
    /// List, inspect, reload, roll back, write, build and test plugins
    #[command(subcommand)]
    Plugin(Plugin),
    /// Try policies
    #[command(subcommand)]
    Policy(Policy),
    /// Show and set the limits of namespaces: budgets, quotas, and what was spent
    #[command(subcommand)]
    Namespace(NamespaceCommand),
    /// Store and list the credentials of the daemon on this machine. Their values are never shown
    #[command(subcommand)]
    Credential(Credential),
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(Token),
    /// Show what the token in use may do
    Whoami,
    /// Say what the token in use may do
    #[command(subcommand)]
    Auth(Auth),
    /// Keep the way to a daemon, and a token, as a context, and make it the current one. The token
    /// comes from `--token-file`, from `TRADEWIND_TOKEN`, from standard input, or is asked for
    Login(Login),
    /// Remove the token of a context from this machine
    Logout(Logout),
    /// List, choose and change contexts: the daemons that you work with
    #[command(subcommand)]
    Context(ContextCommand),
    /// Wait until the daemon can do its work: the one that was named, else the one of the data folder
    WaitReady(WaitReady),
    /// Show the settings in force, and where each came from
    Config(Config),
    /// Check manifests without a daemon. Tells all that is wrong, each with its place, and ends with
    /// 4 then
    Validate(Files),
    /// Format manifests in place, and print the names of those that changed. Comments stay, and so
    /// does what a manifest means: a file of which that can't be kept is left alone. No daemon is
    /// needed
    Fmt(Fmt),
    /// Print the JSON Schema of the manifest. No daemon is needed
    Schema,
    /// Show the versions of this program and of the daemon
    Version,
    /// Say what is in order, what is not, and what helps. Ends with 1 when something is wrong
    Doctor,
    /// Write what somebody who helps needs to know into an archive. Secrets, tokens, and values of
    /// manifests are not in it
    SupportBundle(SupportBundle),
    /// List the programs that add commands: `tradewind NAME` runs `tradewind-NAME` from the search path
    Extensions,
    /// Print a completion script. It completes names of deployments, plans and others, too
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder, one for each command
    Manual {
        /// The folder. It is made if it is missing
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Serve {
    /// The address at which the API listens: the setting `listen`. Port 0 lets the system choose.
    /// Default: the variable `TRADEWIND_LISTEN`, else the setting
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The plugin folder: the setting `plugins`. Default: the variable `TRADEWIND_PLUGINS`, else
    /// the setting
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Say that the data folder was moved here, or is a copy of one that is not used any more. The
    /// daemon adopts what runs
    #[arg(long)]
    pub moved: bool,
}

#[derive(Debug, Args)]
#[group(skip)]
pub struct Assess {
    /// A manifest in YAML or JSON, a folder, a pattern such as `'*.yaml'`, or a URL; `-` reads
    /// standard input. May be given several times
    #[arg(short, long = "file", value_name = "FILE", required_unless_present = "cpu", conflicts_with_all = ["cpu", "memory"])]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
    /// Without a manifest: the cores of one replica, such as `2` or `500m`
    #[arg(long, requires = "memory")]
    pub cpu: Option<String>,
    /// The memory of one replica, such as `4Gi`
    #[arg(long, requires = "cpu")]
    pub memory: Option<String>,
    /// The kind of accelerator. Default: any
    #[arg(long, requires = "cpu", value_name = "KIND")]
    pub accelerator: Option<String>,
    /// The number of accelerators of one replica
    #[arg(long, requires = "cpu", value_name = "NUMBER")]
    pub accelerators: Option<u32>,
    /// The number of replicas. Default: `1`
    #[arg(long, requires = "cpu")]
    pub replicas: Option<u32>,
    /// How long it runs, in hours. Default: 730, a month
    #[arg(long, requires = "cpu")]
    pub hours: Option<f64>,
    /// What one replica sends out of its region per hour, such as `2Gi`
    #[arg(long, requires = "cpu", value_name = "SIZE")]
    pub egress: Option<String>,
    /// Count spot offers, which their provider may take back at any time
    #[arg(long, requires = "cpu")]
    pub spot: bool,
}

#[derive(Debug, Args)]
pub struct Apply {
    /// A manifest in YAML or JSON, a folder, a pattern such as `'*.yaml'`, or a URL; `-` reads
    /// standard input. May be given several times
    #[arg(
        short,
        long = "file",
        required_unless_present = "plan",
        value_name = "FILE"
    )]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
    /// Delete the deployments with the labels of `--selector` that are not among the files: in the
    /// namespace of `--namespace`, else in those of the manifests
    #[arg(long, requires = "selector", conflicts_with = "plan")]
    pub prune: bool,
    /// The labels of what `--prune` may delete: `app=web`, `app!=web`, `app`, `!app`, or several with
    /// commas between
    #[arg(short = 'l', long, value_name = "LABELS", requires = "prune")]
    pub selector: Option<Selector>,
    /// A stored plan instead of files, as `plan apply` does
    #[arg(long, value_name = "NAME", conflicts_with = "files")]
    pub plan: Option<String>,
    /// Do not wait until it runs
    #[arg(long)]
    pub detach: bool,
    /// The longest time to wait
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
    /// Show as well what `apply --prune` would delete
    #[arg(long, requires = "selector", conflicts_with = "out")]
    pub prune: bool,
    /// The labels of what `--prune` may delete
    #[arg(short = 'l', long, value_name = "LABELS", requires = "prune")]
    pub selector: Option<Selector>,
    /// End with 2 when something would change
    #[arg(long)]
    pub exit_code: bool,
    /// Store the plan, so that others can see and approve it. Without `NAME`, a name is drawn
    #[arg(long, value_name = "NAME", num_args = 0..=1)]
    pub out: Option<Option<String>>,
    /// Plan to delete the deployments that the manifests name
    #[arg(long, requires = "out")]
    pub delete: bool,
    /// How long the stored plan can be applied, such as `2h`. Default: the setting `plans.expiry`
    #[arg(long, value_name = "DURATION", requires = "out")]
    pub expires: Option<Millis>,
}

#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// List stored plans
    List(Plans),
    /// Show a stored plan
    Show {
        /// The plan
        id: String,
    },
    /// Show what differs between two stored plans
    Diff {
        /// The earlier plan
        from: String,
        /// The later plan
        to: String,
    },
    /// Approve somebody else's plan
    Approve(PlanReview),
    /// Reject a plan for good
    Reject(PlanReview),
    /// Carry a plan out as it is, and wait until it runs. Refused when something that it was made
    /// from has changed
    Apply(PlanApply),
    /// Delete a stored plan
    Delete {
        /// The plan
        id: String,
    },
}

#[derive(Debug, Args)]
pub struct PlanReview {
    /// The plan
    pub id: String,
    /// The reason
    #[arg(short, long, default_value = "")]
    pub message: String,
}

#[derive(Debug, Args)]
pub struct PlanApply {
    /// The plan
    pub id: String,
    /// Do not wait until it runs
    #[arg(long)]
    pub detach: bool,
    /// The longest time to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Millis,
}

#[derive(Debug, Args)]
pub struct WaitReady {
    /// How long to wait
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub timeout: Millis,
}

#[derive(Debug, Args)]
pub struct Scale {
    /// The deployment
    pub name: String,
    /// The task
    pub task: String,
    /// The number of replicas, at each target
    #[arg(long)]
    pub replicas: u32,
}

#[derive(Debug, Args)]
pub struct Run {
    /// The deployment
    pub name: String,
    /// Only this job. Default: every job of the deployment
    pub task: Option<String>,
    /// Do not wait until it has ended
    #[arg(long)]
    pub detach: bool,
    /// The longest time to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Millis,
}

#[derive(Debug, Args)]
pub struct Wake {
    /// The deployment
    pub name: String,
    /// Only this task. Default: every task without replicas
    pub task: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Metric {
    /// Push a value that a task follows
    Push(MetricPush),
}

#[derive(Debug, Args)]
pub struct MetricPush {
    /// The deployment
    pub name: String,
    /// The task
    pub task: TaskName,
    /// The name and the value of a measure, over all replicas together
    #[arg(required = true, value_name = "METRIC=VALUE")]
    pub values: Vec<MetricValue>,
}

/// One measure to push, read from `METRIC=VALUE`.
#[derive(Debug, Clone)]
pub struct MetricValue {
    /// Its name.
    pub metric: MetricName,
    /// Over all replicas together, in the unit of the measure.
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
    /// The deployment
    pub name: String,
    /// A kept revision. Default: the last healthy one before the current
    #[arg(long, value_name = "REVISION")]
    pub to: Option<u64>,
    /// Do not wait until it runs
    #[arg(long)]
    pub detach: bool,
    /// The longest time to wait
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Millis,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// The deployment
    pub name: String,
    /// Follow the output until the deployment is gone, over restarts of the daemon and cut
    /// connections
    #[arg(short, long)]
    pub follow: bool,
    /// The lines of the run before the present one, of replicas that were started again
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
    /// Only this task
    #[arg(long)]
    pub task: Option<String>,
    /// Only this replica
    #[arg(long)]
    pub replica: Option<u32>,
    /// The number of lines to begin with, of which filters take their part. Default: 100, with
    /// `--since` or `--grep` 10000
    #[arg(long, value_name = "NUMBER")]
    pub tail: Option<u32>,
    #[command(flatten)]
    pub kind: LineKind,
}

#[derive(Debug, Args)]
pub struct Events {
    /// Only this deployment
    pub deployment: Option<String>,
    /// Follow the events to come
    #[arg(short, long, conflicts_with_all = ["sort", "fields"])]
    pub follow: bool,
    /// The most events, the newest. Default: `50`
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<NonZeroU32>,
    /// Where to go on: a command with `--limit` that had more printed it
    #[arg(long, value_name = "CURSOR", conflicts_with = "follow")]
    pub cursor: Option<String>,
    #[command(flatten)]
    pub kind: EventKind,
    #[command(flatten)]
    pub shown: Shown,
}

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Print the entries
    Show {
        /// Only entries after this number
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
        /// The most entries. Without `--after`, the newest. Default: `50`
        #[arg(long, value_name = "NUMBER")]
        limit: Option<NonZeroU32>,
        /// Where to go on: a command with `--limit` that had more printed it. Without `--after`,
        /// older entries come next
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
        #[command(flatten)]
        shown: Shown,
    },
    /// Print the number and the hash of the last entry, to note them elsewhere
    Head,
    /// Verify the chain of hashes. Names the first entry that was edited, removed, moved or
    /// inserted, and ends with 1
    Verify {
        /// An export to verify without a daemon; `-` reads standard input. Default: the daemon's
        /// log
        file: Option<PathBuf>,
        /// A hash that `audit head` printed earlier. Shows also that the end was not cut off
        #[arg(long, value_name = "HASH")]
        expect: Option<Digest>,
    },
    /// Print the whole log as JSON lines, which `audit verify` checks without the daemon
    Export,
}

#[derive(Debug, Subcommand)]
pub enum Replacement {
    /// Show what would move to a place that costs less, and why the rest stays
    Report(Paging),
}

#[derive(Debug, Subcommand)]
pub enum Decision {
    /// Show a decision: what was chosen, what was not, and why
    Show {
        /// The decision
        id: String,
    },
}

/// Stored and configured credentials of this machine's daemon; their values are never shown.
#[derive(Debug, Subcommand)]
pub enum Credential {
    /// List the credentials of the settings and the stored ones, and whether each can be read now
    List,
    /// Store a credential, sealed. Its value is read from standard input. A running daemon uses it
    /// at once
    Seal {
        /// The name for `{ sealed = "NAME" }` in the settings or an instance file
        name: String,
    },
    /// Remove a stored credential
    Remove {
        /// The name of the credential
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token, and print its text, which is shown this once
    Create(TokenCreate),
    /// List the tokens, with those that have ended
    List(Tokens),
    /// Revoke a token. Requests with it are refused from now on, and its open streams end
    Revoke {
        /// The name of the token
        name: String,
    },
    /// Make a new admin token in the data folder, while the daemon is stopped. The one before it
    /// ends
    ResetAdmin,
}

#[derive(Debug, Args)]
pub struct TokenCreate {
    /// The name of the token. Events show it as `token:NAME`
    pub name: String,
    /// The role: `viewer` reads; `operator` also changes deployments; `approver` also approves
    /// plans of others; `admin` does everything
    #[arg(long, default_value_t = Role::Viewer)]
    pub role: Role,
    /// A namespace that the token reaches. May be given several times. Default: the one of
    /// `--namespace`, else all
    #[arg(long = "reach", value_name = "NAMESPACE")]
    pub reach: Vec<String>,
    /// How long the token is valid, such as `30d`. Default: until it is revoked
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
        /// The kind of table. `alibaba-gpu-2020`: `pai_task_table.csv` of cluster-trace-gpu-v2020;
        /// its times are starts, and parts of GPUs become whole ones
        #[arg(long, value_enum)]
        from: TraceSource,
        /// The table; `-` reads standard input
        file: PathBuf,
        /// The file of the trace. Default: standard output
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
    /// The trace: CSV with the columns `at`, `name`, `kind`, `cpu`, `memory`, and perhaps
    /// `replicas`, `accelerator`, `accelerators`, `duration`, `priority`, `namespace`
    #[arg(long, required = true, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// The offers: the output of `offers -o json`, or a list of such outputs, each with `at`, the
    /// time from which it holds
    #[arg(long, required = true, value_name = "FILE")]
    pub offers: Option<PathBuf>,
    /// The policy's component
    #[arg(long, required = true, value_name = "FILE.wasm")]
    pub policy: Option<PathBuf>,
    /// The policy's instance file. Default: no settings and the usual limits
    #[arg(long, value_name = "FILE.toml")]
    pub settings: Option<PathBuf>,
    /// The file of the time series
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// The file of the chart
    #[arg(long, value_name = "FILE.svg")]
    pub chart: Option<PathBuf>,
    /// The length of a row of the time series. Default: the shortest with at most 1000 rows
    #[arg(long, value_name = "DURATION")]
    pub step: Option<Millis>,
    /// The time of the end. Default: the last event
    #[arg(long, value_name = "DURATION")]
    pub until: Option<Millis>,
    /// The most tasks in one policy call: the first by priority, then by arrival
    #[arg(long, default_value_t = 1000, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub batch: u32,
    /// Use spot offers too
    #[arg(long)]
    pub spot: bool,
    /// Let priorities hold across namespaces, as the setting `controller.preempt-across-namespaces`
    /// does
    #[arg(long)]
    pub preempt_across_namespaces: bool,
    /// The number from which the first policy call breaks ties
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// List the plugin instances
    List(Plugins),
    /// Show a plugin instance, or a component file
    Inspect {
        /// The name of an instance, or a file that ends in `.wasm`
        #[arg(value_name = "NAME|FILE.wasm")]
        what: String,
    },
    /// Compare the plugin folder with what is loaded, now
    Reload,
    /// Go back to an earlier version of an instance
    Rollback {
        /// The plugin instance
        name: String,
        /// The digest of a component in the instance's history. Default: the version before the
        /// active one
        #[arg(long, value_name = "DIGEST")]
        to: Option<String>,
    },
    /// Try a new version of an instance on a share of its calls
    #[command(subcommand)]
    Canary(Canary),
    /// Compile plugins, and make components of them
    Build {
        /// The folders of the plugins
        #[arg(default_value = ".", value_name = "DIR")]
        folders: Vec<PathBuf>,
        /// The folder of the components
        #[arg(long, default_value = ".", value_name = "DIR")]
        out: PathBuf,
    },
    /// Check that a component keeps the contract. No daemon is needed. A provider does real things,
    /// and removes them
    Test(PluginTest),
    /// Write a new plugin that works
    New {
        /// The name of the plugin
        name: String,
        /// The kind of plugin
        #[arg(long, value_enum)]
        kind: PluginKind,
        /// The folder in which the plugin's folder is made
        #[arg(long, default_value = ".", value_name = "DIR")]
        dir: PathBuf,
        /// The folder of the plugin SDK. Default: the one beside which this program was built
        #[arg(long, env = "TRADEWIND_SDK", value_name = "DIR")]
        sdk: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum NamespaceCommand {
    /// List the namespaces: what they use and cost
    List(Namespaces),
    /// Show a namespace: limits, usage, spending, and the tasks that wait
    Show {
        /// The namespace
        name: String,
    },
    /// Set the limits of namespaces
    Set(Files),
    /// Remove the limits of a namespace that has no deployments
    Delete {
        /// The namespace
        name: String,
    },
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
    /// Print every setting, its value and where it came from
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
