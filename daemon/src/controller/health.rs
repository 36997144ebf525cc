//! Bringing back what fails: holds each observed allocation against its task's recovery policy and stores what follows from it: a new
//! attempt after a pause, or other replicas in its stead. The rules are `core::health`'s; the calls are `apply`'s.

use std::collections::BTreeSet;

use tradewind_core::{
    health::{self, Action, Condition},
    names::AllocationId,
    record::{AllocationRecord, Stage},
    store::{Error, Revision},
    units::Instant,
    view::{Event, Severity},
};

use super::{
    Shared,
    journal::allocation_event,
    lock,
    state::{Entry, Live, World},
};

/// A record as it shall be, what is told of it, and the revision it was judged at.
type Change = (AllocationRecord, Option<Event>, Revision);

impl Shared {
    /// Judges these allocations as they were just observed. Answers those that are to be looked at again soon.
    pub(super) async fn heal(&self, ids: &BTreeSet<&AllocationId>) -> BTreeSet<AllocationId> {
        let now = self.clock.now();
        let mut again = BTreeSet::new();
        let changes: Vec<Change> = {
            let world = lock(&self.world);
            let mut changes = Vec::new();
            // What is already on its way in this round counts against the bound of the next.
            for id in ids {
                let Some(judged) = self.diagnose(&world, id, &changes, now) else { continue };
                let (change, soon) = judged;
                if soon {
                    again.insert((*id).clone());
                }
                changes.extend(change);
            }
            changes
        };
        for change in changes {
            match self.commit_changes(std::slice::from_ref(&change)).await {
                Ok(()) if change.0.superseded => self.board.leave(&change.0, "what ran there has failed too often"),
                Ok(()) => {}
                Err(Error::Conflict { .. }) => drop(again.insert(change.0.id)),
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "a failure could not be stored"),
            }
        }
        if !again.is_empty() {
            self.wake.notify_one();
        }
        again
    }

    /// What is to be stored about one allocation, and whether it is to be looked at again soon.
    fn diagnose(&self, world: &World, id: &AllocationId, before: &[Change], now: Instant) -> Option<(Option<Change>, bool)> {
        let entry = world.deployments.get(world.owners.get(id)?)?;
        let live = entry.allocations.get(id)?;
        let record = &live.record;
        let settled = record.stage == Stage::Applied && !record.superseded && !entry.record.deleting;
        let task = entry.resolved.iter().find(|t| t.name == record.task && t.target == record.target).filter(|_| settled)?;
        let seen = live.observation.as_ref()?;
        let condition = Condition::of(&record.workload.run, record.replicas, live.ready(), seen, &live.lifeless);
        let (recovery, action) = health::recover(&task.recovery, &record.recovery, &condition, now);
        let dead = matches!(condition, Condition::Dead { .. } | Condition::Stuck { .. });
        if action == Action::Nothing && recovery == record.recovery {
            return Some((None, dead));
        }
        let mut after = AllocationRecord { recovery, ..record.clone() };
        let event = match &action {
            Action::Nothing => None,
            Action::Wait(_) if after.recovery.failures > record.recovery.failures => Some(failing(&after)),
            Action::Wait(_) => None,
            Action::Again => {
                (after.stage, after.attempt) = (Stage::Intended, record.attempt + 1);
                Some(allocation_event(Severity::Info, "AllocationRetried", record, place(record, &after.recovery.reason)))
            }
            Action::Replace => {
                let bound = task.recovery.max_concurrent.of(task.replicas);
                let under_way = under_way(entry, record)
                    + before.iter().filter(|c| same_task(&c.0, record) && c.0.superseded).map(|c| c.0.replicas).sum::<u32>();
                if health::admitted(bound, under_way, &[record.replicas]) == [true] {
                    after.superseded = true;
                    Some(allocation_event(Severity::Warning, "AllocationReplaced", record, place(record, &after.recovery.reason)))
                } else {
                    None
                }
            }
        };
        let change = (after != *record).then_some((after, event, live.revision));
        Some((change, dead))
    }
}

/// Replicas of the same task that are being replaced because of their health.
fn under_way(entry: &Entry, record: &AllocationRecord) -> u32 {
    let replaced = |l: &&Live| {
        let r = &l.record;
        same_task(r, record) && r.superseded && !r.lost && r.recovery.here > 0 && r.stage != Stage::Removing
    };
    entry.allocations.values().filter(replaced).map(|l| l.record.replicas).sum()
}

fn same_task(a: &AllocationRecord, b: &AllocationRecord) -> bool {
    a.id != b.id && a.task == b.task && a.target == b.target && a.key() == b.key()
}

fn failing(after: &AllocationRecord) -> Event {
    let recovery = &after.recovery;
    let next = recovery.next.map(|at| format!("; tried again at {at}")).unwrap_or_default();
    let times = if recovery.failures == 1 { "once".to_owned() } else { format!("{} times in a row", recovery.failures) };
    let reason = if recovery.failures == 1 { "AllocationFailing" } else { "CrashLoop" };
    allocation_event(Severity::Warning, reason, after, format!("{}: failed {times}{next}", place(after, &recovery.reason)))
}

fn place(record: &AllocationRecord, reason: &str) -> String {
    format!("{} × {} on {}/{}: {reason}", record.replicas, record.task, record.provider, record.offer.region)
}
