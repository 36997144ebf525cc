//! Programs that add commands: `tradewind foo` runs `tradewind-foo` from the search path, where there is no command `foo`.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use clap::{
    CommandFactory, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use serde::Serialize;

use crate::{Cli, Error, Globals, Output, args, output::Mood};

const PREFIX: &str = "tradewind-";

/// Runs the program for a command that is not known. None: it is not one of ours, or there is no such program.
pub(crate) fn run(error: &clap::Error) -> Option<ExitCode> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let at = command_at(&arguments)?;
    let (before, rest) = arguments.split_at_checked(at)?;
    if rest.first().and_then(|word| word.to_str()) != Some(name) {
        return None;
    }
    let program = find(name, env::var_os("PATH").as_deref())?;
    let line = std::iter::once(OsString::from("tradewind"))
        .chain(before.iter().cloned())
        .chain([OsString::from("whoami")]);
    let globals = Cli::try_parse_from(line).ok()?.globals;
    let mut command = Command::new(&program);
    command.args(rest.get(1..).unwrap_or_default());
    hand_on(&globals, &mut command);
    // It returns only when it fails.
    let error = command.exec();
    eprintln!("error: \"{}\" can't be run: {error}", program.display());
    Some(ExitCode::FAILURE)
}

/// Which daemon is meant, as variables: the flags came before the program's own arguments.
fn hand_on(globals: &Globals, command: &mut Command) {
    if let Ok(own) = env::current_exe() {
        command.env("TRADEWIND_BIN", own);
    }
    if let Some(context) = &globals.context {
        // The server of a variable would count before it.
        command
            .env("TRADEWIND_CONTEXT", context)
            .env_remove("TRADEWIND_SERVER");
    }
    let texts = [
        (
            "TRADEWIND_SERVER",
            globals.server.clone().filter(|_| globals.context.is_none()),
        ),
        ("TRADEWIND_NAMESPACE", globals.namespace.clone()),
        (
            "TRADEWIND_FINGERPRINT",
            globals.fingerprint.map(|digest| digest.to_string()),
        ),
    ];
    for (variable, value) in texts {
        if let Some(value) = value {
            command.env(variable, value);
        }
    }
    for (variable, value) in [
        ("TRADEWIND_CA", &globals.ca),
        ("TRADEWIND_CONFIG", &globals.config),
        ("TRADEWIND_DATA", &globals.data),
    ] {
        if let Some(value) = value {
            command.env(variable, value);
        }
    }
}

/// Where the command stands among the arguments: behind the options and their values.
fn command_at(arguments: &[OsString]) -> Option<usize> {
    let definition = Cli::command();
    let takes_value = |option: &str| {
        definition.get_arguments().any(|arg| {
            let long = arg
                .get_long()
                .is_some_and(|long| option == format!("--{long}"));
            let short = arg
                .get_short()
                .is_some_and(|short| option == format!("-{short}"));
            (long || short) && arg.get_action().takes_values()
        })
    };
    let mut at = 0;
    while let Some(word) = arguments.get(at) {
        let word = word.to_str()?;
        if !word.starts_with('-') {
            return Some(at);
        }
        at += if takes_value(word) { 2 } else { 1 };
    }
    None
}

/// Folders without a leading slash depend on where the command is typed: they are left out.
fn folders(path: Option<&OsStr>) -> Vec<PathBuf> {
    let all = path.map(|path| env::split_paths(path).collect::<Vec<_>>());
    all.unwrap_or_default()
        .into_iter()
        .filter(|folder| folder.is_absolute())
        .collect()
}

fn find(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    if !is_name(name) {
        return None;
    }
    folders(path)
        .into_iter()
        .map(|folder| folder.join(format!("{PREFIX}{name}")))
        .find(|program| is_program(program))
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && !name.starts_with('-') && name.chars().all(good)
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Extension {
    name: String,
    path: PathBuf,
    /// A command of ours has its name: it never runs.
    hidden: bool,
}

/// The first of each name, as they would be run.
fn all(path: Option<&OsStr>) -> Vec<Extension> {
    let own = args::command();
    let mut found = BTreeMap::new();
    for folder in folders(path) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            let path = entry.path();
            if let Some(name) = name.filter(|name| is_name(name) && is_program(&path)) {
                found.entry(name.to_owned()).or_insert(path);
            }
        }
    }
    found
        .into_iter()
        .map(|(name, path)| Extension {
            hidden: own.find_subcommand(&name).is_some(),
            name,
            path,
        })
        .collect()
}

/// `extensions`.
pub(crate) fn list(output: &Output) -> Result<(), Error> {
    let all = all(env::var_os("PATH").as_deref());
    output.show(&all, |out| {
        if all.is_empty() {
            return "no programs named tradewind-… are in the search path".to_owned();
        }
        let rows = all.iter().map(|one| {
            let note = if one.hidden {
                "never runs: it has the name of a command"
            } else {
                ""
            };
            [
                out.cell(&one.name, Mood::Plain),
                out.cell(one.path.display(), Mood::Plain),
                out.cell(note, Mood::Bad),
            ]
        });
        out.table(["NAME", "PROGRAM", ""], rows)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_command_is_found_behind_the_options() {
        for (line, at) in [
            ("foo --bar", Some(0)),
            ("-n team foo", Some(2)),
            ("--data=/d -A foo x", Some(2)),
            ("--context prod -o json foo", Some(4)),
            ("-n team", None),
        ] {
            assert_eq!(command_at(&words(line)), at, "{line}");
        }
    }

    #[test]
    fn programs_come_from_the_search_path_alone() {
        let folder = tempfile::tempdir().unwrap();
        let program = |name: &str, mode: u32| {
            let path = folder.path().join(name);
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let foo = program("tradewind-foo", 0o755);
        program("tradewind-plain", 0o644);
        program("tradewind-plugin", 0o755);
        let path = env::join_paths([Path::new("."), folder.path(), Path::new("")]).unwrap();
        assert_eq!(find("foo", Some(&path)), Some(foo.clone()));
        assert_eq!(find("plain", Some(&path)), None);
        assert_eq!(find("../foo", Some(&path)), None);
        assert_eq!(find("foo", Some(OsStr::new("."))), None);
        let listed = all(Some(&path));
        let listed: Vec<_> = listed.iter().map(|e| (e.name.as_str(), e.hidden)).collect();
        assert_eq!(listed, [("foo", false), ("plugin", true)]);
    }
}
