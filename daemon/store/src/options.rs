//! What an operator may choose about the state.

use std::path::PathBuf;

/// How the state is kept. Begin with [`Options::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The database file. Its folder is made when missing; SQLite keeps `-wal` and `-shm` files beside it, the daemon a `.lock`.
    pub path: PathBuf,
    /// The newest revisions whose changes stay, at least, for `watch` to replay. Default 10,000.
    pub keep_changes: u64,
    /// The most bytes that those changes may take; the oldest go first. Values of more than 4 KiB take nothing: they are read from their keys.
    /// Default 64 MiB.
    pub keep_change_bytes: u64,
    /// Reads that may run side by side. Default 4, at least 1.
    pub readers: usize,
}

impl Options {
    /// The defaults, with this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            keep_changes: 10_000,
            keep_change_bytes: 64 << 20,
            readers: 4,
        }
    }
}
