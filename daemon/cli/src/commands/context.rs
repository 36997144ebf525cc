//! `context …` and `logout`: files of this machine, no daemon is asked.

use serde::Serialize;
use tradewind_config::environment;
use tradewind_core::names::{NameError, Namespace};

use crate::{
    Error, Globals, Output,
    args::{ContextCommand, Logout},
    contexts::{Contexts, Entry, LOCAL, Shelf, check_name},
    output::Mood,
};

/// A context as it is shown. No token is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    name: &'a str,
    current: bool,
    #[serde(flatten)]
    entry: Option<&'a Entry>,
    has_token: bool,
}

/// The one that commands use now, if it is a context.
fn in_use(globals: &Globals, contexts: &Contexts) -> String {
    let named = globals.context.clone().filter(|c| !c.is_empty());
    named
        .or_else(|| environment("TRADEWIND_CONTEXT"))
        .or_else(|| contexts.current().map(str::to_owned))
        .unwrap_or_else(|| LOCAL.to_owned())
}

pub(crate) fn run(globals: &Globals, command: ContextCommand) -> Result<(), Error> {
    let output = Output::new(globals);
    let shelf = Shelf::open()?;
    let mut contexts = shelf.read()?;
    let current = in_use(globals, &contexts);
    match command {
        ContextCommand::List => list(&output, &shelf, &contexts, &current),
        ContextCommand::Show { name } => {
            let name = name.unwrap_or_else(|| current.clone());
            let entry = match name.as_str() {
                LOCAL => None,
                name => Some(contexts.get(name)?),
            };
            let shown = shown(&shelf, &name, entry, &current);
            output.show(&shown, |_| one(&shown))
        }
        ContextCommand::Use { name } => {
            if name != LOCAL {
                contexts.get(&name)?;
            }
            contexts.current = Some(name.clone()).filter(|name| name != LOCAL);
            shelf.write(&contexts)?;
            output.text(&format!("context \"{name}\" is the current one"))
        }
        ContextCommand::Rename { from, to } => {
            check_name(&to)?;
            if contexts.contexts.contains_key(&to) {
                return Err(Error::Argument {
                    what: "the context",
                    value: to,
                    rule: "there is one of this name already".to_owned(),
                });
            }
            let unknown = contexts.unknown(&from);
            let entry = contexts.contexts.remove(&from).ok_or(unknown)?;
            contexts.contexts.insert(to.clone(), entry);
            if contexts.current.as_ref() == Some(&from) {
                contexts.current = Some(to.clone());
            }
            shelf.rename_token(&from, &to)?;
            shelf.write(&contexts)?;
            output.text(&format!("context \"{from}\" is called \"{to}\" now"))
        }
        ContextCommand::SetNamespace { value, name, .. } => {
            let name = name.unwrap_or(current);
            if let Some(value) = &value {
                value
                    .parse::<Namespace>()
                    .map_err(|e: NameError| Error::Argument {
                        what: "the namespace",
                        value: value.clone(),
                        rule: e.rule.to_owned(),
                    })?;
            }
            let unknown = contexts.unknown(&name);
            if name == LOCAL {
                return Err(Error::Argument {
                    what: "the context",
                    value: name,
                    rule: "this machine's daemon has no namespace of its own: make a context with `tradewind login`"
                        .to_owned(),
                });
            }
            let entry = contexts.contexts.get_mut(&name).ok_or(unknown)?;
            entry.namespace.clone_from(&value);
            shelf.write(&contexts)?;
            output.text(&match value {
                Some(value) => {
                    format!("commands of context \"{name}\" are about the namespace \"{value}\"")
                }
                None => format!("context \"{name}\" has no namespace of its own"),
            })
        }
        ContextCommand::Remove { name } => {
            let unknown = contexts.unknown(&name);
            contexts.contexts.remove(&name).ok_or(unknown)?;
            let was_current = contexts.current.as_ref() == Some(&name);
            if was_current {
                contexts.current = None;
            }
            shelf.drop_token(&name)?;
            shelf.write(&contexts)?;
            let now = if was_current {
                ", and this machine's daemon is the current one"
            } else {
                ""
            };
            output.text(&format!("context \"{name}\" is removed{now}"))
        }
    }
}

/// Forgets a token. The context stays, to log in again.
pub(crate) fn logout(globals: &Globals, args: Logout) -> Result<(), Error> {
    let shelf = Shelf::open()?;
    let contexts = shelf.read()?;
    let name = args.name.unwrap_or_else(|| in_use(globals, &contexts));
    if name == LOCAL {
        return Err(Error::Argument {
            what: "the context",
            value: name,
            rule: "this machine's daemon keeps its token in its data folder: name another context"
                .to_owned(),
        });
    }
    contexts.get(&name)?;
    let text = match shelf.drop_token(&name)? {
        true => format!(
            "the token of context \"{name}\" is removed from this machine. It stays valid until it is revoked"
        ),
        false => format!("context \"{name}\" had no token"),
    };
    Output::new(globals).text(&text)
}

fn shown<'a>(shelf: &Shelf, name: &'a str, entry: Option<&'a Entry>, current: &str) -> Shown<'a> {
    Shown {
        name,
        current: name == current,
        entry,
        has_token: entry.is_some() && shelf.has_token(name),
    }
}

fn list(output: &Output, shelf: &Shelf, contexts: &Contexts, current: &str) -> Result<(), Error> {
    let mut all = vec![shown(shelf, LOCAL, None, current)];
    let named = contexts.contexts.iter();
    all.extend(named.map(|(name, entry)| shown(shelf, name, Some(entry), current)));
    output.show(&all, |out| {
        let rows = all.iter().map(|one| {
            let star = if one.current { "*" } else { "" };
            let server = one
                .entry
                .map_or("the daemon of this machine", |e| e.server.as_str());
            let namespace = one.entry.and_then(|e| e.namespace.as_deref());
            let token = match (one.entry, one.has_token) {
                (None, _) => "-",
                (Some(_), true) => "kept",
                (Some(_), false) => "none",
            };
            [
                out.cell(star, Mood::Plain),
                out.cell(one.name, Mood::Plain),
                out.cell(server, Mood::Plain),
                out.cell(namespace.unwrap_or("-"), Mood::Plain),
                out.cell(token, Mood::Plain),
            ]
        });
        out.table(["", "NAME", "SERVER", "NAMESPACE", "TOKEN"], rows)
    })
}

fn one(shown: &Shown<'_>) -> String {
    let Some(entry) = shown.entry else {
        return format!("{}: the daemon of this machine", shown.name);
    };
    let mut lines = vec![
        format!("name         {}", shown.name),
        format!("server       {}", entry.server),
    ];
    lines.extend(
        entry
            .fingerprint
            .map(|digest| format!("fingerprint  {digest}")),
    );
    lines.extend(
        entry
            .ca
            .as_ref()
            .map(|file| format!("ca           {}", file.display())),
    );
    lines.extend(
        entry
            .namespace
            .as_ref()
            .map(|name| format!("namespace    {name}")),
    );
    lines.push(format!(
        "token        {}",
        if shown.has_token { "kept" } else { "none" }
    ));
    lines.join("\n")
}
