//! How far components are that have no compiled code yet. Counts, and tells those who ask; knows no plugin.

use std::sync::Arc;

use tokio::sync::watch;

/// Components that had no compiled code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compilation {
    /// How many there are, or were.
    pub components: u32,
    /// How many of them are done: compiled, or refused.
    pub done: u32,
}

/// Counts components that are compiled. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    counts: Arc<watch::Sender<Compilation>>,
}

/// One component that is compiled; it is done when this is dropped.
pub(super) struct Step(Progress);

impl Progress {
    /// The counts, now and as they change.
    pub fn follow(&self) -> watch::Receiver<Compilation> {
        self.counts.subscribe()
    }

    /// One more. When all before it are done, counting begins anew.
    pub(super) fn begin(&self) -> Step {
        self.counts.send_modify(|counts| {
            if counts.done == counts.components {
                *counts = Compilation::default();
            }
            counts.components = counts.components.saturating_add(1);
        });
        Step(self.clone())
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.0
            .counts
            .send_modify(|counts| counts.done = counts.done.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_what_is_compiled_at_a_time() {
        let progress = Progress::default();
        let told = progress.follow();
        let counts = |components, done| Compilation { components, done };
        let (first, second) = (progress.begin(), progress.begin());
        drop(first);
        assert_eq!(*told.borrow(), counts(2, 1));
        drop(second);
        assert_eq!(*told.borrow(), counts(2, 2));
        let _later = progress.begin();
        assert_eq!(*told.borrow(), counts(1, 0));
    }
}
