//! One file per command, or per family of small ones. Each asks the API and prints the answer.

pub(crate) mod apply;
mod assess;
pub(crate) mod audit;
pub(crate) mod backup;
mod canary;
mod decisions;
mod delete;
mod deployments;
mod files;
mod lists;
mod namespaces;
mod offers;
mod plan;
mod plans;
mod plugins;
mod ready;
mod regions;
mod replacement;
mod revisions;
mod scale;
mod shadows;
mod stream;
pub(crate) mod tokens;
mod wait;

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::CommandFactory;
use tradewind_core::names::Namespace;

pub(crate) use deployments::Description;

use super::{Cli, Context, Error, args::Command};
use crate::client::{self, Document};

/// Runs a client command.
///
/// # Errors
/// Whatever keeps it from doing what was asked. The number is the exit code.
pub(crate) async fn run(context: &Context, command: Command) -> Result<u8, Error> {
    match command {
        Command::Apply(args) => apply::run(context, args).await?,
        Command::Plan(args) => return plan::run(context, args).await,
        Command::Plans(args) => plans::list(context, args).await?,
        Command::Get { name: None, list } => deployments::list(context, list).await?,
        Command::Get {
            name: Some(name), ..
        } => deployments::get(context, &name).await?,
        Command::Describe { name } => deployments::describe(context, &name).await?,
        Command::Revisions { name, list } => revisions::list(context, &name, list).await?,
        Command::Diff { name, from, to } => revisions::diff(context, &name, from, to).await?,
        Command::Rollback(args) => revisions::rollback(context, args).await?,
        Command::Promote { name } => revisions::act(context, &name, "promote").await?,
        Command::Abort { name } => revisions::act(context, &name, "abort").await?,
        Command::Rollout(super::args::Rollout::Status { name }) => {
            revisions::status(context, &name).await?
        }
        Command::Delete(args) => delete::run(context, args).await?,
        Command::Scale(args) => scale::scale(context, args).await?,
        Command::Run(args) => apply::again(context, args).await?,
        Command::Wake(args) => scale::wake(context, args).await?,
        Command::Metric(super::args::Metric::Push(args)) => scale::push(context, args).await?,
        Command::Logs(args) => stream::logs(context, args).await?,
        Command::Events(args) => stream::events(context, args).await?,
        Command::Audit(args) => return audit::run(context, args).await,
        Command::Backup { file } => backup::make(context, &file).await?,
        Command::Offers(args) => offers::list(context, args).await?,
        Command::Replacement(super::args::Replacement::Report(paging)) => {
            replacement::report(context, paging).await?
        }
        Command::Regions(args) => regions::list(context, args).await?,
        Command::Assess(args) => assess::run(context, args).await?,
        Command::Decisions(args) => decisions::list(context, args).await?,
        Command::Decision(super::args::Decision::Show { id }) => {
            decisions::show(context, &id).await?
        }
        Command::Replay { id, policy } => decisions::replay(context, &id, policy).await?,
        Command::Explain { name, rows } => decisions::explain(context, &name, rows).await?,
        Command::Plugin(args) => plugins::run(context, args).await?,
        Command::Policy(super::args::Policy::Shadow(args)) => shadows::run(context, args).await?,
        Command::Namespace(args) => namespaces::run(context, args).await?,
        Command::Token(args) => tokens::run(context, args).await?,
        Command::Whoami => tokens::whoami(context).await?,
        Command::WaitReady(args) => ready::run(context, args).await?,
        Command::Schema => {
            let schema: serde_json::Value = context
                .client
                .get(&["v1", "schema", "manifest"], &[])
                .await?;
            context
                .output
                .text(
                    &serde_json::to_string_pretty(&schema).map_err(|e| Error::Encode {
                        form: "JSON",
                        source: e.into(),
                    })?,
                )?;
        }
        // Who has the daemon's parts has answered these: they need no daemon.
        Command::Serve(_)
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

/// Prints a completion script.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tradewind", &mut script);
    io::Write::write_all(&mut io::stdout().lock(), &script)?;
    Ok(())
}

/// Writes the manual pages.
pub(crate) fn manual(folder: &Path) -> Result<(), Error> {
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
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

    fn namespace_or_default(&self) -> String {
        self.namespace
            .clone()
            .unwrap_or_else(|| Namespace::default_namespace().to_string())
    }
}

fn read_one(file: &Path) -> Result<Document, Error> {
    let failed = |source| Error::Read {
        path: file.to_owned(),
        source,
    };
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map_err(failed)?;
        bytes
    } else {
        std::fs::read(file).map_err(failed)?
    };
    Ok(Document {
        file: file.to_owned(),
        bytes: bytes.into(),
    })
}

/// Ties a refusal to the file that was refused.
fn about(file: PathBuf) -> impl FnOnce(client::Error) -> Error {
    move |e| match e {
        client::Error::Refused(problem) => Error::File { file, problem },
        other => other.into(),
    }
}
