//! `daemon.json` in the data folder: how a client on the same machine finds the daemon that runs there.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
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

impl Daemon {
    /// Whether the process that wrote the file still runs, and is of the file's owner: somebody else may listen at its address by now.
    pub fn is_running(&self, data: &Path) -> bool {
        let owner = |path: &Path| fs::metadata(path).map(|m| m.uid()).ok();
        let process = owner(Path::new(&format!("/proc/{}", self.pid)));
        process.is_some() && process == owner(&path(data))
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
        let path = &self.path;
        let fresh = path.with_extension("json.new");
        fs::write(&fresh, serde_json::to_vec_pretty(daemon)?)?;
        fs::rename(&fresh, path)
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
}
