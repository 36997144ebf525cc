//! Commands that need no daemon, or make do without one.

use std::process::ExitCode;

use tradewind_core::manifest;

use super::{bundle, context, doctor, field, fmt, login, manual, validate, version};
use crate::{
    Error, Globals, Output, Step,
    args::{Audit, Command},
    block_on, complete, extension,
};

/// Runs what needs no daemon, and hands the rest back.
///
/// # Errors
/// Whatever keeps a command from doing what was asked.
pub(crate) fn run(globals: &Globals, command: Command) -> Result<Step, Error> {
    let output = Output::new(globals);
    match command {
        Command::Audit(Audit::Verify {
            file: Some(file),
            expect,
        }) => {
            return super::audit::verify_file(&output, &file, expect)
                .map(|code| Step::Done(ExitCode::from(code)));
        }
        Command::Completions { shell } => complete::script(shell)?,
        Command::Manual { folder } => manual(&folder)?,
        Command::Extensions => extension::list(&output)?,
        Command::Login(args) => block_on(login::run(globals, args))??,
        Command::Logout(args) => context::logout(globals, args)?,
        Command::Context(command) => context::run(globals, command)?,
        Command::Validate(args) => block_on(validate::run(globals, &args))??,
        Command::Fmt(args) => {
            let code = fmt::run(&output, &args)?;
            return Ok(Step::Done(ExitCode::from(code)));
        }
        Command::Version => block_on(version::run(globals))??,
        Command::Schema => output.json(&manifest::json_schema())?,
        Command::Explain(args) if !args.deployment && field::is_field(&args.name) => {
            field::run(&output, &args.name)?
        }
        Command::Doctor => {
            let code = block_on(doctor::run(globals))??;
            return Ok(Step::Done(ExitCode::from(code)));
        }
        Command::SupportBundle(args) => block_on(bundle::run(globals, &args))??,
        other => return Ok(Step::Ask(Box::new(other))),
    }
    Ok(Step::Done(ExitCode::SUCCESS))
}
