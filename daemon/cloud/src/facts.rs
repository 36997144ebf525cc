//! The machine's figures for [`tradewind_core::diagnose`], read after something failed to start. It reads `/proc`; what is not there is
//! absent. It must not judge. Everything here blocks.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tradewind_core::diagnose::{Disk, Facts, Gauge, NamespaceLimit};

const NAMESPACES: [&str; 7] = ["user", "mnt", "net", "pid", "ipc", "uts", "cgroup"];

/// The figures as they are for this process, and for the file systems of these folders.
pub fn read(process: u32, folders: &[&Path]) -> Facts {
    let of = |name: &str| PathBuf::from(format!("/proc/{process}")).join(name);
    let user = fs::metadata(of("status"))
        .map(|m| m.uid())
        .unwrap_or_default();
    let threads = all_threads();
    let gauge = |used: Option<u64>, most: Option<u64>| {
        Some(Gauge {
            used: used?,
            most: most?,
        })
    };
    Facts {
        disks: folders.iter().filter_map(|folder| disk(folder)).collect(),
        mounts: gauge(lines(&of("mountinfo")), sysctl("fs/mount-max")),
        namespaces: NAMESPACES
            .iter()
            .filter_map(|kind| namespace_limit(kind))
            .collect(),
        inotify_instances: gauge(
            Some(inotify_instances(user)),
            sysctl("fs/inotify/max_user_instances"),
        ),
        files: files(),
        open_files: gauge(entries(&of("fd")), limit(&of("limits"), "Max open files")),
        threads: gauge(threads, sysctl("kernel/threads-max")),
        pids: gauge(threads, sysctl("kernel/pid_max")),
        group_tasks: group_tasks(&of("cgroup")),
        user_tasks: gauge(
            Some(user_threads(user)),
            limit(&of("limits"), "Max processes"),
        ),
        keys: keys(user),
    }
}

