//! What becomes of an allocation that is not well: try again in its place after a pause, replace it elsewhere, or take it for lost.
//! Pure: the controller brings what was observed and what is on record, and carries out what is answered. It knows no provider.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    base::units::{Instant, Millis},
    spec::workload::{Observation, Phase, Probe, Probes, Replica, Run},
};

/// How long a replica that nothing checks must have run before it counts as ready.
pub const SETTLING: Millis = Millis(1_000);
/// It doubles so many times with the failures in a row of that replica: to 32 s.
const SETTLING_DOUBLES: u32 = 5;

/// How long a replica without a check of its own must run before it counts as ready, after so many failures in a row.
pub fn settling(failures: u32) -> Millis {
    Millis(SETTLING.0 << failures.min(SETTLING_DOUBLES))
}

/// How a task is brought back, with every default filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The pause before the first attempt; it doubles with every failure.
    pub first: Millis,
    /// The longest pause.
    pub longest: Millis,
    /// What has been well for so long begins anew.
    pub reset: Millis,
    /// So many failures in a row in one place and another place is sought.
    pub replace_after: u32,
    /// The most replicas that are replaced elsewhere at once.
    pub max_concurrent: Portion,
    /// For how long a place may be silent until its replicas count as lost. None: for ever.
    pub failover: Option<Millis>,
}

impl Policy {
    /// What holds for a task that says nothing.
    pub fn default_for(run: &Run) -> Self {
        let failover = match run {
            Run::Service => Some(Millis::from_secs(120)),
            // A job that is only out of sight would run twice.
            Run::Job { .. } => None,
        };
        Self {
            first: Millis::from_secs(1),
            longest: Millis::from_secs(300),
            reset: Millis::from_secs(600),
            replace_after: 3,
            max_concurrent: Portion::Percent(25),
            failover,
        }
    }

    /// The pause after so many failures in a row.
    pub fn pause(&self, failures: u32) -> Millis {
        pause(self.first, self.longest, failures)
    }
}

fn pause(first: Millis, longest: Millis, failures: u32) -> Millis {
    let doubled = first.0.saturating_mul(
        1u64.checked_shl(failures.saturating_sub(1))
            .unwrap_or(u64::MAX),
    );
    Millis(doubled.min(longest.0))
}

/// The pauses between the attempts of one allocation's replicas, for whoever starts them again by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// The pause before the first attempt; it doubles with every failure.
    pub first: Millis,
    /// The longest pause.
    pub longest: Millis,
    /// After running for so long the failures are forgotten.
    pub reset: Millis,
    /// Failures in a row before it came to where it is.
    pub inherited: u32,
    /// Failures in a row of each replica there, as far as they have been counted.
    pub here: BTreeMap<u32, u32>,
}

impl Pace {
    /// Of an allocation, by its task's policy and by what it has been through.
    pub fn of(policy: &Policy, recovery: &Recovery) -> Self {
        Self {
            first: policy.first,
            longest: policy.longest,
            reset: policy.reset,
            inherited: recovery.failures.saturating_sub(recovery.here),
            here: recovery
                .restarts
                .iter()
                .map(|(index, r)| (*index, r.row))
                .filter(|(_, row)| *row > 0)
                .collect(),
        }
    }

    /// The pause of a replica that has ended, by the failures in a row that its keeper has seen, this one included.
    pub fn pause(&self, replica: u32, seen: u32) -> Millis {
        let counted = self.here.get(&replica).copied().unwrap_or(0);
        // The present failure may have been counted already.
        let row = seen.max(if seen <= 1 {
            counted.saturating_add(1)
        } else {
            counted
        });
        pause(self.first, self.longest, self.inherited.saturating_add(row))
    }
}

/// A number of replicas, or a share of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion {
    /// So many replicas.
    Count(u32),
    /// So many of a hundred, of those that are wanted.
    Percent(u32),
}

impl Portion {
    /// At least one: a bound that lets nothing through would be a stop for ever.
    pub fn of(self, replicas: u32) -> u32 {
        match self {
            Self::Count(n) => n.max(1),
            Self::Percent(p) => u32::try_from(u64::from(replicas) * u64::from(p) / 100)
                .unwrap_or(u32::MAX)
                .max(1),
        }
    }
}

