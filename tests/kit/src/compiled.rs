//! Compiled components, kept from one throwaway daemon for the next. Compiling two of them takes a development build more than a second, and
//! nearly every test starts with the same two.
//!
//! A daemon trusts what it finds in its cache folder no more than it would trust its own: it compares each entry with its digest. So what is
//! copied here while a daemon writes costs time at most.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use tradewind_core::names::Digest;

use super::{binary, target};

/// The cache of a daemon that had these components, below the folder of what `make` has built.
/// A development build of the engine keeps apart what it compiled after it was built anew, and so does this.
fn kept(plugins: &Path) -> io::Result<PathBuf> {
    let built = fs::metadata(binary())?
        .modified()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    let mut components = Vec::new();
    for file in fs::read_dir(plugins)? {
        let path = file?.path();
        if path.extension().is_some_and(|e| e == "wasm") {
            components.push(Digest::of(&fs::read(path)?).hex());
        }
    }
    components.sort();
    Ok(target()
        .join("compiled")
        .join(built.to_string())
        .join(Digest::of(components.concat().as_bytes()).hex()))
}

/// Gives a daemon that has no cache folder yet what an earlier one compiled of the same components. Answers where to keep what it compiles
/// where none has.
pub(crate) fn give(plugins: &Path, cache: &Path) -> io::Result<Option<PathBuf>> {
    if cache.exists() {
        return Ok(None);
    }
    let kept = kept(plugins)?;
    if kept.exists() {
        copy(&kept, cache).map(|()| None)
    } else {
        Ok(Some(kept))
    }
}

/// Keeps what a daemon has compiled.
pub(crate) fn take(kept: &Path, cache: &Path) -> io::Result<()> {
    let Some(folder) = kept.parent() else {
        return Ok(());
    };
    if !folder.exists() {
        // What an earlier build has compiled is of use to nobody.
        let _ = folder.parent().map(fs::remove_dir_all);
        fs::create_dir_all(folder)?;
    }
    let fresh = tempfile::tempdir_in(folder)?;
    // What is known of the entries goes before the entries: so there is no entry among the known that is not whole.
    for part in ["entries", "code"] {
        copy(&cache.join(part), &fresh.path().join(part))?;
    }
    // Another test may have been quicker.
    let _ = fs::rename(fresh.path(), kept);
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        let goal = to.join(file.file_name());
        if file.file_type()?.is_dir() {
            copy(&file.path(), &goal)?;
        } else {
            fs::copy(file.path(), goal)?;
        }
    }
    Ok(())
}
