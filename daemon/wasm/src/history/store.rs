//! What is remembered on disk: the history of every instance and the bytes of its good versions, so that a roll-back is one call and a
//! bad file in the folder can't outlive a restart. All functions block but `apart`.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tradewind_core::{
    document::{self, Document},
    names::{Digest, InstanceName},
};

use super::versions::{Entry, History};
use crate::base::{
    files::{private_folder, write},
    pair::Pair,
};

/// What every trial has: the bytes that it refers to.
#[derive(Deserialize)]
struct Referred {
    component: Digest,
    settings: Digest,
}

/// The folder that holds all of it.
#[derive(Debug, Clone)]
pub(crate) struct HistoryStore {
    folder: PathBuf,
}

impl HistoryStore {
    /// `trials`: what the names of those that this daemon knows begin with, and the newest version of their documents.
    ///
    /// # Errors
    /// When the folder can't be made, or a newer daemon has written there: nothing of it is touched then.
    pub(crate) fn open(folder: &Path, trials: &[(&str, u32)]) -> io::Result<Self> {
        let folder = private_folder(folder)?;
        for part in ["components", "settings", "history", "trials"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let store = Self { folder };
        store.check("history", "", History::VERSION)?;
        for (prefix, known) in trials {
            store.check("trials", prefix, *known)?;
        }
        Ok(store)
    }

    /// Does this off the async threads.
    ///
    /// # Errors
    /// Its own, or that it broke off.
    pub(crate) async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store))
            .await
            .map_err(io::Error::other)?
    }

    /// Refuses what is newer than `known`. What can't be read at all is told where it is used.
    fn check(&self, part: &str, prefix: &str, known: u32) -> io::Result<()> {
        for (path, bytes) in self.documents(part, prefix)? {
            if let Err(error @ document::Error::Newer { .. }) = document::readable(&bytes, known) {
                let told = format!(
                    "the document \"{}\" is newer: {error}. Run the daemon that wrote it, or a newer one",
                    path.display()
                );
                return Err(io::Error::other(told));
            }
        }
        Ok(())
    }

    /// The documents of a folder whose names begin so, with their bytes.
    fn documents(&self, part: &str, prefix: &str) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(self.folder.join(part))? {
            let path = entry?.path();
            if path
                .file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| n.starts_with(prefix) && n.ends_with(".json"))
            {
                let bytes = fs::read(&path)?;
                all.push((path, bytes));
            }
        }
        Ok(all)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every history; one that can't be read is told and begun anew, for a plugin must not fail for its past.
    pub(crate) fn histories(&self) -> io::Result<Vec<(InstanceName, History)>> {
        let mut all = Vec::new();
        for (path, bytes) in self.documents("history", "")? {
            let Some(instance) = path
                .file_stem()
                .and_then(|n| n.to_str())
                .and_then(|n| n.parse::<InstanceName>().ok())
            else {
                continue;
            };
            match document::from_slice(&bytes) {
                Ok(history) => all.push((instance, history)),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%instance, error, "the plugin's history can't be read and begins anew");
                }
            }
        }
        Ok(all)
    }

    /// The bytes first, then the history that refers to them, then what no history refers to goes.
    pub(crate) fn keep(
        &self,
        instance: &InstanceName,
        history: &History,
        bytes: Option<(&[u8], &[u8])>,
    ) -> io::Result<()> {
        if let (Some((component, settings)), Some(entry)) = (bytes, history.entries.last()) {
            self.put(&self.component_path(entry.component), component)?;
            self.put(&self.settings_path(entry.settings), settings)?;
        }
        let path = self.folder.join("history").join(format!("{instance}.json"));
        write(&path, &document::to_vec(history).map_err(io::Error::other)?)
    }

    /// Removes bytes that no history refers to.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        let histories = self.histories()?;
        let entries = || histories.iter().flat_map(|(_, h)| &h.entries);
        let trials = self.documents("trials", "")?;
        let referred = trials
            .iter()
            .filter_map(|(_, bytes)| serde_json::from_slice::<Referred>(bytes).ok());
        let trials: Vec<Pair> = referred
            .map(|trial| (trial.component, trial.settings))
            .collect();
        let used = || entries().map(Entry::pair).chain(trials.iter().copied());
        let components: BTreeSet<PathBuf> = used()
            .map(|(component, _)| self.component_path(component))
            .collect();
        let settings: BTreeSet<PathBuf> = used()
            .map(|(_, settings)| self.settings_path(settings))
            .collect();
        for (part, used) in [("components", components), ("settings", settings)] {
            for entry in fs::read_dir(self.folder.join(part))? {
                let path = entry?.path();
                if !used.contains(&path) {
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Remembers a version that is tried beside those that serve. The bytes first.
    pub(crate) fn keep_trial<T: Document>(
        &self,
        name: &str,
        trial: &T,
        bytes: Option<(Pair, &[u8], &[u8])>,
    ) -> io::Result<()> {
        if let Some(((component, settings), component_bytes, text)) = bytes {
            self.put(&self.component_path(component), component_bytes)?;
            self.put(&self.settings_path(settings), text)?;
        }
        write(
            &self.trial_path(name),
            &document::to_vec(trial).map_err(io::Error::other)?,
        )
    }

    /// # Errors
    /// When it can't be removed. Its bytes go with the next sweep.
    pub(crate) fn forget_trial(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.trial_path(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// The trials whose names begin so; one that can't be read is told and passed over.
    pub(crate) fn trials<T: Document>(&self, prefix: &str) -> io::Result<Vec<T>> {
        let mut all = Vec::new();
        for (path, bytes) in self.documents("trials", prefix)? {
            match document::from_slice(&bytes) {
                Ok(trial) => all.push(trial),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(path = %path.display(), error, "a plugin on trial can't be read");
                }
            }
        }
        Ok(all)
    }

    fn trial_path(&self, name: &str) -> PathBuf {
        self.folder.join("trials").join(format!("{name}.json"))
    }

    /// Component and instance file of a kept version, checked against their digests.
    pub(crate) fn bytes(&self, (component, settings): Pair) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let read = |path: PathBuf, digest: Digest| {
            let bytes = fs::read(&path)?;
            if Digest::of(&bytes) == digest {
                Ok(bytes)
            } else {
                Err(io::Error::other(format!("{} is damaged", path.display())))
            }
        };
        Ok((
            read(self.component_path(component), component)?,
            read(self.settings_path(settings), settings)?,
        ))
    }

    fn component_path(&self, digest: Digest) -> PathBuf {
        self.folder
            .join("components")
            .join(format!("{}.wasm", digest.hex()))
    }

    fn settings_path(&self, digest: Digest) -> PathBuf {
        self.folder
            .join("settings")
            .join(format!("{}.toml", digest.hex()))
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if fs::metadata(path).is_ok_and(|m| m.len() == bytes.len() as u64) {
            Ok(())
        } else {
            write(path, bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::versions::{KEPT, tests::entry};

    #[test]
    fn only_what_a_history_refers_to_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = HistoryStore::open(folder.path(), &[]).unwrap();
        let name: InstanceName = "a".parse().unwrap();
        let mut history = History::default();
        for n in 0..30 {
            history.begin(entry(n, u64::from(n)));
            store.keep(&name, &history, Some((&[n], &[n]))).unwrap();
        }
        store.sweep().unwrap();
        assert_eq!(store.histories().unwrap(), [(name, history.clone())]);
        assert_eq!(
            fs::read_dir(folder.path().join("components"))
                .unwrap()
                .count(),
            KEPT
        );
        assert_eq!(
            store.bytes(history.entries[0].pair()).unwrap(),
            (vec![20], vec![20])
        );
        fs::write(
            folder
                .path()
                .join("components")
                .join(format!("{}.wasm", Digest::of(&[29]).hex())),
            b"x",
        )
        .unwrap();
        assert!(store.bytes(history.entries[9].pair()).is_err());
    }
}
