//! Following a list that is made whole for each look: of plugins, plans, namespaces or regions. A follower compares what there is with what its
//! reader knows, so states that pass in between are skipped. Every look, and every page that is sent, is noted: who comes back with a revision is
//! told what has changed since. It must not know what is listed, nor how events travel.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, stream};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::{Instant as Tick, sleep_until};
use tradewind_core::{list::Listed, store::Revision};

use super::{Hashed, ListChange, ListEvent, QUIET};
use crate::{Error, Handle, lock, state::changes::Changes};

/// Between two looks.
const PACE: Duration = Duration::from_secs(1);
/// A list that changes with the state alone is looked at again this often: some of it depends on the time.
const ROUND: Duration = Duration::from_secs(10);

/// A list, as one reader may follow it.
pub trait WholeList: Send + 'static {
    /// What is listed.
    type Item: Listed<Key: Send> + Serialize + Send;

    /// What there is now, for everyone and for this reader.
    fn read(&self) -> impl Future<Output = Result<ListNow<Self::Item>, Error>> + Send;

    /// Whether the reader may know that there was such an item. None: nobody knows any more whose it was.
    fn may_know(&self, key: &<Self::Item as Listed>::Key) -> Option<bool>;

    /// Whether nothing but commits and the time change the list.
    fn is_stored(&self) -> bool;
}

/// A list at one moment.
#[derive(Debug)]
pub struct ListNow<V> {
    /// All there is.
    pub all: Vec<V>,
    /// What the reader asked for and may see, as it may see it.
    pub shown: Vec<V>,
}

/// What is known of the changes of a list.
pub struct Followed<V: Listed> {
    log: Mutex<Log>,
    hasher: RandomState,
    of: std::marker::PhantomData<fn() -> V>,
}

struct Log {
    changes: Changes<String>,
    /// Of each item, by the text of its key, a hash of its content.
    known: HashMap<String, u64>,
}

/// Of an item that was sent in a page, and not looked at since.
const SENT: u64 = 0;

impl<V: Listed + Serialize> Followed<V> {
    /// What changes from now on is noted; nothing before this revision is known.
    pub fn new(at: Revision) -> Self {
        let mut changes = Changes::default();
        changes.begin(at);
        Self {
            log: Mutex::new(Log {
                changes,
                known: HashMap::new(),
            }),
            hasher: RandomState::new(),
            of: std::marker::PhantomData,
        }
    }

    /// Somebody has been sent these: whether they are gone will be noticed.
    pub fn sent(&self, items: &[V]) {
        let keys: Vec<String> = items.iter().filter_map(text_of).collect();
        let mut log = lock(&self.log);
        for key in keys {
            log.known.entry(key).or_insert(SENT);
        }
    }

    /// What there is now, after everything up to this revision was shown.
    fn note(&self, all: &[V], shown: Revision) {
        let hashes: HashMap<String, u64> =
            all.iter().filter_map(|item| self.hashed(item)).collect();
        let mut log = lock(&self.log);
        let Log { changes, known } = &mut *log;
        changes.show(shown);
        known.retain(|key, _| {
            let is_there = hashes.contains_key(key);
            if !is_there {
                changes.removed(key);
            }
            is_there
        });
        for (key, now) in hashes {
            if known.get(&key) != Some(&now) {
                changes.changed(&key);
                known.insert(key, now);
            }
        }
    }

    /// The keys of all that a list of this revision may lack: those that are there, and those that are gone.
    fn since(&self, after: Revision) -> Result<HashSet<String>, Error> {
        let log = lock(&self.log);
        let behind = log.changes.behind(after);
        let batch = behind.and_then(|place| log.changes.after(place, usize::MAX));
        let batch = batch.map_err(|_| Error::Unfollowable { after })?;
        Ok(batch.there.into_iter().chain(batch.gone).collect())
    }

    fn hashed(&self, item: &V) -> Option<(String, u64)> {
        let mut hasher = Hashed(self.hasher.build_hasher());
        // It only hashes.
        let _ = serde_json::to_writer(&mut hasher, item);
        Some((text_of(item)?, hasher.0.finish().max(SENT + 1)))
    }
}

