//! The command line: what can be typed, the client of the API, and what is printed. It knows the API's types and where a daemon of this
//! machine leaves its address. It must not know the controller, the plugin host, the server or a cloud: commands that need a part of the
//! daemon itself are the binary's, which is asked first.
#![warn(missing_docs)]

pub mod args;
mod client;
mod commands;
mod complete;
mod connection;
mod contexts;
mod error;
mod extension;
pub mod output;
mod pasted;
mod progress;
pub mod render;
mod starting;
mod tame;

use std::{future::Future, process::ExitCode, time::Duration};

use clap::FromArgMatches;
use tradewind_config::Overrides;

pub use args::{Cli, Command, Globals};
pub use error::{Error, Local};
pub use output::Output;
pub use tame::tame;

use client::Client;
use connection::Connection;

/// What client commands work with.
struct Context {
    client: Client,
    /// The one that was named, else the context's.
    namespace: Option<String>,
    output: Output,
    /// To find the daemon again.
    globals: Globals,
}

impl Context {
    /// A client for the daemon that can be found now: one that was started anew may listen at another address.
    fn found_again(&self) -> Result<Client, Error> {
        client(&self.globals)
    }
}

/// How long an error of a daemon whose standard error is stuck may take to be printed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What becomes of a command that the binary was given first.
pub enum Step {
    /// It is done, and this is how.
    Done(ExitCode),
    /// A daemon has to be asked.
    Ask(Box<Command>),
}

/// Parses the arguments, runs the command, and prints what went wrong, once. `here` is asked first: it has the commands that need no daemon
/// but the daemon's parts.
pub fn main(here: impl FnOnce(&Globals, Command) -> Result<Step, Error>) -> ExitCode {
    complete::answer();
    let cli = match parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    pasted::remember(&cli.globals);
    match run(cli, here) {
        Ok(code) => code,
        Err(error) => {
            let code = ExitCode::from(error.exit_code());
            if error.may_be_unheard() {
                // Nobody may read what a daemon says.
                let (told, heard) = std::sync::mpsc::channel();
                std::thread::spawn(move || {
                    error.print();
                    told.send(())
                });
                let _late = heard.recv_timeout(LAST_WORDS);
            } else {
                error.print();
            }
            code
        }
    }
}

/// Prints help that was asked for, or what is wrong with the arguments.
fn misused(error: &clap::Error) -> ExitCode {
    // A reader that has gone is no error to tell anybody.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(args::USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

/// The arguments, or the end of what needs no more: a help text, a refusal, a program beside this one that has run.
fn parse() -> Result<Cli, ExitCode> {
    let parsed = args::command()
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| extension::run(&error).unwrap_or_else(|| misused(&error)))
}

fn run(
    cli: Cli,
    here: impl FnOnce(&Globals, Command) -> Result<Step, Error>,
) -> Result<ExitCode, Error> {
    let Cli { globals, command } = cli;
    let command = match here(&globals, command)? {
        Step::Done(code) => return Ok(code),
        Step::Ask(command) => *command,
    };
    let command = match commands::alone(&globals, command)? {
        Step::Done(code) => return Ok(code),
        Step::Ask(command) => *command,
    };
    block_on(async {
        // It waits by its own rules.
        if !matches!(command, Command::WaitReady(_)) {
            starting::passed(&globals).await?;
        }
        let connection = Connection::find(&globals)?;
        let context = Context {
            client: connection.client()?,
            namespace: match globals.all_namespaces {
                true => None,
                false => globals
                    .namespace
                    .clone()
                    .or_else(|| connection.namespace.clone()),
            },
            output: Output::new(&globals),
            globals,
        };
        let code = commands::run(&context, command).await;
        code.map(ExitCode::from).map_err(|e| connection.explain(e))
    })?
}

/// # Errors
/// `Runtime`, when nothing can be run at all.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    Ok(runtime.block_on(work))
}

/// The daemon that was named, else the one that left its address in the data folder, else one at the configured address.
fn client(globals: &Globals) -> Result<Client, Error> {
    Connection::find(globals)?.client()
}

/// The settings that the arguments give.
pub fn overrides(globals: &Globals, serve: Option<&args::Serve>) -> Overrides {
    Overrides {
        config: globals.config.clone(),
        data: globals.data.clone(),
        listen: serve.and_then(|s| s.listen.clone()),
        plugins: serve.and_then(|s| s.plugins.clone()),
        moved: serve.is_some_and(|s| s.moved),
        is_daemon: serve.is_some(),
    }
}
