//! The run: from event to event, and what is decided at each.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    Error, Options, Outcome,
    offers::OfferSet,
    report,
    trace::Request,
    world::{Stop, World},
};
use tradewind_core::{
    names::AllocationId,
    placement::{self, Placed, Want},
    plugin::Policy,
    preempt::{self, Ask, Place, Tenant},
    units::{Instant, Millis},
};

/// Simulates the requests, which are in the order of their times, on the offers, of which the first set holds from the start.
///
/// # Errors
/// The policy fails, or answers what breaks a rule: the simulation stops with that.
pub async fn run(
    requests: &[Request],
    sets: &[OfferSet],
    policy: &dyn Policy,
    options: &Options,
) -> Result<Outcome, Error> {
    let mut run = Run {
        world: World::new(requests, sets, options),
        policy,
        options,
        decisions: 0,
        in_vain: HashSet::new(),
    };
    let end = options.until.map_or(u64::MAX, |u| u.0);
    while let Some(at) = run.world.next().filter(|at| *at <= end) {
        run.world.advance(at);
        run.world.happen();
        run.decide().await?;
    }
    if let Some(end) = options.until {
        run.world.advance(end.0);
    }
    run.world.finish();
    Ok(report::outcome(
        run.world,
        policy.identity().clone(),
        run.decisions,
    ))
}

struct Run<'a> {
    world: World<'a>,
    policy: &'a dyn Policy,
    options: &'a Options,
    decisions: u64,
    /// Who took places of others and was not put there. Nobody gives way to it again.
    in_vain: HashSet<usize>,
}

