//! Core dumps of plugins that trapped, for their authors: memories, globals and the stack of the guest, in the format that tools for
//! WebAssembly read. What the host keeps from guests is in none of them.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use tradewind_core::names::InstanceName;
use wasmtime::{AsContextMut, WasmCoreDump};

use crate::base::files::private_folder;

const EXTENSION: &str = "core.wasm";

/// The folder that they are written to. The newest are kept.
#[derive(Debug)]
pub(crate) struct CoreDumps {
    folder: PathBuf,
    keep: usize,
}

impl CoreDumps {
    /// # Errors
    /// When the folder can't be made or closed to others.
    pub(crate) fn open(folder: &Path, keep: usize) -> io::Result<Self> {
        Ok(Self {
            folder: private_folder(folder)?,
            keep,
        })
    }

    /// Writes the dump that comes with an error, if one does. Failing to is told in the log alone: the call has failed for a reason of its own.
    pub(crate) fn write(
        &self,
        error: &wasmtime::Error,
        store: impl AsContextMut,
        instance: &InstanceName,
        operation: &str,
    ) {
        let Some(dump) = error.downcast_ref::<WasmCoreDump>() else {
            return;
        };
        let content = dump.serialize(store, instance.as_str());
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        // Equal lengths, so that the order of names is that of times.
        let path = self
            .folder
            .join(format!("{now:013}-{instance}-{operation}.{EXTENSION}"));
        match self.put(&path, &content) {
            Ok(()) => {
                tracing::info!(plugin = %instance, operation, file = %path.display(), bytes = content.len(), "a core dump is written")
            }
            Err(error) => {
                tracing::warn!(plugin = %instance, operation, error = &error as &dyn std::error::Error, "a core dump can't be written")
            }
        }
    }

    fn put(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let others = fs::read_dir(&self.folder)?.collect::<Result<Vec<_>, _>>()?;
        let mut others: Vec<PathBuf> = others
            .iter()
            .map(fs::DirEntry::path)
            .filter(|p| p.to_string_lossy().ends_with(EXTENSION))
            .collect();
        others.sort();
        let surplus = (others.len() + 1).saturating_sub(self.keep);
        others.iter().take(surplus).try_for_each(fs::remove_file)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(content)
    }
}
