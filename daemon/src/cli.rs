//! The command line: what can be typed, and which command answers. Except for `serve`, `config`, `credential`, `simulate` and the authoring commands, everything
//! is a client of the HTTP API and of nothing else.

mod args;
mod commands;
mod connection;
mod error;
mod output;
mod progress;
mod render;
mod tame;

use std::{process::ExitCode, time::Duration};

use clap::Parser;

pub use args::Cli;
pub use error::Error;

use crate::client::Client;
use args::{Audit, Command, Globals};
use connection::Connection;
use output::Output;
use tradewind_config::Overrides;

/// What client commands work with.
struct Context {
    client: Client,
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

/// The command of processes that compile for another one of this program.
pub const COMPILE: &str = "compile-component";

/// How long an error of a daemon whose standard error is stuck may take to be printed.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Parses the arguments, runs the command, and prints what went wrong, once.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            let code = ExitCode::from(error.exit_code());
            if matches!(error, Error::Serve(_)) {
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

fn run(cli: Cli) -> Result<ExitCode, Error> {
    let Cli { globals, command } = cli;
    let command = match command {
        Command::Serve(args) => {
            let served = crate::serve::run(&overrides(&globals, Some(&args)));
            return served
                .map(|()| ExitCode::SUCCESS)
                .map_err(|e| Error::Serve(Box::new(e)));
        }
        Command::CompileComponent => return Ok(tradewind_wasm::compile_child()),
        Command::CollectOutput { folder } => {
            // Nobody reads what it says: the daemon sees that it has ended.
            let collected = tradewind_cloud::process::collect_output(&folder);
            return Ok(if collected.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
        Command::Config(args) => {
            return commands::config::run(&globals, args).map(|()| ExitCode::SUCCESS);
        }
        Command::Restore {
            file,
            force: replace,
            confirm: confirmed,
            yes,
            expect,
            keep_tokens,
        } => {
            let choices = tradewind_backup::Choices {
                replace,
                confirmed,
                keep_tokens,
                expect,
            };
            return commands::backup::restore(&globals, file.as_deref(), choices, yes)
                .map(|()| ExitCode::SUCCESS);
        }
        Command::Audit(Audit::Verify {
            file: Some(file),
            expect,
        }) => {
            return commands::audit::verify_file(&Output::new(globals.output), &file, expect)
                .map(ExitCode::from);
        }
        Command::Credential(args) => {
            return commands::credentials::run(&globals, args).map(|()| ExitCode::SUCCESS);
        }
        Command::Token(args::Token::ResetAdmin) => {
            return commands::tokens::reset(&globals).map(|()| ExitCode::SUCCESS);
        }
        Command::Completions { shell } => {
            return commands::completions(shell).map(|()| ExitCode::SUCCESS);
        }
        Command::Simulate(args) => {
            return commands::simulate::run(&globals, args).map(|()| ExitCode::SUCCESS);
        }
        Command::Plugin(args) => match commands::author::run(&globals, args)? {
            commands::author::Next::Done => return Ok(ExitCode::SUCCESS),
            commands::author::Next::Failed => return Ok(ExitCode::FAILURE),
            commands::author::Next::Ask(args) => Command::Plugin(args),
        },
        other => other,
    };
    let output = Output::new(globals.output);
    let context = Context {
        client: client(&globals)?,
        namespace: globals.namespace.clone(),
        output,
        globals,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let code = runtime.block_on(commands::run(&context, command))?;
    Ok(ExitCode::from(code))
}

/// The daemon that was named, else the one that left its address in the data folder, else one at the configured address.
fn client(globals: &Globals) -> Result<Client, Error> {
    let connection = Connection::find(globals)?;
    Ok(Client::new(
        &connection.server,
        connection.token.as_ref(),
        &connection.trust,
    )?)
}

fn overrides(globals: &Globals, serve: Option<&args::Serve>) -> Overrides {
    Overrides {
        config: globals.config.clone(),
        data: globals.data.clone(),
        listen: serve.and_then(|s| s.listen.clone()),
        plugins: serve.and_then(|s| s.plugins.clone()),
        moved: serve.is_some_and(|s| s.moved),
        is_daemon: serve.is_some(),
    }
}

/// A variable of the environment; an empty one counts as absent.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}
