//! Following the list of deployments: what is there, then what changes. A follower looks at what has changed since its last look, so states that
//! pass in between are skipped and none that stays is. It must not know how events travel.

mod whole;

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, Hasher, RandomState},
    io,
    sync::Arc,
    time::Duration,
};

use futures::{Stream, stream};
use tokio::{
    sync::watch,
    time::{Instant as Tick, sleep_until, timeout_at},
};
use tradewind_api::{DeploymentSummary, Status};
use tradewind_core::{
    list::Listed,
    record::DeploymentKey,
    store::{self, Revision},
};

use crate::{
    Error, Filter, Handle, lock,
    service::{listing::AT_ONCE, render},
    state::cache::DeploymentState,
};

pub use whole::{Followed, ListNow, WholeList};

/// Between two looks. What changes several times within it is told once.
const PACE: Duration = Duration::from_millis(50);
/// After this long without news a bookmark tells where to resume.
const QUIET: Duration = Duration::from_secs(10);
/// Everything is looked at again this often: a summary also depends on what is no change of its deployment, such as the plugins.
const ROUND: Duration = Duration::from_secs(60);

/// What has happened to the list, and where to resume behind it.
pub struct ListEvent<V: Listed> {
    /// Who follows after this revision misses nothing, and may be told again of what it knows. None: the list is not told whole yet.
    pub revision: Option<Revision>,
    /// What has happened.
    pub change: ListChange<V>,
}

/// What can happen to a list.
pub enum ListChange<V: Listed> {
    /// It is in the list, and is so now.
    Put(Box<V>),
    /// The item with this key is not in the list any more: it is gone, or left the filter.
    Delete(V::Key),
    /// Nothing. Everything up to the revision has been told.
    Bookmark,
}