/// The memory of failures, kept with the allocation's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Recovery {
    /// Failures in a row, those in earlier places of the same replicas included.
    pub failures: u32,
    /// Those in this place.
    pub here: u32,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Instant>,
    /// Since when it has been well after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub well_since: Option<Instant>,
    /// What the last failure was.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Of replicas that their provider has started again by itself: by index.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub restarts: BTreeMap<u32, Restarts>,
}

/// How often a replica's provider has started it again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Restarts {
    /// As the provider counts them: those that have been taken in.
    pub seen: u32,
    /// In a row.
    pub row: u32,
}

impl Recovery {
    /// Failures in a row of one replica that its provider has started again.
    pub fn row(&self, replica: u32) -> u32 {
        self.restarts.get(&replica).map_or(0, |r| r.row)
    }

    /// All is forgiven: what the providers have counted so far stays counted.
    fn forgiven(&self) -> Self {
        let restarts = self
            .restarts
            .iter()
            .filter(|(_, r)| r.seen > 0)
            .map(|(i, r)| {
                (
                    *i,
                    Restarts {
                        seen: r.seen,
                        row: 0,
                    },
                )
            });
        Self {
            restarts: restarts.collect(),
            ..Self::default()
        }
    }

    /// Takes in how often the provider has started replicas again by itself. A failure of several replicas at once is one. True when there
    /// is a new one.
    fn count(
        &mut self,
        run: &Run,
        wanted: u32,
        seen: &Observation,
        ready: impl Fn(u32) -> bool,
    ) -> bool {
        let worst = |all: &BTreeMap<u32, Restarts>| all.values().map(|r| r.row).max().unwrap_or(0);
        let before = worst(&self.restarts);
        self.restarts.retain(|index, _| *index < wanted);
        let mut last = None;
        for replica in seen.replicas.iter().filter(|r| r.index < wanted) {
            // What has ended and waits for its next start has failed already, though it has not been started again yet.
            let waits = matches!(replica.phase, Phase::Pending | Phase::Starting)
                && replica.ended_at.is_some();
            let told = replica.restarts.saturating_add(u32::from(waits));
            let known = self.restarts.get(&replica.index).copied();
            let mut next = match known {
                Some(known) => known,
                None if told == 0 => continue,
                // What is well when it is first seen is not in a row of failures.
                None => Restarts {
                    seen: if ready(replica.index) {
                        told
                    } else {
                        told.saturating_sub(1)
                    },
                    row: 0,
                },
            };
            if told > next.seen {
                next = Restarts {
                    seen: told,
                    row: next.row.saturating_add(told - next.seen),
                };
                last = Some(replica);
            } else if told == 0 {
                // Another one in its stead.
                next.seen = 0;
            }
            self.restarts.insert(replica.index, next);
        }
        let new = worst(&self.restarts).saturating_sub(before);
        let Some(replica) = last.filter(|_| new > 0) else {
            return false;
        };
        self.failures = self.failures.saturating_add(new);
        if matches!(run, Run::Service) {
            self.here = self.here.saturating_add(new);
        }
        self.well_since = None;
        self.reason = format!("replica {}: {}", replica.index, how_it_ended(replica));
        true
    }

    /// Nothing has failed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// For what takes the place of these: the pauses go on growing, the count in the place begins anew.
    pub fn inherited<'a>(from: impl Iterator<Item = &'a Recovery>) -> Self {
        let worst = from.max_by_key(|r| r.failures);
        worst.map_or_else(Self::default, |r| Self {
            failures: r.failures,
            reason: r.reason.clone(),
            ..Self::default()
        })
    }
}

/// How an allocation is, all replicas taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// All replicas do what they are there for.
    Well,
    /// Not ready yet, or not any more; nothing of it is dead.
    Coming,
    /// Some are dead, and the provider makes them again when it is asked.
    Dead {
        /// How many.
        replicas: u32,
        /// What has become of them.
        reason: String,
    },
    /// Some run without being alive: asking again would change nothing.
    Stuck {
        /// How many.
        replicas: u32,
        /// What keeps them.
        reason: String,
    },
}