fn sysctl(name: &str) -> Option<u64> {
    fs::read_to_string(Path::new("/proc/sys").join(name))
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn lines(path: &Path) -> Option<u64> {
    Some(fs::read_to_string(path).ok()?.lines().count() as u64)
}

fn entries(path: &Path) -> Option<u64> {
    Some(fs::read_dir(path).ok()?.count() as u64)
}

fn disk(folder: &Path) -> Option<Disk> {
    let seen = rustix::fs::statvfs(folder).ok()?;
    let free_inodes = (seen.f_files > 0).then_some(seen.f_favail);
    Some(Disk {
        path: folder.display().to_string(),
        free: seen.f_bavail.saturating_mul(seen.f_frsize),
        free_inodes,
    })
}

fn namespace_limit(kind: &str) -> Option<NamespaceLimit> {
    let most = sysctl(&format!("user/max_{kind}_namespaces"))?;
    Some(NamespaceLimit {
        kind: kind.to_owned(),
        most,
    })
}

/// Allocated, unused, and the most there may be.
fn files() -> Option<Gauge> {
    let text = fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
    let mut numbers = text.split_whitespace().map(|n| n.parse::<u64>().ok());
    let (allocated, unused, most) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some(Gauge {
        used: allocated.saturating_sub(unused),
        most,
    })
}

/// The soft limit in `/proc/PID/limits`; none where there is no limit.
fn limit(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// The number behind the slash of the fourth field of `/proc/loadavg`.
fn all_threads() -> Option<u64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace()
        .nth(3)?
        .split_once('/')?
        .1
        .parse()
        .ok()
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let numbered = |e: &fs::DirEntry| {
        e.file_name()
            .to_string_lossy()
            .bytes()
            .all(|c| c.is_ascii_digit())
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(numbered)
        .map(|e| e.path())
}

fn of_user(user: u32) -> impl Iterator<Item = PathBuf> {
    processes().filter(move |path| fs::metadata(path).is_ok_and(|m| m.uid() == user))
}

fn user_threads(user: u32) -> u64 {
    of_user(user)
        .filter_map(|path| entries(&path.join("task")))
        .sum()
}

fn inotify_instances(user: u32) -> u64 {
    let links = |path: PathBuf| {
        fs::read_dir(path.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
    };
    let all = of_user(user).flat_map(links);
    all.filter(|fd| {
        fs::read_link(fd).is_ok_and(|target| target.as_os_str() == "anon_inode:inotify")
    })
    .count() as u64
}

/// The tightest of the control groups that hold the process, under either version of control groups.
fn group_tasks(path: &Path) -> Option<Gauge> {
    let text = fs::read_to_string(path).ok()?;
    let folder = text.lines().find_map(|line| {
        let (mut parts, inside) = (line.splitn(3, ':').skip(1), |root: &str, group: &str| {
            PathBuf::from(root).join(group.trim_start_matches('/'))
        });
        match (parts.next()?, parts.next()?) {
            ("", group) if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() => {
                Some(inside("/sys/fs/cgroup", group))
            }
            ("pids", group) => Some(inside("/sys/fs/cgroup/pids", group)),
            _ => None,
        }
    })?;
    let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let gauges = folder
        .ancestors()
        .take_while(|f| f.starts_with("/sys/fs/cgroup"))
        .filter_map(|f| {
            // `max` is no number: no limit there.
            Some(Gauge {
                used: number(f.join("pids.current"))?,
                most: number(f.join("pids.max"))?,
            })
        });
    gauges.min_by_key(|g| g.most.saturating_sub(g.used))
}

/// `UID: usage keys/instantiated keys/most bytes/most`.
fn keys(user: u32) -> Option<Gauge> {
    let text = fs::read_to_string("/proc/key-users").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(&format!("{user}:")))?;
    let (used, most) = line.split_whitespace().nth(2)?.split_once('/')?;
    Some(Gauge {
        used: used.parse().ok()?,
        most: most.parse().ok()?,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use tradewind_core::diagnose::diagnose;

    use super::*;

    #[test]
    fn this_process_and_its_machine_are_told_in_figures() {
        let before = read(
            std::process::id(),
            &[Path::new("/"), Path::new("/no/such/folder")],
        );
        let files: Vec<_> = (0..50)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        let after = read(std::process::id(), &[]);
        let used = |facts: &Facts| facts.open_files.unwrap().used;
        assert!(
            used(&after) >= used(&before) + files.len() as u64 - 10,
            "{:?} {:?}",
            before.open_files,
            after.open_files
        );
        assert_eq!(before.disks.len(), 1);
        for gauge in [
            before.mounts,
            before.files,
            before.threads,
            before.pids,
            before.user_tasks,
        ] {
            let gauge = gauge.unwrap();
            assert!(gauge.used > 0 && gauge.used <= gauge.most, "{gauge}");
        }
        assert!(before.namespaces.iter().any(|n| n.kind == "mnt"));
    }

    /// Really provoked, in a user namespace of the test's own: the kernel says "no space left on device", and no disk is full.
    #[test]
    fn the_limit_on_namespaces_is_found_behind_no_space_left() {
        const INSIDE: &str = "TRADEWIND_FACTS_INSIDE";
        if std::env::var_os(INSIDE).is_some() {
            let failed = Command::new("unshare")
                .args(["--mount", "true"])
                .output()
                .unwrap();
            let error = String::from_utf8_lossy(&failed.stderr).into_owned();
            assert!(error.contains("No space left on device"), "{error}");
            let found = diagnose(&error, &read(std::process::id(), &[Path::new("/")])).unwrap();
            assert_eq!(
                (
                    found.code,
                    found.cause.contains("no more than 0 mnt namespaces")
                ),
                ("namespace-limit", true),
                "{found:?}"
            );
            return;
        }
        let can = Command::new("unshare")
            .args(["--user", "--map-root-user", "true"])
            .output();
        if !can.is_ok_and(|o| o.status.success()) {
            eprintln!("skipped: this machine lets nobody make user namespaces");
            return;
        }
        let script = "echo 0 >/proc/sys/user/max_mnt_namespaces && exec \"$0\" the_limit_on_namespaces_is_found --nocapture";
        let mut again = Command::new("unshare");
        again
            .args(["--user", "--map-root-user", "sh", "-c", script])
            .arg(std::env::current_exe().unwrap())
            .env(INSIDE, "1");
        let ran = again.output().unwrap();
        let told = String::from_utf8_lossy(&ran.stdout);
        assert!(
            ran.status.success() && told.contains("1 passed"),
            "{told}\n{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
}
