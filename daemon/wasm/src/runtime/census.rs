//! How many versions are alive.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// How many versions are alive: active ones, and old ones whose last call or snapshot has not ended.
#[derive(Clone, Default)]
pub(crate) struct Census(Arc<AtomicUsize>);

/// Held by a version as long as it lives: counted for all, and for its instance.
pub(crate) struct Counted([Census; 2]);

impl Census {
    pub(crate) fn count(&self, own: &Census) -> Counted {
        let both = [self.clone(), own.clone()];
        for census in &both {
            census.0.fetch_add(1, SeqCst);
        }
        Counted(both)
    }

    pub(crate) fn alive(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        for census in &self.0 {
            census.0.fetch_sub(1, SeqCst);
        }
    }
}
