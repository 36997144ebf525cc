//! Who runs on this machine, read in one go, and who of them belongs to a replica: its process group, what descends from its wrapper, what
//! bears its mark in the environment, and its control group. A process that calls `setsid` leaves the first, one whose parent ends leaves the
//! second; the mark stays with both. It reads `/proc` and ends nothing. Everything here blocks.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::PathBuf,
};

use super::{groups, proc};

/// The variable that marks every process of a replica. Its value is the replica's mark, a dot, and the number of the run; what a check
/// starts has another dot and a number of its own behind it.
pub(super) const MARK: &str = "TRADEWIND_RUN";
/// A process this old, in clock ticks, has run its program's start: an environment without a mark stays without one.
const GROWN: u64 = 300;

/// What a replica's processes are known by.
#[derive(Debug, Clone, Default)]
pub(super) struct Who {
    /// The wrapper, which leads the group; 0 where none is known.
    pub(super) leader: i32,
    /// When the wrapper began, in clock ticks since boot; 0 where unknown.
    pub(super) start: u64,
    /// Empty for what a version before marks has started.
    pub(super) mark: String,
    pub(super) group: Option<PathBuf>,
    /// Where its output goes.
    pub(super) folder: PathBuf,
}

#[derive(Debug, Clone)]
struct Running {
    parent: i32,
    group: i32,
    start: u64,
    ended: bool,
    /// Its own, or that of an ancestor.
    mark: Option<String>,
}

/// Every process of a moment.
#[derive(Debug, Default)]
pub(super) struct Census {
    all: HashMap<i32, Running>,
    children: HashMap<i32, Vec<i32>>,
}

impl Census {
    /// What was found out before is not read again.
    ///
    /// # Errors
    /// The processes can't be listed: nothing is known then, least of all that there are none.
    pub(super) fn take(before: &Self) -> io::Result<Self> {
        let now = proc::ticks_since_boot();
        let mut all = HashMap::new();
        for pid in proc::pids()? {
            // One that has ended meanwhile is left out.
            let Some(stat) = proc::stat_of(pid)? else {
                continue;
            };
            let known = before.all.get(&pid).filter(|b| b.start == stat.start);
            let grown = now.saturating_sub(stat.start) > GROWN;
            let mark = match known {
                Some(known) if grown || stat.ended => known.mark.clone(),
                None if stat.ended => None,
                // Between its fork and its program a process has its parent's environment.
                known => mark_of(pid)?.or_else(|| known.and_then(|k| k.mark.clone())),
            };
            all.insert(
                pid,
                Running {
                    parent: stat.parent,
                    group: stat.group,
                    start: stat.start,
                    ended: stat.ended,
                    mark,
                },
            );
        }
        Ok(Self::of(all))
    }

    fn of(all: HashMap<i32, Running>) -> Self {
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for (pid, process) in &all {
            children.entry(process.parent).or_default().push(*pid);
        }
        let mut census = Self { all, children };
        census.inherit();
        census
    }

    /// A process that hides its environment is still known by whose child it is, as long as its parent lives; after that, from before.
    fn inherit(&mut self) {
        let this = own();
        let unmarked: Vec<i32> = self
            .all
            .iter()
            .filter(|(pid, p)| p.mark.is_none() && **pid != this)
            .map(|(pid, _)| *pid)
            .collect();
        for pid in unmarked {
            let mut above = self.all.get(&pid).map_or(0, |p| p.parent);
            // A bound against a tree that was read while it changed.
            for _ in 0..64 {
                let Some(ancestor) = self.all.get(&above).filter(|_| above > 1 && above != this)
                else {
                    break;
                };
                if let Some(mark) = ancestor.mark.clone() {
                    if let Some(process) = self.all.get_mut(&pid) {
                        process.mark = Some(mark);
                    }
                    break;
                }
                above = ancestor.parent;
            }
        }
    }

    /// The live processes of a replica, its wrapper left out.
    pub(super) fn members(&self, who: &Who) -> Vec<i32> {
        let this = own();
        let leader = self.all.get(&who.leader);
        // The number of a group is nobody else's as long as somebody is in it.
        let same_leader =
            who.leader > 1 && leader.is_none_or(|l| who.start == 0 || l.start == who.start);
        let mut found: BTreeSet<i32> = self
            .all
            .iter()
            .filter(|(_, p)| {
                (same_leader && p.group == who.leader && p.start >= who.start)
                    || is_marked(p, &who.mark)
            })
            .map(|(pid, _)| *pid)
            .collect();
        if let Some(group) = &who.group {
            found.extend(groups::members(group));
        }
        if same_leader && leader.is_some() {
            found.insert(who.leader);
        }
        found.remove(&this);
        self.add_descendants(&mut found, this);
        let live = |pid: &i32| *pid != who.leader && self.all.get(pid).is_some_and(|p| !p.ended);
        found
            .into_iter()
            .filter(|pid| *pid > 1 && live(pid))
            .collect()
    }

