//! What the system says about processes and about the machine: identities, groups, usage, sizes.
//! It reads `/proc`; where there is none, answers are absent and callers do without. Everything here blocks.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use tradewind_core::units::Millis;

use super::{census, reserve};

/// The wrapper's name for itself, its `$0`.
pub(super) const WRAPPER: &str = "tradewind-run";

/// A process id with what makes it unique: ids are used again, start times within one boot are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) pid: i32,
    /// Clock ticks since boot; 0 where unknown.
    pub(super) start: u64,
    pub(super) boot: String,
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// It waits for its parent to take note of its end.
    pub(super) ended: bool,
    pub(super) parent: i32,
    pub(super) group: i32,
    /// User and system time in clock ticks.
    cpu: u64,
    pub(super) start: u64,
}

/// A wrapper as its command line and its environment show it.
#[derive(Debug, Clone)]
pub(super) struct Wrapper {
    pub(super) pid: i32,
    /// Where it was started: the folder may have gone elsewhere since.
    pub(super) folder: PathBuf,
    pub(super) run: u32,
    /// Empty for one of a version before marks.
    mark: String,
}

impl Wrapper {
    /// Whether it is the wrapper of some run of that folder's process, wherever the folder is by now.
    pub(super) fn is_of(&self, folder: &Path, mark: &str) -> bool {
        self.folder == folder || (!mark.is_empty() && self.mark == format!("{mark}.{}", self.run))
    }
}

pub(super) fn identity(pid: Pid, boot: &str) -> Identity {
    let pid = pid.as_raw_nonzero().get();
    Identity {
        pid,
        start: stat(pid).map_or(0, |s| s.start),
        boot: boot.to_owned(),
    }
}

/// The identifier of this boot; empty where the system has none.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|s| s.trim().to_owned())
        .unwrap_or_default()
}

/// Whether the process that was recorded is the one that has the id now.
pub(super) fn is_same(recorded: &Identity, boot: &str) -> bool {
    match stat(recorded.pid) {
        Some(stat) => recorded.boot == boot && recorded.start == stat.start,
        // Without `/proc` the id is all there is.
        None => {
            !Path::new("/proc/self/stat").exists()
                && pid(recorded.pid).is_some_and(|p| rustix::process::test_kill_process(p).is_ok())
        }
    }
}

pub(super) fn pid(raw: i32) -> Option<Pid> {
    if raw > 1 { Pid::from_raw(raw) } else { None }
}

/// Whether this process is the wrapper of that run.
pub(super) fn is_wrapper(pid: i32, folder: &Path, mark: &str, run: u32) -> bool {
    wrapper(pid).is_some_and(|w| w.is_of(folder, mark) && w.run == run)
}

/// Whether the command of a wrapper has begun, as far as the system tells. Until then its child is a copy of it: a signal that comes between
/// the fork and the end of the wrapper's traps in the child is lost there.
pub(super) fn has_begun(wrapper: i32) -> bool {
    let line = |pid: &str| fs::read(format!("/proc/{pid}/cmdline"));
    let id = wrapper.to_string();
    let (Ok(own), Ok(children)) = (
        line(&id),
        fs::read_to_string(format!("/proc/{wrapper}/task/{wrapper}/children")),
    ) else {
        return true;
    };
    children
        .split_ascii_whitespace()
        .next()
        .is_some_and(|child| line(child).map_or(true, |line| line != own))
}

/// Every live wrapper of this machine.
pub(super) fn wrappers() -> io::Result<Vec<Wrapper>> {
    Ok(pids()?.into_iter().filter_map(wrapper).collect())
}

/// A group's leader whose output goes into `folder`: a wrapper that is just being started has this before it has a command line.
pub(super) fn being_started(folder: &Path) -> Option<i32> {
    pids().unwrap_or_default().into_iter().find(|pid| {
        let output = || fs::read_link(format!("/proc/{pid}/fd/1"));
        stat(*pid).is_some_and(|s| s.group == *pid)
            && output().is_ok_and(|target| target.starts_with(folder))
    })
}

/// Whether a process writes its output into this folder.
pub(super) fn writes_into(pid: i32, folder: &Path) -> bool {
    [1, 2].iter().any(|fd| {
        fs::read_link(format!("/proc/{pid}/fd/{fd}")).is_ok_and(|target| target.starts_with(folder))
    })
}

/// A process and everything below it, as far as that can be read.
pub(super) fn tree(root: i32) -> Vec<i32> {
    let (mut found, mut rest) = (Vec::new(), vec![root]);
    // A bound against a tree that grows faster than it is read.
    while let Some(pid) = rest.pop().filter(|_| found.len() < 1024) {
        found.push(pid);
        let children =
            fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        rest.extend(
            children
                .split_ascii_whitespace()
                .filter_map(|c| c.parse::<i32>().ok()),
        );
    }
    found
}

/// Resident memory in bytes and processor time in clock ticks of these processes together; none when none of them can be read.
pub(super) fn usage(pids: impl Iterator<Item = i32>) -> Option<(u64, u64)> {
    let each = pids.filter_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let resident = status
            .lines()
            .find_map(|l| kibibytes(l.strip_prefix("VmRSS:")?))
            .unwrap_or(0);
        Some((resident, stat(pid)?.cpu))
    });
    each.reduce(|(memory, cpu), (m, c)| (memory + m, cpu + c))
}

/// What a process has filled, in bytes: what it has written to and can't be dropped. Memory that it has only reserved, stacks that it has
/// not touched, and pages of files do not count. 0 for one that is gone.
pub(super) fn filled(pid: i32) -> u64 {
    sum(
        &fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(),
        &["RssAnon:", "RssShmem:"],
    )
    .unwrap_or(0)
}

