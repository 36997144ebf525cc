//! The newest changes, in memory: what spares most watchers a read. A cache of the log's end, never its substitute:
//! whoever has fallen behind it reads the log.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tradewind_core::store::{Change, Revision, Write};

const MAX_REVISIONS: usize = 4096;
const MAX_BYTES: usize = 8 << 20;

/// Handed to one watcher at a time, so that a slow one holds little.
const MAX_TAKEN: usize = 256;

#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) revision: u64,
    pub(crate) changes: Vec<Change>,
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Tail {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// Every revision after this one is here.
    floor: u64,
    bytes: usize,
    committed: VecDeque<Arc<Committed>>,
}

// === impl Committed ===

impl Committed {
    pub(crate) fn new(revision: u64, writes: Vec<Write>) -> Self {
        let changes: Vec<Change> = writes
            .into_iter()
            .filter_map(|write| match write {
                Write::Put { key, value } => Some(Change {
                    revision: Revision(revision),
                    key,
                    value: Some(value),
                }),
                Write::Archive { .. } => None,
                Write::Delete { key } => Some(Change {
                    revision: Revision(revision),
                    key,
                    value: None,
                }),
            })
            .collect();
        let bytes = changes
            .iter()
            .map(|change| change.key.len() + change.value.as_ref().map_or(0, Vec::len))
            .sum();
        Self {
            revision,
            changes,
            bytes,
        }
    }
}

// === impl Tail ===

impl Tail {
    pub(crate) fn new(revision: u64) -> Self {
        Self {
            kept: Mutex::new(Kept {
                floor: revision,
                bytes: 0,
                committed: VecDeque::new(),
            }),
        }
    }

    /// Forgets everything: who follows reads the log up to `revision`.
    pub(crate) fn begin_anew(&self, revision: u64) {
        *self.kept() = Kept {
            floor: revision,
            bytes: 0,
            committed: VecDeque::new(),
        };
    }

    pub(crate) fn push(&self, committed: impl IntoIterator<Item = Committed>) {
        let mut kept = self.kept();
        for one in committed {
            kept.bytes += one.bytes;
            kept.committed.push_back(Arc::new(one));
        }
        while kept.bytes > MAX_BYTES || kept.committed.len() > MAX_REVISIONS {
            let Some(oldest) = kept.committed.pop_front() else {
                break;
            };
            kept.bytes -= oldest.bytes;
            kept.floor = oldest.revision;
        }
    }

    /// The next few revisions after `revision`; None when some of them are no longer here.
    pub(crate) fn after(&self, revision: u64) -> Option<Vec<Arc<Committed>>> {
        let kept = self.kept();
        if revision < kept.floor {
            return None;
        }
        let start = kept
            .committed
            .partition_point(|one| one.revision <= revision);
        Some(
            kept.committed
                .iter()
                .skip(start)
                .take(MAX_TAKEN)
                .cloned()
                .collect(),
        )
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(revision: u64, bytes: usize) -> Committed {
        Committed::new(
            revision,
            vec![Write::Put {
                key: "k".to_owned(),
                value: vec![0; bytes],
            }],
        )
    }

    fn revisions(taken: &[Arc<Committed>]) -> Vec<u64> {
        taken.iter().map(|one| one.revision).collect()
    }

    #[test]
    fn it_knows_what_it_no_longer_has() {
        let tail = Tail::new(7);
        assert!(tail.after(6).is_none());
        assert_eq!(tail.after(7).map(|taken| taken.len()), Some(0));
        tail.push([put(8, 10), put(9, 10)]);
        assert_eq!(revisions(&tail.after(7).unwrap()), [8, 9]);
        assert_eq!(revisions(&tail.after(8).unwrap()), [9]);
        tail.push([put(10, MAX_BYTES - 5)]);
        assert!(tail.after(8).is_none());
        assert_eq!(revisions(&tail.after(9).unwrap()), [10]);
        tail.push([put(11, MAX_BYTES + 1)]);
        assert!(
            tail.after(10).is_none(),
            "one that is too large leaves at once"
        );
        assert_eq!(tail.after(11).map(|taken| taken.len()), Some(0));
    }
}
