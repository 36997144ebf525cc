//! The state's file on disk: its folder, permissions, lock and connections. It knows no table.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::Error;

/// Only a foreign program's lock can make a connection wait: the daemon's own never do in WAL mode.
const BUSY: Duration = Duration::from_secs(5);

/// Held for as long as this process may write the state. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Makes the folder and takes the state for this process.
    ///
    /// # Errors
    /// Another daemon has it, or the folder can't be made or written.
    pub fn take(path: &Path) -> Result<Self, Error> {
        lock(path)
    }

    /// Which process has a state, as far as that can be told. None: nobody has it. Nothing is made or kept.
    pub fn owner(path: &Path) -> Option<String> {
        let mut file = File::open(suffixed(path, ".lock")).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(owner(&mut file)),
            _ => None,
        }
    }
}

impl Drop for Lock {
    /// Given up explicitly: closing the file is not enough while a child that is being started still has it.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "the lock of the state can't be given up");
        }
    }
}

fn lock(path: &Path) -> Result<Lock, Error> {
    make_folder(path)?;
    let lock_path = suffixed(path, ".lock");
    let failed = |source| Error::File {
        path: lock_path.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::InUse {
                path: path.to_owned(),
                owner: owner(&mut file),
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    // For the message above only: whether the state is taken is the kernel's word.
    record_owner(&mut file).map_err(failed)?;
    Ok(Lock { file })
}

fn make_folder(path: &Path) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |source| Error::Folder {
        path: folder.to_owned(),
        source,
    };
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    // The new folder's own entry must outlast a power cut, or what is synced inside it is lost with it.
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(failed),
        _ => Ok(()),
    }
}

fn owner(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(32).read_to_string(&mut text) {
        Ok(_) if text.trim().parse::<u32>().is_ok() => format!("process {}", text.trim()),
        _ => "its process is not known".to_owned(),
    }
}

fn record_owner(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Whether the last run ended without closing the state: its write-ahead log still holds something.
pub(crate) fn ended_badly(path: &Path) -> bool {
    std::fs::metadata(suffixed(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

/// A connection that may write. The file is made when missing, and readable for its owner only.
pub(crate) fn writer(path: &Path) -> Result<Connection, Error> {
    make_private(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })?;
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|source| failure("opened", path, source))
}

/// SQLite gives the files it puts beside this one the same mode.
fn make_private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    // One thread at a time uses a connection: SQLite's own mutexes would only cost.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Damage gets a message with a remedy, whatever was being done when it showed.
pub(crate) fn failure(action: &'static str, path: &Path, source: rusqlite::Error) -> Error {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Error::Damaged {
            path: path.to_owned(),
            finding: source.to_string(),
        },
        _ => Error::Sqlite {
            action,
            path: path.to_owned(),
            source,
        },
    }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
