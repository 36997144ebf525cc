//! Makes a shadow policy a plugin of the folder, as if an operator had put its files there.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::task::spawn_blocking;
use tradewind_api::PluginView;
use tradewind_core::names::InstanceName;

use super::{
    commit::Committer,
    reconciler::{Cause, Reconciler},
};
use crate::{base::files, trial::shadow::ShadowError};

/// # Errors
/// The name is taken, the folder can't be written, or what has been put there is refused; it is gone again then.
pub(super) async fn shadow(
    committer: &mut Committer,
    reconciler: &Reconciler,
    name: &InstanceName,
) -> Result<PluginView, ShadowError> {
    let unknown = || ShadowError::Unknown { name: name.clone() };
    let (record, component, text) = committer.shadows().files(name).await?;
    let folder = reconciler.folder();
    let files = files_of(folder, name, component, text);
    let paths: Vec<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
    let free = spawn_blocking(move || put(&files))
        .await
        .map_err(io::Error::other)
        .and_then(|r| r);
    let looked = match free {
        Ok(true) => reconciler
            .reconcile(committer, Cause::Demand)
            .await
            .map(|_| ()),
        Ok(false) => {
            return Err(ShadowError::Taken {
                name: name.clone(),
                by: "a file of the plugin folder",
            });
        }
        Err(error) => Err(error),
    };
    let slot = committer.instances().get(name);
    if slot.is_some_and(|s| s.serving() == Some((record.component, record.settings))) {
        return committer.view(name).ok_or_else(unknown);
    }
    let reason = slot
        .and_then(|s| s.rejection())
        .map_or_else(|| "it did not load".to_owned(), |r| r.reason.clone());
    let removed = spawn_blocking(move || {
        paths
            .iter()
            .for_each(|path| drop(std::fs::remove_file(path)))
    });
    let _gone = removed.await;
    Err(match looked {
        Ok(()) => ShadowError::Refused { reason },
        Err(source) => ShadowError::Folder {
            path: folder.clone(),
            source,
        },
    })
}

/// The instance file comes first: the component alone would be a plugin with the default settings.
fn files_of(
    folder: &Path,
    name: &InstanceName,
    component: Vec<u8>,
    text: Vec<u8>,
) -> Vec<(PathBuf, Vec<u8>)> {
    let file = (!text.is_empty()).then(|| (folder.join(format!("{name}.toml")), text));
    file.into_iter()
        .chain([(folder.join(format!("{name}.wasm")), component)])
        .collect()
}

/// Writes files that are not there yet, or are so already. False: others have their names; nothing has been written.
fn put(files: &[(PathBuf, Vec<u8>)]) -> io::Result<bool> {
    if files
        .iter()
        .any(|(path, bytes)| std::fs::read(path).is_ok_and(|there| there != *bytes))
    {
        return Ok(false);
    }
    files
        .iter()
        .try_for_each(|(path, bytes)| files::write(path, bytes))?;
    Ok(true)
}
