//! Why the state could not be opened or closed, and what stands behind a failed read or write.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tradewind_core::store;

#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("the folder \"{}\" of the state can't be made", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("the state's file \"{}\" can't be opened for writing", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(
        "the state at \"{}\" is in use by another daemon ({owner}): stop that one, or give this one another folder (the setting \"data\")",
        path.display()
    )]
    InUse { path: PathBuf, owner: String },
    #[error("the file \"{}\" is a database of another program: name a path where the state may be made", path.display())]
    Foreign { path: PathBuf },
    #[error(
        "the state at \"{}\" has schema {found}, this version knows none after {known}: run the version that wrote it or a newer one",
        path.display()
    )]
    Newer {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error("the copy of a state at \"{}\" has schema {found}, the oldest that can be restored is {known}", path.display())]
    Older {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error("the state at \"{}\" is damaged ({finding}): put a backup back (`tradewind restore`), or move it away to start with nothing", path.display())]
    Damaged { path: PathBuf, finding: String },
    #[error("the file system of \"{}\" can't hold the state: its journal stays in mode \"{mode}\", wanted \"wal\"", path.display())]
    FileSystem { path: PathBuf, mode: String },
    #[error("the state at \"{}\" can't be {action}", path.display())]
    Sqlite {
        action: &'static str,
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error("work on the state broke off")]
    Task { source: tokio::task::JoinError },
    #[error("the thread that writes the state can't be started")]
    Thread { source: io::Error },
}

/// What a failed write shows as its source, where SQLite's own error would not say enough.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("an earlier write failed half-way, and the file can't be read anew")]
    Halted { source: Arc<rusqlite::Error> },
    #[error(
        "one transaction has {writes} writes of {bytes} bytes, allowed are {max_writes} writes and {max_bytes} bytes"
    )]
    TooLarge {
        writes: usize,
        bytes: usize,
        max_writes: usize,
        max_bytes: usize,
    },
}

pub(crate) fn backend(
    action: &'static str,
    path: &std::path::Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> store::Error {
    store::Error::Backend {
        action,
        path: path.display().to_string(),
        source: source.into(),
    }
}
