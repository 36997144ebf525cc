//! How far the cache shows what is stored. Commits are shown one after the other, but not always in the order of their revisions.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tradewind_core::store::Revision;

use crate::lock;

/// The commits that are under way, and the last one that is shown.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last: Revision,
    /// By the last revision that was shown when they began, how many.
    under_way: BTreeMap<Revision, usize>,
}

/// A commit, from before it is stored until it is shown or given up.
pub(crate) struct UnderWay<'a> {
    progress: &'a Progress,
    since: Revision,
}

impl Progress {
    /// The state as it was read.
    pub(crate) fn at(revision: Revision) -> Self {
        let inner = Inner {
            last: revision,
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
        }
    }

    /// To be called before the commit is stored.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        let mut inner = lock(&self.inner);
        let since = inner.last;
        *inner.under_way.entry(since).or_default() += 1;
        UnderWay {
            progress: self,
            since,
        }
    }

    /// Every commit up to this revision is shown.
    pub(crate) fn shown(&self) -> Revision {
        let inner = lock(&self.inner);
        let first = inner.under_way.keys().next();
        first.copied().unwrap_or(inner.last)
    }
}

impl UnderWay<'_> {
    /// The commit is shown.
    pub(crate) fn shown(self, revision: Revision) {
        let mut inner = lock(&self.progress.inner);
        inner.last = inner.last.max(revision);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut inner = lock(&self.progress.inner);
        if let Some(count) = inner.under_way.get_mut(&self.since) {
            *count -= 1;
            if *count == 0 {
                inner.under_way.remove(&self.since);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_early_counts_when_those_before_it_are_shown() {
        let progress = Progress::at(Revision(10));
        let (first, second, third) = (progress.begin(), progress.begin(), progress.begin());
        second.shown(Revision(12));
        assert_eq!(progress.shown(), Revision(10));
        let fourth = progress.begin();
        first.shown(Revision(11));
        assert_eq!(progress.shown(), Revision(10));
        drop(third);
        assert_eq!(progress.shown(), Revision(12), "one may be given up");
        fourth.shown(Revision(13));
        assert_eq!(progress.shown(), Revision(13));
    }
}
