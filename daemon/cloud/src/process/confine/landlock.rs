//! The rules for the kernel. It opens every entry by its folder's descriptor and follows no link: what is swapped meanwhile gains nothing.

use std::{
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::{
    fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat},
    io::Errno,
};

use super::Plan;
use crate::process::reserve;

/// The newest version whose rights are used; an older kernel keeps those it knows.
const RIGHTS: ABI = ABI::V5;
const DEV: &str = "/dev";
/// Devices of root's that are the machine itself: memory, ports, disks.
const MACHINE: [&str; 4] = ["mem", "kmem", "port", "kmsg"];
/// Folders of `/dev` without disks.
const DEVICES: [&str; 7] = [
    "shm",
    "mqueue",
    "dri",
    "net",
    "snd",
    "hugepages",
    "infiniband",
];
/// Terminals of people: who opens one reads what is typed there, and can type. `tty` is the one that the daemon was started at.
const TERMINALS: &str = "pts";
/// Beginnings of their names as devices; a number follows, or nothing.
const SCREENS: [&str; 7] = ["tty", "ttyS", "console", "hvc", "vcs", "vcsa", "vcsu"];

/// Asked on a thread of its own: it is confined afterwards.
pub(super) fn is_there() -> bool {
    let restricted = || {
        Ruleset::default()
            .handle_access(AccessFs::MakeBlock)
            .ok()?
            .create()
            .ok()?
            .restrict_self()
            .ok()
    };
    restricted().is_some_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

pub(super) fn apply(plan: &Plan) -> io::Result<()> {
    let scope = if plan.signals {
        Scope::AbstractUnixSocket.into()
    } else {
        Scope::from_all(ABI::V6)
    };
    let created = Ruleset::default()
        .handle_access(AccessFs::from_all(RIGHTS))
        .and_then(|r| r.scope(scope))
        .and_then(Ruleset::create);
    let mut rules = Rules {
        created: created.map_err(plain)?,
        hidden: plan.hidden.clone(),
        apart: plan.writable.clone(),
    };
    let root = rustix::process::geteuid().is_root() && plan.ids.is_none();
    rules.hidden.push(PathBuf::from(DEV));
    for folder in &plan.readable {
        rules.walk(folder, reading())?;
    }
    rules.apart.clear();
    rules.hidden.pop();
    rules.devices(root)?;
    for folder in &plan.writable {
        rules.walk(folder, writing())?;
    }
    if !root {
        // Its user may write there what is its own.
        rules.walk(Path::new("/proc"), writing())?;
    }
    for path in &plan.own {
        if let Some(at) = opened(openat(CWD, path, LOOK, Mode::empty()))? {
            rules.allow(at, writing())?;
        }
    }
    rules.created.restrict_self().map(|_| ()).map_err(plain)
}

const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn reading() -> BitFlags<AccessFs> {
    AccessFs::from_read(RIGHTS)
}

/// All but making devices.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::from_all(RIGHTS) & !(AccessFs::MakeBlock | AccessFs::MakeChar)
}

struct Rules {
    created: RulesetCreated,
    hidden: Vec<PathBuf>,
    /// Left out for now: they get more than the rest.
    apart: Vec<PathBuf>,
}

impl Rules {
    /// Allows a folder but for what is hidden in it.
    fn walk(&mut self, path: &Path, access: BitFlags<AccessFs>) -> io::Result<()> {
        if self.hidden.iter().any(|h| path.starts_with(h)) {
            return Ok(());
        }
        match opened(openat(CWD, path, LOOK, Mode::empty()))? {
            Some(at) => self.enter(path, at, access),
            None => Ok(()),
        }
    }

    fn enter(&mut self, path: &Path, at: OwnedFd, access: BitFlags<AccessFs>) -> io::Result<()> {
        if self.hidden.iter().chain(&self.apart).any(|p| path == p) {
            return Ok(());
        }
        if !self.hidden.iter().any(|h| h.starts_with(path)) {
            return self.allow(at, access);
        }
        for name in entries(&at)? {
            let below = path.join(std::ffi::OsStr::from_bytes(&name));
            if let Some(entry) = opened(openat(&at, name.as_slice(), LOOK, Mode::empty()))? {
                self.enter(&below, entry, access)?;
            }
        }
        Ok(())
    }

    fn allow(&mut self, at: OwnedFd, access: BitFlags<AccessFs>) -> io::Result<()> {
        let access = match FileType::from_raw_mode(fstat(&at)?.st_mode) {
            FileType::Directory => access,
            // What it leads to is allowed where it lies.
            FileType::Symlink => return Ok(()),
            _ => access & AccessFs::from_file(RIGHTS),
        };
        (&mut self.created)
            .add_rule(PathBeneath::new(at, access))
            .map(|_| ())
            .map_err(plain)
    }

    /// What may be used of `/dev`: no terminals, and for root nothing that is the machine's memory or a disk.
    fn devices(&mut self, root: bool) -> io::Result<()> {
        let Some(at) = opened(openat(CWD, DEV, LOOK, Mode::empty()))? else {
            return Ok(());
        };
        for name in entries(&at)? {
            let Some(entry) = opened(openat(&at, name.as_slice(), LOOK, Mode::empty()))? else {
                continue;
            };
            let named = |list: &[&str]| list.iter().any(|n| n.as_bytes() == name);
            let allowed = match FileType::from_raw_mode(fstat(&entry)?.st_mode) {
                FileType::Directory if root => named(&DEVICES),
                FileType::Directory => !named(&[TERMINALS]),
                FileType::CharacterDevice => !(is_screen(&name) || root && named(&MACHINE)),
                _ => !root,
            };
            if allowed {
                self.enter(
                    &Path::new(DEV).join(std::ffi::OsStr::from_bytes(&name)),
                    entry,
                    writing(),
                )?;
            }
        }
        Ok(())
    }
}

fn is_screen(name: &[u8]) -> bool {
    SCREENS.iter().any(|begin| {
        name.strip_prefix(begin.as_bytes())
            .is_some_and(|rest| rest.iter().all(u8::is_ascii_digit))
    })
}

fn entries(at: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let folder = match openat(
        at,
        c".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        Ok(folder) => folder,
        // What the daemon can't list, it can't allow.
        Err(Errno::ACCESS | Errno::NOTDIR) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut names = Vec::new();
    for entry in Dir::new(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// None for what is gone or out of the daemon's own reach.
fn opened(outcome: rustix::io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match outcome.map_err(io::Error::from) {
        Ok(at) => Ok(Some(at)),
        Err(error) if reserve::is_own(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The system's error behind one of the crate's.
fn plain(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(at) = source {
        if let Some(number) = at
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error)
        {
            return io::Error::from_raw_os_error(number);
        }
        source = at.source();
    }
    io::Error::other(format!("the process can't be confined: {error}"))
}
