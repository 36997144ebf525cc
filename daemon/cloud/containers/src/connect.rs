//! The way to engines: one client per socket, in a version of the API that both sides speak. It must not know what is asked of them.

use std::collections::HashMap;

use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker, errors::Error};
use parking_lot::Mutex;
use tradewind_cloud::process;
use tradewind_core::units::{Instant, Millis};

/// Seconds until an engine that does not begin to answer counts as silent. Starting many containers at once makes engines slow.
const PATIENCE: u64 = 120;
/// Engines refuse versions outside their range, the question for that range included: 1.41 is understood by those of 2020 and by podman,
/// 1.44 by those that have dropped it.
const FIRST_WORDS: [(usize, usize); 2] = [(1, 41), (1, 44)];

/// The clients, by socket. An engine may be replaced by another version at any time: a client that can't connect is forgotten.
#[derive(Default)]
pub(crate) struct Connections(Mutex<HashMap<String, Docker>>);

impl Connections {
    pub(crate) async fn to(&self, socket: &str) -> Result<Docker, Error> {
        let known = self.0.lock().get(socket).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let found = meet(socket).await?;
        self.0.lock().insert(socket.to_owned(), found.clone());
        Ok(found)
    }

    pub(crate) fn forget(&self, socket: &str) {
        self.0.lock().remove(socket);
    }
}

async fn meet(socket: &str) -> Result<Docker, Error> {
    let mut refused = Error::APIVersionParseError {};
    for (major_version, minor_version) in FIRST_WORDS {
        let first = Docker::connect_with_unix(
            socket,
            PATIENCE,
            &ClientVersion {
                major_version,
                minor_version,
            },
        )?;
        match first.version().await {
            Ok(theirs) => {
                let most = theirs
                    .api_version
                    .as_deref()
                    .and_then(version)
                    .unwrap_or((major_version, minor_version));
                let ours = (
                    API_DEFAULT_VERSION.major_version,
                    API_DEFAULT_VERSION.minor_version,
                );
                let (major_version, minor_version) = most.min(ours);
                return Docker::connect_with_unix(
                    socket,
                    PATIENCE,
                    &ClientVersion {
                        major_version,
                        minor_version,
                    },
                );
            }
            Err(
                error @ Error::DockerResponseServerError {
                    status_code: 400, ..
                },
            ) => refused = error,
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

fn version(text: &str) -> Option<(usize, usize)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The engine's process, as the system tells it of the other end of its socket.
pub(crate) async fn process(socket: &str) -> Option<u32> {
    let stream = tokio::net::UnixStream::connect(socket).await.ok()?;
    u32::try_from(stream.peer_cred().ok()?.pid()?).ok()
}

/// Since when what runs at an engine can have run without a break: dockerd takes its containers along when it goes, the others go with the
/// machine alone. None: not known.
pub(crate) async fn up_since(socket: &str, now: Instant) -> Option<Instant> {
    let engine = self::process(socket)
        .await
        .and_then(|pid| i32::try_from(pid).ok());
    let looked = tokio::task::spawn_blocking(move || match engine {
        Some(pid) if process::program(pid).as_deref() == Some("dockerd") => process::age(pid),
        _ => process::machine_age(),
    });
    let age: Millis = looked.await.ok()??;
    Some(Instant(now.0.saturating_sub(age.0)))
}
