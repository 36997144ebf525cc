//! Holding jobs to their deadlines wherever they are made: what had begun and lost its place is made with what is left of its deadline, and has
//! failed where nothing is left. Part of the intent, so that it outlasts a crash. The rules are `core::job::deadline`'s.

use tradewind_core::{
    event::{Event, Reason, Severity},
    job::deadline::{self, Begun},
    manifest::Resolved,
    placement::Need,
    plan::{self, Desired, Placement},
    record::{AllocationRecord, Stage},
    units::{Instant, Millis},
    workload::Phase,
};

use crate::{
    reconcile::reconciler::Reconciler, reconcile::rollout::Rolled,
    schedule::scheduler::DeploymentWork, state::journal::allocation_event,
};

impl Reconciler {
    /// Brings the deadlines of jobs that had begun into what is intended.
    pub(crate) fn hold_to_deadlines(
        &self,
        work: &DeploymentWork,
        records: &mut Vec<AllocationRecord>,
        rolled: &mut Rolled,
        told: &mut Vec<Event>,
    ) {
        let now = self.clock.now();
        let before = |r: &AllocationRecord| work.all.iter().find(|known| known.id == r.id).cloned();
        let begun = {
            let apart = work
                .all
                .iter()
                .filter(|r| !records.iter().any(|known| known.id == r.id));
            deadline::begun(
                &work.record.begun,
                &work.resolved,
                records.iter().chain(apart),
            )
        };
        for task in work.resolved.iter() {
            let (Some(whole), Some(begun)) = (
                deadline::of(&task.workload),
                deadline::begun_of(&begun, task),
            ) else {
                continue;
            };
            let left = deadline::left(whole, begun.at, now);
            // What has just been placed, and what has just been given its replicas.
            let new = |known: &Option<AllocationRecord>, r: &AllocationRecord| {
                known
                    .as_ref()
                    .is_none_or(|b| b.intent.attempt != r.intent.attempt)
            };
            for record in records.iter_mut().filter(|r| plan::stands_for(r, task)) {
                let known = before(record);
                if known.is_none() {
                    record.status.began = Some(begun.at);
                }
                if record.handle.state.is_some()
                    || record.intent.stage != Stage::Intended
                    || record.status.began.is_none()
                    || !new(&known, record)
                {
                    continue;
                }
                // What was asked for before may exist: its provider ends it.
                record.intent.deadline = Some(left.max(Millis(1)));
                if left == Millis(0) && known.is_none_or(|b| b.handle.held == 0) {
                    told.push(expired(record, whole));
                }
            }
            // What has ended and was set aside is not among the replicas that the task wants.
            let counts = |r: &AllocationRecord| {
                before(r).is_none() || work.actual.iter().any(|known| known.id == r.id)
            };
            let there = records.iter().filter(|r| {
                plan::stands_for(r, task) && r.status.phase != Phase::Gone && counts(r)
            });
            let there: u32 = there.map(|r| r.intent.goal()).sum();
            let waiting = task.replicas.saturating_sub(there);
            if waiting > 0 && left > Millis(0) {
                let end = begun.at.plus(whole);
                rolled.again = Some(rolled.again.map_or(end, |at| at.min(end)));
            } else if waiting > 0 {
                let mut record = self.last_of(work, task, begun, waiting, now);
                told.push(expired(&mut record, whole));
                records.push(record);
            }
        }
        if begun != work.record.begun {
            rolled
                .deployment
                .get_or_insert_with(|| (*work.record).clone())
                .begun = begun;
        }
    }

    /// A record for replicas that wait, where they were last: to tell that they have failed.
    fn last_of(
        &self,
        work: &DeploymentWork,
        task: &Resolved,
        begun: &Begun,
        replicas: u32,
        now: Instant,
    ) -> AllocationRecord {
        let want = Desired {
            task: task.name.clone(),
            target: task.target.clone(),
            workload: task.workload.clone(),
            need: plan::need_digest(&Need::of(task)),
            replicas: task.replicas,
            placements: Vec::new(),
            rivals: Vec::new(),
            decision: None,
            since: task.since,
        };
        self.fresh(
            work,
            &want,
            &Placement {
                replicas,
                ..begun.place.clone()
            },
            now,
        )
    }
}

fn expired(record: &mut AllocationRecord, whole: Millis) -> Event {
    deadline::expire(record, whole);
    let why = record
        .status
        .ended
        .values()
        .next()
        .map(|end| end.message.clone())
        .unwrap_or_default();
    allocation_event(
        Severity::Error,
        Reason::DeadlineExceeded,
        record,
        format!("{} × {}: {why}", record.intent.replicas, record.task),
    )
}
