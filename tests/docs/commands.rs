//! Command lines: they are what the command line accepts, and targets of make are there.

use std::path::Path;

use clap::{
    CommandFactory,
    builder::StringValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use tradewind_cli::Cli;
use tradewind_kit::pages;

use crate::{at, blocks, every_page, none, shell};

/// A script of a page.
pub(crate) fn script(text: &str) -> Result<(), String> {
    let script = shell::read(text);
    for command in &script.commands {
        check(command, Extent::Whole)?;
    }
    for (end, text) in &script.documents {
        match end.as_str() {
            "YAML" => blocks::manifest(text)?,
            "TOML" => blocks::instance(text)?,
            end => return Err(format!("a here-document ends with YAML or TOML, not {end}")),
        }
    }
    Ok(())
}

/// Commands behind `$ `, each with its output below it.
pub(crate) fn session(text: &str) -> Result<(), String> {
    let mut commands = String::new();
    let mut goes_on = false;
    for line in text.lines() {
        let command = line.strip_prefix("$ ").or(goes_on.then_some(line));
        goes_on = command.is_some_and(|c| c.ends_with('\\'));
        if let Some(command) = command {
            commands.push_str(command);
            commands.push('\n');
        }
    }
    if commands.is_empty() {
        return Err("no line begins with \"$ \": say \"text\"".to_owned());
    }
    script(&commands)
}

/// How much of a command line is written.
#[derive(Clone, Copy, PartialEq)]
enum Extent {
    Whole,
    /// In a sentence, what does not matter there may be left out.
    Part,
}

fn check(command: &[String], extent: Extent) -> Result<(), String> {
    let program = command.first().map_or("", String::as_str);
    match Path::new(program)
        .file_name()
        .and_then(|name| name.to_str())
    {
        Some("tradewind") => tradewind(command, extent),
        Some("make") => make(&command[1..]),
        _ => Ok(()),
    }
}

fn tradewind(command: &[String], extent: Extent) -> Result<(), String> {
    let Err(error) = Cli::command().try_get_matches_from(command) else {
        return Ok(());
    };
    let open = |kind| matches!(error.get(kind), Some(ContextValue::String(v)) if is_open(v));
    let failed = |error: clap::Error| {
        let text = error.to_string();
        let problem = text.split("\n\n").next().unwrap_or_default();
        let problem: Vec<&str> = problem.split_whitespace().collect();
        Err(format!("`{}`: {}", command.join(" "), problem.join(" ")))
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(()),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue if open(ContextKind::InvalidValue) => {
            any_values(Cli::command())
                .try_get_matches_from(command)
                .map(drop)
                .or_else(failed)
        }
        ErrorKind::InvalidSubcommand if open(ContextKind::InvalidSubcommand) => Ok(()),
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            if extent == Extent::Part =>
        {
            Ok(())
        }
        _ => failed(error),
    }
}

/// Whether a value is the reader's to fill in: a word in capitals, one with an ellipsis, or one that the shell expands.
fn is_open(value: &str) -> bool {
    let stem = value.split('.').next().unwrap_or_default();
    let capitals = stem.contains(|c: char| c.is_ascii_uppercase())
        && !stem.contains(|c: char| c.is_ascii_lowercase());
    capitals || value.contains(['…', '$'])
}

/// The same command with values of any kind.
fn any_values(command: clap::Command) -> clap::Command {
    let any = |arg: clap::Arg| match arg.get_action().takes_values() {
        true => arg.value_parser(StringValueParser::new()),
        false => arg,
    };
    command.mut_args(any).mut_subcommands(any_values)
}

fn make(arguments: &[String]) -> Result<(), String> {
    let makefile = std::fs::read_to_string(pages::root().join("Makefile")).unwrap();
    let targets = arguments
        .iter()
        .filter(|a| !a.starts_with('-') && !a.contains('='));
    for target in targets {
        if !makefile
            .lines()
            .any(|line| line.starts_with(&format!("{target}:")))
        {
            return Err(format!("the Makefile has no target \"{target}\""));
        }
    }
    Ok(())
}

#[test]
fn commands_in_sentences_exist() {
    let pages = every_page();
    let found: Vec<String> = pages
        .iter()
        .flat_map(|page| page.code().into_iter().map(move |code| (page, code)))
        .filter_map(|(page, code)| {
            let commands = shell::read(&code.text).commands;
            let problem = commands.iter().find_map(|c| check(c, Extent::Part).err());
            Some(at(page, code.line, problem?))
        })
        .collect();
    none("commands that do not exist", &found);
}

#[test]
fn only_what_is_open_may_be_anything() {
    for good in [
        "tradewind get NAME -o json",
        "tradewind token create ci --role ROLE --expires 30d",
        "tradewind --fingerprint sha256:b013… whoami",
        "tradewind help COMMAND",
        "TRADEWIND_DATA=/x target/debug/tradewind scale shop web --replicas $N",
        "make plugins && tradewind --version",
    ] {
        assert_eq!(script(good), Ok(()), "{good}");
    }
    for (bad, part) in [
        ("tradewind token create ci --role boss", "boss"),
        (
            "tradewind token create ci --role ROLE --expire 30d",
            "--expire",
        ),
        ("tradewind scale shop web --replicas many", "many"),
        ("tradewind scale shop web", "--replicas"),
        ("kill $(tradewind descibe hello)", "descibe"),
        ("make plugin", "plugin"),
        ("cat <<'YAML'\nkind: a\nYAML\n", "apiVersion"),
        ("cat <<'EOF'\nEOF\n", "EOF"),
    ] {
        let problem = script(bad).unwrap_err();
        assert!(problem.contains(part), "{bad}: {problem}");
    }
}