impl Condition {
    /// From what the provider says, and the replicas whose liveness check has failed.
    pub fn of(
        run: &Run,
        wanted: u32,
        ready: u32,
        seen: &Observation,
        lifeless: &[(u32, String)],
    ) -> Self {
        let service = matches!(run, Run::Service);
        let dead = |r: &&Replica| match r.phase {
            // What a job's replica has begun is not begun again; one that never came to run has done nothing.
            Phase::Failed => service || (r.started_at.is_none() && r.exit_code.is_none()),
            Phase::Succeeded => service,
            Phase::Gone => true,
            _ => false,
        };
        let mine = || seen.replicas.iter().filter(|r| r.index < wanted);
        let ended: Vec<_> = mine().filter(dead).collect();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        if let Some(first) = ended.first() {
            return Self::Dead {
                replicas: count(ended.len()),
                reason: format!("replica {}: {}", first.index, how_it_ended(first)),
            };
        }
        // Gone as a whole is the plan's business: it decides anew.
        if service
            && matches!(seen.phase, Phase::Failed | Phase::Succeeded)
            && mine().next().is_none()
        {
            let reason = if seen.message.is_empty() {
                format!("it is {}", seen.phase)
            } else {
                seen.message.clone()
            };
            return Self::Dead {
                replicas: wanted,
                reason,
            };
        }
        let stuck: Vec<_> = lifeless
            .iter()
            .filter(|(i, _)| mine().any(|r| r.index == *i && r.phase == Phase::Running))
            .collect();
        match stuck.first() {
            Some((index, why)) => Self::Stuck {
                replicas: count(stuck.len()),
                reason: format!("replica {index}: {why}"),
            },
            None if ready >= wanted => Self::Well,
            None => Self::Coming,
        }
    }
}

fn how_it_ended(replica: &Replica) -> String {
    match (replica.message.is_empty(), replica.exit_code) {
        (false, _) => replica.message.clone(),
        (true, Some(code)) => format!("ended with status {code}"),
        (true, None) if replica.phase == Phase::Running => {
            "ended, and was started again by its provider".to_owned()
        }
        (true, None) => format!("it is {}", replica.phase),
    }
}

/// What is to be done about an allocation. The recovery is to be stored with it, where it differs from what is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is well, or others see to it.
    Nothing,
    /// Nothing before this; then another look.
    Wait(Instant),
    /// Ask the provider again, as a new attempt: it makes what is missing.
    Again,
    /// Other replicas take over, elsewhere if there is an elsewhere. This one goes when they are ready.
    Replace,
}

/// What a look at an allocation that the provider has accepted has shown.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Whether it runs to its end.
    pub run: &'a Run,
    /// Replicas that it shall have.
    pub wanted: u32,
    /// What the provider has reported.
    pub seen: &'a Observation,
}

/// Takes a look in: what the provider has started again by itself since the last one counts like what it has left dead.
pub fn look(
    policy: &Policy,
    kept: &Recovery,
    look: Look<'_>,
    condition: &Condition,
    ready: impl Fn(u32) -> bool,
    now: Instant,
) -> (Recovery, Action) {
    let mut counted = kept.clone();
    let new = counted.count(look.run, look.wanted, look.seen, ready);
    let (next, action) = recover(policy, &counted, condition, now);
    let too_often = policy.replace_after > 0 && next.here >= policy.replace_after;
    match action {
        // Its provider goes on trying there by itself; whether another place is better is for this one to say.
        Action::Nothing | Action::Wait(_)
            if new && too_often && matches!(look.run, Run::Service) =>
        {
            (next, Action::Replace)
        }
        other => (next, other),
    }
}

