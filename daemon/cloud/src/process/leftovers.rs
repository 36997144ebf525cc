//! What a run has left: processes that went out of its group, by `setsid` or as daemons do. They get the signals that the group gets, and end
//! with it. Everything here blocks.

use std::{
    collections::BTreeSet,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::MutexGuard;
use rustix::process::Signal;

use super::{
    Notice, Shared,
    census::{Census, Who},
    exit, groups, proc, reserve,
};

/// How often, and how long after one another, it is looked whether all have ended.
const ROUNDS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(10);

impl Shared {
    /// Everybody who runs, as it was at this moment or later.
    ///
    /// # Errors
    /// The processes can't be listed.
    pub(super) fn census(&self, not_before: Instant) -> io::Result<Arc<Census>> {
        // The reserve first, then the census: in the other order, two who look at once would wait for each other.
        self.reserve.spend(|| {
            let mut last = self.last_census();
            if last.0.is_some_and(|at| at >= not_before) {
                return Ok(last.1.clone());
            }
            let began = Instant::now();
            let census = Arc::new(Census::take(&last.1)?);
            *last = (Some(began), census.clone());
            Ok(census)
        })
    }

    fn last_census(&self) -> MutexGuard<'_, (Option<Instant>, Arc<Census>)> {
        self.census.lock()
    }

    /// Sends a signal to those of a replica's processes that a signal to its group does not reach. Answers how many there are; without a
    /// signal it only counts.
    pub(super) fn signal_outside(&self, who: &Who, signal: Option<Signal>) -> usize {
        let Ok(census) = self.census(Instant::now()) else {
            return 0;
        };
        let outside = census.outside(who);
        if let Some(signal) = signal {
            outside
                .iter()
                .for_each(|pid| exit::signal_one(*pid, census.start(*pid), signal));
        }
        outside.len()
    }

    /// Ends whatever is left of a run whose wrapper has ended, and waits until it is gone. Answers how many were not in its group.
    ///
    /// # Errors
    /// The processes can't be listed: nothing is known of them.
    pub(super) fn end_leftovers(&self, who: &Who) -> io::Result<usize> {
        let mut outside = BTreeSet::new();
        for round in 0..ROUNDS {
            let census = self.census(Instant::now())?;
            let mut left = census.members(who);
            outside.extend(census.outside(who));
            if round == 0 {
                // One that has hidden its environment and lost its parent may still write its output where the replica does.
                let writes =
                    |pid: &i32| !left.contains(pid) && proc::writes_into(*pid, &who.folder);
                let hidden: Vec<i32> = census.orphans().into_iter().filter(writes).collect();
                outside.extend(&hidden);
                left.extend(hidden);
                if let Some(group) = who.group.as_ref().filter(|_| !left.is_empty()) {
                    groups::kill(group);
                }
            }
            if left.is_empty() {
                break;
            }
            left.iter()
                .for_each(|pid| exit::signal_one(*pid, census.start(*pid), Signal::KILL));
            if round == ROUNDS - 1 {
                tracing::warn!(pids = ?left, "killed processes do not go away: they may hang in the kernel, or be another user's");
            }
            std::thread::sleep(PAUSE);
        }
        if let Some(group) = &who.group {
            groups::remove(group);
        }
        Ok(outside.len())
    }

    /// Ends what a check has started and left, by the check's own mark.
    pub(super) fn end_marked(&self, mark: &str) {
        for _ in 0..ROUNDS {
            let Ok(census) = self.census(Instant::now()) else {
                return;
            };
            let left = census.marked(mark);
            if left.is_empty() {
                return;
            }
            left.iter()
                .for_each(|pid| exit::signal_one(*pid, census.start(*pid), Signal::KILL));
            std::thread::sleep(PAUSE);
        }
    }

    /// Takes note of the daemon's own want of descriptors: once, while it lasts.
    pub(super) fn exhausted(&self, what: &str) {
        if self.reserve.is_news() {
            tracing::error!(
                "the daemon has too many files open: {what}; it is tried again until it works"
            );
            let _ = self.notices.try_send(Notice::Exhausted(format!(
                "the daemon has too many files open: {what}; it is tried again, and nothing is held against what runs: raise the limit on \
                 open files (ulimit -n) of the daemon"
            )));
        }
    }

    /// Does something until the daemon has the descriptors for it. None when it is shutting down meanwhile. It spends no reserve: what is done
    /// may do so, and nobody spends it twice at a time.
    pub(super) fn insist<T>(
        &self,
        what: &str,
        mut work: impl FnMut() -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        const PAUSE: Duration = Duration::from_millis(250);
        loop {
            match work() {
                Err(error) if reserve::is_own(&error) => self.exhausted(what),
                other => return Some(other),
            }
            if self.closing.is_cancelled() {
                return None;
            }
            std::thread::sleep(PAUSE);
        }
    }
}
