//! What a process of a workload may reach: everything to read but what is the daemon's own, its own folders to write, as which user, and no
//! other process. It must not know what is started. Everything here blocks.
//!
//! Landlock and `no_new_privs` hold for a thread and for what it starts. So a thread of its own confines itself, starts the process and
//! ends: there is no program in between, and nothing of the workload runs before the confinement holds, the wrapper included.
//!
//! Landlock knows no exceptions: what is allowed on a folder is allowed on all below it. So the folders on the way to a hidden one are not
//! allowed as wholes, but entry by entry as they are at the start. They can't be listed, and what is added to them later is out of reach.

#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod rights;
mod user;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tradewind_core::{
    failure::{Failure, UNSUPPORTED},
    grant::{Entry, ProcessGrant, TEMPORARY, UserRange},
};

pub(super) use self::user::{Ids, give, open_way};

/// Enough for a walk over some folders.
const STACK: usize = 256 << 10;

/// What the grant says of confinement, as it is kept with a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Confine {
    /// It may reach whatever its user may.
    #[serde(default)]
    unconfined: bool,
    /// It runs as this user; none: as the daemon's.
    #[serde(default)]
    user: Option<Ids>,
    /// It runs as a user of its own out of these.
    #[serde(default)]
    users: Option<UserRange>,
    /// Folders that the grant opens to other namespaces alone, without symbolic links.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<PathBuf>,
}

impl Confine {
    /// # Errors
    /// `invalid` for a user that can't be had, `denied` where nothing would keep what the grant says.
    pub(super) fn of(grant: &ProcessGrant, landlock: bool) -> Result<Self, Failure> {
        let root = rustix::process::geteuid().is_root();
        let setting = if grant.users.is_some() {
            "users"
        } else {
            "user"
        };
        let user = grant.user.as_deref().map(user::find).transpose()?;
        if user.is_some_and(|u| u.uid == 0) {
            let message = format!(
                "the user \"{}\" of the grant is root",
                grant.user.as_deref().unwrap_or_default().escape_debug()
            );
            return Err(Failure::not_granted(message, "user")
                .remedy("give a user without rights of its own, or leave user out"));
        }
        let own = user.is_some_and(|u| u.uid == rustix::process::geteuid().as_raw());
        if (grant.users.is_some() || (user.is_some() && !own)) && !root {
            let message = format!(
                "the grant has {setting}, and a daemon that is not root can't run processes as another user"
            );
            let remedy = format!(
                "run the daemon as root, or take {setting} out of [grants.process] of the instance file"
            );
            return Err(Failure::not_granted(message, setting).remedy(remedy));
        }
        let another = grant.users.is_some() || (user.is_some() && !own);
        if !landlock && !another && !grant.unconfined && !grant.is_any() {
            let message = "the kernel has no Landlock (Linux 5.13), so a granted program could read the daemon's own files";
            let remedy = "give user in [grants.process] of the instance file, or unconfined = true to accept it";
            return Err(Failure::not_granted(message, "command[0]")
                .code(UNSUPPORTED)
                .remedy(remedy));
        }
        Ok(Self {
            unconfined: grant.unconfined,
            user: user.filter(|_| root && !own),
            users: grant.users,
            others: others(grant),
        })
    }

    pub(super) fn users(&self) -> Option<UserRange> {
        self.users
    }

    /// The user of a process, with the number that it has got out of the range.
    pub(super) fn ids(&self, own: Option<u32>) -> Option<Ids> {
        match self.users {
            Some(_) => own.map(|uid| Ids { uid, gid: uid }),
            None => self.user,
        }
    }
}

/// What is for other namespaces alone is out of reach, unless a folder of its own lies in it.
fn others(grant: &ProcessGrant) -> Vec<PathBuf> {
    let real = |all: &[Entry]| {
        all.iter()
            .filter_map(|d| fs::canonicalize(&d.name).ok())
            .collect::<Vec<_>>()
    };
    let own = real(&grant.directories);
    real(&grant.others_directories)
        .into_iter()
        .filter(|theirs| !own.iter().any(|own| own.starts_with(theirs)))
        .collect()
}

/// What one process may reach. Paths are absolute.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) unconfined: bool,
    /// Folders that it may read, but for what is hidden in them.
    pub(super) readable: Vec<PathBuf>,
    /// Neither read nor written, with what is below.
    pub(super) hidden: Vec<PathBuf>,
    /// Folders that it may write to, but for what is hidden in them.
    pub(super) writable: Vec<PathBuf>,
    /// Folders and files that it may read and write wherever they lie.
    pub(super) own: Vec<PathBuf>,
    /// Whether its signals reach what was not started with it.
    pub(super) signals: bool,
    pub(super) ids: Option<Ids>,
}

impl Plan {
    /// The same, but that of the machine it reads the programs alone, and signals nobody. What is confined so even where the process is not.
    pub(super) fn of_programs(self) -> Self {
        const PROGRAMS: [&str; 7] = ["/bin", "/sbin", "/usr", "/lib", "/lib32", "/lib64", "/nix"];
        let is_temporary = |path: &PathBuf| TEMPORARY.iter().any(|t| *path == Path::new(t));
        Self {
            unconfined: false,
            readable: PROGRAMS.map(PathBuf::from).to_vec(),
            writable: self
                .writable
                .into_iter()
                .filter(|path| !is_temporary(path))
                .collect(),
            signals: false,
            ..self
        }
    }

