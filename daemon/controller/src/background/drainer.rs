//! Drains, from their orders to their ends: finds out when a place is empty, and when a deadline has passed. It moves nothing itself: what is at a
//! drained place is decided about like anything that has no place. The orders are in the state, so a restart goes on with them.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tradewind_api::LeftView;
use tradewind_core::{
    capability::Clock,
    cordon::CordonRecord,
    event::{Reason, Severity},
    store::{self, Revision},
    units::Instant,
};

use crate::{
    lock,
    service::places::{facts, left, place_event},
    state::{cache::Cache, commit::Change, commit::Committer, journal::CONTROLLER},
};

/// How often a place is looked at while it is drained.
const LOOK: Duration = Duration::from_millis(500);
/// How many of those that are left an event names.
const NAMED: usize = 5;

/// Watches the drains.
pub(crate) struct Drainer {
    cache: Arc<Mutex<Cache>>,
    committer: Arc<Committer>,
    clock: Arc<dyn Clock>,
    ordered: Notify,
    stop: CancellationToken,
}

impl Drainer {
    pub(crate) fn new(
        cache: Arc<Mutex<Cache>>,
        committer: Arc<Committer>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            cache,
            committer,
            clock,
            ordered: Notify::new(),
            stop,
        }
    }

    /// There is another drain.
    pub(crate) fn wake(&self) {
        self.ordered.notify_one();
    }

    /// Runs until the controller stops.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let goes_on = self.look().await;
            let again = async {
                match goes_on {
                    true => tokio::time::sleep(LOOK).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.ordered.notified() => {}
                () = again => {}
            }
        }
    }

    /// Takes in how far the drains are. Answers whether one goes on.
    async fn look(&self) -> bool {
        let now = self.clock.now();
        let open: Vec<(CordonRecord, Revision, Vec<LeftView>)> = {
            let cache = lock(&self.cache);
            let under_way = |record: &&CordonRecord| {
                let drain = record.drain.as_ref();
                drain.is_some_and(|drain| drain.drained_at.is_none())
            };
            let open = cache.cordons.iter().filter(under_way);
            open.filter_map(|record| {
                let mut there = left(&cache, &record.provider, &record.region, now);
                there.retain(|one| !one.ignored);
                Some((record.clone(), cache.cordon_revision(record)?, there))
            })
            .collect()
        };
        let mut goes_on = false;
        for (record, revision, there) in open {
            goes_on |= !there.is_empty();
            let Some((after, reason, message)) = progress(&record, &there, now) else {
                continue;
            };
            match self.store(&record, revision, after, reason, message).await {
                Ok(()) => {}
                // Another order came first.
                Err(store::Error::Conflict { .. }) => goes_on = true,
                Err(error) => {
                    goes_on = true;
                    tracing::error!(
                        place = record.place(),
                        error = &error as &dyn std::error::Error,
                        "how far a drain is could not be stored"
                    );
                }
            }
        }
        goes_on
    }

    async fn store(
        &self,
        before: &CordonRecord,
        revision: Revision,
        after: CordonRecord,
        reason: Reason,
        message: String,
    ) -> Result<(), store::Error> {
        let severity = match reason {
            Reason::PlaceDrained => Severity::Info,
            _ => Severity::Warning,
        };
        let event = place_event(severity, reason, CONTROLLER, before, message)
            .changing(Some(&facts(before)), Some(&facts(&after)));
        let mut change = Change::of(event);
        // What is there is reconciled with it: from a deadline on other rules hold.
        change.cordon(after, Some(revision))?;
        self.committer.commit(change).await.map(drop)
    }
}

/// What is to be recorded of a drain. None: nothing new.
fn progress(
    record: &CordonRecord,
    there: &[LeftView],
    now: Instant,
) -> Option<(CordonRecord, Reason, String)> {
    let mut after = record.clone();
    let drain = after.drain.as_mut()?;
    let place = record.place();
    if there.is_empty() {
        drain.drained_at = Some(now);
        return Some((
            after,
            Reason::PlaceDrained,
            format!("nothing is left at {place}"),
        ));
    }
    if drain.overdue || !drain.is_overdue(now) {
        return None;
    }
    drain.overdue = true;
    let named = there.iter().take(NAMED).map(|one| {
        format!(
            "{} × {} of {}/{} ({})",
            one.replicas, one.task, one.namespace, one.deployment, one.why
        )
    });
    let mut named = named.collect::<Vec<_>>().join(", ");
    if there.len() > NAMED {
        named.push_str(&format!(", and {} more", there.len() - NAMED));
    }
    Some((
        after,
        Reason::PlaceDrainOverdue,
        format!("the time to drain {place} is over; left are {named}"),
    ))
}
