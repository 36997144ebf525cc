//! Whose files are believed: what decides about the daemon must be writable by nobody but root and the daemon's user, and what is secret
//! readable by nobody else. As `sshd` does, it looks at the open file and at every folder on the way to it.
//!
//! - A group may write where it is its owner's alone: the user's own group of systems whose users have a umask of 0002.
//! - A group may read what is secret where root owns it, as for PostgreSQL's keys: root has chosen the group.
//! - A folder that everybody may write to counts as closed when it is sticky, like `/tmp`, or mounted read-only.
//! - Bits of a file count as far as others can reach it: in a folder of mode 0700 they give nothing away.

use std::{
    fmt,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::fs::StatVfsMountFlags;

/// The setting that turns the check off.
pub const SETTING: &str = "reload.trust-any-owner";

static ANYBODY: AtomicBool = AtomicBool::new(false);

/// Believes files whoever owns them, from now on, in this process.
pub fn trust_anybody(yes: bool) {
    ANYBODY.store(yes, Ordering::Relaxed);
}

/// What a file is to the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It decides about the daemon: nobody else may write it.
    Trusted,
    /// Nobody else may read it either.
    Secret,
}

/// A file that is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" {why}: run `{remedy}`{accepted}", path.display())]
pub struct Untrusted {
    /// The file, or the folder above it.
    path: PathBuf,
    why: String,
    remedy: String,
    accepted: Accepted,
}

/// What would have a file believed as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// The setting `reload.trust-any-owner`.
    BySetting,
    /// Who reads it does not know the settings yet.
    ByVariable(&'static str),
    /// Nothing: its owner or its mode has to change.
    Never,
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BySetting => write!(f, ", or set {SETTING} = true to accept it"),
            Self::ByVariable(variable) => {
                write!(f, ", or set the variable {variable}=true to accept it")
            }
            Self::Never => Ok(()),
        }
    }
}

/// Opens a file that nobody else may have made.
///
/// # Errors
/// It can't be opened, or is not believed: that is `PermissionDenied` with `Untrusted` in it.
pub fn open(path: &Path, kind: Kind) -> io::Result<File> {
    let file = File::open(path)?;
    check(&file, path, kind)?;
    Ok(file)
}

/// Reads a file that nobody else may have made.
///
/// # Errors
/// Those of `open`, or it can't be read.
pub fn read(path: &Path, kind: Kind) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path, kind)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The reason, where an error is that a file is not believed.
pub fn untrusted(error: &io::Error) -> Option<&Untrusted> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// The same error with what would have the file believed, where the setting would not.
pub fn accepted(error: io::Error, accepted: Accepted) -> io::Error {
    match untrusted(&error) {
        Some(known) => io::Error::new(
            error.kind(),
            Untrusted {
                accepted,
                ..known.clone()
            },
        ),
        None => error,
    }
}

/// Checks a file that is open, and was found at this path.
///
/// # Errors
/// `PermissionDenied` with `Untrusted` in it, or its folders can't be looked at.
pub fn check(file: &File, path: &Path, kind: Kind) -> io::Result<()> {
    if ANYBODY.load(Ordering::Relaxed) {
        return Ok(());
    }
    let found = file.metadata()?;
    let named = std::path::absolute(path)?;
    let real = fs::canonicalize(path)?;
    let there = fs::metadata(&real)?;
    if (there.dev(), there.ino()) != (found.dev(), found.ino()) {
        return Err(io::Error::other("it was replaced while it was read"));
    }
    let us = rustix::process::geteuid().as_raw();
    let (mut ways, mut closed) = (Vec::new(), Reach::Everybody);
    for folder in real.ancestors().skip(1) {
        let metadata = fs::metadata(folder)?;
        closed = closed.through(metadata.mode());
        ways.push((folder.to_owned(), metadata));
    }
    // A link is as good as the folder that it lies in.
    for folder in named
        .ancestors()
        .skip(1)
        .filter(|folder| !real.starts_with(folder))
    {
        ways.push((folder.to_owned(), fs::metadata(folder)?));
    }
    let judged = ways.iter().find_map(|(path, metadata)| {
        folder_fault(path, metadata, us).map(|fault| (path.as_path(), fault))
    });
    let judged = judged.or_else(|| {
        file_fault(&real, &found, (us, kind, closed)).map(|fault| (real.as_path(), fault))
    });
    match judged {
        None => Ok(()),
        Some((path, fault)) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            fault.at(path),
        )),
    }
}