/// The same, with what several processes share divided among them. None where the system does not tell.
pub(super) fn filled_alone(pid: i32) -> Option<u64> {
    sum(
        &fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?,
        &["Pss_Anon:", "Pss_Shmem:"],
    )
}

/// None where a line is missing.
fn sum(text: &str, names: &[&str]) -> Option<u64> {
    names
        .iter()
        .map(|name| text.lines().find_map(|l| kibibytes(l.strip_prefix(name)?)))
        .sum()
}

/// The value that was read last: what can't be read for a moment has not become nothing.
struct Last(AtomicU64);

impl Last {
    fn or_before(&self, read: Option<u64>) -> u64 {
        match read {
            Some(value) => {
                self.0.store(value, Ordering::Relaxed);
                value
            }
            None => self.0.load(Ordering::Relaxed),
        }
    }
}

/// The machine's memory in bytes, or the control group's limit when that is less; 0 where it was never known.
pub(super) fn memory_total() -> u64 {
    static LAST: Last = Last(AtomicU64::new(0));
    let read = || -> Option<u64> {
        let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
        let total = meminfo
            .lines()
            .find_map(|l| kibibytes(l.strip_prefix("MemTotal:")?))?;
        let mut least = total;
        for path in [
            "/sys/fs/cgroup/memory.max",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ] {
            match fs::read_to_string(path) {
                Ok(text) => {
                    least = text
                        .trim()
                        .parse::<u64>()
                        .map_or(least, |limit| limit.min(least))
                }
                Err(error) if reserve::is_own(&error) => return None,
                Err(_) => {}
            }
        }
        Some(least)
    };
    LAST.or_before(read())
}

/// Millicores that this daemon may use.
pub(super) fn cpu_total() -> u64 {
    static LAST: Last = Last(AtomicU64::new(1000));
    // Without descriptors the control group's share can't be read, and all processors would seem to be ours.
    let read = || {
        reserve::has_room()
            .then(|| std::thread::available_parallelism().ok())?
            .map(|n| n.get() as u64 * 1000)
    };
    LAST.or_before(read())
}

/// The load average of the last minute; 0 where it was never known.
pub(super) fn load() -> f64 {
    static LAST: Last = Last(AtomicU64::new(0));
    let read = || {
        fs::read_to_string("/proc/loadavg")
            .ok()?
            .split(' ')
            .next()?
            .parse::<f64>()
            .ok()
            .map(f64::to_bits)
    };
    f64::from_bits(LAST.or_before(read()))
}

/// Clock ticks since the machine was started; 0 where unknown.
pub(super) fn ticks_since_boot() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text
        .split(' ')
        .next()
        .and_then(|s| s.parse::<f64>().ok())
        .unwrap_or(0.0);
    (seconds * 100.0) as u64
}

/// For how long the machine has been up. None: the system does not tell.
pub fn machine_age() -> Option<Millis> {
    Some(ticks_since_boot())
        .filter(|ticks| *ticks > 0)
        .map(|ticks| Millis(ticks * 10))
}

/// For how long a process of this machine has been there. None: there is none, or the system does not tell.
pub fn age(pid: i32) -> Option<Millis> {
    let start = stat(pid)?.start;
    Some(Millis(ticks_since_boot().saturating_sub(start) * 10))
}

/// The name by which the kernel knows a process: at most 15 bytes.
pub fn program(pid: i32) -> Option<String> {
    Some(
        fs::read_to_string(format!("/proc/{pid}/comm"))
            .ok()?
            .trim_end()
            .to_owned(),
    )
}

fn kibibytes(text: &str) -> Option<u64> {
    text.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// Every process.
///
/// # Errors
/// They can't be listed.
pub(super) fn pids() -> io::Result<Vec<i32>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        all.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<i32>().ok()),
        );
    }
    Ok(all)
}

/// None for a process that is gone.
///
/// # Errors
/// The daemon has no descriptor left to look.
pub(super) fn stat_of(pid: i32) -> io::Result<Option<Stat>> {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => Ok(parse_stat(&text)),
        Err(error) if reserve::is_own(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn stat(pid: i32) -> Option<Stat> {
    stat_of(pid).ok().flatten()
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses and may contain anything, parentheses too.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |i: usize| fields.get(i)?.parse::<u64>().ok();
    Some(Stat {
        ended: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        cpu: number(11)? + number(12)?,
        start: number(19)?,
    })
}

pub(super) fn wrapper(pid: i32) -> Option<Wrapper> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut arguments = line.split(|b| *b == 0).skip(3);
    if arguments.next()? != WRAPPER.as_bytes() {
        return None;
    }
    let folder = PathBuf::from(std::ffi::OsStr::from_bytes(arguments.next()?));
    let run = std::str::from_utf8(arguments.next()?).ok()?.parse().ok()?;
    // Its forked child looks the same until it runs the command.
    if stat(pid)?.group != pid {
        return None;
    }
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    Some(Wrapper {
        pid,
        folder,
        run,
        mark: census::in_environment(&environment).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_program_name_does_not_shift_the_fields() {
        let text = "42 (a) 1 (b) S 1 41 41 0 -1 4194304 1 0 0 0 5 7 0 0 20 0 1 0 987 1 1";
        assert_eq!(
            parse_stat(text),
            Some(Stat {
                ended: false,
                parent: 1,
                group: 41,
                cpu: 12,
                start: 987
            })
        );
    }
}
