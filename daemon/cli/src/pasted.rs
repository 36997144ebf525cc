//! Commands in messages, as they have to be typed here: with the flags that name the daemon, where this command was given some.

use std::sync::OnceLock;

use tradewind_config::environment;

use crate::Globals;

static GIVEN: OnceLock<Given> = OnceLock::new();

/// Flags of the command line, each with a space before it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Given {
    /// Those that say which daemon is meant.
    daemon: String,
    /// Those that say where a daemon of this machine has its files.
    folders: String,
}

/// Commands that ask no daemon.
const OF_THIS_MACHINE: [&str; 6] = ["serve", "config", "credential", "restore", "dev", "init"];

/// Remembers what was given. Variables hold for the next command as well.
pub(crate) fn remember(globals: &Globals) {
    // Arguments are parsed once.
    let _ = GIVEN.set(given(globals, environment));
}

/// The text with every command in backticks as it works when it is pasted.
pub(crate) fn pasted(text: &str) -> String {
    match GIVEN.get() {
        Some(given) => given.put_into(text),
        None => text.to_owned(),
    }
}

fn given(globals: &Globals, env: impl Fn(&str) -> Option<String>) -> Given {
    let mut given = Given::default();
    let mut daemon = |flag: &str, value: Option<String>, variable: &str| {
        let value = value.filter(|value| !value.is_empty());
        if let Some(value) = value.filter(|value| env(variable).as_ref() != Some(value)) {
            given
                .daemon
                .push_str(&format!(" {flag} {}", quoted(&value)));
        }
    };
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|p| p.display().to_string());
    daemon("--server", globals.server.clone(), "TRADEWIND_SERVER");
    daemon("--context", globals.context.clone(), "TRADEWIND_CONTEXT");
    let fingerprint = globals.fingerprint.map(|digest| digest.to_string());
    daemon("--fingerprint", fingerprint, "TRADEWIND_FINGERPRINT");
    daemon("--ca", path(&globals.ca), "TRADEWIND_CA");
    daemon("--token-file", path(&globals.token_file), "");
    for (flag, value) in [("--config", &globals.config), ("--data", &globals.data)] {
        if let Some(value) = path(value) {
            given
                .folders
                .push_str(&format!(" {flag} {}", quoted(&value)));
        }
    }
    given
}

impl Given {
    fn put_into(&self, text: &str) -> String {
        const MARK: &str = "`tradewind ";
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(MARK) {
            let (before, from) = rest.split_at(at + MARK.len());
            let local = OF_THIS_MACHINE.iter().any(|word| {
                from.strip_prefix(word)
                    .is_some_and(|after| after.starts_with([' ', '`']))
            });
            out.push_str(before.trim_end_matches(' '));
            if !local {
                out.push_str(&self.daemon);
            }
            out.push_str(&self.folders);
            out.push(' ');
            rest = from;
        }
        out.push_str(rest);
        out
    }
}

/// As a shell takes it for one word.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=[]".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Cli;

    #[test]
    fn commands_name_the_daemon_that_was_named() {
        let globals = |arguments: &[&str]| {
            Cli::parse_from([&["tradewind"], arguments, &["whoami"]].concat()).globals
        };
        let text = "see `tradewind -n team logs web`, or start it with `tradewind serve`";
        let put = |arguments: &[&str]| given(&globals(arguments), |_| None).put_into(text);
        assert_eq!(put(&[]), text);
        assert_eq!(
            put(&["--context", "prod"]),
            "see `tradewind --context prod -n team logs web`, or start it with `tradewind serve`"
        );
        assert_eq!(
            put(&["--data", "/my data"]),
            "see `tradewind --data '/my data' -n team logs web`, or start it with `tradewind --data '/my data' serve`"
        );
        let by_variable = given(&globals(&["--server", "http://a"]), |name| {
            (name == "TRADEWIND_SERVER").then(|| "http://a".to_owned())
        });
        assert_eq!(by_variable.put_into(text), text);
    }
}
