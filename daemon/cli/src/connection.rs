//! Which daemon a command talks to, and with what token. The token that lies in a data folder goes to the daemon of that folder alone, and
//! that of a context to the context's daemon alone.
//!
//! What counts, the first that there is: the flags `--server` and `--context`; the variables `TRADEWIND_SERVER` and `TRADEWIND_CONTEXT`; a
//! data folder or a configuration file that is named; the current context; this machine's daemon.

use std::path::PathBuf;

use tradewind_core::identity::Secret;

use super::{Error, args::Globals, overrides};
use crate::{
    client::{self, Client, Trust},
    contexts::{LOCAL, Shelf},
};
use tradewind_config::{
    ADMIN_FILE, Effective, TokenFileError, environment, read_secret,
    runtime_file::{self, Starting},
};

/// The way to a daemon.
pub(crate) struct Connection {
    pub server: String,
    /// It was named, or runs with the data folder. Otherwise it is whoever listens where the settings say.
    pub is_meant: bool,
    /// The daemon of the data folder is starting, and no other was named.
    pub starting: Option<Starting>,
    /// No daemon was named, and one may have been started on the data folder a moment ago.
    pub may_start: bool,
    pub token: Option<Secret>,
    pub trust: Trust,
    /// The context by which it was found.
    pub context: Option<String>,
    /// The namespace of that context.
    pub namespace: Option<String>,
    /// The data folder that was looked into.
    pub data: Option<PathBuf>,
    /// The address of a daemon that has ended without a word, as its file has it.
    pub had: Option<String>,
}

/// How a daemon is found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// Its URL.
    Server(String),
    /// The context of this name.
    Context(String),
    /// By the data folder.
    Folder,
    /// The current context, if there is one, else by the data folder.
    Current,
}

fn way(globals: &Globals, env: impl Fn(&str) -> Option<String>) -> Result<Way, Error> {
    // An empty variable counts as absent.
    let server = globals.server.clone().filter(|s| !s.is_empty());
    let of_variable = server.is_some() && server == env("TRADEWIND_SERVER");
    let context = globals.context.clone().filter(|c| !c.is_empty());
    let named = |name: String| match name.as_str() {
        LOCAL => Way::Folder,
        _ => Way::Context(name),
    };
    match (server, context) {
        (Some(server), Some(_)) if !of_variable => Err(Error::Argument {
            what: "--server",
            value: server,
            rule: "--context names a daemon as well: leave one of the two out".to_owned(),
        }),
        (_, Some(context)) => Ok(named(context)),
        (Some(server), None) => Ok(Way::Server(server)),
        (None, None) => Ok(match env("TRADEWIND_CONTEXT") {
            Some(context) => named(context),
            None if globals.data.is_some()
                || globals.config.is_some()
                || env("TRADEWIND_DATA").is_some()
                || env("TRADEWIND_CONFIG").is_some() =>
            {
                Way::Folder
            }
            None => Way::Current,
        }),
    }
}

