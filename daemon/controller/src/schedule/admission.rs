//! Budgets and quotas in the controller: gathers the claims of a namespace, has `core::budget` decide about them, and holds the policy's
//! choices to what was granted. What it decides is stored with the intent that follows from it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use tradewind_core::{
    budget::{self, Claim, Grant, Limits, Offered, Usage, Verdict},
    budget::{HeldBack, HeldKind},
    capability::Clock,
    event::{Event, Reason, Severity},
    ledger::Month,
    manifest::{Resolved, Target},
    names::{DeploymentName, Namespace, TaskName},
    order::Waiting,
    placement::{Need, Table},
    plan::{self, Placement},
    plugin::Plugins,
    record::{AllocationRecord, DeploymentKey, HeldRecord},
    store::Error,
    units::{Instant, MicroUsd, Millis},
    workload::{Phase, Run},
};

use crate::{
    lock,
    schedule::scheduler::DeploymentWork,
    state::book::{job_lasts, usage},
    state::cache::Cache,
    state::commit::Change,
    state::journal::{CONTROLLER, event},
    state::reads::Reads,
};

/// What the namespaces of a batch allow.
#[derive(Default)]
pub(crate) struct Admission {
    namespaces: BTreeMap<Namespace, Session>,
}

/// One namespace while a batch is decided.
struct Session {
    limits: Limits,
    claims: Vec<Claim>,
    grants: Vec<Grant>,
    /// Where each task's claim is.
    index: HashMap<(DeploymentName, TaskName, Option<Target>), usize>,
    now: Instant,
}

/// What namespaces may have, held against what there is.
pub(crate) struct Budgets {
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) namespaces: Arc<Mutex<crate::state::book::NamespaceBook>>,
    pub(crate) plugins: Arc<dyn Plugins>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Reads,
}

impl Budgets {
    /// Whether any of these works is in a namespace with limits.
    pub(crate) fn is_limited(&self, works: &[DeploymentWork]) -> bool {
        let limited: BTreeSet<Namespace> = lock(&self.namespaces).limited().into_iter().collect();
        works.iter().any(|w| limited.contains(&w.key.namespace))
    }

    /// Decides how much each task may have in the namespaces of a batch. Without a table nothing can grow: only what must shrink is seen.
    pub(crate) fn admit(&self, works: &[DeploymentWork], table: Option<&Table>) -> Admission {
        let names: BTreeSet<&Namespace> = works.iter().map(|w| &w.key.namespace).collect();
        self.admit_in(names.into_iter(), works, table)
    }