/// Decides about one allocation that the provider has accepted.
pub fn recover(
    policy: &Policy,
    kept: &Recovery,
    condition: &Condition,
    now: Instant,
) -> (Recovery, Action) {
    let mut next = kept.clone();
    match condition {
        Condition::Well => {
            next.next = None;
            match next.well_since {
                _ if next.failures == 0 => (next.forgiven(), Action::Nothing),
                // A clock that was set back begins the time anew.
                Some(since) if since <= now && now.since(since) >= policy.reset => {
                    (next.forgiven(), Action::Nothing)
                }
                Some(since) if since <= now => (next, Action::Wait(since.plus(policy.reset))),
                _ => {
                    next.well_since = Some(now);
                    (next, Action::Wait(now.plus(policy.reset)))
                }
            }
        }
        Condition::Coming => {
            (next.well_since, next.next) = (None, None);
            (next, Action::Nothing)
        }
        Condition::Dead { reason, .. } => match kept.next {
            None => fail(policy, next, reason, now),
            // A clock that was set back must not make the pause longer than any pause is.
            Some(at) if at > now && at <= now.plus(policy.longest) => (next, Action::Wait(at)),
            Some(_) => {
                next.next = None;
                (next, Action::Again)
            }
        },
        Condition::Stuck { reason, .. } => {
            if kept.reason != *reason {
                (next.failures, next.here) =
                    (next.failures.saturating_add(1), next.here.saturating_add(1));
                next.reason.clone_from(reason);
            }
            (next.well_since, next.next) = (None, None);
            (next, Action::Replace)
        }
    }
}

fn fail(policy: &Policy, mut next: Recovery, reason: &str, now: Instant) -> (Recovery, Action) {
    (next.failures, next.here) = (next.failures.saturating_add(1), next.here.saturating_add(1));
    (next.well_since, next.reason) = (None, reason.to_owned());
    let at = now.plus(policy.pause(next.failures));
    next.next = Some(at);
    let action = if policy.replace_after > 0 && next.here >= policy.replace_after {
        Action::Replace
    } else {
        Action::Wait(at)
    };
    (next, action)
}

/// Which of a task's allocations that ask to be replaced may be: (replicas, already being replaced). As many replicas as the bound allows
/// are under way at once. An allocation is replaced as a whole, so one that is larger than the bound goes alone.
pub fn admitted(bound: u32, under_way: u32, asking: &[u32]) -> Vec<bool> {
    let mut busy = under_way;
    let admit = |replicas: &u32| {
        let fits = busy == 0 || busy.saturating_add(*replicas) <= bound;
        if fits {
            busy = busy.saturating_add((*replicas).max(1));
        }
        fits
    };
    asking.iter().map(admit).collect()
}

/// Whether what is in a silent place is lost. The silence is measured by a clock that nobody sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// It answers, or its silence means nothing for this task.
    Fine,
    /// It counts as lost after this.
    LostIn(Millis),
    /// It counts as lost.
    Lost,
}

/// Whether what is in a place counts as lost that has been silent for so long. `None`: it answers.
pub fn silence(policy: &Policy, silent_for: Option<Millis>) -> Silence {
    match (silent_for, policy.failover) {
        (Some(silent), Some(limit)) if silent >= limit => Silence::Lost,
        (Some(silent), Some(limit)) => Silence::LostIn(Millis(limit.0 - silent.0)),
        _ => Silence::Fine,
    }
}

/// For how long a liveness check that nothing has answered yet says nothing, from its first look on: what starts slowly is not dead.
pub const START_BOUND: Millis = Millis::from_secs(300);

/// Whether the failures of a liveness check count. `started`: a startup or health check, or this one, has succeeded since the replica began.
pub fn liveness_counts(started: bool, checked_for: Millis) -> bool {
    started || checked_for >= START_BOUND
}

/// For how long a replica may start: as long as its startup check may fail, or as a liveness check waits.
pub fn start_bound(probes: &Probes) -> Millis {
    let all = |p: &Probe| {
        Millis(
            p.interval
                .0
                .saturating_mul(u64::from(p.unhealthy_after.max(1)))
                .saturating_add(p.initial_delay.0),
        )
    };
    let waits = probes
        .liveness
        .as_ref()
        .map_or(Millis(0), |p| p.initial_delay);
    probes
        .startup
        .as_ref()
        .map_or(Millis(START_BOUND.0.saturating_add(waits.0)), all)
}

