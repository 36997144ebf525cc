//! Preemptor in the controller: finds out whose places a waiting task may take, takes them by a stored intent, and keeps the freed room
//! for that task until it has it. Whom to take from is `core::preempt`'s to say.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant as Tick;
use tradewind_core::{
    budget::{HeldBack, HeldKind},
    capability::Clock,
    event::Cause,
    manifest::{Resolved, Target},
    names::{AllocationId, InstanceName, TaskName},
    placement::{Closed, Need, PlacedOffer, Spread, Table},
    plan::{self, Desired, Placement},
    plugin::Snapshot,
    preempt::{self, Ask, Place, Tenant},
    record::{AllocationRecord, DeploymentKey, Stage},
    store::Error,
    workload::Phase,
};

use crate::{
    Options, lock,
    schedule::admission::Budgets,
    schedule::offers::OfferCache,
    schedule::refusals::Refusals,
    schedule::room::{self, Added},
    schedule::scheduler::{DeploymentWork, Outcome},
    state::cache::Cache,
    state::commit::{Change, Committer},
    state::journal,
};

/// How long freed room is kept for the task that it was freed for; doubled each time that it did not help.
const KEPT_FOR: Duration = Duration::from_secs(30);
const KEPT_LONGEST: Duration = Duration::from_secs(3_600);

/// A task of a deployment.
type Claimer = (DeploymentKey, TaskName, Option<Target>);

/// Places that a task takes.
pub(crate) struct Preemption {
    task: TaskName,
    target: Option<Target>,
    priority: i32,
    /// Of each replica: millicores, bytes.
    need: (u64, u64),
    victims: Vec<(AllocationId, u32)>,
}

/// For whom places have been taken lately. Forgotten by a restart, which decides about everybody at once, by priority.
pub(crate) struct Nominations {
    quotes: Arc<OfferCache>,
    cache: Arc<Mutex<Cache>>,
    kept: Mutex<HashMap<Claimer, Nomination>>,
}

struct Nomination {
    until: Tick,
    tries: u32,
    room: Vec<Room>,
}

/// Room that is kept.
struct Room {
    provider: InstanceName,
    offer: String,
    replicas: u32,
    cpu: u64,
    memory: u64,
}

impl Nominations {
    pub(crate) fn new(quotes: Arc<OfferCache>, cache: Arc<Mutex<Cache>>) -> Self {
        Self {
            quotes,
            cache,
            kept: Mutex::default(),
        }
    }

    /// Whether nothing may be taken for it at the moment.
    fn is_served(&self, claimer: &Claimer, now: Tick) -> bool {
        lock(&self.kept).get(claimer).is_some_and(|s| s.until > now)
    }

    /// A provider holds less than before: who has been waiting for that is decided about again.
    pub(crate) fn on_capacity_freed(&self, provider: &InstanceName) {
        let kept = lock(&self.kept)
            .values()
            .any(|s| s.room.iter().any(|r| r.provider == *provider));
        if kept {
            self.quotes.invalidate(provider);
            lock(&self.cache).enqueue_waiting();
        }
    }
}

/// Takes the places of lower priorities for those that have none.
pub(crate) struct Preemptor {
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Arc<Options>,
    pub(crate) nominations: Arc<Nominations>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) budgets: Arc<Budgets>,
}

impl Preemptor {
    /// A table without the room that is kept for deployments that are not in the batch. Those that are come first by their priority.
    pub(crate) fn minus_nominated(&self, table: Table, works: &[DeploymentWork]) -> Table {
        let kept = lock(&self.nominations.kept);
        let now = Tick::now();
        let absent = |key: &DeploymentKey| !works.iter().any(|w| w.key == *key);
        let active = kept
            .iter()
            .filter(|((key, _, _), s)| s.until > now && absent(key));
        let held: Vec<&Room> = active.flat_map(|(_, s)| &s.room).collect();
        if held.is_empty() {
            return table;
        }
        table.map_offers(|placed| {
            let id = placed.offer.id.clone();
            for room in held
                .iter()
                .filter(|r| r.provider == placed.provider && *r.offer == *id)
            {
                placed.offer.take(room.replicas, room.cpu, room.memory);
            }
        })
    }