    fn admit_in<'a>(
        &self,
        names: impl Iterator<Item = &'a Namespace>,
        works: &[DeploymentWork],
        table: Option<&Table>,
    ) -> Admission {
        let (now, plugins) = (self.clock.now(), self.plugins.snapshot());
        let cache = lock(&self.cache);
        let batch: BTreeSet<&DeploymentKey> = works.iter().map(|w| &w.key).collect();
        let mut cheapest = HashMap::new();
        let mut namespaces = BTreeMap::new();
        for name in names {
            let entries = || cache.of_namespace(name);
            let records = entries()
                .flat_map(|(_, e)| e.allocations.values())
                .map(|l| &l.record);
            let Some(limits) = lock(&self.namespaces).limits(name, now, records) else {
                continue;
            };
            let closed = plugins.closed_to(name);
            let table = table.map(|table| table.without(&closed));
            let mut price = |task: &Resolved| {
                let table = table.as_ref()?;
                let known = cheapest.entry((closed.clone(), Need::of(task)));
                *known.or_insert_with_key(|(_, need)| {
                    Price::least(table, need, |takes| task_lasts(task, takes, now))
                })
            };
            let mut claims = Vec::new();
            for work in works.iter().filter(|w| w.key.namespace == *name) {
                let held = cache
                    .deployments
                    .get(&work.key)
                    .map(|e| e.held.as_slice())
                    .unwrap_or_default();
                let one = Claimant {
                    key: &work.key,
                    resolved: &work.resolved,
                    since: work.record.created_at,
                    held,
                    gone: false,
                    waiting: &[],
                };
                one.claims(&work.actual, now, &mut price, &mut claims);
            }
            for (key, entry) in entries().filter(|(key, _)| !batch.contains(key)) {
                let actual = entry.actual();
                let gone = entry.record.deleting;
                let one = Claimant {
                    key,
                    resolved: &entry.resolved,
                    since: entry.record.created_at,
                    held: &entry.held,
                    gone,
                    waiting: &entry.record.waiting,
                };
                one.claims(&actual, now, &mut price, &mut claims);
            }
            let grants = budget::admit(&limits, &claims, now);
            // What is leaving has no task any more.
            let known = claims
                .iter()
                .enumerate()
                .filter(|(_, c)| c.least > 0 || c.wanted > 0);
            let index = known
                .map(|(i, c)| ((c.deployment.clone(), c.task.clone(), c.target.clone()), i))
                .collect();
            namespaces.insert(
                name.clone(),
                Session {
                    limits,
                    claims,
                    grants,
                    index,
                    now,
                },
            );
        }
        Admission { namespaces }
    }

    /// Deployments that have more than their namespace allows them by now, because costs or limits have changed.
    pub(crate) fn over_budget(&self) -> BTreeSet<DeploymentKey> {
        let names = lock(&self.namespaces).limited();
        self.admit_in(names.iter(), &[], None).outgrown()
    }

    /// Stores what holds a deployment's tasks back, and tells of what is new.
    pub(crate) fn put_held(
        &self,
        change: &mut Change,
        key: &DeploymentKey,
        held: &[HeldBack],
    ) -> Result<(), Error> {
        let known = lock(&self.cache)
            .deployments
            .get(key)
            .map(|e| (e.held.clone(), e.record.deleting));
        let (before, deleting) = known.unwrap_or_default();
        let same = |a: &HeldBack, b: &HeldBack| {
            (&a.task, &a.target, a.kind, a.wanted, a.replicas, a.since)
                == (&b.task, &b.target, b.kind, b.wanted, b.replicas, b.since)
        };
        if before.len() == held.len() && before.iter().zip(held).all(|(a, b)| same(a, b)) {
            return Ok(());
        }
        match held.is_empty() {
            true => change.delete(key.held_path()),
            false => change.put(
                key.held_path(),
                &HeldRecord {
                    tasks: held.to_vec(),
                },
            )?,
        }
        let of = |list: &[HeldBack], one: &HeldBack| {
            list.iter()
                .find(|h| h.task == one.task && h.target == one.target)
                .cloned()
        };
        for now in held {
            let was = of(&before, now);
            if was
                .as_ref()
                .is_none_or(|w| w.kind != now.kind || w.replicas != now.replicas)
            {
                change.event(held_event(key, now));
            }
        }
        for was in before.iter().filter(|w| !deleting && of(held, w).is_none()) {
            let message = format!("{}: nothing holds it back any more", was.task);
            let told = Event {
                task: Some(was.task.clone()),
                ..event(Severity::Info, Reason::Released, CONTROLLER, key, message)
            };
            change.event(told);
        }
        Ok(())
    }
}

fn held_event(key: &DeploymentKey, held: &HeldBack) -> Event {
    let (severity, reason) = match held.kind {
        HeldKind::Queued => (Severity::Warning, Reason::BudgetQueued),
        HeldKind::SteppedDown => (Severity::Warning, Reason::SteppedDown),
        HeldKind::Evicted => (Severity::Warning, Reason::Evicted),
        HeldKind::Preempted => (Severity::Warning, Reason::Preempted),
    };
    let message = format!(
        "{}: {} of {} replicas: {}",
        held.task, held.replicas, held.wanted, held.reason
    );
    Event {
        task: Some(held.task.clone()),
        ..event(severity, reason, CONTROLLER, key, message)
    }
}