impl Run<'_> {
    /// Decides until nobody who waits could gain any more. Everyone claims the place of others once, so it ends.
    async fn decide(&mut self) -> Result<(), Error> {
        let mut claimed = HashSet::new();
        loop {
            let mut after = None;
            loop {
                let batch = self.world.batch(after);
                if batch.is_empty() {
                    break;
                }
                self.place(&batch).await?;
                if batch.len() < self.options.batch {
                    break;
                }
                after = self.world.last_key(&batch);
            }
            self.world.looked();
            let claimers = self.preempt(&mut claimed);
            if claimers.is_empty() {
                return Ok(());
            }
            let missing: Vec<u32> = claimers.iter().map(|t| self.world.missing(*t)).collect();
            // The room is kept for those for whom it was made.
            self.place(&claimers).await?;
            let idle = claimers
                .iter()
                .zip(missing)
                .filter(|(t, before)| self.world.missing(**t) >= *before);
            self.in_vain.extend(idle.map(|(t, _)| *t));
        }
    }

    /// One policy call for these tasks, and what it means for them.
    async fn place(&mut self, tasks: &[usize]) -> Result<(), Error> {
        let (tasks, wants): (Vec<usize>, Vec<Want>) = tasks
            .iter()
            .filter_map(|t| Some((*t, self.world.want(*t)?)))
            .unzip();
        let request = placement::build(
            &wants,
            &self.world.free,
            self.options.seed.wrapping_add(self.decisions),
        );
        self.decisions += 1;
        let (at, identity) = (Millis(self.world.now), || {
            Box::new(self.policy.identity().clone())
        });
        let answer = self.policy.place(&request).await;
        let answer = answer.map_err(|e| Error::Policy {
            at,
            policy: identity(),
            source: Box::new(e),
        })?;
        let placed = placement::validate(&request, &answer);
        let placed = placed.map_err(|e| Error::Refused {
            at,
            policy: identity(),
            source: Box::new(e),
        })?;
        drop(request);
        self.carry_out(&tasks, &placed);
        Ok(())
    }

    /// First what goes, then what comes.
    fn carry_out(&mut self, tasks: &[usize], placed: &[Placed]) {
        let held: Vec<BTreeMap<usize, u32>> = tasks.iter().map(|t| self.world.held(*t)).collect();
        let chosen = |p: &Placed| -> BTreeMap<usize, u32> {
            p.choices
                .iter()
                .map(|c| (c.offer as usize, c.replicas))
                .collect()
        };
        for ((task, placed), held) in tasks.iter().zip(placed).zip(&held) {
            let chosen = chosen(placed);
            for (offer, has) in held {
                let stays = chosen.get(offer).copied().unwrap_or(0);
                self.take_away(*task, *offer, has.saturating_sub(stays));
            }
        }
        for ((task, placed), held) in tasks.iter().zip(placed).zip(&held) {
            for (offer, replicas) in chosen(placed) {
                let more = replicas.saturating_sub(held.get(&offer).copied().unwrap_or(0));
                if more > 0 {
                    self.world.start(*task, offer, more);
                }
            }
        }
    }

    /// The youngest go first.
    fn take_away(&mut self, task: usize, offer: usize, mut replicas: u32) {
        while replicas > 0 {
            let lots = self.world.running.iter().rev();
            let Some((id, n)) = lots
                .filter(|(_, r)| r.task == task && r.offer == offer)
                .map(|(id, r)| (*id, r.replicas))
                .next()
            else {
                return;
            };
            self.world.stop(id, replicas, Stop::Moved);
            replicas = replicas.saturating_sub(n);
        }
    }

    /// Takes places of lower priorities for those that have none, in the order of the queue. Answers for whom.
    fn preempt(&mut self, claimed: &mut HashSet<usize>) -> Vec<usize> {
        let waiting: Vec<usize> = self
            .world
            .claimers()
            .into_iter()
            .filter(|t| !claimed.contains(t) && !self.in_vain.contains(t))
            .collect();
        if waiting.is_empty() {
            return Vec::new();
        }
        let requests = self.world.requests;
        let mut tenants = self.tenants();
        let mut claimers = Vec::new();
        // What was in vain for one is in vain for those that are like it.
        let mut in_vain = BTreeSet::new();
        let mut given: Vec<(u64, u32)> = Vec::new();
        for task in waiting {
            let Some(request) = requests.get(task) else {
                continue;
            };
            let (class, need) = self.world.class(task);
            let Some(need) =
                need.filter(|_| !in_vain.contains(&(class, request.priority, &request.namespace)))
            else {
                continue;
            };
            let admitted = self
                .world
                .free
                .offers()
                .iter()
                .filter(|p| self.world.free.admits(need, p, true).is_ok());
            let places: Vec<Place> = admitted
                .map(|p| Place {
                    provider: p.provider.clone(),
                    offer: p.offer.id.to_string(),
                    capacity: p.offer.capacity,
                    shared: p
                        .offer
                        .shared
                        .then_some((p.offer.free_cpu, p.offer.free_memory)),
                    most: u32::MAX,
                })
                .collect();
            let ask = Ask {
                priority: request.priority,
                replicas: self.world.missing(task),
                cpu: u64::from(request.resources.cpu.0),
                memory: request.resources.memory.0,
            };
            let across = self.options.preempt_across_namespaces;
            let eligible: Vec<Tenant> = tenants
                .iter()
                .filter(|(_, owner, _)| {
                    across
                        || requests
                            .get(*owner)
                            .is_some_and(|o| o.namespace == request.namespace)
                })
                .map(|(_, _, tenant)| tenant.clone())
                .collect();
            let victims = preempt::victims(&ask, &places, &eligible);
            if victims.is_empty() {
                in_vain.insert((class, request.priority, &request.namespace));
                continue;
            }
            for (lot, _, tenant) in &mut tenants {
                if let Some((_, n)) = victims.iter().find(|(id, _)| *id == tenant.id) {
                    tenant.replicas = tenant.replicas.saturating_sub(*n);
                    given.push((*lot, *n));
                }
            }
            claimers.push(task);
        }
        for (lot, replicas) in given {
            self.world.stop(lot, replicas, Stop::Preempted);
        }
        claimed.extend(&claimers);
        claimers
    }

    /// Everything that runs: its lot, its task, and what it holds.
    fn tenants(&self) -> Vec<(u64, usize, Tenant)> {
        let tenant = |(id, running): (&u64, &super::world::Running)| {
            let request = self.world.requests.get(running.task)?;
            let placed = self.world.free.offers().get(running.offer)?;
            let tenant = Tenant {
                id: AllocationId::try_from(format!("lot-{id}")).ok()?,
                provider: placed.provider.clone(),
                offer: placed.offer.id.to_string(),
                priority: request.priority,
                since: Instant(running.since),
                replicas: running.replicas,
                cpu: u64::from(request.resources.cpu.0),
                memory: request.resources.memory.0,
            };
            Some((*id, running.task, tenant))
        };
        self.world.running.iter().filter_map(tenant).collect()
    }
}
