//! Jobs that run by a schedule: when the next run is due, and what a run changes in a deployment's record. Pure: the controller brings the
//! times of a schedule, the time, and whether the last run has ended. It must not know what an expression means.

pub use crate::state::schedule::{JobRun, RunOutcome, ScheduledJob};

use crate::{
    base::{names::TaskName, units::Instant},
    spec::manifest::{Concurrency, Manifest, Resolved, ScheduleLong, ScheduleSpec},
    state::record::DeploymentRecord,
};

/// How many ended runs are kept where the schedule does not say.
pub const HISTORY: u32 = 10;

/// What is to be done about a job now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this time. None: nothing at all.
    Later(Option<Instant>),
    /// A run for this time of the schedule.
    Run(Instant),
    /// The run for this time is left out: the one before it has not ended.
    Skip(Instant),
    /// The run for this time is left out: it could have begun only after its deadline.
    Missed(Instant),
}

/// What is due. `next`: the first time of the schedule after another one. `busy`: the last run has not ended.
pub fn due(
    job: &ScheduledJob,
    schedule: &ScheduleLong,
    next: impl Fn(Instant) -> Option<Instant>,
    busy: bool,
    now: Instant,
) -> Due {
    if schedule.suspend {
        return Due::Later(None);
    }
    let Some(at) = next(job.after) else {
        return Due::Later(None);
    };
    if at > now {
        return Due::Later(Some(at));
    }
    let at = latest(at, job.after, &next, now);
    let late = schedule
        .starting_deadline
        .is_some_and(|most| now.since(at) > most);
    match (late, busy, schedule.concurrency) {
        (true, ..) => Due::Missed(at),
        (false, true, Concurrency::Forbid) => Due::Skip(at),
        _ => Due::Run(at),
    }
}

/// The last time of the schedule that is not after `now`. Looked for in a span before `now` that doubles, so that a long stop costs nothing.
fn latest(
    first: Instant,
    after: Instant,
    next: impl Fn(Instant) -> Option<Instant>,
    now: Instant,
) -> Instant {
    const MINUTE: u64 = 60_000;
    let mut span = MINUTE;
    let mut found = loop {
        let start = Instant(now.0.saturating_sub(span)).max(after);
        match next(start) {
            Some(at) if at <= now => break at,
            _ if start <= after => break first,
            _ => span = span.saturating_mul(2),
        }
    };
    while let Some(at) = next(found).filter(|at| *at <= now && *at > found) {
        found = at;
    }
    found
}

/// Begins a run in a record: what was made for earlier ones counts no more. `at`: the time of the schedule that it is for. False: the job has
/// no schedule.
pub fn begin(
    record: &mut DeploymentRecord,
    task: &TaskName,
    at: Option<Instant>,
    now: Instant,
) -> bool {
    let Some(spec) = record.manifest.spec.jobs.get(task) else {
        return false;
    };
    let replicas = spec.replicas;
    let keep = spec.schedule.as_ref().and_then(|s| s.long().history);
    let keep = usize::try_from(keep.unwrap_or(HISTORY)).unwrap_or(usize::MAX);
    let Some(job) = record.schedules.iter_mut().find(|j| j.task == *task) else {
        return false;
    };
    if let Some(last) = job.runs.last_mut().filter(|r| r.outcome.is_none()) {
        (last.outcome, last.ended_at) = (Some(RunOutcome::Replaced), Some(now));
    }
    // It grows also when the clock goes back, and when the job had a schedule before.
    job.run = now.0.max(job.run + 1);
    job.replicas = replicas;
    job.after = at.unwrap_or(job.after).max(job.after);
    job.runs.push(JobRun {
        run: job.run,
        scheduled_at: at,
        began_at: now,
        outcome: None,
        ended_at: None,
    });
    let surplus = job.runs.len().saturating_sub(keep + 1);
    job.runs.drain(..surplus);
    true
}