impl Handle {
    /// The list and what changes, without an end. Without `after`, everything that is there comes first, then a bookmark.
    ///
    /// # Errors
    /// `Unfollowable` when it is not known any more what changed since `after`. The stream ends with it where its reader is too slow.
    pub fn follow_list(
        &self,
        filter: Filter<Status>,
        after: Option<Revision>,
    ) -> Result<impl Stream<Item = Result<ListEvent<DeploymentSummary>, Error>> + Send + use<>, Error>
    {
        let (published, place) = {
            let cache = lock(&self.shared.cache);
            let changes = &cache.deployments.changes;
            let place = match after {
                None => changes.last(),
                Some(after) => changes
                    .behind(after)
                    .map_err(|_| Error::Unfollowable { after })?,
            };
            (changes.published(), place)
        };
        let now = Tick::now();
        let follower = Follower {
            handle: self.clone(),
            filter,
            published,
            place,
            told: after,
            blind: after.is_some(),
            round: after.is_none().then_some(Round::default()),
            next_round: now + ROUND,
            next_look: now,
            known: HashMap::new(),
            keys: RandomState::new(),
            ready: VecDeque::new(),
        };
        Ok(stream::unfold(Some(follower), |follower| async {
            let mut follower = follower?;
            match follower.next().await {
                Ok(event) => Some((Ok(event), Some(follower))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

/// One that follows.
struct Follower {
    handle: Handle,
    filter: Filter<Status>,
    published: watch::Receiver<u64>,
    /// Every change up to this one has been looked at.
    place: u64,
    /// Where to resume. None: the list is not told whole yet.
    told: Option<Revision>,
    /// It began behind a revision: its reader may know of deployments that it was not told of here.
    blind: bool,
    round: Option<Round>,
    next_round: Tick,
    next_look: Tick,
    /// What the reader knows: of each deployment a hash of its key, with one of its summary.
    known: HashMap<u64, u64>,
    keys: RandomState,
    ready: VecDeque<ListEvent<DeploymentSummary>>,
}

/// A walk through the whole list.
#[derive(Default)]
struct Round {
    behind: Option<DeploymentKey>,
    /// As of when it began.
    revision: Option<Revision>,
}

impl Follower {
    async fn next(&mut self) -> Result<ListEvent<DeploymentSummary>, Error> {
        let quiet = Tick::now() + QUIET;
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if let Some(round) = self.round.take() {
                self.walk(round);
                // Whoever else waits for this thread comes in between.
                tokio::task::yield_now().await;
                continue;
            }
            match timeout_at(quiet.min(self.next_round), self.changed()).await {
                Ok(Ok(())) => {
                    sleep_until(self.next_look).await;
                    self.look()?;
                    self.next_look = Tick::now() + PACE;
                    // What is not in its list may change all the time.
                    if self.ready.is_empty() && Tick::now() >= quiet {
                        return Ok(self.event(ListChange::Bookmark));
                    }
                }
                Ok(Err(error)) => return Err(error),
                Err(_) if Tick::now() >= self.next_round => {
                    self.next_round = Tick::now() + ROUND;
                    self.round = Some(Round::default());
                }
                Err(_) => {
                    let revision = self.handle.shown_revision();
                    // A change that came meanwhile is not in what was told.
                    if *self.published.borrow() == self.place {
                        self.told = self.told.max(Some(revision));
                        return Ok(self.event(ListChange::Bookmark));
                    }
                }
            }
        }
    }

    /// Resolves when there are changes that have not been looked at.
    async fn changed(&mut self) -> Result<(), Error> {
        let place = self.place;
        let changed = self.published.wait_for(|last| *last > place).await;
        // The cache is gone when the daemon ends.
        changed
            .map(drop)
            .map_err(|_| Error::Store(store::Error::Closed))
    }

    /// The next part of the whole list.
    fn walk(&mut self, mut round: Round) {
        let began = *round
            .revision
            .get_or_insert_with(|| self.handle.shown_revision());
        let namespaces = self.filter.namespaces();
        let taken = lock(&self.handle.shared.cache).behind(
            round.behind.as_ref(),
            namespaces.as_ref(),
            AT_ONCE,
        );
        match taken.last() {
            Some((last, _)) => round.behind = Some(last.clone()),
            None => {
                // The first walk can't be resumed before its end.
                if self.told.is_none() {
                    self.told = Some(began);
                    let end = self.event(ListChange::Bookmark);
                    self.ready.push_back(end);
                }
                return;
            }
        }
        let taken = taken.into_iter().map(|(key, entry)| (key, Some(entry)));
        self.tell(taken, false);
        self.round = Some(round);
    }

    /// What has changed since the last look.
    fn look(&mut self) -> Result<(), Error> {
        let revision = self.handle.shown_revision();
        let (batch, taken) = {
            let cache = lock(&self.handle.shared.cache);
            let batch = cache
                .deployments
                .changes
                .after(self.place, AT_ONCE)
                .map_err(|_| Error::Unfollowable {
                    after: self.told.unwrap_or_default(),
                })?;
            let there = batch
                .there
                .iter()
                .filter(|key| self.filter.reaches(&key.namespace))
                .map(|key| (key.clone(), cache.deployments.take_copy(key)));
            let gone = batch
                .gone
                .iter()
                .filter(|key| self.filter.reaches(&key.namespace))
                .map(|key| (key.clone(), None));
            let taken: Vec<_> = there.chain(gone).collect();
            (batch, taken)
        };
        self.place = batch.read_to;
        self.tell(taken, self.blind);
        // With the last of the changes that there are, the reader knows all of this revision; not before.
        if batch.there.len() < AT_ONCE {
            self.told = self.told.max(Some(revision));
            let told = self.told;
            if let Some(last) = self.ready.back_mut() {
                last.revision = told;
            }
        }
        Ok(())
    }

    /// Tells of these what the reader does not know. None: it is gone. `blind`: the reader may know of any.
    fn tell(
        &mut self,
        taken: impl IntoIterator<Item = (DeploymentKey, Option<Arc<DeploymentState>>)>,
        blind: bool,
    ) {
        let snapshot = self.handle.shared.plugins.snapshot();
        for (key, entry) in taken {
            let hash = self.keys.hash_one(&key);
            let summary = entry.as_ref().and_then(|entry| {
                let labels = &entry.record.manifest.metadata.labels;
                let labelled = self.filter.selector.admits(labels);
                labelled
                    .then(|| render::summary(&key, entry, &snapshot))
                    .filter(|summary| self.filter.has(summary.status))
            });
            match summary {
                Some(summary) => {
                    let now = self.hash(&summary);
                    if self.known.insert(hash, now) != Some(now) {
                        let put = self.event(ListChange::Put(Box::new(summary)));
                        self.ready.push_back(put);
                    }
                }
                None => {
                    let known = self.known.remove(&hash);
                    if blind && entry.is_some() {
                        self.known.insert(hash, ABSENT);
                    }
                    if known.map_or(blind, |known| known != ABSENT) {
                        let DeploymentKey { namespace, name } = key;
                        let delete = self.event(ListChange::Delete((namespace, name)));
                        self.ready.push_back(delete);
                    }
                }
            }
        }
    }

    fn event(&self, change: ListChange<DeploymentSummary>) -> ListEvent<DeploymentSummary> {
        ListEvent {
            revision: self.told,
            change,
        }
    }

    fn hash(&self, summary: &DeploymentSummary) -> u64 {
        let mut hasher = Hashed(self.keys.build_hasher());
        // It only hashes.
        let _ = serde_json::to_writer(&mut hasher, summary);
        hasher.0.finish().max(ABSENT + 1)
    }
}

/// The reader knows that it is not in the list.
const ABSENT: u64 = 0;

struct Hashed<H>(H);

impl<H: Hasher> io::Write for Hashed<H> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