/// A deployment whose tasks claim something.
struct Claimant<'a> {
    key: &'a DeploymentKey,
    resolved: &'a [Resolved],
    since: Instant,
    held: &'a [HeldBack],
    /// It wants nothing any more.
    gone: bool,
    /// Tasks that wait for others want no more than they have.
    waiting: &'a [Waiting],
}

impl Claimant<'_> {
    fn claims(
        &self,
        actual: &[AllocationRecord],
        now: Instant,
        price: &mut impl FnMut(&Resolved) -> Option<Price>,
        claims: &mut Vec<Claim>,
    ) {
        for task in self.resolved.iter().filter(|_| !self.gone) {
            let of_task = |r: &&AllocationRecord| r.task == task.name && r.target == task.target;
            let serving =
                |r: &&AllocationRecord| plan::stands_for(r, task) && r.status.phase != Phase::Gone;
            let record_lasts = |r: &AllocationRecord| match r.intent.workload.run {
                Run::Job { .. } => job_lasts(
                    r.intent.takes.unwrap_or(task.duration),
                    now.since(r.intent.created_at),
                    now,
                ),
                Run::Service => Month::left(now),
            };
            let used = |r: &AllocationRecord| usage(r, record_lasts(r));
            let replicas: u32 = actual
                .iter()
                .filter(serving)
                .map(|r| r.intent.replicas)
                .sum();
            let held = actual
                .iter()
                .filter(serving)
                .map(used)
                .fold(Usage::default(), Usage::plus);
            let leaving = actual
                .iter()
                .filter(|r| of_task(r) && !serving(r))
                .map(used)
                .fold(Usage::default(), Usage::plus);
            let waits = self.waiting.iter().any(|w| w.task == task.name);
            let wanted = if waits {
                task.replicas.min(replicas)
            } else {
                task.replicas
            };
            let each = if wanted > replicas {
                price(task).map(|price| each(task, price))
            } else {
                Some(Usage::default())
            };
            claims.push(Claim {
                deployment: self.key.name.clone(),
                task: task.name.clone(),
                target: task.target.clone(),
                priority: task.priority,
                since: self.since,
                wanted,
                least: least(task).min(wanted),
                replicas,
                held,
                leaving,
                each,
                before: self
                    .held
                    .iter()
                    .find(|h| h.task == task.name && h.target == task.target)
                    .cloned(),
            });
        }
        // What belongs to no task any more is used until it is gone.
        let known = |r: &AllocationRecord| {
            !self.gone
                && self
                    .resolved
                    .iter()
                    .any(|t| t.name == r.task && t.target == r.target)
        };
        let leaving = actual
            .iter()
            .filter(|r| !known(r))
            .map(|r| usage(r, Month::left(now)));
        let mut unknown: BTreeMap<&TaskName, Usage> = BTreeMap::new();
        for (record, used) in actual.iter().filter(|r| !known(r)).zip(leaving) {
            let sum = unknown.entry(&record.task).or_default();
            *sum = sum.plus(used);
        }
        for (task, leaving) in unknown {
            claims.push(Claim {
                deployment: self.key.name.clone(),
                task: task.clone(),
                target: None,
                priority: i32::MIN,
                since: self.since,
                wanted: 0,
                least: 0,
                replicas: 0,
                held: Usage::default(),
                leaving,
                each: Some(Usage::default()),
                before: None,
            });
        }
    }
}

/// A job wants all of its replicas; a service is of use with one replica.
fn least(task: &Resolved) -> u32 {
    match task.workload.run {
        Run::Job { .. } => task.replicas,
        Run::Service => task.replicas.min(1),
    }
}

/// The least that one more replica would cost: per hour, and within the month. The two may be those of different offers.
#[derive(Clone, Copy)]
struct Price {
    hourly: MicroUsd,
    monthly: MicroUsd,
}

