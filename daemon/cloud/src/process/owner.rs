//! Whose a folder of processes is: the path under which it was used last, kept in the folder itself. A copy carries the path of its original,
//! so it is told from it before it starts or ends anything. Everything here blocks.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

const NAME: &str = ".owner";
pub(super) const LOCK: &str = ".lock";

#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    /// Where the folder was when a daemon used it last.
    path: PathBuf,
    /// Where a copy is that has taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken_over: Option<PathBuf>,
}

/// Where the folder was used last, when that is another place. None: here, or nobody has used it yet.
pub(super) fn elsewhere(folder: &Path) -> Option<PathBuf> {
    let owner = read(folder)?;
    let last = owner.taken_over.unwrap_or(owner.path);
    (last != folder && !is_same(&last, folder)).then_some(last)
}

/// Whether a daemon uses that folder at this moment.
pub(super) fn is_in_use(folder: &Path) -> bool {
    let Ok(lock) = OpenOptions::new().write(true).open(folder.join(LOCK)) else {
        return false;
    };
    matches!(
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive),
        Err(rustix::io::Errno::WOULDBLOCK)
    )
}

/// From now on the folder is used here. One that is still at `before` is told, so that no daemon goes on with it unasked.
pub(super) fn settle(folder: &Path, before: Option<&Path>) -> io::Result<()> {
    if let Some(before) = before
        && let Some(owner) = read(before)
    {
        let told = write(
            before,
            &Owner {
                taken_over: Some(folder.to_owned()),
                ..owner
            },
        );
        if let Err(error) = told {
            tracing::warn!(folder = %before.display(), %error, "the folder that this one takes over from can't be told");
        }
    }
    match read(folder) {
        Some(Owner {
            path,
            taken_over: None,
        }) if path == folder => Ok(()),
        _ => write(
            folder,
            &Owner {
                path: folder.to_owned(),
                taken_over: None,
            },
        ),
    }
}

fn read(folder: &Path) -> Option<Owner> {
    serde_json::from_slice(&fs::read(folder.join(NAME)).ok()?).ok()
}

fn write(folder: &Path, owner: &Owner) -> io::Result<()> {
    let fresh = folder.join(".owner.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    serde_json::to_writer(&mut file, owner).map_err(io::Error::other)?;
    fs::rename(fresh, folder.join(NAME))
}

/// One folder under two paths, as a link or a bind mount makes it.
fn is_same(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    place(a).is_some_and(|of_a| place(b) == Some(of_a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_knows_its_original_and_tells_it_when_it_takes_over() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("a"), root.path().join("b"));
        fs::create_dir(&first).unwrap();
        assert_eq!(elsewhere(&first), None);
        settle(&first, None).unwrap();
        assert_eq!(elsewhere(&first), None);
        // The same folder by a link is no other.
        std::os::unix::fs::symlink(&first, root.path().join("link")).unwrap();
        assert_eq!(elsewhere(&root.path().join("link")), None);
        fs::create_dir(&second).unwrap();
        fs::copy(first.join(NAME), second.join(NAME)).unwrap();
        assert_eq!(elsewhere(&second), Some(first.clone()));
        settle(&second, Some(&first)).unwrap();
        assert_eq!(
            (elsewhere(&second), elsewhere(&first)),
            (None, Some(second))
        );
    }
}
