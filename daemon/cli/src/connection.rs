//! Which daemon a command talks to, and with what token. The token that lies in a data folder goes to the daemon of that folder alone.

use tradewind_core::identity::Secret;

use super::{Error, args::Globals, overrides};
use crate::client::Trust;
use tradewind_config::{ADMIN_FILE, Effective, TokenFileError, environment, read_secret};

/// The way to a daemon.
pub(crate) struct Connection {
    pub server: String,
    /// It was named, or runs with the data folder. Otherwise it is whoever listens where the settings say.
    pub is_meant: bool,
    pub token: Option<Secret>,
    pub trust: Trust,
}

impl Connection {
    /// # Errors
    /// A configuration, a token or a file that can't be used.
    pub(crate) fn find(globals: &Globals) -> Result<Self, Error> {
        // An empty variable counts as absent.
        let named = globals.server.clone().filter(|s| !s.is_empty());
        let config = match Effective::load(&overrides(globals, None), environment) {
            Ok(effective) => Some(effective.config),
            // It is not needed to talk to a daemon that was named.
            Err(_) if named.is_some() => None,
            Err(e) => return Err(e.into()),
        };
        let local = config.as_ref().and_then(|c| {
            tradewind_config::runtime_file::read(&c.data)
                .filter(|daemon| daemon.is_running(&c.data))
        });
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
        let configured = || {
            config
                .map(|c| format!("http://{}", c.listen))
                .unwrap_or_default()
        };
        let is_meant = local.is_some() || named.is_some();
        let server = local
            .map(|daemon| daemon.address)
            .or(named)
            .unwrap_or_else(configured);
        Ok(Self {
            server,
            is_meant,
            token,
            trust,
        })
    }
}

/// Named by who runs the command.
fn given(globals: &Globals) -> Result<Option<Secret>, Error> {
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