    /// Looks for places for those that have none, in the order of their priorities. What is found is carried out when the intent of the
    /// deployment is stored; a dry run shows it.
    pub(crate) fn plan_preemptions(
        &self,
        works: &[DeploymentWork],
        snapshot: &Snapshot,
        table: &Table,
        outcomes: &mut [Outcome],
    ) {
        let now = Tick::now();
        let mut asks: Vec<(usize, &Resolved, u32)> = Vec::new();
        for (w, (work, outcome)) in works
            .iter()
            .zip(outcomes.iter())
            .enumerate()
            .filter(|(_, (_, o))| o.failure.is_none())
        {
            for task in work.resolved.iter() {
                let missing = missing(task, &outcome.desired);
                let claimer = (work.key.clone(), task.name.clone(), task.target.clone());
                if missing == 0 {
                    lock(&self.nominations.kept).remove(&claimer);
                } else if !self.nominations.is_served(&claimer, now) {
                    asks.push((w, task, missing));
                }
            }
        }
        if asks.is_empty() {
            return;
        }
        let age = |w: usize| works.get(w).map(|work| work.record.created_at);
        asks.sort_by_key(|(w, task, _)| (std::cmp::Reverse(task.priority), age(*w), *w));
        let highest = asks
            .iter()
            .map(|(_, task, _)| task.priority)
            .max()
            .unwrap_or(i32::MIN);
        let mut tenants = self.tenants(highest);
        if tenants.is_empty() {
            return;
        }
        let table = taken_off(table, works, outcomes);
        for (w, task, replicas) in asks {
            let (Some(work), Some(outcome)) = (works.get(w), outcomes.get_mut(w)) else {
                continue;
            };
            let resources = &task.workload.resources;
            let ask = Ask {
                priority: task.priority,
                replicas,
                cpu: u64::from(resources.cpu.0),
                memory: resources.memory.0,
            };
            let allowed = |(key, _): &&(DeploymentKey, Tenant)| {
                self.options.preempt_across_namespaces || key.namespace == work.key.namespace
            };
            let eligible: Vec<Tenant> = tenants
                .iter()
                .filter(allowed)
                .map(|(_, t)| t.clone())
                .collect();
            let mut need = Need {
                closed: self
                    .refusals
                    .closed(&work.key, &work.resolved, task, snapshot),
                ..Need::of(task)
            };
            // Of the ports of a machine no preemption makes more.
            if let Some(number) = plan::machine_ports(&task.workload).first().copied() {
                let mine = outcome
                    .desired
                    .iter()
                    .filter(|d| d.task == task.name && d.target == task.target)
                    .flat_map(|d| &d.placements);
                let machine = |p: &&Placement| {
                    snapshot
                        .providers
                        .get(&p.provider)
                        .is_some_and(|known| known.features().one_machine)
                };
                let spots = mine
                    .filter(machine)
                    .map(|p| (p.provider.clone(), Some(p.offer.id.clone())));
                need.closed
                    .extend(spots.map(|spot| (spot, Closed::Port { number, own: true })));
            }
            // Room at what is closed to it is none.
            let open = table.without(&snapshot.closed_to(&work.key.namespace));
            let victims = preempt::victims(
                &ask,
                &places(task, &need, &outcome.desired, &open),
                &eligible,
            );
            if victims.is_empty() {
                continue;
            }
            for (_, tenant) in &mut tenants {
                let given = victims
                    .iter()
                    .find(|(id, _)| *id == tenant.id)
                    .map_or(0, |(_, n)| *n);
                tenant.replicas = tenant.replicas.saturating_sub(given);
            }
            let total: u32 = victims.iter().map(|(_, n)| n).sum();
            for u in outcome.unplaced.iter_mut().filter(|u| u.task == task.name) {
                u.reason = format!("{}; {total} replicas of lower priority make room", u.reason);
            }
            let (task, target, need) = (
                task.name.clone(),
                task.target.clone(),
                (ask.cpu, ask.memory),
            );
            outcome.preemptions.push(Preemption {
                task,
                target,
                priority: ask.priority,
                need,
                victims,
            });
        }
    }

    /// Everything of a lower priority that runs, with its deployment.
    fn tenants(&self, below: i32) -> Vec<(DeploymentKey, Tenant)> {
        let cache = lock(&self.cache);
        let mut tenants = Vec::new();
        for (key, entry) in &cache.deployments {
            for live in entry.allocations.values() {
                let record = &live.record;
                let task = entry
                    .resolved
                    .iter()
                    .find(|t| t.name == record.task && t.target == record.target);
                let ended = record.status.phase.is_final();
                let Some(task) = task.filter(|t| {
                    t.priority < below && !ended && record.serves(&t.name, t.target.as_ref())
                }) else {
                    continue;
                };
                let resources = &record.intent.workload.resources;
                tenants.push((
                    key.clone(),
                    Tenant {
                        id: record.id.clone(),
                        provider: record.intent.provider.clone(),
                        offer: record.intent.offer.id.clone(),
                        priority: task.priority,
                        since: record.intent.created_at,
                        replicas: record.intent.replicas,
                        cpu: u64::from(resources.cpu.0),
                        memory: resources.memory.0,
                    },
                ));
            }
        }
        tenants
    }

