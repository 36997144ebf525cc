//! Completion on the command line: the shell asks this program, which knows its own words, and asks the daemon for names. It is quick or
//! silent: without a daemon there are no names, and nothing is said of it.

use std::{
    ffi::OsString,
    io::{self, Write},
    time::Duration,
};

use clap::{Command, Parser};
use clap_complete::{
    CompleteEnv, Shell,
    engine::{ArgValueCandidates, CompletionCandidate},
    env::Shells,
};
use serde_json::Value;

use crate::{
    Cli, Error, Globals, args, block_on,
    connection::Connection,
    contexts::{LOCAL, Shelf},
};

/// Set by the script that `completions` prints.
const VARIABLE: &str = "TRADEWIND_COMPLETE";
/// As long as somebody who pressed a key waits.
const PATIENCE: Duration = Duration::from_millis(800);

/// What a word names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Deployment,
    Namespace,
    Plan,
    Plugin,
    Token,
    Place,
    Context,
}

/// Answers a shell that asks, and ends.
pub(crate) fn answer() {
    if std::env::var_os(VARIABLE).is_none_or(|value| value.is_empty()) {
        return;
    }
    let folder = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(|| attach(args::command(), &[]))
        .var(VARIABLE)
        .bin("tradewind")
        .completer("tradewind")
        .try_complete(std::env::args_os(), folder.as_deref());
    // A word that can't be completed is no error to tell anybody.
    if asked.unwrap_or(true) {
        std::process::exit(0);
    }
}

/// Prints the script for a shell.
pub(crate) fn script(shell: Shell) -> Result<(), Error> {
    let shells = Shells::builtins();
    let mut script = Vec::new();
    if let Some(completer) = shells.completer(&shell.to_string()) {
        completer.write_registration(
            VARIABLE,
            "tradewind",
            "tradewind",
            "tradewind",
            &mut script,
        )?;
    }
    io::stdout().lock().write_all(&script)?;
    Ok(())
}

/// The command with names at its arguments.
fn attach(command: Command, path: &[String]) -> Command {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let command = command.mut_args(|arg| match kind(&words, arg.get_id().as_str()) {
        Some(kind) => arg.add(ArgValueCandidates::new(move || names(kind))),
        None => arg,
    });
    command.mut_subcommands(|inner| {
        let path = [path, &[inner.get_name().to_owned()]].concat();
        attach(inner, &path)
    })
}

/// What the argument `id` of a command names.
fn kind(path: &[&str], id: &str) -> Option<Kind> {
    Some(match (path, id) {
        ([], "context") | (["context", ..], "name" | "from") | (["logout"], "name") => {
            Kind::Context
        }
        ([], "namespace")
        | (["namespace", "show" | "delete"], "name")
        | (["context", "set-namespace"], "value")
        | (["token", "create"], "reach") => Kind::Namespace,
        (["plan", ..], "id" | "from" | "to") | (["apply"], "plan") => Kind::Plan,
        (["plugin", "inspect"], "what") | (["plugin", "rollback" | "canary", ..], "name") => {
            Kind::Plugin
        }
        (["token", "revoke"], "name") => Kind::Token,
        (["cordon" | "uncordon" | "drain"], "place") => Kind::Place,
        (
            [
                "login" | "token" | "credential" | "namespace" | "plugin" | "policy",
                ..,
            ],
            _,
        ) => return None,
        ([_, ..], "name" | "names" | "deployment") => Kind::Deployment,
        _ => return None,
    })
}

fn names(kind: Kind) -> Vec<CompletionCandidate> {
    let found = match kind {
        Kind::Context => Shelf::of_user()
            .and_then(|shelf| shelf.read().ok())
            .map(|contexts| {
                let mut names: Vec<String> = contexts.contexts.into_keys().collect();
                names.push(LOCAL.to_owned());
                names
            }),
        _ => globals(std::env::args_os().collect()).and_then(|globals| ask(&globals, kind)),
    };
    found
        .unwrap_or_default()
        .into_iter()
        .map(CompletionCandidate::new)
        .collect()
}

