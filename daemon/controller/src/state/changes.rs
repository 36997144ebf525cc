//! Which items of a list have changed since when, for those who follow it. It knows keys and revisions, and nothing of what has changed: who
//! follows reads what there is now, so states that pass between two looks are skipped.
//!
//! Some changes are in memory alone (what was observed), so they are counted here. Each carries the revision that was shown last when it came:
//! whoever knows a list as of a revision finds what it lacks among the changes of this revision and later ones, and some that it knows.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::Hash,
};

use tokio::sync::watch;
use tradewind_core::{record::DeploymentKey, store::Revision};

/// Removed items that are remembered. Who lacks an earlier one has to list again.
const GONE: usize = 4096;

/// The changes, numbered in the order in which they came.
pub(crate) struct Changes<K = DeploymentKey> {
    /// The last number.
    last: u64,
    /// The last revision that is shown.
    shown: Revision,
    /// The last change of each item that is there.
    of: HashMap<K, u64>,
    order: BTreeMap<u64, (K, Revision)>,
    /// Removals, the oldest first.
    gone: VecDeque<(u64, K, Revision)>,
    /// The removals behind this number are remembered.
    complete_behind: u64,
    /// Lists as of an earlier revision can't be followed.
    oldest: Revision,
    published: watch::Sender<u64>,
}

/// Some changes, each item once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch<K = DeploymentKey> {
    /// Those that are there.
    pub(crate) there: Vec<K>,
    /// Those that were removed and are not there again.
    pub(crate) gone: Vec<K>,
    /// Where to go on.
    pub(crate) read_to: u64,
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self {
            last: 0,
            shown: Revision(0),
            of: HashMap::new(),
            order: BTreeMap::new(),
            gone: VecDeque::new(),
            complete_behind: 0,
            oldest: Revision(0),
            published: watch::Sender::new(0),
        }
    }
}

impl<K: Clone + Eq + Hash> Changes<K> {
    /// The state as it was read at this revision. What was removed before is not known.
    pub(crate) fn begin(&mut self, at: Revision) {
        (self.shown, self.oldest) = (at, at);
    }

    /// What comes now comes with this revision, or a later one that is shown already.
    pub(crate) fn show(&mut self, revision: Revision) {
        self.shown = self.shown.max(revision);
    }

    /// The last revision that is shown.
    pub(crate) fn shown(&self) -> Revision {
        self.shown
    }

    pub(crate) fn changed(&mut self, key: &K) {
        let number = self.next();
        if let Some(before) = self.of.insert(key.clone(), number) {
            self.order.remove(&before);
        }
        self.order.insert(number, (key.clone(), self.shown));
        self.published.send_replace(number);
    }

