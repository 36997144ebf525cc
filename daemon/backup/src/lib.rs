//! Backups: the whole state as one file, made while the daemon works, and put back where there is none. It knows files and folders;
//! what the state means is not its affair.
//!
//! In it: the state with its audit log, the plugins with their instance files and their history, the records of processes.
//! Not in it: secrets, tokens in clear, TLS keys, the output and the working folders of processes, compiled plugins, the settings.
#![warn(missing_docs)]

mod archive;
mod authority;
mod contents;
mod grants;
mod origin;
mod restore;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tradewind_cloud::SystemClock;
use tradewind_core::{
    audit::{self, Fault},
    capability::Clock,
    document,
    names::Digest,
    record::Origin,
    store::Revision,
    units::Instant,
};
use tradewind_store::Database;

use archive::FORMAT;
pub use origin::{admit, shown};
pub use restore::{Choices, Report, confirm, prepare, unfinished};

/// What is backed up from where, and put back to.
#[derive(Debug, Clone)]
pub struct Folders {
    /// The data folder.
    pub data: PathBuf,
    /// The plugin folder.
    pub plugins: PathBuf,
}

/// Reads a backup whole and checks that it is as it was written.
///
/// # Errors
/// It is none, or was changed or cut off.
pub fn check(path: &Path) -> Result<Checked, Error> {
    archive::open(path).map(|archive| Checked {
        digest: archive.digest,
        index: archive.index,
    })
}

/// A backup that is as it was written.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Of the whole file, as `sha256sum` tells it; of one of format 1, without the last line, which holds it. Who keeps it elsewhere knows
    /// the file again: `restore --expect`.
    pub digest: Digest,
    /// What it says of itself.
    #[serde(flatten)]
    pub index: Index,
}

impl Folders {
    fn state(&self) -> PathBuf {
        self.data.join("state.db")
    }
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "BackupIndex")]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// The version of the file's format.
    pub format: u32,
    /// The daemon's.
    pub version: String,
    /// When it was made.
    pub created_at: Instant,
    /// The store's revision.
    pub revision: Revision,
    /// The daemon that made it. Absent: made by a version that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Where its audit log ends.
    pub audit: audit::Head,
    /// Every file in it.
    pub files: Vec<Member>,
}

/// One file in it, in the order in which their bytes follow one another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "BackupMember")]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its name in the backup.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Of its bytes.
    pub digest: Digest,
}

#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("a backup is being made already: wait until it is done")]
    Busy,
    #[error("the state can't be backed up or restored")]
    State(#[source] Box<tradewind_store::Error>),
    #[error("the state can't be written")]
    Store(#[from] tradewind_core::store::Error),
    #[error("\"{}\" can't be {action}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("\"{}\" is no backup of Tradewind, or the end of it is missing", path.display())]
    NoBackup { path: PathBuf },
    #[error("the backup \"{}\" is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("the backup \"{}\" has format {found}, this version reads formats up to {known}", path.display())]
    Format {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    #[error("the backup \"{}\" was made by version {found}, which is newer than this one, {}: restore it with that version", path.display(), env!("CARGO_PKG_VERSION"))]
    Newer { path: PathBuf, found: String },
    #[error("the backup \"{}\" has the digest {found}, and {expected} was expected: it is another file, or somebody has changed it", path.display())]
    Unexpected {
        path: PathBuf,
        found: Digest,
        expected: Digest,
    },
    #[error("\"{key}\" in the state can't be understood")]
    Document {
        key: String,
        source: document::Error,
    },
    #[error("the audit log in the backup \"{}\" is not what was recorded", path.display())]
    Audit { path: PathBuf, source: Fault },
    #[error("the folder \"{}\" has a state already: name another with --data, or set that state aside with --force", data.display())]
    Occupied { data: PathBuf },
    #[error("the state in \"{}\" is that of the daemon of {origin}, which may still run: two daemons of one state work against each other", data.display())]
    Unconfirmed { data: PathBuf, origin: String },
    #[error("the daemon whose state this is runs on this machine, on the folder \"{}\" ({owner})", data.display())]
    Alive { data: PathBuf, owner: String },
    #[error("the state in \"{}\" was taken over by the daemon of \"{}\"", data.display(), by.display())]
    TakenOver { data: PathBuf, by: PathBuf },
    #[error("the folder \"{}\" holds no state that was restored", data.display())]
    NotRestored { data: PathBuf },
    #[error("work on the backup broke off")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    /// What can be done about it.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Unconfirmed { .. } => Some(
                "if that daemon has ended for good, say so with `tradewind restore --confirm`: what runs is adopted at the next start. \
                 As long as it may run, this state must not be served",
            ),
            Self::Alive { .. } => {
                Some("stop that daemon first, for good: one of the two has to go")
            }
            Self::TakenOver { .. } => Some(
                "use that daemon. If it has gone for good, remove the file \"taken-over\" in this folder, and what it has started since is not known here",
            ),
            Self::NotRestored { .. } => Some("name the backup: `tradewind restore FILE`"),
            _ => None,
        }
    }
}

impl From<tradewind_store::Error> for Error {
    fn from(error: tradewind_store::Error) -> Self {
        Self::State(Box::new(error))
    }
}

/// A backup that has been made: its bytes, to be sent on. The file has no name any more.
#[derive(Debug)]
pub struct Made {
    /// The file, at its beginning.
    pub file: File,
    /// Bytes.
    pub size: u64,
    /// What it says of itself.
    pub index: Index,
}

/// The way to backups of this daemon. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    store: Database,
    folders: Arc<Folders>,
    /// One at a time: each needs the state's size on disk once more.
    turn: Arc<Semaphore>,
}

impl Handle {
    /// Backups of this state and these folders.
    pub fn new(store: Database, folders: Folders) -> Self {
        Self {
            store,
            folders: Arc::new(folders),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Makes a backup of this moment. The daemon goes on meanwhile.
    ///
    /// # Errors
    /// Another is being made, or a file can't be read or written.
    pub async fn make(&self) -> Result<Made, Error> {
        let Ok(_turn) = self.turn.try_acquire() else {
            return Err(Error::Busy);
        };
        let draft = Draft::new(&self.folders.data)?;
        let snapshot = self.store.copy(draft.path("state.db")).await?;
        let folders = self.folders.clone();
        let made = tokio::task::spawn_blocking(move || {
            let mut sources = vec![("state.db".to_owned(), draft.path("state.db"))];
            sources.extend(contents::list(&folders)?);
            let index = Index {
                format: FORMAT,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                created_at: SystemClock.now(),
                revision: snapshot.revision,
                origin: Some(origin::here(&folders.data)),
                audit: snapshot.audit,
                files: Vec::new(),
            };
            let path = draft.path("backup");
            let index = archive::write(&path, index, sources)?;
            let failed = |source| Error::Io {
                action: "read",
                path: path.clone(),
                source,
            };
            let file = File::open(&path).map_err(failed)?;
            let size = file.metadata().map_err(failed)?.len();
            Ok(Made { file, size, index })
        });
        made.await?
    }
}

/// A folder beside the state for what is on its way. It goes when this is dropped; what is open of it stays readable.
struct Draft(PathBuf);

impl Draft {
    fn new(data: &Path) -> Result<Self, Error> {
        use std::os::unix::fs::DirBuilderExt;
        let path = data.join(format!(
            ".backup-{}",
            ulid::Ulid::r#gen().to_string().to_lowercase()
        ));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| Error::Io {
            action: "made",
            path: path.clone(),
            source,
        })?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a folder of a backup could not be removed");
        }
    }
}
