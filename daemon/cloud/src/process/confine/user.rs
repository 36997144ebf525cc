//! The users that processes run as, and what of their folders is given to them. It knows users of this machine's own list and numbers.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, openat},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use tradewind_core::failure::Failure;

/// A user and its first group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::process) struct Ids {
    pub(in crate::process) uid: u32,
    pub(in crate::process) gid: u32,
}

impl Ids {
    fn owner(self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }
}

/// A user by name or number. A number needs no entry: its group has the same number then.
pub(super) fn find(user: &str) -> Result<Ids, Failure> {
    let list = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = user.parse::<u32>().ok();
    match in_list(&list, user, number) {
        Some(ids) => Ok(ids),
        None => number.map(|uid| Ids { uid, gid: uid }).ok_or_else(|| {
            let message = format!(
                "the user \"{}\" of the grant is not in this machine's /etc/passwd",
                user.escape_debug()
            );
            Failure::not_granted(message, "user").remedy(
                "make the user, or give its number in [grants.process] of the instance file",
            )
        }),
    }
}

fn in_list(list: &str, user: &str, number: Option<u32>) -> Option<Ids> {
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let ids = Ids {
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        };
        (name == user || number == Some(ids.uid)).then_some(ids)
    })
}

/// Lets other users reach what lies below `data` by its name, and nothing else in it: they may pass these folders, not list them, and what
/// else is in `data` is closed to them.
pub(in crate::process) fn open_way(data: &Path, to: &Path) -> io::Result<()> {
    let mut way: Vec<&Path> = to
        .ancestors()
        .take_while(|at| at.starts_with(data))
        .collect();
    way.reverse();
    for (i, folder) in way.iter().enumerate() {
        let mode = fs::metadata(folder)?.mode();
        if i == 0 && way.len() > 2 {
            close_others(folder, way.get(1).copied())?;
        }
        if mode & 0o011 != 0o011 {
            fs::set_permissions(folder, fs::Permissions::from_mode((mode & 0o7700) | 0o011))?;
        }
    }
    let closed = data
        .ancestors()
        .skip(1)
        .find(|at| fs::metadata(at).is_ok_and(|m| m.mode() & 0o001 == 0));
    closed.map_or(Ok(()), |at| {
        let text = format!(
            "the user of the grant can't pass \"{}\": put the data folder where every user may go",
            at.display()
        );
        Err(io::Error::other(text))
    })
}

/// What lies in a folder that is open, and would be kept from others by it alone.
fn close_others(folder: &Path, except: Option<&Path>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        if Some(entry.path().as_path()) == except || found.is_symlink() || found.mode() & 0o077 == 0
        {
            continue;
        }
        fs::set_permissions(
            entry.path(),
            fs::Permissions::from_mode(found.mode() & 0o7700),
        )?;
    }
    Ok(())
}

/// Gives a file, or a folder with all that is in it, to a user. It follows no link.
pub(in crate::process) fn give(path: &Path, ids: Ids) -> io::Result<()> {
    let (uid, gid) = ids.owner();
    let found = fs::symlink_metadata(path)?;
    if found.uid() == ids.uid && found.gid() == ids.gid {
        return Ok(());
    }
    if found.is_dir() {
        let folder = openat(CWD, path, FOLDER, Mode::empty())?;
        give_inside(&folder, ids)?;
    }
    chownat(CWD, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn give_inside(folder: &impl std::os::fd::AsFd, ids: Ids) -> io::Result<()> {
    let (uid, gid) = ids.owner();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
            match openat(folder, name, FOLDER, Mode::empty()) {
                Ok(below) => give_inside(&below, ids)?,
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let list = "root:x:0:0:root:/root:/bin/sh\nweb:x:1001:33:Web:/srv:/bin/false\nbroken\n";
        assert_eq!(in_list(list, "web", None), Some(Ids { uid: 1001, gid: 33 }));
        assert_eq!(
            in_list(list, "1001", Some(1001)),
            Some(Ids { uid: 1001, gid: 33 })
        );
        assert_eq!(
            (in_list(list, "1002", Some(1002)), in_list(list, "we", None)),
            (None, None)
        );
    }

    #[test]
    fn the_way_to_a_folder_is_passed_and_nothing_beside_it_is_read() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().mode() & 0o777;
        for (folder, bits) in [
            ("data", 0o700),
            ("data/secrets", 0o755),
            ("data/processes", 0o700),
            ("data/processes/a", 0o700),
        ] {
            fs::create_dir(at(folder)).unwrap();
            fs::set_permissions(at(folder), fs::Permissions::from_mode(bits)).unwrap();
        }
        fs::write(at("data/key"), "x").unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let closed = open_way(&at("data"), &at("data/processes/a"))
            .unwrap_err()
            .to_string();
        assert!(
            closed.contains(&root.path().display().to_string()),
            "{closed}"
        );
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711)).unwrap();
        open_way(&at("data"), &at("data/processes/a")).unwrap();
        assert_eq!(
            [
                mode("data"),
                mode("data/processes"),
                mode("data/processes/a")
            ],
            [0o711; 3]
        );
        assert_eq!((mode("data/secrets"), mode("data/key")), (0o700, 0o600));
    }
}
