//! `restore`: puts a backup back where no daemon runs.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
};

use tradewind_cli::{Globals, Output, overrides, tame};
use tradewind_config::{ADMIN_FILE, Effective, environment};

use super::Error;
use crate::{owner, serve};

/// Shows what a backup would bring into force, asks, and puts it back. Without a file: only says that the daemon which made the restored backup
/// has ended.
pub fn restore(
    globals: &Globals,
    file: Option<&Path>,
    choices: tradewind_backup::Choices,
    yes: bool,
) -> Result<(), Error> {
    let config = Effective::load(&overrides(globals, None), environment)?.config;
    owner::check(&config.data)?;
    let folders = serve::folders(&config);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(tradewind_cli::Error::Runtime)?;
    let failed = |e| Error::Backup(Box::new(e));
    let output = Output::new(globals);
    let Some(file) = file else {
        let confirmed = runtime
            .block_on(tradewind_backup::confirm(&folders))
            .map_err(failed)?;
        let value = serde_json::json!({ "data": folders.data, "ended": confirmed });
        return Ok(output.show(&value, |_| match confirmed {
            Some(origin) => format!(
                "the daemon of {origin} has ended for good: `tradewind serve` adopts what runs"
            ),
            None => "that was said before: `tradewind serve` adopts what runs".to_owned(),
        })?);
    };
    let prepared = runtime
        .block_on(tradewind_backup::prepare(file, &folders, choices))
        .map_err(failed)?;
    if !yes {
        ask(prepared.report())?;
    }
    let report = prepared.put_in_place().map_err(failed)?;
    Ok(output.show(&report, |_| {
        let mut text = if yes { powers(&report) } else { String::new() };
        text.push_str(&format!("the state of {} is in \"{}\"", report.created_at, report.data.display()));
        for kept in &report.kept {
            text.push_str(&format!("\n{kept} was there already and stays as it is"));
        }
        if !report.data.join(ADMIN_FILE).exists() {
            text.push_str("\nthe administrator's token is in no backup: `tradewind token reset-admin` makes a new one");
        }
        if let Some(aside) = &report.aside {
            text.push_str(&format!("\nwhat was there before is in \"{}\"", aside.display()));
        }
        text.push_str(&match &report.beside {
            Some(origin) => format!(
                "\nit was made by the daemon of {}. Once that has ended for good: `tradewind restore --confirm`, then `tradewind serve` \
                 adopts what runs",
                tradewind_backup::shown(origin)
            ),
            None => "\n`tradewind serve` adopts what runs".to_owned(),
        });
        text
    })?)
}

/// Shows on the error output what would come into force, and lets somebody at a terminal decide.
fn ask(report: &tradewind_backup::Report) -> Result<(), Error> {
    let mut out = io::stderr();
    let shown = write!(out, "{}", powers(report));
    if !io::stdin().is_terminal() {
        return Err(Error::Unasked);
    }
    let asked = shown
        .and_then(|()| {
            write!(
                out,
                "put it back into \"{}\"? [y/N] ",
                report.data.display()
            )
        })
        .and_then(|()| out.flush());
    let mut answer = String::new();
    asked
        .and_then(|()| io::stdin().read_line(&mut answer))
        .map_err(Error::Answer)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Error::Declined)
    }
}

/// Who may do what once the backup is in force, line by line.
fn powers(report: &tradewind_backup::Report) -> String {
    let mut text = format!(
        "the backup of {}, made by version {}, {}\n",
        report.created_at, report.version, report.digest
    );
    if let Some(error) = &report.unreadable {
        text.push_str(&format!(
            "  the state that is there can't be read, so what it has revoked is not known: {}\n",
            tame(error)
        ));
    }
    for token in &report.tokens {
        let end = token
            .expires_at
            .map_or_else(String::new, |at| format!(", until {at}"));
        text.push_str(&format!(
            "  token \"{}\": {} of {}{end}\n",
            token.name, token.role, token.namespaces
        ));
    }
    if !report.ended_tokens.is_empty() {
        let names: Vec<_> = report
            .ended_tokens
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect();
        text.push_str(&format!("  tokens that end: {}\n", names.join(", ")));
    }
    for instance in &report.instances {
        let granted = if instance.grants.is_empty() {
            " is granted nothing"
        } else {
            " is granted:"
        };
        text.push_str(&format!("  {}{granted}\n", tame(&instance.file)));
        for line in &instance.grants {
            text.push_str(&format!("    {}\n", tame(line)));
        }
    }
    text
}