    /// `hidden` is looked up anew: a folder may have been made since.
    pub(super) fn new(
        confine: &Confine,
        ids: Option<Ids>,
        hidden: &[PathBuf],
        folders: &[PathBuf],
        own: Vec<PathBuf>,
    ) -> Self {
        let hidden = if confine.unconfined {
            Vec::new()
        } else {
            [real(hidden), real(&confine.others)].concat()
        };
        let writable = TEMPORARY
            .iter()
            .map(PathBuf::from)
            .chain(folders.iter().cloned())
            .collect();
        Self {
            unconfined: confine.unconfined,
            readable: vec![PathBuf::from("/")],
            hidden,
            writable,
            own,
            signals: false,
            ids,
        }
    }
}

/// Those that exist, without symbolic links.
pub(super) fn real(paths: &[PathBuf]) -> Vec<PathBuf> {
    paths
        .iter()
        .filter_map(|path| fs::canonicalize(path).ok())
        .collect()
}

pub(super) fn is_below(path: &Path, any: &[PathBuf]) -> bool {
    any.iter().any(|above| path.starts_with(above))
}

/// Does something on a thread that is confined: what it starts is, and what it writes goes only where the process may write.
///
/// # Errors
/// That of the work, or what stands in the way of confinement: the work is not done then.
pub(super) fn run<T: Send>(
    plan: &Plan,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let confined = move || {
            apply(plan)?;
            work()
        };
        let thread = std::thread::Builder::new()
            .name("confined".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, confined)?;
        thread.join().unwrap_or_else(|_| {
            Err(io::Error::other(
                "the thread that starts a process has failed",
            ))
        })
    })
}

/// Whether this kernel has Landlock.
pub(super) fn has_landlock() -> bool {
    #[cfg(target_os = "linux")]
    return std::thread::spawn(landlock::is_there)
        .join()
        .unwrap_or(false);
    #[cfg(not(target_os = "linux"))]
    return false;
}

#[cfg(target_os = "linux")]
fn apply(plan: &Plan) -> io::Result<()> {
    if plan.unconfined {
        return Ok(());
    }
    if rustix::process::geteuid().is_root() && plan.ids.is_none() {
        rights::give_up();
    }
    landlock::apply(plan)
}

#[cfg(not(target_os = "linux"))]
fn apply(_: &Plan) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// By its number: names of the same user say it as well.
    #[test]
    fn root_is_no_user_of_processes() {
        let grant = ProcessGrant {
            user: Some("root".to_owned()),
            ..ProcessGrant::of(&["*"])
        };
        let refused = Confine::of(&grant, true).unwrap_err();
        assert!(
            refused.message.contains("\"root\" of the grant is root"),
            "{refused:?}"
        );
    }

    #[test]
    fn a_confined_thread_reads_all_but_what_is_hidden_and_writes_its_own() {
        if !has_landlock() {
            return;
        }
        // Not below a folder for temporary files: those can be written anyway.
        let root = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
        let at = |name: &str| root.path().canonicalize().unwrap().join(name);
        for folder in ["data/own", "data/other", "granted", "beside"] {
            fs::create_dir_all(at(folder)).unwrap();
            fs::write(at(folder).join("file"), "x").unwrap();
        }
        symlink(at("data"), at("link")).unwrap();
        symlink(at("data/other/file"), at("granted/link")).unwrap();
        let confine = Confine::default();
        let plan = Plan::new(
            &confine,
            None,
            &[at("data"), at("absent")],
            &[at("granted")],
            vec![at("data/own")],
        );
        let (readable, writable) = run(&plan, || {
            let places = ["data/own", "data/other", "granted", "beside", "link/other"];
            let read = places.map(|p| fs::read(at(p).join("file")).is_ok());
            let written = places.map(|p| fs::write(at(p).join("file"), "y").is_ok());
            assert!(
                fs::read(at("granted/link")).is_err()
                    && fs::read_dir(at("data")).is_err()
                    && fs::read_dir(at("beside")).is_ok()
            );
            assert!(
                fs::write(at("granted/new"), "").is_ok()
                    && fs::write(at("beside/new"), "").is_err()
            );
            assert!(fs::rename(at("data/other/file"), at("granted/moved")).is_err());
            assert!(fs::hard_link(at("data/other/file"), at("granted/linked")).is_err());
            Ok((read, written))
        })
        .unwrap();
        assert_eq!(readable, [true, false, true, true, false]);
        assert_eq!(writable, [true, false, true, false, false]);
        assert!(
            fs::read(at("data/other/file")).is_ok(),
            "the thread alone was confined"
        );
    }

    /// Without confinement the first is "no such device" where a test has no terminal.
    #[test]
    fn terminals_are_out_of_reach_unless_their_folder_is_granted() {
        if !has_landlock() {
            return;
        }
        let may = |folders: &[PathBuf]| {
            let plan = Plan::new(&Confine::default(), None, &[], folders, Vec::new());
            run(&plan, || {
                let open = |path: &str| {
                    fs::OpenOptions::new()
                        .read(true)
                        .write(true)
                        .open(path)
                        .map(drop)
                        .map_err(|e| e.kind())
                };
                Ok((
                    open("/dev/tty"),
                    fs::read_dir("/dev/pts").map(drop).map_err(|e| e.kind()),
                    open("/dev/null"),
                    fs::read_dir("/dev/shm").map(drop),
                ))
            })
            .unwrap()
        };
        let denied = Err(io::ErrorKind::PermissionDenied);
        let (tty, pts, null, shm) = may(&[]);
        assert_eq!((tty, pts, null), (denied, denied, Ok(())));
        assert!(shm.is_ok());
        assert_eq!(may(&["/dev/pts".into()]).1, Ok(()));
    }
}
