//! Heads of the audit log leave this machine by themselves: number and hash go into the daemon's log, and to a URL where the settings name
//! one, so that whoever rewrites the whole log later is betrayed by what was told before. It must not write to the state.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use reqwest::{
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    audit::Head,
    capability::Clock,
    names::{Digest, InstallationId},
    store::Store,
    units::{Instant, Millis},
};
use tradewind_credentials::owners::{self, Kind};
use url::Url;

use super::USER_AGENT;

/// The longest that one try takes.
const TRY: Duration = Duration::from_secs(10);
/// The same when the daemon stops.
const LAST_TRY: Duration = Duration::from_secs(5);
/// Pauses between tries. What is not delivered then is told with the next head.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(25),
    Duration::from_secs(120),
];
/// The most that is read of a file with headers.
const LARGEST: u64 = 64 << 10;

/// Why nobody heard of a head.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the client of the setting \"audit.webhook\" can't be made")]
    Client(#[source] reqwest::Error),
    #[error("the file \"{}\" of the setting \"audit.webhook-headers\" can't be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("line {line} of the file \"{}\" of the setting \"audit.webhook-headers\" is no header: write NAME: VALUE", path.display())]
    Line { path: PathBuf, line: usize },
    #[error("the receiver of the setting \"audit.webhook\" can't be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the receiver of the setting \"audit.webhook\" answered {0}")]
    Refused(reqwest::StatusCode),
}

/// What a receiver gets.
#[derive(Debug, Serialize)]
struct Told {
    installation: InstallationId,
    at: Instant,
    /// The number of the last entry.
    seq: u64,
    /// Its hash, as `tradewind audit verify --expect` takes it.
    hash: Digest,
}

/// Tells heads.
pub struct Heads {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    installation: InstallationId,
    interval: Millis,
    receiver: Option<Receiver>,
}

struct Receiver {
    url: Url,
    headers: Option<PathBuf>,
    client: reqwest::Client,
}

impl Heads {
    /// # Errors
    /// TLS can't be set up.
    pub fn new(
        settings: &tradewind_config::Audit,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        installation: InstallationId,
    ) -> Result<Self, Error> {
        let receiver = settings
            .webhook
            .clone()
            .map(|url| Receiver::new(url, &settings.webhook_headers))
            .transpose()?;
        Ok(Self {
            store,
            clock,
            installation,
            interval: settings.head_interval,
            receiver,
        })
    }

    /// Tells the head now, and from then on once in each interval, until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.tell() => {}
                () = stop.cancelled() => return,
            }
            if tokio::time::timeout(self.interval.std(), stop.cancelled())
                .await
                .is_ok()
            {
                return;
            }
        }
    }

    async fn tell(&self) {
        let Some(head) = self.log().await else { return };
        let Some(receiver) = &self.receiver else {
            return;
        };
        let mut pauses = PAUSES.into_iter();
        loop {
            let Err(error) = receiver.take(&self.told(head), TRY).await else {
                return;
            };
            let Some(pause) = pauses.next() else {
                return self.complain(head, &error);
            };
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the head of the audit log was not delivered, and is sent again"
            );
            tokio::time::sleep(pause).await;
        }
    }

    /// Tells the last head before the state is closed. What does not answer in time holds nobody up.
    pub async fn tell_last(&self) {
        let Some(head) = self.log().await else { return };
        let Some(receiver) = &self.receiver else {
            return;
        };
        if let Err(error) = receiver.take(&self.told(head), LAST_TRY).await {
            self.complain(head, &error);
        }
    }

    async fn log(&self) -> Option<Head> {
        match self.store.audit_bounds().await {
            Ok(bounds) => {
                tracing::info!(seq = bounds.head.seq, hash = %bounds.head.hash, "head of the audit log");
                Some(bounds.head)
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the head of the audit log can't be read"
                );
                None
            }
        }
    }

    fn complain(&self, head: Head, error: &Error) {
        tracing::warn!(
            seq = head.seq,
            error = error as &dyn std::error::Error,
            "the head of the audit log was not delivered"
        );
    }

    fn told(&self, head: Head) -> Told {
        Told {
            installation: self.installation.clone(),
            at: self.clock.now(),
            seq: head.seq,
            hash: head.hash,
        }
    }
}

impl Receiver {
    fn new(url: Url, headers: &Path) -> Result<Self, Error> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .no_proxy()
            .redirect(redirect::Policy::none());
        let headers = (!headers.as_os_str().is_empty()).then(|| headers.to_owned());
        Ok(Self {
            url,
            headers,
            client: builder.build().map_err(Error::Client)?,
        })
    }

    async fn take(&self, told: &Told, within: Duration) -> Result<(), Error> {
        let headers = match &self.headers {
            Some(path) => headers(path).await?,
            None => HeaderMap::new(),
        };
        let request = self
            .client
            .post(self.url.clone())
            .headers(headers)
            .timeout(within)
            .json(told);
        // The address may hold a secret of its own.
        let answer = request
            .send()
            .await
            .map_err(|e| Error::Unreachable(e.without_url()))?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(Error::Refused(answer.status()))
        }
    }
}

/// Headers out of a file, a line each. It is read whenever something is sent, so that a new secret needs no restart.
async fn headers(path: &Path) -> Result<HeaderMap, Error> {
    let failed = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let at = path.to_owned();
    let read = move || -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        owners::open(&at, Kind::Secret)?
            .take(LARGEST)
            .read_to_end(&mut text)?;
        Ok(text)
    };
    let text = tokio::task::spawn_blocking(read)
        .await
        .map_err(|broken| failed(io::Error::other(broken)))?
        .map_err(failed)?;
    let mut headers = HeaderMap::new();
    for (i, line) in String::from_utf8_lossy(&text)
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let parse = || {
            let (name, value) = line.split_once(':')?;
            let mut value = HeaderValue::from_str(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((name.trim().parse::<HeaderName>().ok()?, value))
        };
        let (name, value) = parse().ok_or_else(|| Error::Line {
            path: path.to_owned(),
            line: i + 1,
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    #[tokio::test]
    async fn headers_are_lines_and_their_values_are_not_shown() {
        let folder = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .unwrap();
        let path = folder.path().join("headers");
        std::fs::write(&path, "Authorization: Bearer of:it\n\nX-Team : a\r\n").unwrap();
        let read = headers(&path).await.unwrap();
        assert_eq!(
            (read["authorization"].as_bytes(), read["x-team"].as_bytes()),
            (&b"Bearer of:it"[..], &b"a"[..])
        );
        assert!(!format!("{read:?}").contains("of:it"));
        for bad in ["secret-without-a-name", "A: b\nbad name: x", "A: \u{7f}"] {
            std::fs::write(&path, bad).unwrap();
            let error = headers(&path).await.unwrap_err().to_string();
            assert!(
                error.contains("is no header") && !error.contains("secret-without"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn headers_that_others_may_read_are_not_sent() {
        let folder = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let path = folder.path().join("headers");
        std::fs::write(&path, "Authorization: Bearer of:it\n").unwrap();
        for (mode, used) in [(0o600, true), (0o644, false), (0o606, false)] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let read = headers(&path).await;
            assert_eq!(read.is_ok(), used, "{mode:o}");
            let Err(Error::Read { source, .. }) = read else {
                continue;
            };
            assert!(source.to_string().contains("chmod"), "{source}");
        }
    }
}