/// The options that name the daemon, out of a line that is not finished.
fn globals(line: Vec<OsString>) -> Option<Globals> {
    const OPTIONS: [(&str, &str); 8] = [
        ("--server", ""),
        ("--context", ""),
        ("--fingerprint", ""),
        ("--ca", ""),
        ("--token-file", ""),
        ("--config", ""),
        ("--data", ""),
        ("--namespace", "-n"),
    ];
    // What the shell hands over comes behind the first "--".
    let typed = line.into_iter().skip_while(|word| word != "--").skip(2);
    let typed: Vec<String> = typed.filter_map(|word| word.into_string().ok()).collect();
    let mut kept = vec!["tradewind".to_owned()];
    let mut words = typed.into_iter().peekable();
    while let Some(word) = words.next() {
        let whole = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        if !OPTIONS
            .iter()
            .any(|(long, short)| whole == *long || word == *short)
        {
            continue;
        }
        let has_value = whole.len() < word.len();
        match words.next_if(|value| !has_value && !value.is_empty()) {
            Some(value) => kept.extend([word, value]),
            None if has_value => kept.push(word),
            None => {}
        }
    }
    kept.push("whoami".to_owned());
    Cli::try_parse_from(kept).ok().map(|cli| cli.globals)
}

fn ask(globals: &Globals, kind: Kind) -> Option<Vec<String>> {
    let connection = Connection::find(globals).ok()?;
    let client = connection.client().ok()?;
    let namespace = globals.namespace.clone().or(connection.namespace);
    let (path, key): (&[&str], &str) = match kind {
        Kind::Deployment => (&["v1", "deployments"], "name"),
        Kind::Namespace => (&["v1", "namespaces"], "name"),
        Kind::Plan => (&["v1", "plans"], "id"),
        Kind::Plugin => (&["v1", "plugins"], "instance"),
        Kind::Token => (&["v1", "tokens"], "name"),
        Kind::Place => (&["v1", "regions"], "provider"),
        Kind::Context => return None,
    };
    let query: Vec<(&str, String)> = match kind {
        Kind::Deployment | Kind::Plan => {
            vec![(
                "namespace",
                namespace.unwrap_or_else(|| "default".to_owned()),
            )]
        }
        _ => Vec::new(),
    };
    let answer: Value =
        block_on(async { tokio::time::timeout(PATIENCE, client.get(path, &query)).await })
            .ok()?
            .ok()?
            .ok()?;
    if kind == Kind::Place {
        return Some(places(&answer));
    }
    Some(listed(&answer, key))
}

/// Every provider, and every region of one.
fn places(regions: &Value) -> Vec<String> {
    let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
    let items = regions.get("items").and_then(Value::as_array);
    let mut names = std::collections::BTreeSet::new();
    for item in items.into_iter().flatten() {
        let (Some(provider), Some(region)) = (text(item, "provider"), text(item, "region")) else {
            continue;
        };
        if !region.is_empty() {
            names.insert(format!("{provider}/{region}"));
        }
        names.insert(provider);
    }
    names.into_iter().collect()
}

/// The names in a list.
fn listed(answer: &Value, key: &str) -> Vec<String> {
    let list = answer.get("items").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|item| item.get(key)?.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_name_what_they_say() {
        for (path, id, named) in [
            (&["logs"][..], "name", Some(Kind::Deployment)),
            (&["wait"], "names", Some(Kind::Deployment)),
            (&["rollout", "status"], "name", Some(Kind::Deployment)),
            (&["plan", "approve"], "id", Some(Kind::Plan)),
            (&["plugin", "canary", "start"], "name", Some(Kind::Plugin)),
            (&["plugin", "new"], "name", None),
            (&["token", "create"], "name", None),
            (&["drain"], "place", Some(Kind::Place)),
            (&["context", "use"], "name", Some(Kind::Context)),
            (&[], "namespace", Some(Kind::Namespace)),
            (&["logs"], "task", None),
        ] {
            assert_eq!(kind(path, id), named, "{path:?} {id}");
        }
    }

    #[test]
    fn an_unfinished_line_still_names_its_daemon() {
        let line = "tradewind -- tradewind --server http://127.0.0.1:1 logs -n team --task= we";
        let globals = globals(line.split(' ').map(OsString::from).collect()).unwrap();
        assert_eq!(globals.server.as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(globals.namespace.as_deref(), Some("team"));
    }

    #[test]
    fn names_are_found_in_lists() {
        let list = json!({"items": [{"name": "a"}, {"name": "b"}], "next": null});
        assert_eq!(listed(&list, "name"), ["a", "b"]);
        let regions = json!({"items": [{"provider": "aws", "region": "eu"}, {"provider": "box", "region": ""}]});
        assert_eq!(places(&regions), ["aws", "aws/eu", "box"]);
        assert!(listed(&json!({}), "name").is_empty());
    }
}
