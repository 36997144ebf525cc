//! When the daemon itself runs out of descriptors: what it keeps back for its work, and how it tells. Running out says nothing about a
//! workload or a place, so it is waited for, never counted.

use std::{
    fs::File,
    io,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use rustix::process::{Resource, Rlimit};
use tradewind_core::exhausted;

/// Enough to start a process: its record, its output, its input, the pipe that tells of a failure, and its handle.
const KEPT: usize = 12;
/// What happens again within this time is not told again.
const EPISODE: Duration = Duration::from_secs(60);

/// Whether an error is the daemon's own: it has no descriptor left.
pub(super) fn is_own(error: &io::Error) -> bool {
    exhausted::is_out_of_files(error)
}

/// Whether the daemon has a descriptor left at this moment.
pub(super) fn has_room() -> bool {
    !File::open("/dev/null").is_err_and(|e| is_own(&e))
}

/// Descriptors kept back, and when they were needed last.
#[derive(Debug)]
pub(super) struct Reserve {
    kept: Mutex<Vec<File>>,
    last: Mutex<Option<Instant>>,
}

impl Reserve {
    pub(super) fn new() -> Self {
        let reserve = Self {
            kept: Mutex::default(),
            last: Mutex::default(),
        };
        reserve.refill();
        reserve
    }

    /// Does something that needs descriptors, with those kept back when there are no others. It is done a second time then, and must not
    /// spend them itself: it would wait for itself.
    pub(super) fn spend<T>(&self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match work() {
            Err(error) if is_own(&error) => {}
            other => return other,
        }
        // One at a time: the reserve is enough for one.
        let mut kept = self.kept();
        kept.clear();
        let outcome = work();
        fill(&mut kept);
        outcome
    }

    /// Takes back what was spent, as soon as it is to be had.
    pub(super) fn refill(&self) {
        fill(&mut self.kept());
    }

    /// Whether this is to be told: it has not happened for a while.
    pub(super) fn is_news(&self) -> bool {
        let mut last = self.last.lock();
        let news = last.is_none_or(|at| at.elapsed() > EPISODE);
        *last = Some(Instant::now());
        news
    }

    fn kept(&self) -> MutexGuard<'_, Vec<File>> {
        self.kept.lock()
    }
}

fn fill(kept: &mut Vec<File>) {
    while kept.len() < KEPT {
        match File::open("/dev/null") {
            Ok(file) => kept.push(file),
            Err(_) => return,
        }
    }
}

static FIRST: Mutex<Option<u64>> = Mutex::new(None);

/// Raises the daemon's soft limit on open files to its hard one, and answers how many may be open now. Processes get the limit that the daemon
/// was started with: some programs can't do with a higher one.
pub fn raise_open_files() -> u64 {
    let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
    let Some(soft) = current else { return u64::MAX };
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if maximum.is_none_or(|hard| hard > soft)
        && rustix::process::setrlimit(Resource::Nofile, raised).is_ok()
    {
        *FIRST.lock() = Some(soft);
        return maximum.unwrap_or(u64::MAX);
    }
    soft
}

/// The soft limit that the daemon was started with, where it is another by now.
pub(super) fn first_open_files() -> Option<u64> {
    *FIRST.lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_spent_once_and_refilled() {
        let reserve = Reserve::new();
        assert_eq!(reserve.kept().len(), KEPT);
        let mut tries = 0;
        let outcome = reserve.spend(|| {
            tries += 1;
            if tries == 1 {
                Err(io::Error::from_raw_os_error(24))
            } else {
                Ok(7)
            }
        });
        assert_eq!(
            (outcome.unwrap(), tries, reserve.kept().len()),
            (7, 2, KEPT)
        );
        let other = reserve.spend(|| Err::<(), _>(io::Error::from(io::ErrorKind::NotFound)));
        assert_eq!(other.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(reserve.is_news() && !reserve.is_news());
    }
}