/// What gives a slow start its time, for the message about a replica that was ended before it had started.
pub const SLOW_START: &str = "if it only starts slowly, give it a \"startup\" check, or its \"liveness\" check a longer \"initialDelay\"";

/// The same where there is a startup check.
pub const SLOWER_START: &str = "if it only starts slowly, raise \"startup.unhealthyAfter\"";

/// Consecutive outcomes of a check against its thresholds.
#[derive(Debug)]
pub struct Tally {
    healthy_after: u32,
    unhealthy_after: u32,
    successes: u32,
    failures: u32,
    /// The verdict given last.
    good: Option<bool>,
    seen_good: bool,
}

impl Tally {
    /// The count for a probe, with nothing seen yet.
    pub fn of(probe: &Probe) -> Self {
        let (healthy_after, unhealthy_after) =
            (probe.healthy_after.max(1), probe.unhealthy_after.max(1));
        Self {
            healthy_after,
            unhealthy_after,
            successes: 0,
            failures: 0,
            good: None,
            seen_good: false,
        }
    }

    /// Whether a check has ever passed.
    pub fn seen_good(&self) -> bool {
        self.seen_good
    }

    /// Whether the verdict changes.
    pub fn success(&mut self) -> bool {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        let changed = self.successes >= self.healthy_after && self.good != Some(true);
        if changed {
            self.good = Some(true);
            self.seen_good = true;
        }
        changed
    }

