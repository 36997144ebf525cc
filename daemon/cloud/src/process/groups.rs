//! Control groups, version 2, where this daemon may make some: one per run of a replica. A group holds whatever its processes start, whatever
//! they call, and where the memory controller can be had, the kernel keeps its limit. Where there are none, callers do without.
//!
//! The daemon stays where it is: it makes groups below its own, or beside itself when its own is called `daemon`, as systemd's
//! `Delegate=yes` with `DelegateSubgroup=daemon` has it. Everything here blocks.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The name of the daemon's own group when it leaves the one above to the groups of replicas.
const OWN: &str = "daemon";

/// Where groups are made.
#[derive(Debug)]
pub(super) struct Groups {
    root: PathBuf,
}

impl Groups {
    /// Where this daemon may make groups; `name` keeps daemons of one machine apart.
    pub(super) fn find(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let base = base(&mounts, &own)?;
        let candidates = match base.file_name() {
            Some(last) if last == OWN => {
                vec![base.parent().map(Path::to_owned), Some(base.clone())]
            }
            _ => vec![Some(base.clone())],
        };
        candidates
            .into_iter()
            .flatten()
            .find_map(|base| Self::below(&base, name))
    }

    fn below(base: &Path, name: &str) -> Option<Self> {
        let root = base.join(name);
        make(&root).ok()?;
        // Without the controllers a group still holds its processes together.
        let _ = fs::write(base.join("cgroup.subtree_control"), "+memory");
        let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
        Some(Self { root })
    }

    /// A group for one run, with a limit of so many bytes (0: none). None where it can't be made.
    pub(super) fn make(&self, name: &str, limit: u64) -> Option<PathBuf> {
        make(&self.root).ok()?;
        let group = self.root.join(name);
        make(&group).ok()?;
        if limit > 0 && group.join("memory.max").exists() {
            // The whole replica is ended, not whichever of its processes is largest.
            let _ = fs::write(group.join("memory.oom.group"), "1");
            let _ = fs::write(group.join("memory.swap.max"), "0");
            if let Err(error) = fs::write(group.join("memory.max"), limit.to_string()) {
                tracing::debug!(group = %group.display(), %error, "the memory of a control group can't be limited");
            }
        }
        Some(group)
    }

    /// Leaves no folder behind where no run has a group any more.
    pub(super) fn leave(&self) {
        let _ = fs::remove_dir(&self.root);
    }

    /// Removes what is empty.
    pub(super) fn tidy(&self) {
        for group in inside(&self.root) {
            remove(&group);
        }
        self.leave();
    }
}

fn make(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// The folder of the group that this process is in.
fn base(mounts: &str, own: &str) -> Option<PathBuf> {
    let group = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        if after.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // A mount may show a part of the tree only.
        let rest = Path::new(group).strip_prefix(root).ok()?;
        Some(Path::new(point).join(rest))
    })
}

fn inside(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
        .collect()
}

/// The processes of a group and of the groups below it.
pub(super) fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    // A process of another namespace has no number here, and reads as 0.
    let mut pids: Vec<i32> = text
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter(|pid| *pid > 0)
        .collect();
    pids.extend(inside(group).iter().flat_map(|below| members(below)));
    pids
}

/// Ends every process of a group at once; false where the kernel can't.
pub(super) fn kill(group: &Path) -> bool {
    fs::write(group.join("cgroup.kill"), "1").is_ok()
}

/// How often the kernel has ended something of a group because its memory was full.
pub(super) fn ended_for_memory(group: &Path) -> bool {
    let text = fs::read_to_string(group.join("memory.events")).unwrap_or_default();
    text.lines().any(|line| {
        line.strip_prefix("oom_kill ")
            .is_some_and(|n| n.trim() != "0")
    })
}

/// Removes an empty group; one that is not stays.
pub(super) fn remove(group: &Path) {
    for below in inside(group) {
        remove(&below);
    }
    let _ = fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_where_it_is_mounted() {
        let mounts = "30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n31 1 0:27 / /proc rw - proc proc rw";
        assert_eq!(
            base(mounts, "0::/system.slice/t.service/daemon\n"),
            Some("/sys/fs/cgroup/system.slice/t.service/daemon".into())
        );
        let part = "30 1 0:26 /box /sys/fs/cgroup rw shared:3 - cgroup2 cgroup2 rw";
        assert_eq!(
            base(part, "1:name=systemd:/\n0::/box/in\n"),
            Some("/sys/fs/cgroup/in".into())
        );
        assert_eq!(base(part, "0::/elsewhere\n"), None);
        assert_eq!(
            base(
                "1 1 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
                "4:memory:/x\n"
            ),
            None
        );
    }

    /// On the kernel's own groups, with or without controllers.
    #[test]
    fn a_real_group_holds_what_its_processes_start_and_ends_it_at_once() {
        let Some(groups) = Groups::find(&format!("tradewind-test-{}", std::process::id())) else {
            eprintln!(
                "skipped: this machine has no control groups of version 2 in which groups can be made"
            );
            return;
        };
        let group = groups.make("a-1", 0).unwrap();
        let script =
            "echo $$ >\"$1/cgroup.procs\" || exit 9; setsid -f env -i sleep 600; exec sleep 600";
        let mut shell = std::process::Command::new("sh");
        let mut shell = shell
            .args(["-c", script, "sh"])
            .arg(&group)
            .stdin(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while members(&group).len() < 2 {
            assert!(
                shell.try_wait().unwrap().is_none(),
                "it could not enter its group"
            );
            std::thread::yield_now();
        }
        groups.leave();
        assert!(group.exists(), "what is in use stays");
        assert!(kill(&group));
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&shell.wait().unwrap()),
            Some(9)
        );
        while !members(&group).is_empty() {
            std::thread::yield_now();
        }
        // The kernel lets the last one go a moment after its number.
        while group.exists() {
            remove(&group);
        }
        groups.leave();
        assert!(!groups.root.exists());
    }

    #[test]
    fn a_group_has_the_limit_and_ends_as_a_whole() {
        // A folder that stands for the kernel's: what is written is what the kernel would read.
        let folder = tempfile::tempdir().unwrap();
        let groups = Groups::below(folder.path(), "t").unwrap();
        fs::create_dir(folder.path().join("t/a-1")).unwrap();
        fs::write(folder.path().join("t/a-1/memory.max"), "max").unwrap();
        let group = groups.make("a-1", 64 << 20).unwrap();
        let written = |name: &str| fs::read_to_string(group.join(name)).unwrap();
        assert_eq!(
            (written("memory.max"), written("memory.oom.group")),
            ((64 << 20).to_string(), "1".to_owned())
        );
        fs::write(group.join("memory.events"), "low 0\noom 1\noom_kill 3\n").unwrap();
        assert!(ended_for_memory(&group));
        fs::write(group.join("memory.events"), "oom_kill 0\n").unwrap();
        assert!(!ended_for_memory(&group));
        fs::create_dir(group.join("below")).unwrap();
        fs::write(group.join("cgroup.procs"), "7\n0\n").unwrap();
        fs::write(group.join("below/cgroup.procs"), "8\n").unwrap();
        assert_eq!(members(&group), [7, 8]);
    }
}
