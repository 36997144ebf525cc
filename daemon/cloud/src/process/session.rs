//! Sessions with processes: a command beside one, a connection to its port, files from and to its folders. What is run for a session is confined
//! as the process is, bears a mark of its own below the process's, and ends with the session. It must not know who has opened it.

mod command;
mod files;
mod terminal;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tradewind_core::{
    capability::ProcessKey,
    failure::Failure,
    grant::ProcessGrant,
    names::InstanceName,
    session::{Opening, ReplicaRef, Session},
    workload::Phase,
};

use super::{Shared, slot::Slot, sockets};
use crate::session;

/// Behind the marks of checks, which count from 0.
static NEXT: AtomicU64 = AtomicU64::new(1 << 40);

impl Shared {
    /// Opens a session with a process that runs.
    ///
    /// # Errors
    /// `not-found` where there is no such process, `unavailable` where it does not run, `denied` for what its grant does not open.
    pub(super) async fn open(
        self: &Arc<Self>,
        owner: &InstanceName,
        grant: &ProcessGrant,
        replica: &ReplicaRef,
        what: Opening,
    ) -> Result<Session, Failure> {
        let key = ProcessKey {
            allocation: replica.allocation.clone(),
            replica: replica.index,
        };
        let slot = self.slot(owner, &key).ok_or_else(|| {
            Failure::not_found("this replica has no process on this machine".to_owned())
        })?;
        match what {
            Opening::Exec {
                command,
                input,
                terminal,
            } => {
                runs(&slot)?;
                command::open(self, &slot, grant, command, (input, terminal)).await
            }
            Opening::Connect { port } => {
                runs(&slot)?;
                self.connect(&slot, replica, &port).await
            }
            Opening::Read { path } => files::read(self, &slot, grant, path).await,
            Opening::Write { path } => files::write(self, &slot, path).await,
        }
    }

    async fn connect(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        replica: &ReplicaRef,
        name: &str,
    ) -> Result<Session, Failure> {
        let port = replica.tcp_port(name)?;
        let number = slot.state().record.ports.get(&port.name).copied();
        let Some(number) = number else {
            return Err(Failure::unavailable(format!(
                "the port \"{name}\" has no number yet"
            )));
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
        let (shared, of) = (self.clone(), slot.clone());
        let listens = tokio::task::spawn_blocking(move || shared.listens(&of, address)).await;
        listens.unwrap_or(Ok(())).map_err(Failure::unavailable)?;
        let stream = session::connect(address, name).await?;
        let (session, served) = Session::pair();
        let closing = self.closing.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = session::join(stream, served) => {}
                () = closing.cancelled() => {}
            }
        });
        Ok(session)
    }

    /// Whether it is the replica that listens there. Blocks.
    fn listens(&self, slot: &Slot, address: SocketAddr) -> Result<(), String> {
        let Ok(census) = self.census(Instant::now()) else {
            return Ok(());
        };
        let who = slot.who();
        let pids = census.members(&who).into_iter().chain([who.leader]);
        sockets::answers(pids, address).map(|_| ())
    }
}

/// A mark below that of the run, which nothing else has.
fn mark(run: &str) -> String {
    format!("{run}.{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A program of the machine's own.
fn tool(search: &str, name: &str, what: &str) -> Result<PathBuf, Failure> {
    std::env::split_paths(search)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Failure::unavailable(format!(
                "this machine has no program \"{name}\", which {what}"
            ))
            .remedy(format!("install \"{name}\" there, in the daemon's PATH"))
        })
}

fn runs(slot: &Slot) -> Result<(), Failure> {
    let state = slot.state();
    if state.pid != 0 && matches!(state.phase, Phase::Running | Phase::Starting) {
        return Ok(());
    }
    let why = if state.message.is_empty() {
        String::new()
    } else {
        format!(": {}", state.message)
    };
    Err(Failure::unavailable(format!(
        "the replica's process does not run ({}){why}",
        state.phase
    )))
}
