//! Commands that need no daemon, but its parts: the daemon itself, what it would use on this machine, and an author's tools.

mod author;
mod config;
mod conformance;
mod credentials;
mod dev;
mod error;
mod init;
mod render;
mod restore;
mod sample;
mod simulate;
mod tokens;

use std::process::ExitCode;

use tradewind_cli::{Command, Globals, Step, args, overrides};

pub use error::Error;

/// The command of processes that compile for another one of this program.
pub const COMPILE: &str = "compile-component";

/// # Errors
/// Whatever keeps a command from doing what was asked.
pub fn run(globals: &Globals, command: Command) -> Result<Step, tradewind_cli::Error> {
    Ok(step(globals, command)?)
}

fn step(globals: &Globals, command: Command) -> Result<Step, Error> {
    let done = |()| Step::Done(ExitCode::SUCCESS);
    match command {
        Command::Serve(args) => {
            let served = crate::serve::run(&overrides(globals, Some(&args)));
            served.map(done).map_err(|e| Error::Serve(Box::new(e)))
        }
        Command::Dev(args) => dev::run(globals, &args).map(done),
        Command::Init(args) => init::run(globals, &args.folder).map(done),
        Command::SamplePage => sample::run().map(done),
        Command::CompileComponent => Ok(Step::Done(tradewind_wasm::compile_child())),
        Command::CollectOutput { folder } => {
            // Nobody reads what it says: the daemon sees that it has ended.
            let collected = tradewind_cloud::process::collect_output(&folder);
            Ok(Step::Done(if collected.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }))
        }
        Command::Config(args) => config::run(globals, args).map(done),
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
            restore::restore(globals, file.as_deref(), choices, yes).map(done)
        }
        Command::Credential(args) => credentials::run(globals, args).map(done),
        Command::Token(args::Token::ResetAdmin) => tokens::reset(globals).map(done),
        Command::Simulate(args) => simulate::run(globals, args).map(done),
        Command::Plugin(args) => Ok(match author::run(globals, args)? {
            author::Next::Done => Step::Done(ExitCode::SUCCESS),
            author::Next::Failed => Step::Done(ExitCode::FAILURE),
            author::Next::Ask(args) => Step::Ask(Box::new(Command::Plugin(args))),
        }),
        other => Ok(Step::Ask(Box::new(other))),
    }
}
