//! Measuring what was bought: takes a sample wherever a start ends or replicas are looked at, and keeps the figures in the store. The
//! figures themselves are `core::quality`'s.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    failure::{Failure, FailureKind},
    names::InstanceName,
    quality::{Measured, Measures, Stored},
    record::{AllocationRecord, MEASURES, Stage},
    store::{self, Store},
    units::{Instant, Millis},
    workload::Run,
};

use crate::{
    lock,
    state::{
        cache::AllocationState,
        commit::{Change, Committer},
        journal::decode,
        notes::Seen,
    },
};

/// The figures are written so often at most. What is lost with a daemon that is killed is so much.
const WRITE: Duration = Duration::from_secs(10);
/// So many intervals of observation without a look, and what happened between is not known.
const GAP: u64 = 4;

/// The figures, and whose have changed since they were written.
pub(crate) struct Meters {
    state: Mutex<State>,
    changed: Notify,
    /// What was created before has been waited for by somebody else.
    began: Instant,
}

#[derive(Default)]
struct State {
    /// Copied only while somebody reads it.
    measures: Arc<Measures>,
    unwritten: BTreeSet<InstanceName>,
}

impl Meters {
    /// # Errors
    /// The state can't be read, or has a document that this version does not understand.
    pub(crate) async fn load(store: &dyn Store, now: Instant) -> Result<Self, store::Error> {
        let mut measures = Measures::default();
        for record in store.list(MEASURES).await?.records {
            let stored: Stored = decode(&record)?;
            if let Ok(provider) = record.key.trim_start_matches(MEASURES).parse() {
                measures.restore(provider, stored, now);
            }
        }
        Ok(Self {
            state: Mutex::new(State {
                measures: Arc::new(measures),
                ..State::default()
            }),
            changed: Notify::new(),
            began: now,
        })
    }

    /// The figures as they are now.
    pub(crate) fn measures(&self) -> Arc<Measures> {
        lock(&self.state).measures.clone()
    }

    fn note(&self, record: &AllocationRecord, note: impl FnOnce(&mut Measured)) {
        let mut state = lock(&self.state);
        note(Arc::make_mut(&mut state.measures).entry(
            &record.intent.provider,
            &record.intent.offer.region,
            &record.intent.offer.size,
        ));
        state.unwritten.insert(record.intent.provider.clone());
        self.changed.notify_one();
    }

    /// A call that changes something has ended. Only those count that start something and say something about the place.
    pub(crate) fn started(
        &self,
        record: &AllocationRecord,
        failure: Option<&Failure>,
        now: Instant,
    ) {
        let says_nothing = |f: &Failure| {
            matches!(
                f.kind,
                FailureKind::Invalid | FailureKind::Denied | FailureKind::NotFound
            )
        };
        if record.intent.stage == Stage::Intended && !failure.is_some_and(says_nothing) {
            self.note(record, |measured| measured.started(failure.is_some(), now));
        }
    }

    /// A service's replicas have been looked at.
    pub(crate) fn looked(&self, live: &mut AllocationState, now: Instant, interval: Millis) {
        let record = &live.record;
        if record.intent.workload.run != Run::Service {
            return;
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let known = count(
            live.was_ready
                .iter()
                .filter(|index| **index < record.intent.replicas)
                .count(),
        );
        let (before, ready) = (live.seen, live.ready());
        let span = before
            .at
            .map(|at| now.since(at))
            .filter(|span| before.known > 0 && span.0 > 0);
        if let Some(span) = span.filter(|span| span.0 <= interval.0.saturating_mul(GAP)) {
            self.note(record, |measured| {
                measured.looked(before.known, before.ready, span, now)
            });
        }
        // Later attempts change what runs: when they began is not on record.
        let new = known.saturating_sub(before.timed);
        if new > 0 && record.intent.attempt == 0 && record.intent.created_at >= self.began {
            let took = now.since(record.intent.created_at);
            self.note(record, |measured| {
                (0..new).for_each(|_| measured.became_ready(took, now))
            });
        }
        live.seen = Seen {
            at: Some(now),
            known,
            ready,
            timed: before.timed.max(known),
        };
    }
}

impl Meters {
    /// Writes the figures as they change, not too often. Runs until `stop`.
    pub(crate) async fn run(self: Arc<Self>, committer: Arc<Committer>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.changed.notified() => {}
            }
            self.write(&committer).await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(WRITE) => {}
            }
        }
        self.write(&committer).await;
    }

    async fn write(&self, committer: &Committer) {
        let (unwritten, measures) = {
            let mut state = lock(&self.state);
            (std::mem::take(&mut state.unwritten), state.measures.clone())
        };
        let mut change = Change::new();
        let mut known = unwritten
            .iter()
            .filter_map(|provider| Some((provider, measures.stored(provider)?)));
        let put = known.try_for_each(|(provider, stored)| {
            change.put(format!("{MEASURES}{provider}"), &stored)
        });
        let written = match put {
            Ok(()) if change.is_empty() => return,
            Ok(()) => committer.commit(change).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what was measured could not be stored"
            );
            lock(&self.state).unwritten.extend(unwritten);
        }
    }
}