impl Connection {
    /// # Errors
    /// A server that is no URL, or a token that would travel in clear.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        Ok(Client::new(&self.server, self.token.as_ref(), &self.trust)?)
    }

    /// What there is to be said of a daemon that nobody named and that does not answer.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match (error, &self.data) {
            (Error::Client(client::Error::Unreachable { source, .. }), Some(data))
                if !self.is_meant && source.is_connect() =>
            {
                Error::NotRunning {
                    data: data.clone(),
                    server: self.server.clone(),
                    had: self.had.clone(),
                    source,
                }
            }
            (error, _) => error,
        }
    }

    /// # Errors
    /// A configuration, a context, a token or a file that can't be used.
    pub(crate) fn find(globals: &Globals) -> Result<Self, Error> {
        match way(globals, environment)? {
            Way::Server(server) => Self::local(globals, Some(server)),
            Way::Folder => Self::local(globals, None),
            Way::Context(name) => Self::of_context(globals, &Shelf::open()?, name),
            Way::Current => {
                let shelf = Shelf::of_user();
                let current = match &shelf {
                    Some(shelf) => shelf.read()?.current().map(str::to_owned),
                    None => None,
                };
                match (shelf, current) {
                    (Some(shelf), Some(name)) => Self::of_context(globals, &shelf, name),
                    _ => Self::local(globals, None),
                }
            }
        }
    }

    fn of_context(globals: &Globals, shelf: &Shelf, name: String) -> Result<Self, Error> {
        let contexts = shelf.read()?;
        let entry = contexts.get(&name)?;
        let token = match given(globals)? {
            Some(token) => Some(token),
            None => shelf.token(&name)?,
        };
        let trust = match (&globals.fingerprint, &globals.ca) {
            (Some(fingerprint), _) => Trust::Pinned(*fingerprint),
            (None, Some(file)) => Trust::Authority(file.clone()),
            (None, None) => match (entry.fingerprint, &entry.ca) {
                (Some(fingerprint), _) => Trust::Pinned(fingerprint),
                (None, Some(file)) => Trust::Authority(file.clone()),
                (None, None) => Trust::System,
            },
        };
        Ok(Self {
            server: entry.server.clone(),
            is_meant: true,
            token,
            trust,
            namespace: entry.namespace.clone(),
            starting: None,
            may_start: false,
            context: Some(name),
            data: None,
            had: None,
        })
    }

    fn local(globals: &Globals, named: Option<String>) -> Result<Self, Error> {
        let config = match Effective::load(&overrides(globals, None), environment) {
            Ok(effective) => Some(effective.config),
            // It is not needed to talk to a daemon that was named.
            Err(_) if named.is_some() => None,
            Err(e) => return Err(e.into()),
        };
        let left = config
            .as_ref()
            .and_then(|c| runtime_file::read(&c.data).map(|d| (d, &c.data)));
        let had = left.as_ref().map(|(daemon, _)| daemon.address.clone());
        let local = left
            .filter(|(daemon, data)| daemon.is_running(data))
            .map(|(daemon, _)| daemon);
        let same = |address: &str| {
            named
                .as_ref()
                .is_none_or(|n| n.trim_end_matches('/') == address)
        };
        let local = local.filter(|daemon| same(&daemon.address));
        let token = match (given(globals)?, &local, &config) {
            (Some(token), ..) => Some(token),
            (None, Some(_), Some(config)) => left_by_daemon(&config.data.join(ADMIN_FILE))?,
            _ => None,
        };
        let trust = match (
            &globals.fingerprint,
            &globals.ca,
            local.as_ref().and_then(|daemon| daemon.fingerprint),
        ) {
            (Some(fingerprint), ..) => Trust::Pinned(*fingerprint),
            (None, Some(file), _) => Trust::Authority(file.clone()),
            (None, None, Some(own)) => Trust::Pinned(own),
            (None, None, None) => Trust::System,
        };
        let data = config.as_ref().map(|c| c.data.clone());
        let configured = || {
            config
                .as_ref()
                .map(|c| format!("http://{}", c.listen))
                .unwrap_or_default()
        };
        let is_meant = local.is_some() || named.is_some();
        let starting = config
            .as_ref()
            .filter(|_| local.is_none())
            .and_then(|config| runtime_file::starting(&config.data))
            .filter(|daemon| same(&daemon.address));
        let server = local
            .map(|daemon| daemon.address)
            .or(named)
            .unwrap_or_else(configured);
        Ok(Self {
            server,
            is_meant,
            starting,
            may_start: !is_meant
                && config
                    .as_ref()
                    .is_some_and(|config| runtime_file::may_start(&config.data)),
            token,
            trust,
            context: None,
            namespace: None,
            data,
            had,
        })
    }
}

/// Named by who runs the command.
pub(crate) fn given(globals: &Globals) -> Result<Option<Secret>, Error> {
    if let Some(file) = &globals.token_file {
        return Ok(Some(read_secret(file)?));
    }
    let Some(text) = environment("TRADEWIND_TOKEN") else {
        return Ok(None);
    };
    text.trim()
        .parse()
        .map(Some)
        .map_err(|source| Error::Token {
            variable: "TRADEWIND_TOKEN",
            source,
        })
}

/// Its owner may have taken it away.
fn left_by_daemon(path: &std::path::Path) -> Result<Option<Secret>, Error> {
    match read_secret(path) {
        Ok(secret) => Ok(Some(secret)),
        Err(TokenFileError::Read { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(None)
        }
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Cli;

    /// What the arguments and variables name. `TRADEWIND_SERVER` is read by the parser itself: what it says is given as the argument, too.
    fn found(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Way, String> {
        let line = [&["tradewind"], arguments, &["whoami"]].concat();
        let globals = Cli::parse_from(line).globals;
        let env = |name: &str| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        way(&globals, env).map_err(|e| e.to_string())
    }

    #[test]
    fn flags_come_before_variables_before_folders_before_contexts() {
        let server = || Way::Server("http://a".into());
        let context = |name: &str| Way::Context(name.into());
        let context_variable = ("TRADEWIND_CONTEXT", "b");
        for (arguments, variables, way) in [
            (&[][..], &[][..], Way::Current),
            (&["--data", "/d"], &[], Way::Folder),
            (&["--config", "/c"], &[], Way::Folder),
            (&[], &[("TRADEWIND_DATA", "/d")], Way::Folder),
            (&["--data", "/d"], &[context_variable], context("b")),
            (&["--context", "c"], &[context_variable], context("c")),
            (&["--context", "local"], &[context_variable], Way::Folder),
            (&["--server", "http://a"], &[context_variable], server()),
            (
                &["--server", "http://a"],
                &[("TRADEWIND_SERVER", "http://a"), context_variable],
                server(),
            ),
            (
                &["--server", "http://a", "--context", "c"],
                &[("TRADEWIND_SERVER", "http://a")],
                context("c"),
            ),
            (&["--server", "http://a", "--data", "/d"], &[], server()),
        ] {
            assert_eq!(
                found(arguments, variables),
                Ok(way),
                "{arguments:?} {variables:?}"
            );
        }
        let both = found(&["--server", "http://a", "--context", "c"], &[]);
        assert!(both.unwrap_err().contains("leave one of the two out"));
    }
}