impl Price {
    /// `lasts` says how much of the month is left to what is paid for so long. None: nobody offers one now.
    fn least(table: &Table, need: &Need, lasts: impl Fn(Millis) -> Millis) -> Option<Self> {
        let all = table.prices(need).map(|(hourly, takes)| Self {
            hourly,
            monthly: budget::forecast(hourly, lasts(takes)),
        });
        all.reduce(|a, b| Self {
            hourly: a.hourly.min(b.hourly),
            monthly: a.monthly.min(b.monthly),
        })
    }
}

fn each(task: &Resolved, price: Price) -> Usage {
    let resources = &task.workload.resources;
    Usage {
        hourly: price.hourly.0,
        monthly: price.monthly.0,
        cpu: u64::from(resources.cpu.0),
        memory: resources.memory.0,
        accelerators: resources
            .accelerators
            .iter()
            .map(|a| u64::from(a.count))
            .sum(),
        replicas: 1,
        allocations: 0,
    }
}

/// How much of the month a task takes that begins now where it is paid for so long.
fn task_lasts(task: &Resolved, takes: Millis, now: Instant) -> Millis {
    match task.workload.run {
        Run::Job { .. } => job_lasts(takes, Millis(0), now),
        Run::Service => Month::left(now),
    }
}

impl Admission {
    /// The works with no more replicas than granted; what is held back, for each of them.
    pub(crate) fn apply(
        &self,
        works: &[DeploymentWork],
    ) -> (Vec<DeploymentWork>, Vec<Vec<HeldBack>>) {
        let one = |work: &DeploymentWork| {
            let Some(session) = self.namespaces.get(&work.key.namespace) else {
                return (work.clone(), Vec::new());
            };
            let mut held = Vec::new();
            let mut resolved = (*work.resolved).clone();
            for task in &mut resolved {
                let Some((_, grant)) = session.find(&work.key, task) else {
                    continue;
                };
                task.replicas = task.replicas.min(grant.replicas);
                held.extend(grant.held_back.clone());
            }
            (
                DeploymentWork {
                    resolved: Arc::new(resolved),
                    ..work.clone()
                },
                held,
            )
        };
        works.iter().map(one).unzip()
    }

    /// Deployments that have more than they are granted.
    pub(crate) fn outgrown(&self) -> BTreeSet<DeploymentKey> {
        let mut keys = BTreeSet::new();
        for (namespace, session) in &self.namespaces {
            let less = session
                .claims
                .iter()
                .zip(&session.grants)
                .filter(|(c, g)| g.replicas < c.replicas.min(c.wanted));
            keys.extend(less.map(|(c, _)| DeploymentKey {
                namespace: namespace.clone(),
                name: c.deployment.clone(),
            }));
        }
        keys
    }

    /// Holds the policy's choices to the budgets. One verdict for each.
    pub(crate) fn judge(&mut self, choices: &[Chosen<'_>], last_word: bool) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::Fits; choices.len()];
        for (namespace, session) in &mut self.namespaces {
            let mine = choices
                .iter()
                .enumerate()
                .filter(|(_, c)| c.key.namespace == *namespace);
            let (rows, offered): (Vec<usize>, Vec<Offered>) = mine
                .filter_map(|(row, c)| session.offered(c, last_word).map(|o| (row, o)))
                .unzip();
            let judged =
                budget::afford(&session.limits, &session.claims, &session.grants, &offered);
            for ((row, offered), verdict) in rows.into_iter().zip(offered).zip(judged) {
                if let Some(slot) = verdicts.get_mut(row) {
                    slot.clone_from(&verdict);
                }
                if last_word || verdict == Verdict::Fits {
                    session.settle(&offered, &verdict);
                }
            }
        }
        verdicts
    }

    /// That a choice has been refused.
    pub(crate) fn refused(
        &self,
        key: &DeploymentKey,
        task: &Resolved,
        replicas: u32,
        reason: &str,
    ) -> Option<HeldBack> {
        let session = self.namespaces.get(&key.namespace)?;
        let (claim, _) = session.find(key, task)?;
        let before = claim.before.as_ref().filter(|b| b.kind == HeldKind::Queued);
        Some(HeldBack {
            task: task.name.clone(),
            target: task.target.clone(),
            kind: HeldKind::Queued,
            wanted: claim.wanted,
            replicas,
            reason: reason.to_owned(),
            since: before.map_or(session.now, |b| b.since),
            overspent: false,
            by: None,
        })
    }
}

/// What the policy has chosen for a task.
pub(crate) struct Chosen<'a> {
    pub(crate) key: &'a DeploymentKey,
    pub(crate) task: &'a Resolved,
    pub(crate) placements: Vec<&'a Placement>,
}

