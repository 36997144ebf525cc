//! The deadline of a job over every place where it is made: it counts from the first attempt's start, and goes on while a replica is lost,
//! waits, or is made elsewhere. Pure: the controller brings records and the time. It knows no provider.

pub use crate::state::job::Begun;
use crate::{
    base::units::{Instant, Millis},
    lifecycle::plan,
    spec::{
        manifest::Resolved,
        workload::{Observation, Phase, Run, Workload},
    },
    state::{
        job::version,
        record::{AllocationRecord, Stage},
    },
};

use super::End;

/// The longest that a workload may take, where it is a job that has such a bound.
pub fn of(workload: &Workload) -> Option<Millis> {
    match workload.run {
        Run::Job { deadline, .. } => deadline,
        Run::Service => None,
    }
}

/// Takes into a record when its first attempt began, by the provider's clock within what can be. True: it has become known.
pub(super) fn note_start(record: &mut AllocationRecord, seen: &Observation, now: Instant) -> bool {
    if record.status.began.is_some() || of(&record.intent.workload).is_none() || record.is_over() {
        return false;
    }
    let runs = |phase: Phase| matches!(phase, Phase::Running | Phase::Succeeded);
    let replicas = seen
        .replicas
        .iter()
        .filter(|r| r.started_at.is_some() || runs(r.phase));
    let first = replicas
        .map(|r| r.started_at.unwrap_or(now))
        .min()
        .or_else(|| runs(seen.phase).then_some(now));
    record.status.began = first.map(|at| at.max(record.intent.created_at).min(now));
    record.status.began.is_some()
}

/// What is known of the jobs of a deployment that had begun and lose their place, with what a look at all its allocations adds. Of a job that
/// is another one by now nothing is kept.
pub fn begun<'a>(
    known: &[Begun],
    tasks: &[Resolved],
    all: impl Iterator<Item = &'a AllocationRecord> + Clone,
) -> Vec<Begun> {
    let one = |task: &Resolved| {
        // Of what nothing is wanted any more nothing goes on.
        of(&task.workload).filter(|_| task.replicas > 0)?;
        let before = known.iter().find(|b| b.is_of(task));
        // What has ended whole has no start on record any more; what has ended in part leaves the others to be made elsewhere.
        let goes = |r: &&AllocationRecord| {
            r.intent.superseded
                || r.status.lost
                || r.intent.stage == Stage::Removing
                || r.status.phase == Phase::Gone
                || r.is_over()
        };
        let same = |r: &&AllocationRecord| {
            let mine = r.task == task.name && r.target == task.target && r.intent.is_of(task.since);
            mine && !plan::needs_new_replicas(&r.intent.workload, &task.workload)
        };
        let going = all.clone().filter(same).filter(goes);
        let first = going
            .filter_map(|r| r.status.began.map(|at| (at, r)))
            .min_by_key(|(at, _)| *at);
        match (before, first) {
            (Some(before), Some((at, _))) if before.at <= at => Some(before.clone()),
            (Some(before), None) => Some(before.clone()),
            (_, Some((at, r))) => Some(Begun {
                task: task.name.clone(),
                target: task.target.clone(),
                version: version(&task.workload),
                since: task.since.generation,
                run: task.since.run,
                at,
                place: plan::placement_of(r),
            }),
            (None, None) => None,
        }
    };
    tasks.iter().filter_map(one).collect()
}

/// The start from which a task's next replicas count, if any of it had begun and lost its place.
pub fn begun_of<'a>(begun: &'a [Begun], task: &Resolved) -> Option<&'a Begun> {
    begun.iter().find(|b| b.is_of(task))
}

/// What is left of a deadline that counts from then.
pub fn left(deadline: Millis, began: Instant, now: Instant) -> Millis {
    Millis(deadline.0.saturating_sub(now.since(began).0))
}

/// What is left for the next attempt in the same place. None: it stays as it was, since others of it run there under that.
pub fn of_next_attempt(
    record: &AllocationRecord,
    seen: &Observation,
    now: Instant,
) -> Option<Millis> {
    let (whole, began) = of(&record.intent.workload).zip(record.status.began)?;
    (!runs(record, seen)).then(|| left(whole, began, now).max(Millis(1)))
}

fn runs(record: &AllocationRecord, seen: &Observation) -> bool {
    let mut open = seen
        .replicas
        .iter()
        .filter(|r| !record.status.ended.contains_key(&r.index));
    open.any(|r| matches!(r.phase, Phase::Pending | Phase::Starting | Phase::Running))
}

/// Ends what a record asks for: its deadline has passed before it could be made.
pub fn expire(record: &mut AllocationRecord, deadline: Millis) {
    let message = format!(
        "its deadline of {deadline} has passed, which counts from the start of its first attempt"
    );
    let replicas = record.intent.goal();
    record.status.ended = (0..replicas)
        .map(|index| {
            (
                index,
                End {
                    message: message.clone(),
                    ..End::blank(false)
                },
            )
        })
        .collect();
    record.settle(replicas);
    (record.intent.drain, record.intent.deadline) = (None, None);
    record.handle.state = None;
    (record.status.phase, record.status.began) = (Phase::Failed, None);
}

/// The record of what is made anew in the same place, with what is left of its deadline.
pub fn anew(mut record: AllocationRecord, now: Instant) -> AllocationRecord {
    if let (Some(whole), Some(began)) = (of(&record.intent.workload), record.status.began) {
        let rest = left(whole, began, now);
        record.intent.deadline = Some(rest);
        if rest == Millis(0) {
            expire(&mut record, whole);
        }
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_never_grows_and_ends_at_nothing() {
        let began = Instant(1_000);
        let all: Vec<u64> = [0, 1_000, 1_001, 1_400, 1_500, 9_000]
            .map(|now| left(Millis(500), began, Instant(now)).0)
            .to_vec();
        assert_eq!(
            all,
            [500, 500, 499, 100, 0, 0],
            "a clock that was set back gives no more than all"
        );
    }
}
