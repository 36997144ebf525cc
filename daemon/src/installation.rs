//! One daemon per installation: the name of a state, drawn once, is held on this machine as long as a daemon works with that state, whatever
//! folder it lies in. A copy of the data folder, or a restored backup, bears the same name: its daemon finds the living original before it
//! acts. The name is an abstract socket, so it goes with its process; who connects is told where the original works.
//!
//! Daemons of other machines, or of other network namespaces, are out of its sight.

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};
use tradewind_core::names::InstallationId;

/// A daemon that works with the same state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Living {
    pub pid: u32,
    pub data: PathBuf,
}

/// Why an installation can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "another daemon works with the same state: process {} with the data folder \"{}\"; this folder is a copy of it, or a restored backup: \
         stop that daemon first, for two of them would each make and remove what the other has",
        .0.pid, .0.data.display()
    )]
    Living(Living),
    #[error("another daemon works with the same state and does not say where: stop it first")]
    Silent,
    #[error("the name of the installation can't be held")]
    Io(#[from] io::Error),
}

/// Held as long as this daemon works with the state.
#[derive(Debug)]
pub struct Claim {
    #[cfg(target_os = "linux")]
    answering: tokio::task::JoinHandle<()>,
}

#[cfg(target_os = "linux")]
impl Drop for Claim {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        os::{
            linux::net::SocketAddrExt,
            unix::net::{SocketAddr, UnixListener as Bound, UnixStream as Connected},
        },
        time::Duration,
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{UnixListener, UnixStream},
    };

    use super::{Claim, Error, InstallationId, Living, PathBuf, io};

    /// How often, and after which pause, a name is tried that nobody answers for: its holder may be ending.
    const ATTEMPTS: u32 = 30;
    const PAUSE: Duration = Duration::from_millis(100);
    const ANSWER: Duration = Duration::from_secs(1);
    const LONGEST_ANSWER: u64 = 8 << 10;

    fn address(id: &InstallationId) -> io::Result<SocketAddr> {
        SocketAddr::from_abstract_name(format!("tradewind-installation-{id}"))
    }

    /// Holds the installation for this daemon.
    ///
    /// # Errors
    /// Another daemon of this machine has it.
    pub async fn claim(id: &InstallationId, data: PathBuf) -> Result<Claim, Error> {
        let address = address(id)?;
        for _ in 0..ATTEMPTS {
            match Bound::bind_addr(&address) {
                Ok(bound) => {
                    bound.set_nonblocking(true)?;
                    let listener = UnixListener::from_std(bound)?;
                    let own = Living {
                        pid: std::process::id(),
                        data,
                    };
                    return Ok(Claim {
                        answering: tokio::spawn(answer(listener, own)),
                    });
                }
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
                Err(e) => return Err(e.into()),
            }
            match ask(id).await {
                Some(Holder::Daemon(living)) => return Err(Error::Living(living)),
                // Anybody may hold any name: that keeps no daemon from its work.
                Some(Holder::Other(uid)) => {
                    tracing::warn!(
                        uid,
                        "another user holds the name of this installation: a second daemon of it would not be noticed"
                    );
                    return Ok(Claim {
                        answering: tokio::spawn(std::future::ready(())),
                    });
                }
                None => tokio::time::sleep(PAUSE).await,
            }
        }
        Err(Error::Silent)
    }

    /// Who holds a name.
    enum Holder {
        Daemon(Living),
        /// Somebody who is not the user of this daemon.
        Other(u32),
    }

    async fn ask(id: &InstallationId) -> Option<Holder> {
        let asked = async {
            let stream = Connected::connect_addr(&address(id).ok()?).ok()?;
            stream.set_nonblocking(true).ok()?;
            let stream = UnixStream::from_std(stream).ok()?;
            let holder = stream.peer_cred().ok()?.uid();
            if holder != 0 && holder != own_user() {
                return Some(Holder::Other(holder));
            }
            let mut text = Vec::new();
            stream
                .take(LONGEST_ANSWER)
                .read_to_end(&mut text)
                .await
                .ok()?;
            serde_json::from_slice(&text).ok().map(Holder::Daemon)
        };
        tokio::time::timeout(ANSWER, asked).await.ok().flatten()
    }

    fn own_user() -> u32 {
        std::fs::metadata("/proc/self")
            .map(|m| std::os::unix::fs::MetadataExt::uid(&m))
            .unwrap_or_default()
    }

    async fn answer(listener: UnixListener, own: Living) {
        let text = serde_json::to_vec(&own).unwrap_or_default();
        loop {
            match listener.accept().await {
                Ok((mut asking, _)) => {
                    let _ = tokio::time::timeout(ANSWER, asking.write_all(&text)).await;
                }
                // Out of descriptors, for a moment.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

#[cfg(target_os = "linux")]
pub use linux::claim;

/// Other systems have no such names.
#[cfg(not(target_os = "linux"))]
pub async fn claim(_: &InstallationId, _: PathBuf) -> Result<Claim, Error> {
    Ok(Claim {})
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_daemon_has_an_installation_and_says_where_it_is() {
        let id = InstallationId::new(ulid::Ulid::r#gen());
        let claim_of_first = claim(&id, "/first".into()).await.unwrap();
        let own = Living {
            pid: std::process::id(),
            data: "/first".into(),
        };
        match claim(&id, "/second".into()).await {
            Err(Error::Living(found)) => assert_eq!(found, own),
            other => panic!("{other:?}"),
        }
        drop(claim_of_first);
        claim(&id, "/second".into()).await.unwrap();
    }
}