    /// Those of the members that are not in the wrapper's process group: a signal to the group does not reach them.
    pub(super) fn outside(&self, who: &Who) -> Vec<i32> {
        let inside = |pid: &i32| self.all.get(pid).is_some_and(|p| p.group == who.leader);
        self.members(who)
            .into_iter()
            .filter(|pid| !inside(pid))
            .collect()
    }

    /// Live processes with exactly this mark.
    pub(super) fn marked(&self, mark: &str) -> Vec<i32> {
        let this = own();
        let exactly = |p: &Running| !p.ended && p.mark.as_deref() == Some(mark);
        self.all
            .iter()
            .filter(|(pid, p)| **pid != this && exactly(p))
            .map(|(pid, _)| *pid)
            .collect()
    }

    fn add_descendants(&self, found: &mut BTreeSet<i32>, this: i32) {
        let mut rest: Vec<i32> = found.iter().copied().collect();
        while let Some(pid) = rest.pop() {
            for child in self.children.get(&pid).into_iter().flatten() {
                if *child != this && found.insert(*child) {
                    rest.push(*child);
                }
            }
        }
    }

    /// Live members of a process group.
    pub(super) fn of_group(&self, group: i32) -> Vec<i32> {
        self.all
            .iter()
            .filter(|(_, p)| p.group == group && !p.ended)
            .map(|(pid, _)| *pid)
            .collect()
    }

    pub(super) fn start(&self, pid: i32) -> Option<u64> {
        self.all.get(&pid).map(|p| p.start)
    }

    /// Live processes whose parent has gone: the system's first process has them, or this daemon.
    pub(super) fn orphans(&self) -> Vec<i32> {
        let this = own();
        let orphan = |p: &Running| !p.ended && (p.parent == 1 || p.parent == this);
        self.all
            .iter()
            .filter(|(pid, p)| **pid != this && orphan(p))
            .map(|(pid, _)| *pid)
            .collect()
    }

    /// Ended children of this daemon, with what makes their ids unique.
    pub(super) fn ended_children(&self) -> BTreeSet<(i32, u64)> {
        let this = own();
        self.all
            .iter()
            .filter(|(_, p)| p.ended && p.parent == this)
            .map(|(pid, p)| (*pid, p.start))
            .collect()
    }
}

fn own() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

fn is_marked(process: &Running, mark: &str) -> bool {
    !mark.is_empty()
        && process
            .mark
            .as_deref()
            .and_then(|m| m.strip_prefix(mark))
            .is_some_and(|rest| rest.starts_with('.'))
}

/// The mark in a process's environment. None where it has none or hides it.
///
/// # Errors
/// The daemon has no descriptor left to read it with.
fn mark_of(pid: i32) -> io::Result<Option<String>> {
    let environment = match fs::read(format!("/proc/{pid}/environ")) {
        Ok(environment) => environment,
        Err(error) if super::reserve::is_own(&error) => return Err(error),
        Err(_) => return Ok(None),
    };
    Ok(in_environment(&environment))
}

pub(super) fn in_environment(environment: &[u8]) -> Option<String> {
    let mark = environment
        .split(|b| *b == 0)
        .find_map(|line| line.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))?;
    std::str::from_utf8(mark).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(parent: i32, group: i32, mark: Option<&str>) -> Running {
        Running {
            parent,
            group,
            start: 10,
            ended: false,
            mark: mark.map(str::to_owned),
        }
    }

    fn census(all: &[(i32, Running)]) -> Census {
        Census::of(all.iter().cloned().collect())
    }

    #[test]
    fn what_leaves_the_group_or_loses_its_parent_is_still_a_member() {
        let who = Who {
            leader: 100,
            start: 10,
            mark: "m".to_owned(),
            ..Who::default()
        };
        let mut all = vec![
            (1, running(0, 1, None)),
            (100, running(1, 100, Some("m.1"))),
            (101, running(100, 100, Some("m.1"))),
            // In a session of its own, its parent gone.
            (102, running(1, 102, Some("m.1"))),
            // Its child, which hides its environment.
            (103, running(102, 103, None)),
            // Another replica's, and a mark that only begins the same.
            (104, running(1, 104, Some("n.1"))),
            (105, running(1, 105, Some("mm.1"))),
            (106, running(1, 106, None)),
        ];
        let seen = census(&all);
        assert_eq!(seen.members(&who), [101, 102, 103]);
        assert_eq!(seen.outside(&who), [102, 103]);
        // The wrapper has gone: the rest of its group is known by the group.
        all.remove(1);
        assert_eq!(census(&all).members(&who), [101, 102, 103]);
        // Somebody else leads a group of that number by now.
        let mut stranger = running(1, 100, None);
        stranger.start = 99;
        all.retain(|(pid, _)| *pid != 101);
        all.push((100, stranger));
        assert_eq!(census(&all).members(&who), [102, 103]);
    }

    #[test]
    fn only_a_whole_name_is_a_mark() {
        assert_eq!(
            in_environment(b"PATH=/bin\0TRADEWIND_RUN=m.1\0"),
            Some("m.1".to_owned())
        );
        assert_eq!(
            in_environment(b"XTRADEWIND_RUN=m.1\0TRADEWIND_RUNS=2"),
            None
        );
    }
}
