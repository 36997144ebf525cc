//! Which port numbers are handed out. It chooses free ones and keeps two processes from getting the same; it must not know grants.

use std::{
    collections::BTreeSet,
    io,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tradewind_core::workload::Protocol;

use super::sockets::{self, Holder};

const ATTEMPTS: u32 = 64;

/// The numbers in use by supervised processes, whether they run at the moment or not.
#[derive(Debug, Default)]
pub(super) struct Ports(Mutex<BTreeSet<u16>>);

impl Ports {
    /// Takes a number that nobody listens on now. Blocks shortly.
    pub(super) fn choose(&self) -> io::Result<u16> {
        for _ in 0..ATTEMPTS {
            let number = sockets::free()?;
            if self.take(number) {
                return Ok(number);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "every free port found is promised to another process",
        ))
    }

    /// Whether this number was still to be had.
    pub(super) fn take(&self, number: u16) -> bool {
        self.0.lock().insert(number)
    }

    /// Who keeps a process from listening on this number. A socket without a process is about to go, so it is waited for shortly. Blocks.
    pub(super) fn holder(number: u16, protocol: Protocol) -> io::Result<Option<Holder>> {
        const PATIENCE: Duration = Duration::from_millis(500);
        let began = Instant::now();
        loop {
            match sockets::holder(number, protocol)? {
                Some(Holder { pid: None }) if began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20))
                }
                other => return Ok(other),
            }
        }
    }

    pub(super) fn release(&self, number: u16) {
        self.0.lock().remove(&number);
    }
}
