//! `version`: this program, and the daemon if one answers.

use serde::Serialize;
use serde_json::Value;

use crate::{Error, Globals, Output, client::Client, connection::Connection};

/// The version of this program.
const OWN: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, where the build said so.
const COMMIT: Option<&str> = option_env!("TRADEWIND_COMMIT");
/// The API that it speaks.
const API: &str = "v1";

#[derive(Debug, Serialize)]
pub(crate) struct Versions {
    pub client: Own,
    pub api: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daemon: Option<Daemon>,
    /// Why nothing is known of a daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Own {
    pub version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Daemon {
    pub server: String,
    pub version: String,
}

impl Versions {
    /// This program's, and the daemon's if it answers. No token is sent.
    pub(crate) async fn find(globals: &Globals) -> Self {
        let found = daemon(globals).await;
        let (daemon, reason) = match found {
            Ok(daemon) => (Some(daemon), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            client: Own {
                version: OWN,
                commit: COMMIT.filter(|commit| !commit.is_empty()),
            },
            api: API,
            daemon,
            reason,
        }
    }

    /// What is to be said where the two are not of one version.
    pub(crate) fn skew(&self) -> Option<String> {
        let daemon = self.daemon.as_ref()?;
        (daemon.version != self.client.version).then(|| {
            format!(
                "this program is of version {} and the daemon of version {}: what one of them has not heard of yet does not work",
                self.client.version, daemon.version
            )
        })
    }

    pub(crate) fn text(&self) -> String {
        let commit = self
            .client
            .commit
            .map(|commit| format!(" (commit {commit})"))
            .unwrap_or_default();
        let daemon = match (&self.daemon, &self.reason) {
            (Some(daemon), _) => format!("{} at {}", daemon.version, daemon.server),
            (None, Some(reason)) => format!("not known: {reason}"),
            (None, None) => "not known".to_owned(),
        };
        format!(
            "client  {}{commit}\ndaemon  {daemon}\nAPI     {}",
            self.client.version, self.api
        )
    }
}

async fn daemon(globals: &Globals) -> Result<Daemon, Error> {
    let connection = Connection::find(globals)?;
    let client = Client::new(&connection.server, None, &connection.trust)?;
    let health: Value = client
        .get(&["healthz"], &[])
        .await
        .map_err(|e| connection.explain(e.into()))?;
    let version = health.get("version").and_then(Value::as_str);
    Ok(Daemon {
        version: version.unwrap_or("unknown").to_owned(),
        server: connection.server,
    })
}

pub(crate) async fn run(globals: &Globals) -> Result<(), Error> {
    let versions = Versions::find(globals).await;
    if let Some(skew) = versions.skew() {
        eprintln!("warning: {skew}");
    }
    Output::new(globals).show(&versions, |_| versions.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_differ_are_told() {
        let versions = |daemon: &str| Versions {
            client: Own {
                version: "0.2.0",
                commit: None,
            },
            api: API,
            daemon: Some(Daemon {
                server: "http://127.0.0.1:1".into(),
                version: daemon.into(),
            }),
            reason: None,
        };
        assert_eq!(versions("0.2.0").skew(), None);
        let skew = versions("0.1.0").skew().unwrap();
        assert!(skew.contains("0.2.0") && skew.contains("0.1.0"), "{skew}");
        assert_eq!(
            versions("0.1.0").text(),
            "client  0.2.0\ndaemon  0.1.0 at http://127.0.0.1:1\nAPI     v1"
        );
    }
}