/// Notes that the time of a run has passed without one. Nothing, when the job has no schedule any more.
pub fn pass(record: &mut DeploymentRecord, task: &TaskName, at: Instant) {
    if let Some(job) = record.schedules.iter_mut().find(|j| j.task == *task) {
        job.after = job.after.max(at);
    }
}

/// Notes the end of the run that counts. False: it is known.
pub fn end(
    record: &mut DeploymentRecord,
    task: &TaskName,
    outcome: RunOutcome,
    now: Instant,
) -> bool {
    let job = record.schedules.iter_mut().find(|j| j.task == *task);
    let Some(last) = job
        .and_then(|job| job.runs.last_mut())
        .filter(|r| r.outcome.is_none())
    else {
        return false;
    };
    (last.outcome, last.ended_at) = (Some(outcome), Some(now));
    true
}

/// Brings a record's schedules to its manifest. A schedule that is new, was changed or goes on after a suspension counts from now: what it
/// would have begun before is not made up for.
pub fn note(record: &mut DeploymentRecord, before: Option<&Manifest>, now: Instant) {
    let times = |spec: &ScheduleSpec| {
        let long = spec.long();
        (long.cron, long.time_zone, long.suspend)
    };
    let jobs = &record.manifest.spec.jobs;
    record
        .schedules
        .retain(|j| jobs.get(&j.task).is_some_and(|job| job.schedule.is_some()));
    for (name, spec) in jobs
        .iter()
        .filter_map(|(n, j)| Some((n, j.schedule.as_ref()?)))
    {
        let old = before
            .and_then(|m| m.spec.jobs.get(name))
            .and_then(|job| job.schedule.as_ref());
        let same = old.is_some_and(|old| times(old) == times(spec));
        match record.schedules.iter_mut().find(|j| j.task == *name) {
            Some(_) if same => {}
            Some(job) => job.after = now,
            None => record.schedules.push(ScheduledJob {
                task: name.clone(),
                after: now,
                run: 0,
                replicas: 0,
                runs: Vec::new(),
            }),
        }
    }
}