impl<V: Listed + Serialize + Send + 'static> Followed<V>
where
    V::Key: Send,
{
    /// The list and what changes, without an end. Without `after`, everything that is there comes first, then a bookmark.
    ///
    /// # Errors
    /// `Unfollowable` when it is not known any more what changed since `after`; whatever keeps the list from being read, with which the stream
    /// ends, too.
    pub async fn follow<S: WholeList<Item = V>>(
        self: Arc<Self>,
        source: S,
        handle: Handle,
        after: Option<Revision>,
    ) -> Result<impl Stream<Item = Result<ListEvent<V>, Error>> + Send + use<V, S>, Error> {
        let now = Tick::now();
        let mut follower = Follower {
            followed: self,
            source,
            handle,
            told: after,
            looked: (now, Revision(0)),
            known: HashMap::new(),
            ready: VecDeque::new(),
        };
        follower.look(true).await?;
        Ok(stream::unfold(Some(follower), |follower| async {
            let mut follower = follower?;
            match follower.next().await {
                Ok(event) => Some((Ok(event), Some(follower))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

struct Follower<S: WholeList> {
    followed: Arc<Followed<S::Item>>,
    source: S,
    handle: Handle,
    /// Where to resume. None: the list is not told whole yet.
    told: Option<Revision>,
    /// When the list was looked at last, and what was shown then.
    looked: (Tick, Revision),
    /// What the reader knows, by the text of its key.
    known: HashMap<String, u64>,
    ready: VecDeque<ListEvent<S::Item>>,
}

impl<S: WholeList> Follower<S> {
    async fn next(&mut self) -> Result<ListEvent<S::Item>, Error> {
        let quiet = Tick::now() + QUIET;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            sleep_until(self.looked.0 + PACE).await;
            if Tick::now() >= quiet {
                return Ok(self.event(ListChange::Bookmark));
            }
            self.look(false).await?;
        }
    }

    async fn look(&mut self, first: bool) -> Result<(), Error> {
        let shown = self.handle.shown_revision();
        let now = Tick::now();
        let (then, before) = self.looked;
        if !first && self.source.is_stored() && shown == before && now < then + ROUND {
            // The time of the look stays: some of the list depends on it.
            sleep_until(now + PACE).await;
            return Ok(());
        }
        let ListNow { all, shown: mine } = self.source.read().await?;
        self.looked = (now, shown);
        self.followed.note(&all, self.handle.shown_revision());
        let resumed = self.told.filter(|_| first);
        let changed = resumed
            .map(|after| self.followed.since(after))
            .transpose()?;
        self.tell(mine, changed)?;
        let whole = self.told.is_none();
        self.told = self.told.max(Some(shown));
        if whole {
            let end = self.event(ListChange::Bookmark);
            self.ready.push_back(end);
        } else if let Some(last) = self.ready.back_mut() {
            // With the last of them, the reader knows all of this revision; not before.
            last.revision = self.told;
        }
        Ok(())
    }

    /// Tells what the reader does not know. `changed`: it has come back, and knows everything but these.
    fn tell(&mut self, mine: Vec<S::Item>, changed: Option<HashSet<String>>) -> Result<(), Error> {
        let mut there = HashSet::new();
        for item in mine {
            let Some((key, now)) = self.followed.hashed(&item) else {
                continue;
            };
            let known = self.known.insert(key.clone(), now);
            let tell = match &changed {
                Some(changed) => changed.contains(&key),
                None => known != Some(now),
            };
            there.insert(key);
            if tell {
                let put = self.event(ListChange::Put(Box::new(item)));
                self.ready.push_back(put);
            }
        }
        let gone: Vec<String> = match changed {
            Some(changed) => changed
                .into_iter()
                .filter(|key| !there.contains(key))
                .collect(),
            None => {
                let known = self.known.keys();
                known.filter(|key| !there.contains(*key)).cloned().collect()
            }
        };
        for text in gone {
            let was_told = self.known.remove(&text).is_some();
            let Ok(key) = serde_json::from_str(&text) else {
                continue;
            };
            let may_know = was_told || {
                let after = self.told.unwrap_or_default();
                let known = self.source.may_know(&key);
                known.ok_or(Error::Unfollowable { after })?
            };
            if may_know {
                let delete = self.event(ListChange::Delete(key));
                self.ready.push_back(delete);
            }
        }
        Ok(())
    }

    fn event(&self, change: ListChange<S::Item>) -> ListEvent<S::Item> {
        ListEvent {
            revision: self.told,
            change,
        }
    }
}

/// The key of an item as a text that leads back to it.
fn text_of<V: Listed>(item: &V) -> Option<String> {
    serde_json::to_string(&item.key()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize)]
    struct Thing {
        name: String,
        content: u8,
    }

    impl Listed for Thing {
        const LIST: &'static str = "things";
        type Key = String;
        fn key(&self) -> String {
            self.name.clone()
        }
    }

    fn things(all: &[(&str, u8)]) -> Vec<Thing> {
        let thing = |(name, content): &(&str, u8)| Thing {
            name: (*name).to_owned(),
            content: *content,
        };
        all.iter().map(thing).collect()
    }

    #[test]
    fn who_comes_back_is_told_of_what_changed_and_of_what_went_unseen() {
        let followed = Followed::new(Revision(5));
        let since = |revision: u64| {
            let mut keys: Vec<String> = followed
                .since(Revision(revision))
                .ok()?
                .into_iter()
                .collect();
            keys.sort_unstable();
            Some(keys.join(","))
        };
        followed.note(&things(&[("a", 1), ("b", 1)]), Revision(5));
        followed.note(&things(&[("a", 1), ("b", 2)]), Revision(7));
        // It came and went between two looks, but was sent to somebody.
        followed.sent(&things(&[("c", 1)]));
        followed.note(&things(&[("a", 1), ("b", 2)]), Revision(9));
        assert_eq!(since(4), None);
        assert_eq!(since(6).as_deref(), Some("\"b\",\"c\""));
        assert_eq!(since(8).as_deref(), Some("\"c\""));
        assert_eq!(since(10), None, "it has not been yet");
    }
}
