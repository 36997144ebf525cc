//! The command line: what can be typed, the client of the API, and what is printed. It knows the API's types and where a daemon of this
//! machine leaves its address. It must not know the controller, the plugin host, the server or a cloud: commands that need a part of the
//! daemon itself are the binary's, which is asked first.
#![warn(missing_docs)]

pub mod args;
mod client;
mod commands;
mod connection;
mod error;
pub mod output;
mod progress;
pub mod render;
mod tame;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use tradewind_config::Overrides;

pub use args::{Cli, Command, Globals};
pub use error::{Error, Local};
pub use output::Output;
pub use tame::tame;

use args::Audit;
use client::Client;
use connection::Connection;

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
    let cli = Cli::parse();
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

fn run(
    cli: Cli,
    here: impl FnOnce(&Globals, Command) -> Result<Step, Error>,
) -> Result<ExitCode, Error> {
    let Cli { globals, command } = cli;
    let command = match command {
        Command::Audit(Audit::Verify {
            file: Some(file),
            expect,
        }) => {
            return commands::audit::verify_file(&Output::new(globals.output), &file, expect)
                .map(ExitCode::from);
        }
        Command::Completions { shell } => {
            return commands::completions(shell).map(|()| ExitCode::SUCCESS);
        }
        Command::Manual { folder } => {
            return commands::manual(&folder).map(|()| ExitCode::SUCCESS);
        }
        other => match here(&globals, other)? {
            Step::Done(code) => return Ok(code),
            Step::Ask(command) => *command,
        },
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
