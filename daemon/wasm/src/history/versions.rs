//! The versions of one instance that have served. Plain data: who keeps it is `store`.

use serde::{Deserialize, Serialize};
use tradewind_core::{document::Document, names::Digest, units::Instant};

use crate::base::pair::Pair;

/// Good versions kept per instance.
pub(super) const KEPT: usize = 10;

/// A period in which one version served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) component: Digest,
    pub(crate) settings: Digest,
    /// The component's file name.
    pub(crate) file: String,
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) since: Instant,
    /// None: it still serves.
    pub(crate) until: Option<Instant>,
    pub(crate) rolled_back: bool,
}

impl Entry {
    pub(crate) fn pair(&self) -> Pair {
        (self.component, self.settings)
    }
}

/// A roll-back in force: as long as the folder holds `refused`, `target` serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub(crate) refused: Pair,
    pub(crate) target: Pair,
}

/// The history of one instance, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    pub(crate) entries: Vec<Entry>,
    #[serde(default)]
    pub(crate) pin: Option<Pin>,
}

impl Document for History {}

impl History {
    /// A new version serves from now on. Going on with the same one after a restart is no new period.
    pub(crate) fn begin(&mut self, entry: Entry) {
        if let Some(last) = self.entries.last_mut()
            && last.until.is_none()
        {
            if last.pair() == entry.pair() {
                return;
            }
            last.until = Some(entry.since);
        }
        self.entries.push(entry);
        if self.entries.len() > KEPT {
            self.entries.drain(..self.entries.len() - KEPT);
        }
    }

    pub(crate) fn end(&mut self, now: Instant) {
        if let Some(last) = self.entries.last_mut() {
            last.until.get_or_insert(now);
        }
    }

    /// The version to go back to: the given component's last one, or the last that differs from what serves.
    pub(crate) fn before(&self, current: Option<Pair>, wanted: Option<Digest>) -> Option<&Entry> {
        self.entries.iter().rev().find(|e| match wanted {
            Some(digest) => e.component == digest && Some(e.pair()) != current,
            None => Some(e.pair()) != current && !e.rolled_back,
        })
    }

    /// An operator goes back from what serves.
    pub(crate) fn mark_rolled_back(&mut self, serving: Option<Pair>) {
        if let Some(last) = self
            .entries
            .last_mut()
            .filter(|e| Some(e.pair()) == serving)
        {
            last.rolled_back = true;
        }
    }

    /// The version that served when the daemon stopped, or serves.
    pub(crate) fn open(&self) -> Option<Pair> {
        let last = self.entries.last()?;
        last.until.is_none().then(|| last.pair())
    }

    /// The name of the component's file in that version.
    pub(crate) fn file_of(&self, pair: Pair) -> Option<&str> {
        let of = self.entries.iter().rev().find(|e| e.pair() == pair);
        of.map(|e| e.file.as_str())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn entry(n: u8, since: u64) -> Entry {
        let digest = Digest::of(&[n]);
        Entry {
            component: digest,
            settings: digest,
            file: "a.wasm".into(),
            plugin: "a".into(),
            version: "1.0.0".into(),
            since: Instant(since),
            until: None,
            rolled_back: false,
        }
    }

    #[test]
    fn periods_follow_one_another() {
        let mut history = History::default();
        history.begin(entry(1, 10));
        history.begin(entry(1, 11));
        history.begin(entry(2, 20));
        assert_eq!(history.entries.len(), 2);
        assert_eq!(history.entries[0].until, Some(Instant(20)));
        let now = Some(history.entries[1].pair());
        assert_eq!(
            history.before(now, None).unwrap().component,
            Digest::of(&[1])
        );
        assert!(history.before(now, Some(Digest::of(&[9]))).is_none());
    }
}
