//! Which calls go to the new version, how both do, and which allocations' states the new one has made. An allocation's calls follow the
//! bytes of its state: the old version need not be able to read what the new one wrote.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Instant as Watch,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tradewind_core::{
    canary::{Counts, Verdict, judge},
    capability::Clock,
    failure::Failure,
    names::{AllocationId, Digest, InstanceName},
};

use super::{Record, file_name};
use crate::history::store::HistoryStore;

/// States of one allocation that are told apart: a daemon that stopped between two of them may come with either.
const STATES: usize = 4;

/// The digests of states that the new version has made, newest last.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Made(BTreeMap<AllocationId, Vec<Digest>>);

/// Where it is told that a canary may have to end.
pub(crate) type Verdicts = mpsc::UnboundedSender<InstanceName>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
}

pub(super) struct Split {
    record: Mutex<Record>,
    open: AtomicBool,
    counts: Mutex<(Counts, Counts)>,
    drawn: AtomicU64,
    reason: Mutex<String>,
    store: HistoryStore,
    /// One write after the other, each with what is known when it begins.
    writing: tokio::sync::Mutex<()>,
    clock: Arc<dyn Clock>,
    verdicts: Verdicts,
}

impl Split {
    pub(super) fn new(
        record: Record,
        store: HistoryStore,
        clock: Arc<dyn Clock>,
        verdicts: Verdicts,
    ) -> Self {
        Self {
            open: AtomicBool::new(!record.returning),
            record: Mutex::new(record),
            counts: Mutex::default(),
            drawn: AtomicU64::new(0),
            reason: Mutex::default(),
            store,
            writing: tokio::sync::Mutex::default(),
            clock,
            verdicts,
        }
    }

    pub(super) fn record(&self) -> Record {
        self.record.lock().clone()
    }

    /// Of the old version and of the new one.
    pub(super) fn counts(&self) -> (Counts, Counts) {
        self.counts.lock().clone()
    }

    /// Whether the new version gets its share.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(SeqCst)
    }

    /// Why it closed by itself.
    pub(super) fn reason(&self) -> String {
        self.reason.lock().clone()
    }

    pub(super) fn holds(&self) -> usize {
        self.record.lock().made.0.len()
    }

    /// Whether what this names is the new version's: always the same while it runs.
    pub(super) fn draws(&self, key: &[u8]) -> bool {
        let record = self.record.lock();
        self.is_open() && record.terms.draws(record.component, key)
    }

    /// For calls that are about nothing in particular.
    pub(super) fn draws_next(&self) -> bool {
        self.draws(&self.drawn.fetch_add(1, SeqCst).to_le_bytes())
    }

    /// Whether the new version has made this state.
    pub(super) fn has_made(&self, allocation: &AllocationId, state: &[u8]) -> bool {
        let record = self.record.lock();
        record
            .made
            .0
            .get(allocation)
            .is_some_and(|states| states.contains(&Digest::of(state)))
    }

    /// Runs a call and counts it.
    ///
    /// # Errors
    /// The call's own.
    pub(super) async fn time<T>(
        &self,
        side: Side,
        operation: &str,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let since = Watch::now();
        let outcome = call.await;
        self.count(side, operation, since, outcome.is_err());
        outcome
    }

    pub(super) fn count(&self, side: Side, operation: &str, since: Watch, failed: bool) {
        let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        {
            let mut counts = self.counts.lock();
            let (old, new) = &mut *counts;
            let of = if side == Side::New { new } else { old };
            of.add(operation, micros, failed);
        }
        if side == Side::New && self.is_open() {
            let verdict = self.verdict();
            // From here on, not from when the writer has time for it.
            if let Verdict::Return(reason) = &verdict {
                self.reason.lock().clone_from(reason);
                self.open.store(false, SeqCst);
            }
            if verdict != Verdict::Wait {
                self.tell();
            }
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        let (terms, since) = {
            let record = self.record.lock();
            (record.terms, record.since)
        };
        let counts = self.counts.lock();
        judge(&terms, self.clock.now().since(since), &counts.0, &counts.1)
    }

    fn tell(&self) {
        let instance = self.record.lock().instance.clone();
        // The host may have stopped.
        let _stopped = self.verdicts.send(instance);
    }

    /// Gives the new version nothing more, also after a restart.
    pub(super) async fn close(&self) {
        self.open.store(false, SeqCst);
        self.record.lock().returning = true;
        if let Err(error) = self.write().await {
            tracing::error!(%error, "the end of the canary can't be remembered");
        }
    }

    /// Remembers that the new version has made this state. Before anybody else knows of it.
    ///
    /// # Errors
    /// `unavailable` when it can't be remembered: the state must not be used then.
    pub(super) async fn made(
        &self,
        allocation: &AllocationId,
        state: &[u8],
    ) -> Result<(), Failure> {
        {
            let mut record = self.record.lock();
            let states = record.made.0.entry(allocation.clone()).or_default();
            let digest = Digest::of(state);
            if states.last() == Some(&digest) {
                return Ok(());
            }
            states.retain(|known| *known != digest);
            states.push(digest);
            if states.len() > STATES {
                states.remove(0);
            }
        }
        self.write().await.map_err(|error| {
            Failure::unavailable(format!("whose state this is can't be remembered: {error}"))
                .code("canary-unwritable")
        })
    }

    /// These have a state of the old version again, or are gone.
    pub(super) async fn forget<'a>(&self, allocations: impl IntoIterator<Item = &'a AllocationId>) {
        let (forgotten, empty) = {
            let mut record = self.record.lock();
            let forgotten = allocations
                .into_iter()
                .filter(|id| record.made.0.remove(*id).is_some())
                .count();
            (forgotten, record.made.0.is_empty())
        };
        if forgotten == 0 {
            return;
        }
        if let Err(error) = self.write().await {
            // It holds too many then, which is harmless.
            tracing::warn!(%error, "what the canary no longer holds can't be remembered");
        }
        if empty && !self.is_open() {
            self.tell();
        }
    }

    async fn write(&self) -> io::Result<()> {
        let _one = self.writing.lock().await;
        let record = self.record();
        self.store
            .apart(move |store| store.keep_trial(&file_name(&record.instance), &record, None))
            .await
    }
}