    /// Takes places: each victim's new intent is stored with the reason, then carried out like any other.
    pub(crate) async fn preempt(&self, key: &DeploymentKey, preemptions: Vec<Preemption>) {
        for preemption in preemptions {
            let mut room: BTreeMap<(InstanceName, String), u32> = BTreeMap::new();
            for (id, give) in &preemption.victims {
                match self.evict(key, &preemption, id, *give).await {
                    Ok(Some(record)) => {
                        *room
                            .entry((record.intent.provider, record.intent.offer.id))
                            .or_default() += *give
                    }
                    // It has changed meanwhile: the next look sees what it is now.
                    Ok(None) | Err(Error::Conflict { .. }) => {}
                    Err(error) => {
                        tracing::error!(allocation = %id, error = &error as &dyn std::error::Error, "a preemption could not be stored");
                    }
                }
            }
            let (cpu, memory) = preemption.need;
            let room = room.into_iter().map(|((provider, offer), replicas)| Room {
                provider,
                offer,
                replicas,
                cpu,
                memory,
            });
            let mut kept = lock(&self.nominations.kept);
            let claimer = (key.clone(), preemption.task, preemption.target);
            let tries = kept.get(&claimer).map_or(0, |s| s.tries.saturating_add(1));
            let kept_for = KEPT_FOR.saturating_mul(1 << tries.min(8)).min(KEPT_LONGEST);
            kept.insert(
                claimer,
                Nomination {
                    until: Tick::now() + kept_for,
                    tries,
                    room: room.collect(),
                },
            );
        }
        self.committer.wake.notify_one();
    }

    async fn evict(
        &self,
        by: &DeploymentKey,
        preemption: &Preemption,
        id: &AllocationId,
        give: u32,
    ) -> Result<Option<AllocationRecord>, Error> {
        let known = {
            let cache = lock(&self.cache);
            cache
                .live(id)
                .map(|l| (l.record.clone(), l.revision))
                .and_then(|(r, revision)| {
                    let entry = cache.deployments.get(&r.key())?;
                    let task = entry
                        .resolved
                        .iter()
                        .find(|t| t.name == r.task && t.target == r.target)?
                        .clone();
                    Some((r, revision, task, entry.held.clone(), entry.actual()))
                })
        };
        let Some((before, revision, task, mut held, actual)) = known else {
            return Ok(None);
        };
        if !before.intent.stays() || task.priority >= preemption.priority {
            return Ok(None);
        }
        let mut after = before.clone();
        if give >= before.intent.replicas {
            after.intent.stage = Stage::Removing;
        } else {
            after.intent.replicas = before.intent.replicas - give;
            after.intent.wanted = Some(before.intent.goal().saturating_sub(give));
            after.intent.apply_again();
            after.status.phase = Phase::Starting;
        }
        let has: u32 = plan::current(&task, &actual)
            .iter()
            .map(|p| p.replicas)
            .sum();
        // Whose it is in another namespace is no business of this one.
        let name = match by.namespace == before.namespace {
            true => format!(
                "{} of \"{by}\" (priority {})",
                preemption.task, preemption.priority
            ),
            false => format!(
                "a task of another namespace (priority {})",
                preemption.priority
            ),
        };
        held.retain(|h| h.task != task.name || h.target != task.target);
        held.push(HeldBack {
            task: task.name.clone(),
            target: task.target.clone(),
            kind: HeldKind::Preempted,
            wanted: task.replicas,
            replicas: has.saturating_sub(give.min(before.intent.replicas)),
            reason: format!(
                "its place at {} went to {name}, its own priority is {}",
                before.intent.offer.id, task.priority
            ),
            since: self.clock.now(),
            overspent: false,
            by: Some(name),
        });
        let key = before.key();
        let mut change = Change::new();
        if let Some(told) = journal::revision_event(&before, &after) {
            change.event(told.because(Cause::Rule("spec.priority".to_owned())));
        }
        change.put_allocation(after, revision)?;
        self.budgets.put_held(&mut change, &key, &held)?;
        change.enqueue(&key);
        let show = |cache: &mut Cache| {
            if let Some(entry) = cache.deployments.get_mut(&key) {
                entry.held = held;
            }
        };
        self.committer.commit_showing(change, show).await?;
        Ok(Some(before))
    }