    pub(crate) fn removed(&mut self, key: &K) {
        let number = self.next();
        if let Some(before) = self.of.remove(key) {
            self.order.remove(&before);
        }
        self.gone.push_back((number, key.clone(), self.shown));
        while self.gone.len() > GONE {
            if let Some((number, _, revision)) = self.gone.pop_front() {
                self.complete_behind = number;
                self.oldest = self.oldest.max(Revision(revision.0.saturating_add(1)));
            }
        }
        self.published.send_replace(number);
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The number of the last change.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The place from which on there is everything that a list of this revision may lack.
    ///
    /// # Errors
    /// The earliest revision that can be followed, when this one can't: it is too old, or has not been yet.
    pub(crate) fn behind(&self, revision: Revision) -> Result<u64, Revision> {
        if revision < self.oldest || revision > self.shown {
            return Err(self.oldest);
        }
        let lacks = |of: &Revision| *of >= revision;
        let there = self
            .order
            .iter()
            .rev()
            .take_while(|(_, (_, of))| lacks(of))
            .map(|(number, _)| *number)
            .last();
        let gone = self
            .gone
            .iter()
            .rev()
            .take_while(|(.., of)| lacks(of))
            .map(|(number, ..)| *number)
            .last();
        let first = there.into_iter().chain(gone).min();
        Ok(first.map_or(self.last, |first| first - 1))
    }

    /// The changes behind a place, at most so many of those that are there.
    ///
    /// # Errors
    /// The earliest revision that can be followed: removals behind the place have been forgotten.
    pub(crate) fn after(&self, place: u64, limit: usize) -> Result<Batch<K>, Revision> {
        if place < self.complete_behind {
            return Err(self.oldest);
        }
        let mut batch = Batch {
            read_to: self.last,
            there: Vec::new(),
            gone: Vec::new(),
        };
        for (number, (key, _)) in self.order.range(place.saturating_add(1)..) {
            if batch.there.len() == limit {
                break;
            }
            batch.there.push(key.clone());
            batch.read_to = *number;
        }
        if batch.there.len() < limit {
            batch.read_to = self.last;
        }
        let begin = self.gone.partition_point(|(number, ..)| *number <= place);
        let gone = self
            .gone
            .iter()
            .skip(begin)
            .take_while(|(number, ..)| *number <= batch.read_to)
            .filter(|(_, key, _)| !self.of.contains_key(key));
        batch.gone = gone.map(|(_, key, _)| key.clone()).collect();
        Ok(batch)
    }

    /// Has the number of the last change, and wakes whoever waits for another.
    pub(crate) fn published(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> DeploymentKey {
        DeploymentKey {
            namespace: "default".parse().expect("a name"),
            name: name.parse().expect("a name"),
        }
    }

    fn names(keys: &[DeploymentKey]) -> Vec<&str> {
        keys.iter().map(|key| key.name.as_str()).collect()
    }

    fn after(changes: &Changes, place: u64, limit: usize) -> (Vec<&str>, Vec<String>, u64) {
        let batch = changes.after(place, limit).expect("it is kept");
        let (gone, read_to) = (
            names(&batch.gone)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            batch.read_to,
        );
        let there = changes
            .order
            .values()
            .filter(|(key, _)| batch.there.contains(key))
            .map(|(key, _)| key.name.as_str())
            .collect();
        (there, gone, read_to)
    }

    #[test]
    fn each_deployment_comes_once_with_its_last_change() {
        let mut changes: Changes = Changes::default();
        for name in ["a", "b", "a", "c"] {
            changes.changed(&key(name));
        }
        assert_eq!(after(&changes, 0, 9), (vec!["b", "a", "c"], vec![], 4));
        assert_eq!(after(&changes, 0, 2), (vec!["b", "a"], vec![], 3));
        assert_eq!(after(&changes, 3, 2), (vec!["c"], vec![], 4));
        changes.removed(&key("a"));
        assert_eq!(after(&changes, 2, 9), (vec!["c"], vec!["a".to_owned()], 5));
        changes.changed(&key("a"));
        assert_eq!(
            after(&changes, 4, 9),
            (vec!["a"], vec![], 6),
            "it is there again"
        );
        assert_eq!(after(&changes, 6, 9), (vec![], vec![], 6));
    }

    #[test]
    fn a_list_of_a_revision_lacks_what_came_with_it_or_later() {
        let mut changes: Changes = Changes::default();
        changes.begin(Revision(10));
        for (revision, name) in [(10, "a"), (12, "b"), (12, "c"), (13, "d")] {
            changes.show(Revision(revision));
            changes.changed(&key(name));
        }
        // A commit may be shown after a later one.
        changes.show(Revision(11));
        changes.changed(&key("a"));
        for (revision, place) in [(10, 1), (11, 1), (12, 1), (13, 3)] {
            assert_eq!(changes.behind(Revision(revision)), Ok(place), "{revision}");
        }
        for revision in [9, 14] {
            assert_eq!(changes.behind(Revision(revision)), Err(Revision(10)));
        }
    }

    #[test]
    fn who_lacks_a_removal_that_is_forgotten_is_told() {
        let mut changes: Changes = Changes::default();
        changes.begin(Revision(5));
        let place = changes.last();
        for n in 0..=GONE {
            changes.show(Revision(6 + n as u64));
            changes.removed(&key("a"));
        }
        assert_eq!(changes.after(place, 9), Err(Revision(7)));
        assert_eq!(changes.behind(Revision(6)), Err(Revision(7)));
        assert!(changes.behind(Revision(7)).is_ok());
        assert!(changes.after(place + 1, 9).is_ok());
    }
}