/// Who else comes to a file through its folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Nobody,
    /// Members of some group, perhaps.
    Group,
    Everybody,
}

impl Reach {
    fn through(self, mode: u32) -> Self {
        match self {
            Self::Everybody if mode & 0o001 != 0 => Self::Everybody,
            Self::Everybody | Self::Group if mode & 0o011 != 0 => Self::Group,
            _ => Self::Nobody,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fault {
    Owner(u32),
    Writable(u32),
    Readable(u32),
}

impl Fault {
    fn at(self, path: &Path) -> Untrusted {
        let shown = path.display();
        let (why, remedy) = match self {
            Self::Owner(uid) => {
                let us = rustix::process::geteuid().as_raw();
                (
                    format!("belongs to user {uid}, not to root or to the daemon's user ({us})"),
                    format!("chown {us} {shown}"),
                )
            }
            Self::Writable(mode) => (
                format!("may be changed by others (mode {mode:04o})"),
                format!("chmod go-w {shown}"),
            ),
            Self::Readable(mode) => (
                format!("is secret and may be read by others (mode {mode:04o})"),
                format!("chmod go-r {shown}"),
            ),
        };
        Untrusted {
            path: path.to_owned(),
            why,
            remedy,
            accepted: Accepted::BySetting,
        }
    }
}

fn folder_fault(path: &Path, found: &Metadata, us: u32) -> Option<Fault> {
    const STICKY: u32 = 0o1000;
    if found.mode() & STICKY != 0 && is_ours(found.uid(), us) {
        return None;
    }
    write_fault(path, found, us)
}

fn file_fault(
    path: &Path,
    found: &Metadata,
    (us, kind, reach): (u32, Kind, Reach),
) -> Option<Fault> {
    if reach == Reach::Nobody && is_ours(found.uid(), us) {
        return None;
    }
    write_fault(path, found, us).or_else(|| {
        let mode = found.mode() & 0o7777;
        let by_group =
            mode & 0o040 != 0 && found.uid() != 0 && !is_own_group(found.uid(), found.gid());
        let by_others = mode & 0o004 != 0 && reach == Reach::Everybody;
        (kind == Kind::Secret && (by_group || by_others)).then_some(Fault::Readable(mode))
    })
}

fn write_fault(path: &Path, found: &Metadata, us: u32) -> Option<Fault> {
    if !is_ours(found.uid(), us) {
        return Some(Fault::Owner(found.uid()));
    }
    let mode = found.mode() & 0o7777;
    let by_others = mode & 0o002 != 0;
    let by_group = mode & 0o020 != 0 && !is_own_group(found.uid(), found.gid());
    ((by_others || by_group) && !is_read_only(path)).then_some(Fault::Writable(mode))
}

fn is_ours(uid: u32, us: u32) -> bool {
    uid == 0 || uid == us
}

fn is_read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn is_own_group(uid: u32, gid: u32) -> bool {
    let list = |path: &str| fs::read_to_string(path).unwrap_or_default();
    is_alone(&list("/etc/passwd"), &list("/etc/group"), (uid, gid))
}

/// Whether a group is the first one of this user and has no other member.
fn is_alone(users: &str, groups: &str, (uid, gid): (u32, u32)) -> bool {
    let field = |line: &'_ str, n: usize| {
        line.split(':')
            .nth(n)
            .map(str::to_owned)
            .unwrap_or_default()
    };
    let of_group: Vec<&str> = users
        .lines()
        .filter(|line| field(line, 3) == gid.to_string())
        .collect();
    let alone = !of_group.is_empty()
        && of_group
            .iter()
            .all(|line| field(line, 2) == uid.to_string());
    let names: Vec<String> = of_group.iter().map(|line| field(line, 0)).collect();
    let members = groups
        .lines()
        .filter(|line| field(line, 2) == gid.to_string())
        .map(|line| field(line, 3));
    alone
        && members
            .flat_map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>())
            .all(|m| m.is_empty() || names.contains(&m))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn a_users_own_group_is_one_without_other_members() {
        let users = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/h:/bin/sh\nbob:x:1001:100::/h:/bin/sh\neve:x:1002:100::/h:/bin/sh\nten:x:1010:1010::/h:/bin/sh\n";
        let groups = "root:x:0:\nann:x:1000:ann\nusers:x:100:\nten:x:1010:eve\n";
        for (ids, alone) in [
            ((0, 0), true),
            ((1000, 1000), true),
            ((1001, 100), false),
            ((1010, 1010), false),
            ((1000, 1001), false),
            ((1001, 1000), false),
        ] {
            assert_eq!(is_alone(users, groups, ids), alone, "{ids:?}");
        }
    }

    #[test]
    fn the_file_and_every_folder_on_the_way_count() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let set = |name: &str, mode: u32| {
            fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap()
        };
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/file"), "x").unwrap();
        for open in ["", "a", "a/b"] {
            set(open, 0o755);
        }
        symlink(at("a/b/file"), at("link")).unwrap();
        let verdict = |name: &str, kind| {
            read(&at(name), kind).map_err(|e| untrusted(&e).unwrap().to_string())
        };
        for (changed, mode, trusted, secret) in [
            ("a/b/file", 0o600, true, true),
            ("a/b/file", 0o644, true, false),
            ("a/b/file", 0o606, false, false),
            ("a/b", 0o757, false, false),
            ("a/b", 0o1777, true, true),
            ("a", 0o757, false, false),
            ("a", 0o700, true, true),
            ("", 0o757, false, false),
        ] {
            set("a/b/file", 0o600);
            let before = fs::metadata(at(changed)).unwrap().mode() & 0o7777;
            set(changed, mode);
            for name in ["a/b/file", "link"] {
                assert_eq!(
                    verdict(name, Kind::Trusted).is_ok(),
                    trusted,
                    "{changed} {mode:o} {name}"
                );
                assert_eq!(
                    verdict(name, Kind::Secret).is_ok(),
                    secret,
                    "{changed} {mode:o} {name}"
                );
            }
            set(changed, before);
        }
        set("a/b/file", 0o666);
        let told = verdict("a/b/file", Kind::Trusted).unwrap_err();
        assert!(
            told.contains("may be changed by others (mode 0666)")
                && told.contains("chmod go-w")
                && told.contains("reload.trust-any-owner = true"),
            "{told}"
        );
        let error = || read(&at("a/b/file"), Kind::Trusted).unwrap_err();
        let told = accepted(error(), Accepted::ByVariable("X")).to_string();
        assert!(
            told.ends_with(", or set the variable X=true to accept it"),
            "{told}"
        );
        let told = accepted(error(), Accepted::Never).to_string();
        assert!(told.ends_with("file`"), "{told}");
        // Nobody else comes to it.
        set("a", 0o700);
        assert!(verdict("a/b/file", Kind::Secret).is_ok());
        // What may be swapped on the way is told, and whose link leads there.
        set("a", 0o755);
        set("a/b/file", 0o600);
        fs::create_dir(at("open")).unwrap();
        set("open", 0o777);
        symlink(at("a/b/file"), at("open/link")).unwrap();
        let told = verdict("open/link", Kind::Trusted).unwrap_err();
        assert!(told.contains("/open\" may be changed"), "{told}");
    }
}