    /// Those of a deployment's tasks that had to make room, and still have no place.
    pub(crate) fn still_preempted(
        &self,
        work: &DeploymentWork,
        outcome: &Outcome,
    ) -> Vec<HeldBack> {
        let before = lock(&self.cache)
            .deployments
            .get(&work.key)
            .map(|e| e.held.clone())
            .unwrap_or_default();
        let mut held = Vec::new();
        for mut one in before.into_iter().filter(|h| h.kind == HeldKind::Preempted) {
            let Some(task) = work
                .resolved
                .iter()
                .find(|t| t.name == one.task && t.target == one.target)
            else {
                continue;
            };
            let told = outcome
                .held
                .iter()
                .any(|h| h.task == one.task && h.target == one.target);
            let missing = missing(task, &outcome.desired);
            if missing > 0 && !told {
                (one.wanted, one.replicas) =
                    (task.replicas, task.replicas - missing.min(task.replicas));
                held.push(one);
            }
        }
        held
    }
}

/// Replicas of a task that have been given no place.
fn missing(task: &Resolved, desired: &[Desired]) -> u32 {
    let mine = desired
        .iter()
        .find(|d| d.task == task.name && d.target == task.target);
    let placed: u32 = mine
        .into_iter()
        .flat_map(|d| &d.placements)
        .map(|p| p.replicas)
        .sum();
    mine.map_or(0, |_| task.replicas.saturating_sub(placed))
}

/// The table after what this batch has placed.
fn taken_off(table: &Table, works: &[DeploymentWork], outcomes: &[Outcome]) -> Table {
    let all = works
        .iter()
        .zip(outcomes)
        .flat_map(|(work, outcome)| outcome.desired.iter().map(move |desired| (work, desired)));
    let added = all.flat_map(|(work, d)| {
        let (task, target, resources) = (&d.task, d.target.as_ref(), &d.workload.resources);
        d.placements.iter().map(move |placement| Added {
            work,
            task,
            target,
            resources,
            placement,
        })
    });
    room::less(table, added)
}

/// The offers that would serve a task, were they not full.
fn places(task: &Resolved, need: &Need, desired: &[Desired], table: &Table) -> Vec<Place> {
    let mine: Vec<&Placement> = desired
        .iter()
        .filter(|d| d.task == task.name && d.target == task.target)
        .flat_map(|d| &d.placements)
        .collect();
    let spread = task.constraints.spread;
    let port = |p: &PlacedOffer| {
        matches!(
            need.closed
                .get(&(p.provider.clone(), Some(p.offer.id.to_string()))),
            Some(Closed::Port { .. })
        )
    };
    let admitted: Vec<&PlacedOffer> = table
        .offers()
        .iter()
        .filter(|p| table.admits(need, p, true).is_ok() && !port(p))
        .collect();
    let domains: std::collections::BTreeSet<_> = admitted
        .iter()
        .map(|p| domain(spread, &p.provider, &p.offer.region, &p.offer.zone))
        .collect();
    let even = task
        .replicas
        .div_ceil(u32::try_from(domains.len()).unwrap_or(u32::MAX).max(1));
    let limit = if spread == Spread::None {
        u32::MAX
    } else {
        task.constraints.spread_max.unwrap_or(even)
    };
    let place = |p: &&PlacedOffer| {
        let own = domain(spread, &p.provider, &p.offer.region, &p.offer.zone);
        let there = mine
            .iter()
            .filter(|m| domain(spread, &m.provider, &m.offer.region, &m.offer.zone) == own);
        let most = if spread == Spread::None {
            u32::MAX
        } else {
            limit.saturating_sub(there.map(|m| m.replicas).sum())
        };
        Place {
            provider: p.provider.clone(),
            offer: p.offer.id.to_string(),
            capacity: p.offer.capacity,
            shared: p
                .offer
                .shared
                .then_some((p.offer.free_cpu, p.offer.free_memory)),
            most,
        }
    };
    admitted.iter().map(place).collect()
}

fn domain<'a>(
    spread: Spread,
    provider: &'a InstanceName,
    region: &'a str,
    zone: &'a str,
) -> (&'a str, &'a str, &'a str) {
    match spread {
        Spread::None => ("", "", ""),
        Spread::Provider => (provider.as_str(), "", ""),
        Spread::Region => (provider.as_str(), region, ""),
        Spread::Zone => (provider.as_str(), region, zone),
    }
}
