//! The ends of jobs. What a replica of a job was once seen to end with is final: its cloud may forget it, and it is not run again for that.
//! Pure: the controller brings records and observations. It knows no provider.

pub mod deadline;

pub use crate::state::job::End;

use std::collections::BTreeMap;

use crate::{
    base::units::Instant,
    lifecycle::plan,
    schedule::placement::Need,
    spec::{
        manifest::Resolved,
        workload::{Observation, Phase, Replica, Run},
    },
    state::record::AllocationRecord,
};

/// What an observation means for a job's record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Concluded {
    /// More replicas have ended than are on record, or its start has become known.
    pub more: bool,
    /// The provider does not know all of those any more that have ended: applied again, it would run them again.
    pub forgotten: bool,
    /// Nothing is left there but what has ended: the others are to be made elsewhere.
    pub closes: bool,
}

/// The phase of a job of which everything has ended.
pub fn outcome(record: &AllocationRecord) -> Phase {
    if record.status.ended.values().all(|end| end.succeeded) {
        Phase::Succeeded
    } else {
        Phase::Failed
    }
}

/// What is known of a job that is over, without asking anybody. None where it was over before ends were on record.
pub fn observation(record: &AllocationRecord) -> Option<Observation> {
    let replicas: Vec<Replica> = record
        .status
        .ended
        .iter()
        .filter(|(i, _)| **i < record.intent.replicas)
        .map(|(i, end)| end.replica(*i))
        .collect();
    let trouble = replicas
        .iter()
        .find(|r| r.phase == Phase::Failed && !r.message.is_empty());
    let message = trouble.map_or_else(String::new, |r| {
        format!("replica {}: {}", r.index, r.message)
    });
    (record.is_over() && !replicas.is_empty()).then(|| Observation {
        allocation: record.id.clone(),
        phase: outcome(record),
        endpoints: Vec::new(),
        replicas,
        message,
        conditions: Vec::new(),
        state: None,
        metered_cost: None,
    })
}

/// Brings what a provider says together with what is final: takes its start and new ends into the record, and shows those that are there as
/// they were.
pub fn conclude(record: &mut AllocationRecord, seen: &mut Observation, now: Instant) -> Concluded {
    if !matches!(record.intent.workload.run, Run::Job { .. }) {
        return Concluded::default();
    }
    let begun = deadline::note_start(record, seen, now);
    let before = record.status.ended.len();
    if record.is_over() && record.status.ended.is_empty() {
        record.status.ended = (0..record.intent.replicas)
            .map(|index| (index, End::blank(true)))
            .collect();
    }
    let known = |ended: &BTreeMap<u32, End>, index: u32| ended.contains_key(&index);
    let told = |index: u32| seen.replicas.iter().find(|r| r.index == index);
    let is_gone = |index: u32| match told(index) {
        Some(replica) => replica.phase == Phase::Gone,
        None => seen.phase == Phase::Gone || !seen.replicas.is_empty(),
    };
    let forgotten = record.status.ended.keys().any(|index| is_gone(*index));
    // A provider may tell of the whole only.
    if seen.phase == Phase::Succeeded && seen.replicas.is_empty() {
        for index in 0..record.intent.replicas {
            record
                .status
                .ended
                .entry(index)
                .or_insert_with(|| End::blank(true));
        }
    }
    for replica in seen
        .replicas
        .iter()
        .filter(|r| r.index < record.intent.replicas)
    {
        if !known(&record.status.ended, replica.index)
            && let Some(end) = End::of(replica)
        {
            record.status.ended.insert(replica.index, end);
        }
    }
    let open: Vec<u32> = (0..record.intent.replicas)
        .filter(|index| !known(&record.status.ended, *index))
        .collect();
    let closes = forgotten && !open.is_empty() && open.iter().all(|index| is_gone(*index));
    for (index, end) in &record.status.ended {
        match seen.replicas.iter_mut().find(|r| r.index == *index) {
            Some(replica) if replica.phase == end.phase() => {}
            Some(replica) => *replica = end.replica(*index),
            None => seen.replicas.push(end.replica(*index)),
        }
    }
    seen.replicas.sort_by_key(|r| r.index);
    if closes {
        close(record);
    }
    if record.is_over() {
        if !closes {
            // What has ended needs its start no more; what is made elsewhere does.
            record.status.began = None;
        }
        seen.phase = outcome(record);
        seen.replicas = record
            .status
            .ended
            .iter()
            .map(|(index, end)| end_or_told(seen, *index, end))
            .collect();
        if seen.phase == Phase::Succeeded || forgotten {
            let kept = observation(record);
            seen.message = kept.map(|o| o.message).unwrap_or_default();
        }
    }
    Concluded {
        more: record.status.ended.len() != before || closes || begun,
        forgotten,
        closes,
    }
}

