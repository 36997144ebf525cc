//! One file per command, or per family of small ones. Each asks the API and prints the answer.

mod alone;
pub(crate) mod apply;
mod assess;
pub(crate) mod audit;
mod auth;
pub(crate) mod backup;
mod bundle;
mod canary;
mod context;
mod decisions;
mod delete;
mod deployments;
mod diff;
mod doctor;
mod edit;
mod field;
mod files;
mod fmt;
mod lists;
mod login;
mod namespaces;
mod offers;
mod places;
mod plan;
mod plans;
mod plugins;
mod prune;
mod ready;
mod regions;
mod replacement;
mod restart;
mod revisions;
mod rollout;
mod scale;
mod session;
mod shadows;
mod shown;
mod stream;
pub(crate) mod tokens;
mod top;
mod until;
mod validate;
mod version;
mod wait;
mod watch;

use std::path::Path;

use tradewind_core::names::Namespace;

pub(crate) use alone::run as alone;
pub(crate) use deployments::Description;

use super::{
    Context, Error,
    args::{self, Command},
};
use crate::client::{self, Document, Origin};

/// Runs a client command.
///
/// # Errors
/// Whatever keeps it from doing what was asked. The number is the exit code.
pub(crate) async fn run(context: &Context, command: Command) -> Result<u8, Error> {
    match command {
        Command::Apply(args) => apply::run(context, args).await?,
        Command::Plan(args) => return plan::run(context, args).await,
        Command::Plans(args) => plans::list(context, args).await?,
        Command::Get {
            names,
            watch: true,
            list,
            ..
        } => match names.as_slice() {
            [] => watch::list(context, list).await?,
            [name] => watch::one(context, name).await?,
            _ => {
                return Err(Error::Argument {
                    what: "NAME",
                    value: names.join(" "),
                    rule: "one is watched, or the list: leave the names out and give --selector".to_owned(),
                });
            }
        },
        Command::Get { names, list, .. } if names.is_empty() => {
            deployments::list(context, list).await?
        }
        Command::Get {
            names, manifest, ..
        } => deployments::get(context, &names, manifest).await?,
        Command::Describe { name } => deployments::describe(context, &name).await?,
        Command::Revisions { name, list } => revisions::list(context, &name, list).await?,
        Command::Diff(args) => return diff::run(context, args).await,
        Command::Edit(args) => edit::run(context, args).await?,
        Command::Rollback(args) => revisions::rollback(context, args).await?,
        Command::Promote { name } => revisions::act(context, &name, "promote").await?,
        Command::Abort { name } => revisions::act(context, &name, "abort").await?,
        Command::Rollout(args) => rollout::run(context, args).await?,
        Command::Wait(args) => until::run(context, args).await?,
        Command::Delete(args) => delete::run(context, args).await?,
        Command::Scale(args) => scale::scale(context, args).await?,
        Command::Run(args) => apply::again(context, args).await?,
        Command::Restart(args) => restart::run(context, args).await?,
        Command::Wake(args) => scale::wake(context, args).await?,
        Command::Metric(super::args::Metric::Push(args)) => scale::push(context, args).await?,
        Command::Logs(args) => stream::logs(context, args).await?,
        Command::Exec(args) => return session::exec::run(context, args).await,
        Command::PortForward(args) => session::forward::run(context, args).await?,
        Command::Cp(args) => session::copy::run(context, args).await?,
        Command::Events(args) => stream::events(context, args).await?,
        Command::Audit(args) => return audit::run(context, args).await,
        Command::Backup { file } => backup::make(context, &file).await?,
        Command::Offers(args) => offers::list(context, args).await?,
        Command::Replacement(super::args::Replacement::Report(paging)) => {
            replacement::report(context, paging).await?
        }
        Command::Top(args) => top::run(context, args).await?,
        Command::Regions(args) => regions::list(context, args).await?,
        Command::Cordon(args) => places::cordon(context, args).await?,
        Command::Uncordon(args) => places::uncordon(context, args).await?,
        Command::Drain(args) => places::drain(context, args).await?,
        Command::Assess(args) => return assess::run(context, args).await,
        Command::Decisions(args) => decisions::list(context, args).await?,
        Command::Decision(super::args::Decision::Show { id }) => {
            decisions::show(context, &id).await?
        }
        Command::Replay { id, policy } => decisions::replay(context, &id, policy).await?,
        Command::Explain(args) => decisions::explain(context, &args.name, args.rows).await?,
        Command::Plugin(args) => plugins::run(context, args).await?,
        Command::Policy(super::args::Policy::Shadow(args)) => shadows::run(context, args).await?,
        Command::Namespace(args) => namespaces::run(context, args).await?,
        Command::Token(args) => tokens::run(context, args).await?,
        Command::Whoami | Command::Auth(args::Auth::Whoami) => tokens::whoami(context).await?,
        Command::Auth(args::Auth::CanI(args)) => return auth::can_i(context, args).await,
        Command::WaitReady(args) => ready::run(context, args).await?,
        Command::Doctor
        | Command::SupportBundle(_)
        | Command::Version
        | Command::Validate(_)
        | Command::Fmt(_)
        | Command::Schema
        | Command::Login(_)
        | Command::Logout(_)
        | Command::Context(_)
        | Command::Extensions
        // `alone`, or who has the daemon's parts, has answered these.
        | Command::Dev(_)
        | Command::Init(_)
        | Command::SamplePage
        | Command::Serve(_)
        | Command::CompileComponent
        | Command::CollectOutput { .. }
        | Command::Config(_)
        | Command::Credential(_)
        | Command::Completions { .. }
        | Command::Manual { .. }
        | Command::Restore { .. }
        | Command::Simulate(_) => {}
    }
    Ok(0)
}

/// Writes the manual pages.
pub(crate) fn manual(folder: &Path) -> Result<(), Error> {
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(args::command(), folder));
    written.map_err(|source| Error::Write {
        path: folder.to_owned(),
        source,
    })
}

impl Context {
    /// The query that names the namespace of one deployment.
    fn namespace(&self) -> Vec<(&'static str, String)> {
        self.namespace
            .iter()
            .map(|n| ("namespace", n.clone()))
            .collect()
    }

    /// The same for a manifest: one that names its namespace keeps it, unless another was named on the command line, which the daemon refuses.
    fn namespace_of(&self, document: &Document) -> Vec<(&'static str, String)> {
        let named = self.globals.namespace.is_none() && document.names_namespace();
        match named {
            true => Vec::new(),
            false => self.namespace(),
        }
    }

    fn namespace_or_default(&self) -> String {
        self.namespace
            .clone()
            .unwrap_or_else(|| Namespace::default_namespace().to_string())
    }
}

/// Ties a refusal to the document that was refused.
fn about(origin: Origin) -> impl FnOnce(client::Error) -> Error {
    move |e| match e {
        client::Error::Refused(problem) => Error::File { origin, problem },
        other => other.into(),
    }
}