    /// Whether the verdict changes.
    pub fn failure(&mut self) -> bool {
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        let changed = self.failures >= self.unhealthy_after && self.good != Some(false);
        if changed {
            self.good = Some(false);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::workload::Health;

    fn policy() -> Policy {
        Policy::default_for(&Run::Service)
    }

    fn dead(reason: &str) -> Condition {
        Condition::Dead {
            replicas: 1,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn a_crash_loop_pauses_longer_and_longer_then_moves_and_is_forgiven() {
        let policy = policy();
        let mut now = Instant(1_000_000);
        let mut kept = Recovery::default();
        for pause in [1, 2] {
            let (noted, action) = recover(&policy, &kept, &dead("exit 1"), now);
            assert_eq!(action, Action::Wait(now.plus(Millis::from_secs(pause))));
            // The same look again changes nothing.
            assert_eq!(
                recover(&policy, &noted, &dead("exit 1"), now),
                (noted.clone(), action)
            );
            now = now.plus(Millis::from_secs(pause));
            let (tried, action) = recover(&policy, &noted, &dead("exit 1"), now);
            assert_eq!((action, tried.next), (Action::Again, None));
            kept = tried;
        }
        let (third, action) = recover(&policy, &kept, &dead("exit 1"), now);
        assert_eq!(
            (action, third.failures, third.here),
            (Action::Replace, 3, 3)
        );
        let heir = Recovery::inherited([&third].into_iter());
        assert_eq!(
            (heir.failures, heir.here, policy.pause(heir.failures + 1)),
            (3, 0, Millis::from_secs(8))
        );
        assert_eq!(policy.pause(40), policy.longest);

        let (well, action) = recover(&policy, &heir, &Condition::Well, now);
        assert_eq!(action, Action::Wait(now.plus(policy.reset)));
        assert_eq!(
            recover(&policy, &well, &Condition::Well, now.plus(policy.reset)),
            (Recovery::default(), Action::Nothing)
        );
        let (again, _) = recover(&policy, &well, &Condition::Coming, now);
        assert_eq!(
            again.well_since, None,
            "the time of being well is not interrupted"
        );
    }

    #[test]
    fn a_clock_set_back_neither_forgives_nor_waits_for_ever() {
        let policy = policy();
        let later = Instant(1_000_000_000);
        let (kept, _) = recover(&policy, &Recovery::default(), &dead("x"), later);
        assert_eq!(
            recover(&policy, &kept, &dead("x"), Instant(1_000)).1,
            Action::Again
        );
        let well = Recovery {
            failures: 1,
            well_since: Some(later),
            ..Recovery::default()
        };
        assert_eq!(
            recover(&policy, &well, &Condition::Well, Instant(1_000))
                .0
                .well_since,
            Some(Instant(1_000))
        );
    }

    #[test]
    fn conditions() {
        let replica = |index: u32, phase: Phase| Replica {
            index,
            id: String::new(),
            phase,
            health: Health::Unknown,
            endpoints: Vec::new(),
            message: String::new(),
            restarts: 0,
            started_at: None,
            ended_at: None,
            exit_code: (phase == Phase::Failed).then_some(1),
            usage: None,
        };
        let seen = |phase: Phase, replicas: &[Phase]| Observation {
            allocation: "a".parse().expect("an id"),
            phase,
            endpoints: Vec::new(),
            replicas: (0..).zip(replicas).map(|(i, p)| replica(i, *p)).collect(),
            message: String::new(),
            conditions: Vec::new(),
            state: None,
            metered_cost: None,
        };
        use Phase::{Failed, Gone, Running, Starting, Succeeded};
        let (service, job) = (
            Run::Service,
            Run::Job {
                retries: 0,
                deadline: None,
            },
        );
        let lifeless = [(0, "no answer".to_owned())];
        let of = |run: &Run, ready, phase, replicas: &[Phase], lifeless: &[(u32, String)]| {
            match Condition::of(run, 2, ready, &seen(phase, replicas), lifeless) {
                Condition::Well => "well".to_owned(),
                Condition::Coming => "coming".to_owned(),
                Condition::Dead { replicas, .. } => format!("dead {replicas}"),
                Condition::Stuck { replicas, .. } => format!("stuck {replicas}"),
            }
        };
        assert_eq!(of(&service, 2, Running, &[Running, Running], &[]), "well");
        assert_eq!(
            of(&service, 1, Running, &[Running, Running], &[]),
            "coming",
            "not ready is not dead"
        );
        assert_eq!(
            of(&service, 1, Running, &[Running, Starting], &[]),
            "coming"
        );
        assert_eq!(of(&service, 1, Running, &[Running, Gone], &[]), "dead 1");
        assert_eq!(
            of(&service, 0, Running, &[Failed, Succeeded], &[]),
            "dead 2",
            "a service that ends has failed"
        );
        assert_eq!(
            of(&service, 2, Running, &[Running, Running, Gone], &[]),
            "well",
            "replicas beyond those wanted are nobody's"
        );
        assert_eq!(of(&service, 0, Failed, &[], &[]), "dead 2");
        assert_eq!(
            of(&service, 2, Running, &[Running, Running], &lifeless),
            "stuck 1"
        );
        assert_eq!(
            of(&service, 0, Running, &[Starting, Running], &lifeless),
            "coming",
            "a new incarnation gets its time"
        );
        assert_eq!(
            of(&job, 1, Failed, &[Succeeded, Failed], &[]),
            "coming",
            "a job's failures are its retries' business"
        );
        assert_eq!(of(&job, 0, Running, &[Running, Gone], &[]), "dead 1");
        let mut never = seen(Failed, &[Failed]);
        never.replicas[0].exit_code = None;
        assert!(
            matches!(
                Condition::of(&job, 1, 0, &never, &[]),
                Condition::Dead { .. }
            ),
            "what never ran may run again"
        );
    }

    #[test]
    fn verdicts_change_at_the_thresholds_only() {
        let check = crate::spec::workload::Check::Tcp {
            port: String::new(),
        };
        let times = Millis(0);
        let probe = Probe {
            check,
            initial_delay: times,
            interval: times,
            timeout: times,
            healthy_after: 2,
            unhealthy_after: 3,
        };
        let mut tally = Tally::of(&probe);
        let outcomes = [
            (true, false),
            (false, false),
            (true, false),
            (true, true),
            (true, false),
            (false, false),
            (false, false),
            (false, true),
        ];
        for (i, (good, changes)) in outcomes.into_iter().enumerate() {
            assert_eq!(
                if good {
                    tally.success()
                } else {
                    tally.failure()
                },
                changes,
                "outcome {i}"
            );
        }
    }

    #[test]
    fn what_a_provider_starts_again_by_itself_counts_once_per_round() {
        let policy = policy();
        let (run, now) = (Run::Service, Instant(1_000_000));
        let replica = |index: u32, phase: Phase, restarts: u32, waits: bool| Replica {
            index,
            id: String::new(),
            phase,
            health: Health::Unknown,
            endpoints: Vec::new(),
            message: if waits {
                "ended with status 3; starts again in 1s".to_owned()
            } else {
                String::new()
            },
            restarts,
            started_at: None,
            ended_at: waits.then_some(now),
            exit_code: None,
            usage: None,
        };
        let seen = |replicas: Vec<Replica>| Observation {
            allocation: "a".parse().expect("an id"),
            phase: Phase::Running,
            endpoints: Vec::new(),
            replicas,
            message: String::new(),
            conditions: Vec::new(),
            state: None,
            metered_cost: None,
        };
        let look_at = |kept: &Recovery, run: &Run, replicas: Vec<Replica>, ready: bool| {
            let (seen, wanted) = (seen(replicas), 2);
            let condition = if ready {
                Condition::Well
            } else {
                Condition::Coming
            };
            look(
                &policy,
                kept,
                Look {
                    run,
                    wanted,
                    seen: &seen,
                },
                &condition,
                |_| ready,
                now,
            )
        };
        use Phase::{Running, Starting};
        let both = |restarts: u32, phase: Phase, waits: bool| {
            vec![
                replica(0, phase, restarts, waits),
                replica(1, phase, restarts, waits),
            ]
        };
        let (fresh, _) = look_at(&Recovery::default(), &run, both(0, Running, false), true);
        assert!(fresh.is_empty(), "{fresh:?}");
        // It has ended, and waits: that is known before it is started again, and is not counted twice.
        let (first, action) = look_at(&fresh, &run, both(0, Starting, true), false);
        assert_eq!(
            (first.failures, first.here, first.row(1), action.clone()),
            (1, 1, 1, Action::Nothing),
            "two at once are one failure"
        );
        assert_eq!(
            look_at(&first, &run, both(0, Starting, true), false),
            (first.clone(), action),
            "nothing new"
        );
        let (again, _) = look_at(&first, &run, both(1, Running, false), false);
        assert_eq!((again.failures, again.row(0)), (1, 1), "the same failure");
        let (third, action) = look_at(&again, &run, both(3, Running, false), false);
        assert_eq!((third.failures, action), (3, Action::Replace));
        assert!(
            third.reason.contains("started again by its provider"),
            "{}",
            third.reason
        );
        // Being well for long enough forgives it, and what was counted is not counted again.
        let well = Recovery {
            well_since: Some(Instant(now.0 - policy.reset.0)),
            ..third.clone()
        };
        let (forgiven, _) = look_at(&well, &run, both(3, Running, false), true);
        assert_eq!(
            (
                forgiven.failures,
                forgiven.row(0),
                forgiven.restarts[&0].seen
            ),
            (0, 0, 3)
        );
        assert_eq!(
            look_at(&forgiven, &run, both(4, Running, false), false)
                .0
                .failures,
            1
        );
        // Another one in its stead begins with none.
        let (other, _) = look_at(&third, &run, both(0, Running, false), false);
        assert_eq!((other.failures, other.restarts[&0].seen), (3, 0));
        // What was there before anybody counted is taken as it is.
        assert_eq!(
            look_at(&Recovery::default(), &run, both(100, Running, false), true)
                .0
                .failures,
            0
        );
        // The retries of a job are its own: they are told, and move it nowhere.
        let job = Run::Job {
            retries: 9,
            deadline: None,
        };
        let (retried, action) = look_at(&fresh, &job, both(5, Running, false), false);
        let (more, _) = look_at(&retried, &job, both(7, Running, false), false);
        assert_eq!(
            (retried.here, more.failures - retried.failures, action),
            (0, 2, Action::Nothing)
        );
    }

    #[test]
    fn the_pauses_of_a_keeper_go_on_where_they_were() {
        let recovery = Recovery {
            failures: 5,
            here: 2,
            restarts: [(0, Restarts { seen: 9, row: 2 })].into(),
            ..Recovery::default()
        };
        let pace = Pace::of(
            &Policy {
                first: Millis(10),
                longest: Millis(1_000),
                ..policy()
            },
            &recovery,
        );
        let of = |replica, seen| pace.pause(replica, seen).0;
        assert_eq!((pace.inherited, of(0, 2), of(0, 3)), (3, 10 << 4, 10 << 5));
        assert_eq!(
            of(0, 1),
            10 << 5,
            "a restarted keeper goes on from what is on record"
        );
        assert_eq!(
            (of(1, 1), of(1, 40)),
            (10 << 3, 1_000),
            "another replica has its own row"
        );
        assert_eq!(
            (settling(0), settling(2), settling(90)),
            (Millis(1_000), Millis(4_000), Millis(32_000))
        );
    }

    #[test]
    fn liveness_counts_from_the_first_success_or_after_its_bound() {
        let just = Millis(START_BOUND.0 - 1);
        assert!(!liveness_counts(false, Millis(0)) && !liveness_counts(false, just));
        assert!(liveness_counts(false, START_BOUND) && liveness_counts(true, Millis(0)));
        let probe = |delay, interval, unhealthy_after| Probe {
            check: crate::spec::workload::Check::Tcp {
                port: String::new(),
            },
            initial_delay: Millis(delay),
            interval: Millis(interval),
            timeout: Millis(1),
            healthy_after: 1,
            unhealthy_after,
        };
        let mut probes = Probes {
            liveness: Some(probe(1_000, 100, 3)),
            ..Probes::default()
        };
        assert_eq!(start_bound(&probes), Millis(START_BOUND.0 + 1_000));
        probes.startup = Some(probe(500, 2_000, 10));
        assert_eq!(start_bound(&probes), Millis(20_500));
    }

    #[test]
    fn silence_is_lost_only_where_it_may_be() {
        let (service, job) = (
            policy(),
            Policy::default_for(&Run::Job {
                retries: 0,
                deadline: None,
            }),
        );
        assert_eq!(silence(&service, None), Silence::Fine);
        assert_eq!(
            silence(&service, Some(Millis::from_secs(20))),
            Silence::LostIn(Millis::from_secs(100))
        );
        assert_eq!(
            silence(&service, Some(Millis::from_secs(120))),
            Silence::Lost
        );
        assert_eq!(silence(&job, Some(Millis::from_secs(9_000))), Silence::Fine);
    }

    proptest! {
        #[test]
        fn never_more_than_the_bound_is_replaced_at_once(
            replicas in 1u32..200, percent in 0u32..=100, under_way in 0u32..50, asking in proptest::collection::vec(1u32..20, 0..30),
        ) {
            let bound = Portion::Percent(percent).of(replicas);
            let admitted = admitted(bound, under_way, &asking);
            let chosen: Vec<u32> = asking.iter().zip(&admitted).filter(|(_, yes)| **yes).map(|(n, _)| *n).collect();
            let total = under_way + chosen.iter().sum::<u32>();
            let alone = under_way == 0 && chosen.len() == 1;
            prop_assert!(chosen.is_empty() || total <= bound || alone);
            prop_assert!(under_way > 0 || asking.is_empty() || !chosen.is_empty(), "something always moves on");
        }

        #[test]
        fn a_look_that_finds_nothing_new_changes_nothing(failures in 0u32..50, at in 0u64..10_000_000, state in 0u8..4) {
            let policy = policy();
            let condition = match state {
                0 => Condition::Well,
                1 => Condition::Coming,
                2 => dead("x"),
                _ => Condition::Stuck { replicas: 1, reason: "x".to_owned() },
            };
            let kept = Recovery { failures, here: failures, ..Recovery::default() };
            let (first, action) = recover(&policy, &kept, &condition, Instant(at));
            let (second, again) = recover(&policy, &first, &condition, Instant(at));
            prop_assert_eq!(&first, &second);
            // Being replaced is asked for until it happens; a pause that has begun is waited for.
            prop_assert!(action == again || (action == Action::Replace && matches!(again, Action::Wait(_))));
        }
    }
}
