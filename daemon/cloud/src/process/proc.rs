//! What the system says about processes and about the machine: identities, groups, usage, sizes.
//! It reads `/proc`; where there is none, answers are absent and callers do without. Everything here blocks.

use std::{
    collections::HashMap,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

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
struct Stat {
    group: i32,
    /// User and system time in clock ticks.
    cpu: u64,
    start: u64,
}

pub(super) fn identity(pid: Pid, boot: &str) -> Identity {
    let pid = pid.as_raw_nonzero().get();
    Identity { pid, start: stat(pid).map_or(0, |s| s.start), boot: boot.to_owned() }
}

/// The identifier of this boot; empty where the system has none.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|s| s.trim().to_owned()).unwrap_or_default()
}

/// Whether the process that was recorded is the one that has the id now.
pub(super) fn is_same(recorded: &Identity, boot: &str) -> bool {
    match stat(recorded.pid) {
        Some(stat) => recorded.boot == boot && recorded.start == stat.start,
        // Without `/proc` the id is all there is.
        None => !Path::new("/proc/self/stat").exists() && pid(recorded.pid).is_some_and(|p| rustix::process::test_kill_process(p).is_ok()),
    }
}

pub(super) fn pid(raw: i32) -> Option<Pid> {
    if raw > 1 { Pid::from_raw(raw) } else { None }
}

/// Whether this process is the wrapper of that run in that folder.
pub(super) fn is_wrapper(pid: i32, folder: &Path, run: u32) -> bool {
    wrapper(pid).is_some_and(|(of, n)| of == folder && n == run)
}

/// Every live wrapper of this machine by folder and run.
pub(super) fn wrappers() -> HashMap<(PathBuf, u32), i32> {
    pids().filter_map(|pid| wrapper(pid).map(|key| (key, pid))).collect()
}

/// A group's leader whose output goes into `folder`: a wrapper that is just being started has this before it has a command line.
pub(super) fn being_started(folder: &Path) -> Option<i32> {
    pids().find(|pid| {
        let output = || fs::read_link(format!("/proc/{pid}/fd/1"));
        stat(*pid).is_some_and(|s| s.group == *pid) && output().is_ok_and(|target| target.starts_with(folder))
    })
}

/// Live members of a process group whose leader is gone, recognised by their output going into `folder`.
pub(super) fn has_stragglers(group: i32, folder: &Path) -> bool {
    let writes_here =
        |pid: i32| [1, 2].iter().any(|fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).is_ok_and(|target| target.starts_with(folder)));
    pids().any(|pid| stat(pid).is_some_and(|s| s.group == group) && writes_here(pid))
}

/// Resident memory in bytes and processor time in clock ticks of a process and everything below it.
pub(super) fn tree_usage(root: i32) -> Option<(u64, u64)> {
    stat(root)?;
    let (mut memory, mut cpu) = (0, 0);
    let mut rest = vec![root];
    // A bound against a tree that grows faster than it is read.
    for _ in 0..256 {
        let Some(pid) = rest.pop() else { break };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        memory += status.lines().find_map(|l| kibibytes(l.strip_prefix("VmRSS:")?)).unwrap_or(0);
        cpu += stat(pid).map_or(0, |s| s.cpu);
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        rest.extend(children.split_ascii_whitespace().filter_map(|c| c.parse::<i32>().ok()));
    }
    Some((memory, cpu))
}

/// The machine's memory in bytes, or the control group's limit when that is less; 0 where unknown.
pub(super) fn memory_total() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|l| kibibytes(l.strip_prefix("MemTotal:")?)).unwrap_or(0);
    let limit = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|p| fs::read_to_string(p).ok()?.trim().parse::<u64>().ok());
    limit.map_or(total, |l| l.min(total))
}

/// Millicores that this daemon may use.
pub(super) fn cpu_total() -> u64 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u64) * 1000
}

/// The load average of the last minute; 0 where unknown.
pub(super) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|l| l.parse().ok()).unwrap_or(0.0)
}

fn kibibytes(text: &str) -> Option<u64> {
    text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses and may contain anything, parentheses too.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |i: usize| fields.get(i)?.parse::<u64>().ok();
    Some(Stat { group: fields.get(2)?.parse().ok()?, cpu: number(11)? + number(12)?, start: number(19)? })
}

fn wrapper(pid: i32) -> Option<(PathBuf, u32)> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut arguments = line.split(|b| *b == 0).skip(3);
    if arguments.next()? != WRAPPER.as_bytes() {
        return None;
    }
    let folder = PathBuf::from(std::ffi::OsStr::from_bytes(arguments.next()?));
    let run = std::str::from_utf8(arguments.next()?).ok()?.parse().ok()?;
    // Its forked child looks the same until it runs the command.
    (stat(pid)?.group == pid).then_some((folder, run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_program_name_does_not_shift_the_fields() {
        let text = "42 (a) 1 (b) S 1 41 41 0 -1 4194304 1 0 0 0 5 7 0 0 20 0 1 0 987 1 1";
        assert_eq!(parse_stat(text), Some(Stat { group: 41, cpu: 12, start: 987 }));
    }
}