/// Has a task want what the run asks for that counts, and nothing before the first one.
pub(crate) fn resolve(record: &DeploymentRecord, task: &mut Resolved) {
    if task.schedule.is_none() {
        return;
    }
    let job = record.schedules.iter().find(|j| j.task == task.name);
    task.since.run = job.map_or(0, |j| j.run);
    task.replicas = job.map_or(0, |j| j.replicas);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::Millis;

    const HOUR: u64 = 3_600_000;

    fn job(after: u64) -> ScheduledJob {
        ScheduledJob {
            task: "j".parse().expect("a name"),
            after: Instant(after),
            run: 0,
            replicas: 0,
            runs: Vec::new(),
        }
    }

    fn schedule(text: &str) -> ScheduleLong {
        serde_json::from_str(text).expect("a schedule")
    }

    /// On each full hour.
    fn hourly(after: Instant) -> Option<Instant> {
        Some(Instant((after.0 / HOUR + 1) * HOUR))
    }

    fn record(schedule: &str) -> DeploymentRecord {
        let text = format!(
            r#"{{"apiVersion":"tradewind.dev/v1","kind":"CloudDeployment","metadata":{{"name":"x"}},
               "spec":{{"jobs":{{"j":{{"command":["run"],"replicas":2,"schedule":{schedule}}}}}}}}}"#
        );
        DeploymentRecord {
            generation: 1,
            manifest: serde_json::from_str(&text).expect("a manifest"),
            deleting: false,
            scales: Vec::new(),
            created_at: Instant(0),
            updated_at: Instant(0),
            rollout: None,
            revisions: Vec::new(),
            adopt: None,
            moves: Vec::new(),
            reruns: Vec::new(),
            restarts: Vec::new(),
            schedules: Vec::new(),
            begun: Vec::new(),
            released: Vec::new(),
            waiting: Vec::new(),
        }
    }

    #[test]
    fn a_run_is_due_at_its_time_and_the_last_missed_one_is_made_up_for() {
        let often = schedule(r#"{"cron":"0 * * * *"}"#);
        let at = |now: u64| due(&job(10), &often, hourly, false, Instant(now));
        assert_eq!(at(HOUR - 1), Due::Later(Some(Instant(HOUR))));
        assert_eq!(at(HOUR), Due::Run(Instant(HOUR)));
        // The daemon was stopped for years.
        assert_eq!(at(50_000 * HOUR + 5), Due::Run(Instant(50_000 * HOUR)));
        let strict = ScheduleLong {
            starting_deadline: Some(Millis(60_000)),
            ..often.clone()
        };
        let late = |by: u64| due(&job(10), &strict, hourly, false, Instant(9 * HOUR + by));
        assert_eq!(late(60_000), Due::Run(Instant(9 * HOUR)));
        assert_eq!(late(60_001), Due::Missed(Instant(9 * HOUR)));
        let idle = ScheduleLong {
            suspend: true,
            ..often
        };
        assert_eq!(
            due(&job(10), &idle, hourly, false, Instant(HOUR)),
            Due::Later(None)
        );
    }

    #[test]
    fn a_run_that_goes_on_keeps_the_next_one_away_or_gives_way_to_it() {
        for (concurrency, wanted) in [
            ("forbid", Due::Skip(Instant(HOUR))),
            ("replace", Due::Run(Instant(HOUR))),
        ] {
            let text = format!(r#"{{"cron":"0 * * * *","concurrency":"{concurrency}"}}"#);
            let due = due(&job(10), &schedule(&text), hourly, true, Instant(HOUR));
            assert_eq!(due, wanted, "{concurrency}");
        }
    }

    #[test]
    fn runs_are_counted_kept_and_ended() {
        let mut record = record(r#"{"cron":"0 * * * *","history":2}"#);
        let name: TaskName = "j".parse().expect("a name");
        let task = |record: &DeploymentRecord| crate::lifecycle::scaling::resolve(record).remove(0);
        note(&mut record, None, Instant(5));
        assert_eq!(task(&record).replicas, 0, "nothing runs before its time");
        assert!(begin(
            &mut record,
            &name,
            Some(Instant(HOUR)),
            Instant(HOUR + 1)
        ));
        assert_eq!(
            (task(&record).replicas, task(&record).since.run),
            (2, HOUR + 1)
        );
        assert!(end(
            &mut record,
            &name,
            RunOutcome::Failed,
            Instant(HOUR + 9)
        ));
        assert!(!end(
            &mut record,
            &name,
            RunOutcome::Succeeded,
            Instant(HOUR + 9)
        ));
        // The clock went back; somebody asks for runs.
        for n in 2..5 {
            assert!(begin(&mut record, &name, None, Instant(7)));
            assert_eq!(task(&record).since.run, HOUR + n);
        }
        let job = &record.schedules[0];
        assert_eq!((job.after, job.runs.len()), (Instant(HOUR), 3));
        let outcomes: Vec<_> = job.runs.iter().map(|r| r.outcome).collect();
        assert_eq!(
            outcomes,
            [Some(RunOutcome::Replaced), Some(RunOutcome::Replaced), None]
        );
    }

    #[test]
    fn another_schedule_counts_from_now_and_the_same_goes_on() {
        let mut now = record(r#""0 * * * *""#);
        note(&mut now, None, Instant(5));
        let before = now.manifest.clone();
        note(&mut now, Some(&before), Instant(50));
        assert_eq!(now.schedules[0].after, Instant(5));
        now.manifest = record(r#"{"cron":"0 * * * *","suspend":true}"#).manifest;
        note(&mut now, Some(&before), Instant(60));
        assert_eq!(now.schedules[0].after, Instant(60));
        now.manifest.spec.jobs[0].schedule = None;
        note(&mut now, None, Instant(70));
        assert!(now.schedules.is_empty());
    }
}
