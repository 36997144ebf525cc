//! Waits for the end of a process that may or may not be a child of this daemon, signals its group and collects what it left.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
#[cfg(target_os = "linux")]
use tokio::io::{Interest, unix::AsyncFd};

use super::proc;

/// How often a process is looked at where the system can't report its end.
const POLL: Duration = Duration::from_millis(200);

/// A live process group by its leader.
#[derive(Debug)]
pub(super) struct Leader {
    pid: Pid,
    /// Refers to this very process, even after its id is used again.
    handle: Option<OwnedFd>,
}

impl Leader {
    pub(super) fn new(pid: Pid) -> Self {
        #[cfg(target_os = "linux")]
        let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK).ok();
        #[cfg(not(target_os = "linux"))]
        let handle = None;
        Self { pid, handle }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Returns once it has ended. Cancelling this is safe.
    pub(super) async fn ended(&self) {
        #[cfg(target_os = "linux")]
        if let Some(handle) = &self.handle
            && let Ok(watched) = watched(handle)
            && watched.readable().await.is_ok()
        {
            return;
        }
        while !self.has_ended() {
            tokio::time::sleep(POLL).await;
        }
    }

    fn has_ended(&self) -> bool {
        let peek = WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT | WaitIdOptions::EXITED;
        match rustix::process::waitid(WaitId::Pid(self.pid), peek) {
            Ok(status) => status.is_some(),
            Err(_) => rustix::process::test_kill_process(self.pid).is_err(),
        }
    }

    /// Sends a signal to the whole group; a group that is gone is no error.
    pub(super) fn signal(&self, signal: Signal) {
        signal_group(self.pid, signal);
    }

    /// After the end: lets the system forget the leader if it is our child. Answers the shell's status for a leader that was killed. While an
    /// unreaped child holds the id, it can't belong to anyone else: whatever is done to its group is done before.
    pub(super) fn reap(self) -> Option<i32> {
        match rustix::process::waitpid(Some(self.pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => status.terminating_signal().map(|s| 128 + s),
            _ => None,
        }
    }
}

/// The handle becomes readable when its process ends.
#[cfg(target_os = "linux")]
#[expect(
    deprecated,
    reason = "the replacement is unsafe for types that may swap their descriptor; a borrowed one can't"
)]
fn watched(handle: &OwnedFd) -> io::Result<AsyncFd<std::os::fd::BorrowedFd<'_>>> {
    AsyncFd::with_interest(handle.as_fd(), Interest::READABLE)
}

/// Sends a signal to the one process that began at `start`; one that is gone is no error.
pub(super) fn signal_one(pid: i32, start: Option<u64>, signal: Signal) {
    let Some(pid) = proc::pid(pid) else { return };
    match send(pid, start, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => {
            let error = io::Error::from(error);
            tracing::warn!(pid = pid.as_raw_nonzero().get(), %error, "a process that a replica has left can't be signalled");
        }
    }
}

#[cfg(target_os = "linux")]
fn send(pid: Pid, start: Option<u64>, signal: Signal) -> rustix::io::Result<()> {
    let handle = match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        // Without a handle the id is all there is.
        Err(_) => return rustix::process::kill_process(pid, signal),
    };
    // Asked with the handle in hand: the id can't change its owner any more.
    let same = proc::stat_of(pid.as_raw_nonzero().get())
        .ok()
        .flatten()
        .is_some_and(|s| start.is_none_or(|at| at == s.start));
    if same {
        rustix::process::pidfd_send_signal(&handle, signal)
    } else {
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
fn send(pid: Pid, _: Option<u64>, signal: Signal) -> rustix::io::Result<()> {
    rustix::process::kill_process(pid, signal)
}

pub(super) fn signal_group(leader: Pid, signal: Signal) {
    match rustix::process::kill_process_group(leader, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => {
            let error = io::Error::from(error);
            tracing::warn!(pid = leader.as_raw_nonzero().get(), %error, "a process group can't be signalled");
        }
    }
}