/// A replica as its provider tells of it where that agrees with its end.
fn end_or_told(seen: &Observation, index: u32, end: &End) -> Replica {
    let told = seen
        .replicas
        .iter()
        .find(|r| r.index == index && r.phase == end.phase());
    told.cloned().unwrap_or_else(|| end.replica(index))
}

/// Leaves what has ended alone for good: nothing else is of this record any more.
pub fn close(record: &mut AllocationRecord) {
    let ended = std::mem::take(&mut record.status.ended);
    record.status.ended = (0u32..).zip(ended.into_values()).collect();
    record.settle(u32::try_from(record.status.ended.len()).unwrap_or(u32::MAX));
    record.status.phase = outcome(record);
}

/// What is left to be planned when that which has ended is left alone: where fewer or more of a job have ended than it wants in all, those
/// records are out of the plan's hands, and its task wants the others only.
pub fn set_aside(
    resolved: &[Resolved],
    actual: &[AllocationRecord],
) -> Option<(Vec<Resolved>, Vec<AllocationRecord>)> {
    let mut tasks = resolved.to_vec();
    let mut aside = Vec::new();
    // A run goes on as it began, whatever has become of its job since: the next one is made from the new manifest.
    for task in tasks.iter_mut().filter(|t| t.schedule.is_some()) {
        let need = plan::need_digest(&Need::of(task));
        let another = |r: &&AllocationRecord| {
            task.since.run == 0
                || r.intent.need != need
                || plan::needs_new_replicas(&r.intent.workload, &task.workload)
        };
        let mine = || actual.iter().filter(|r| plan::stands_for(r, task));
        if mine().any(|r| another(&r)) {
            aside.extend(mine().map(|r| r.id.clone()));
            task.replicas = 0;
        }
    }
    for task in tasks
        .iter_mut()
        .filter(|t| t.replicas > 0 && matches!(t.workload.run, Run::Job { .. }))
    {
        let need = plan::need_digest(&Need::of(task));
        let over = |r: &&AllocationRecord| {
            let same = r.intent.need == need
                && !plan::needs_new_replicas(&r.intent.workload, &task.workload);
            r.serves(&task.name, task.target.as_ref()) && r.is_over() && same
        };
        let done: Vec<_> = actual.iter().filter(over).collect();
        let replicas: u32 = done.iter().map(|r| r.intent.replicas).sum();
        if !done.is_empty() && replicas != task.replicas {
            task.replicas = task.replicas.saturating_sub(replicas);
            aside.extend(done.into_iter().map(|r| r.id.clone()));
        }
    }
    let rest = || {
        actual
            .iter()
            .filter(|r| !aside.contains(&r.id))
            .cloned()
            .collect()
    };
    (!aside.is_empty()).then(|| (tasks, rest()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::units::MicroUsd,
        spec::{
            manifest,
            workload::{ChosenOffer, Workload},
        },
        state::record::{AllocationStatus, Handle, Intent, Stage},
    };

    const NOW: Instant = Instant(9);

    fn task(replicas: u32) -> Resolved {
        let text = format!(
            r#"{{"apiVersion":"tradewind.dev/v1","kind":"CloudDeployment","metadata":{{"name":"x"}},
               "spec":{{"jobs":{{"j":{{"command":["run"],"replicas":{replicas}}}}}}}}}"#
        );
        manifest::resolve(&serde_json::from_str(&text).expect("a manifest")).remove(0)
    }

    fn record(workload: Workload, replicas: u32) -> AllocationRecord {
        let task = task(replicas);
        let offer = ChosenOffer {
            id: "o".to_owned(),
            region: String::new(),
            zone: String::new(),
            size: String::new(),
            spot: false,
            price: MicroUsd(1),
            labels: Default::default(),
        };
        AllocationRecord {
            id: "a-1".parse().expect("an id"),
            namespace: crate::base::names::Namespace::default_namespace(),
            deployment: "x".parse().expect("a name"),
            task: task.name.clone(),
            target: None,
            intent: Intent {
                provider: "p".parse().expect("a name"),
                offer,
                hourly: MicroUsd(1),
                takes: None,
                replicas,
                generation: 1,
                run: 0,
                workload,
                need: plan::need_digest(&Need::of(&task)),
                decision: None,
                stage: Stage::Applied,
                superseded: false,
                wanted: None,
                drain: None,
                traffic: None,
                attempt: 0,
                created_at: Instant(0),
                hedge: None,
                deadline: None,
            },
            handle: Handle {
                held: replicas,
                state: Some(Vec::new()),
                pinned: false,
            },
            status: AllocationStatus {
                phase: Phase::Running,
                meter: None,
                recovery: Default::default(),
                lost: false,
                ended: BTreeMap::new(),
                began: None,
            },
        }
    }

    fn seen(whole: Phase, phases: &[Phase]) -> Observation {
        let replica = |(index, phase): (u32, &Phase)| Replica {
            started_at: (*phase == Phase::Succeeded || *phase == Phase::Failed)
                .then_some(Instant(5)),
            phase: *phase,
            exit_code: (*phase == Phase::Failed).then_some(3),
            ..End::blank(true).replica(index)
        };
        Observation {
            allocation: "a-1".parse().expect("an id"),
            phase: whole,
            endpoints: Vec::new(),
            replicas: (0..).zip(phases).map(replica).collect(),
            message: String::new(),
            conditions: Vec::new(),
            state: None,
            metered_cost: None,
        }
    }

    use Phase::{Failed, Gone, Running, Starting, Succeeded};

    #[test]
    fn an_end_is_final_whatever_the_cloud_says_later() {
        for end in [Succeeded, Failed] {
            let mut job = record(task(1).workload, 1);
            assert_eq!(
                conclude(&mut job, &mut seen(Running, &[Running]), NOW),
                Concluded::default()
            );
            assert!(conclude(&mut job, &mut seen(end, &[end]), NOW).more && job.is_over());
            for later in [
                seen(Gone, &[Gone]),
                seen(Gone, &[]),
                seen(Running, &[Running]),
                seen(Starting, &[Starting]),
            ] {
                let mut later = later;
                let concluded = conclude(&mut job, &mut later, NOW);
                assert_eq!(
                    (later.phase, later.replicas[0].phase, later.replicas.len()),
                    (end, end, 1)
                );
                assert!(
                    !concluded.more && !concluded.closes,
                    "nothing new is to be stored"
                );
            }
            assert_eq!(
                observation(&job).map(|o| (o.phase, o.replicas[0].started_at)),
                Some((end, Some(Instant(5))))
            );
        }
    }

    #[test]
    fn what_never_ran_has_not_ended_and_what_is_gone_before_its_end_is_made_again() {
        let mut job = record(task(1).workload, 1);
        let mut never = seen(Failed, &[Failed]);
        (never.replicas[0].started_at, never.replicas[0].exit_code) = (None, None);
        assert_eq!(conclude(&mut job, &mut never, NOW), Concluded::default());
        let mut gone = seen(Gone, &[Gone]);
        assert_eq!(
            (conclude(&mut job, &mut gone, NOW), gone.phase),
            (Concluded::default(), Gone)
        );
        // Of a service nothing is final.
        let mut service = record(task(1).workload, 1);
        service.intent.workload.run = Run::Service;
        assert_eq!(
            conclude(&mut service, &mut seen(Succeeded, &[Succeeded]), NOW),
            Concluded::default()
        );
    }

    #[test]
    fn a_job_that_was_over_before_ends_were_on_record_stays_so() {
        let mut job = record(task(2).workload, 2);
        job.status.phase = Succeeded;
        assert!(job.is_over() && observation(&job).is_none());
        let mut gone = seen(Gone, &[]);
        assert!(conclude(&mut job, &mut gone, NOW).more);
        assert_eq!((gone.phase, job.status.ended.len()), (Succeeded, 2));
    }

    #[test]
    fn the_rest_of_a_job_that_its_cloud_has_half_forgotten_is_made_elsewhere() {
        let three = task(3);
        let mut job = record(three.workload.clone(), 3);
        conclude(
            &mut job,
            &mut seen(Running, &[Running, Succeeded, Running]),
            NOW,
        );
        // While others run, it is left as it is.
        let concluded = conclude(&mut job, &mut seen(Running, &[Running, Gone, Gone]), NOW);
        assert!(concluded.forgotten && !concluded.closes);
        // Known ones can be asked for again: their cloud keeps them.
        assert!(!conclude(&mut job, &mut seen(Failed, &[Gone, Succeeded, Gone]), NOW).closes);
        let mut gone = seen(Gone, &[]);
        assert!(conclude(&mut job, &mut gone, NOW).closes);
        assert_eq!(
            (
                job.intent.replicas,
                job.intent.goal(),
                gone.phase,
                job.is_over()
            ),
            (1, 1, Succeeded, true)
        );
        let (tasks, rest) = set_aside(std::slice::from_ref(&three), std::slice::from_ref(&job))
            .expect("one of three");
        assert_eq!((tasks[0].replicas, rest.len()), (2, 0));
        // Where all of it has ended there is nothing to do, and another version is another job.
        let mut whole = record(task(1).workload, 1);
        whole.status.ended = [(0, End::blank(true))].into();
        assert_eq!(set_aside(&[task(1)], std::slice::from_ref(&whole)), None);
        let mut other = task(2);
        other.workload.command.push("more".to_owned());
        assert_eq!(set_aside(&[other], &[whole]), None);
    }
}
