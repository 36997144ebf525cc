//! `daemon.json` in the data folder: how a client on the same machine finds the daemon that runs there. Until that daemon is ready, the
//! folder has `starting.json` instead: a client waits for such a daemon.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tradewind_core::{names::Digest, units::Instant};

/// What a running daemon says of itself in its data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// The API's URL, for clients on this machine.
    pub address: String,
    /// SHA-256 of the public key of the certificate that it shows. Absent: it speaks plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Digest>,
    /// When that certificate ends.
    #[serde(
        default,
        rename = "certificateEnds",
        skip_serializing_if = "Option::is_none"
    )]
    pub certificate_ends: Option<Instant>,
    /// The daemon's process.
    pub pid: u32,
    /// The daemon's release.
    pub version: String,
}

/// What a daemon says of itself in its data folder until it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starting {
    /// The API's URL, for clients on this machine. It answers that the daemon is starting.
    pub address: String,
    /// The daemon's process.
    pub pid: u32,
    /// When it began to start.
    pub since: Instant,
    /// The components that have no compiled code yet, or had none.
    pub components: u32,
    /// How many of them are compiled.
    pub compiled: u32,
}

/// Exists while the daemon starts; removed when dropped.
#[derive(Debug)]
pub struct StartingFile {
    path: PathBuf,
}

/// Exists while the daemon runs; removed when dropped.
#[derive(Debug)]
pub struct RuntimeFile {
    path: PathBuf,
}

fn path(data: &Path) -> PathBuf {
    data.join("daemon.json")
}

/// What the running daemon left there, if anything. A file that can't be read counts as none.
pub fn read(data: &Path) -> Option<Daemon> {
    serde_json::from_slice(&fs::read(path(data)).ok()?).ok()
}

fn starting_path(data: &Path) -> PathBuf {
    data.join("starting.json")
}

/// The daemon that is starting on this folder, if any. One whose process has gone does not count.
pub fn starting(data: &Path) -> Option<Starting> {
    let path = starting_path(data);
    let starting: Starting = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
    runs(starting.pid, &path).then_some(starting)
}

/// How long ago a folder was made in which a first daemon is expected.
const FRESH: Duration = Duration::from_secs(10);

/// Whether a daemon may be about to start on this folder, although it has said nothing yet: the folder was just made, or a process that lives
/// has the state.
pub fn may_start(data: &Path) -> bool {
    let made = fs::metadata(data).and_then(|folder| folder.created());
    let is_fresh = made
        .ok()
        .and_then(|made| made.elapsed().ok())
        .is_some_and(|age| age < FRESH);
    let lock = data.join("state.db.lock");
    let owner = fs::read_to_string(&lock)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    is_fresh || owner.is_some_and(|pid| runs(pid, &lock))
}

/// Whether the process that wrote the file still runs, and is of the file's owner.
fn runs(pid: u32, file: &Path) -> bool {
    let owner = |path: &Path| fs::metadata(path).map(|m| m.uid()).ok();
    let process = owner(Path::new(&format!("/proc/{pid}")));
    process.is_some() && process == owner(file)
}

/// Readers see the whole file or none.
fn replace(path: &Path, said: &impl Serialize) -> io::Result<()> {
    let fresh = path.with_extension("json.new");
    fs::write(&fresh, serde_json::to_vec_pretty(said)?)?;
    fs::rename(&fresh, path)
}

impl Daemon {
    /// Whether the process that wrote the file still runs, and is of the file's owner: somebody else may listen at its address by now.
    pub fn is_running(&self, data: &Path) -> bool {
        runs(self.pid, &path(data))
    }
}

impl Starting {
    /// How far the daemon is, for people.
    pub fn progress(&self) -> String {
        starting_text(self.compiled, self.components)
    }
}

/// How far a daemon that is starting is, for people.
pub fn starting_text(compiled: u32, components: u32) -> String {
    match components {
        0 => "the daemon is starting".to_owned(),
        1 => "the daemon is starting: it compiles a component".to_owned(),
        all => format!("the daemon is starting: {compiled} of {all} components are compiled"),
    }
}

impl StartingFile {
    /// Readers see the whole file or none.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn write(data: &Path, starting: &Starting) -> io::Result<Self> {
        let file = Self {
            path: starting_path(data),
        };
        file.rewrite(starting)?;
        Ok(file)
    }

    /// # Errors
    /// When the folder can't be written.
    pub fn rewrite(&self, starting: &Starting) -> io::Result<()> {
        replace(&self.path, starting)
    }
}

impl Drop for StartingFile {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), error = %e, "the file that says that the daemon starts could not be removed");
        }
    }
}

impl RuntimeFile {
    /// Readers see the whole file or none.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn write(data: &Path, daemon: &Daemon) -> io::Result<Self> {
        let file = Self { path: path(data) };
        file.rewrite(daemon)?;
        Ok(file)
    }

    /// # Errors
    /// When the folder can't be written.
    pub fn rewrite(&self, daemon: &Daemon) -> io::Result<()> {
        replace(&self.path, daemon)
    }
}

impl Drop for RuntimeFile {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), error = %e, "the runtime file could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_exists_as_long_as_it_is_held() {
        let data = tempfile::tempdir().unwrap();
        let daemon = Daemon {
            address: "http://127.0.0.1:1".into(),
            fingerprint: None,
            certificate_ends: None,
            pid: 7,
            version: "0".into(),
        };
        assert_eq!(read(data.path()), None);
        let file = RuntimeFile::write(data.path(), &daemon).unwrap();
        assert_eq!(read(data.path()), Some(daemon));
        drop(file);
        assert_eq!(read(data.path()), None);
    }

    #[test]
    fn a_daemon_that_starts_counts_while_its_process_runs() {
        let data = tempfile::tempdir().unwrap();
        let of = |pid| Starting {
            address: "http://127.0.0.1:1".into(),
            pid,
            since: Instant(0),
            components: 10,
            compiled: 3,
        };
        let file = StartingFile::write(data.path(), &of(std::process::id())).unwrap();
        let told = starting(data.path()).unwrap();
        assert_eq!(
            told.progress(),
            "the daemon is starting: 3 of 10 components are compiled"
        );
        file.rewrite(&of(u32::MAX)).unwrap();
        assert_eq!(starting(data.path()), None);
        drop(file);
        assert!(!data.path().join("starting.json").exists());
    }
}
