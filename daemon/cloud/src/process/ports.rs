//! Which port numbers are handed out. It chooses free ones and keeps two processes from getting the same; it must not know grants.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, TcpListener},
    sync::{Mutex, PoisonError},
};

const ATTEMPTS: u32 = 64;

/// The numbers in use by supervised processes, whether they run at the moment or not.
#[derive(Debug, Default)]
pub(super) struct Ports(Mutex<BTreeSet<u16>>);

impl Ports {
    /// Takes a number that nobody listens on now. Blocks shortly.
    pub(super) fn choose(&self) -> io::Result<u16> {
        for _ in 0..ATTEMPTS {
            // The system gives out numbers in a random order, so a number just freed is unlikely to be taken by somebody else
            // before the process listens on it.
            let number = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            if self.take(number) {
                return Ok(number);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "every free port found is promised to another process"))
    }

    /// Whether this number was still to be had.
    pub(super) fn take(&self, number: u16) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number)
    }

    pub(super) fn release(&self, number: u16) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }
}