impl Session {
    fn find(&self, key: &DeploymentKey, task: &Resolved) -> Option<(&Claim, &Grant)> {
        let i = self.position(key, task)?;
        Some((self.claims.get(i)?, self.grants.get(i)?))
    }

    fn position(&self, key: &DeploymentKey, task: &Resolved) -> Option<usize> {
        self.index
            .get(&(key.name.clone(), task.name.clone(), task.target.clone()))
            .copied()
    }

    fn offered(&self, chosen: &Chosen<'_>, last_word: bool) -> Option<Offered> {
        let claim = self.position(chosen.key, chosen.task)?;
        let all = || {
            chosen
                .placements
                .iter()
                .map(|p| (p, p.hourly.saturating_mul(u64::from(p.replicas))))
        };
        let lasts = |p: &Placement| {
            task_lasts(
                chosen.task,
                p.takes.unwrap_or(chosen.task.duration),
                self.now,
            )
        };
        Some(Offered {
            claim,
            replicas: chosen.placements.iter().map(|p| p.replicas).sum(),
            hourly: all()
                .map(|(_, hourly)| hourly)
                .fold(MicroUsd(0), MicroUsd::saturating_add),
            lasts: mean(all().map(|(p, hourly)| (hourly, lasts(p)))),
            allocations: u32::try_from(chosen.placements.len()).unwrap_or(u32::MAX),
            last_word,
        })
    }

    /// What has been chosen counts for the rest of the batch.
    fn settle(&mut self, offered: &Offered, verdict: &Verdict) {
        let (Some(claim), Some(grant)) = (
            self.claims.get_mut(offered.claim),
            self.grants.get_mut(offered.claim),
        ) else {
            return;
        };
        if *verdict == Verdict::Fits {
            let counted = claim.usage(offered.replicas);
            claim.held = Usage {
                hourly: offered.hourly.0,
                monthly: budget::forecast(offered.hourly, offered.lasts).0,
                allocations: u64::from(offered.allocations),
                ..counted
            };
            claim.replicas = offered.replicas;
        }
        grant.replicas = claim.replicas;
    }
}

/// How long places last, each weighed with what it costs per hour: the sum of all costs is the hourly one for so long.
fn mean(places: impl Iterator<Item = (MicroUsd, Millis)>) -> Millis {
    let (mut cost, mut weight, mut longest) = (0u128, 0u128, Millis(0));
    for (hourly, lasts) in places {
        cost = cost.saturating_add(u128::from(hourly.0) * u128::from(lasts.0));
        weight += u128::from(hourly.0);
        longest = longest.max(lasts);
    }
    match cost.checked_div(weight) {
        Some(mean) => Millis(u64::try_from(mean).unwrap_or(u64::MAX)),
        None => longest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_last_differently_are_forecast_as_one() {
        let hour = |n: u64| Millis(n * 3_600_000);
        let places = [(MicroUsd(300), hour(2)), (MicroUsd(100), hour(6))];
        let lasts = mean(places.into_iter());
        assert_eq!(
            (lasts, budget::forecast(MicroUsd(400), lasts)),
            (hour(3), MicroUsd(300 * 2 + 100 * 6))
        );
        assert_eq!(
            mean([(MicroUsd(0), hour(1)), (MicroUsd(0), hour(5))].into_iter()),
            hour(5),
            "what costs nothing lasts, too"
        );
    }
}
