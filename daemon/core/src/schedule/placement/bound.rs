//! The optimality certificate: a proven lower bound of what a batch's choices could have cost, and how far they are from it.
//!
//! The bound is the optimum of a relaxation that every acceptable answer satisfies: each task places as many replicas as it was given, on its
//! own candidates, within the capacity of every offer and its spread. Limits on a task's hourly cost are left out, and a shared pool is
//! counted as replicas of its least demanding task. What is left is a transportation problem.

mod transport;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet},
};

use super::{Placed, Request, Spread, affinity::domain};
use crate::{
    base::units::MicroUsd,
    state::decision::{BoundSource, Certificate},
};

/// More arcs than these are not solved together: the bound stays valid, and may be lower.
const MOST_ARCS: usize = 2_000;

/// A way of a group's replicas to an offer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Arc {
    cost: u64,
    offer: u32,
    /// Replicas that run there already, and so take none of the offer's capacity.
    held: u64,
    /// What the offer could take of this group besides.
    room: Room,
}

/// Replicas that an offer could take: by its number of instances, by the processors and by the memory of its pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Room {
    instances: u64,
    cpu: u64,
    memory: u64,
}

impl Room {
    fn replicas(self) -> u64 {
        self.instances.min(self.cpu).min(self.memory)
    }

    /// Of the least demanding, resource by resource.
    fn or(self, other: Self) -> Self {
        Self {
            instances: self.instances.max(other.instances),
            cpu: self.cpu.max(other.cpu),
            memory: self.memory.max(other.memory),
        }
    }
}

/// Tasks that differ in nothing that matters here.
struct Group<'a> {
    demand: u64,
    arcs: Vec<Arc>,
    spread: Spread,
    spread_max: u64,
    request: &'a Request,
}

/// The certificate of a batch; none when nothing was placed. `claimed` is the bound that the policy states.
pub fn certify(
    request: &Request,
    placed: &[Placed],
    claimed: Option<MicroUsd>,
) -> Option<Certificate> {
    let cost = cost(request, placed)?;
    let groups = groups(request, placed);
    let (bound, source) = host_bound(request, &groups);
    // What a real answer costs refutes any bound above it, the policy's included.
    let bound = bound.min(cost);
    let (lower_bound, source) = match claimed {
        Some(claim) if claim >= bound && claim <= cost => (claim, BoundSource::Policy),
        _ => (bound, source),
    };
    let gap = MicroUsd(cost.0.saturating_sub(lower_bound.0));
    Some(Certificate {
        cost,
        lower_bound,
        gap,
        source,
        unpriced: unpriced(request, placed),
    })
}

fn unpriced(request: &Request, placed: &[Placed]) -> u64 {
    let choices = placed.iter().flat_map(|p| &p.choices);
    let free = choices.filter(|c| {
        request
            .offers
            .get(c.offer as usize)
            .is_some_and(|p| p.offer.has_no_price())
    });
    free.map(|c| u64::from(c.replicas)).sum()
}

fn cost(request: &Request, placed: &[Placed]) -> Option<MicroUsd> {
    let mut sum = None;
    for (task, placed) in request.tasks.iter().zip(placed) {
        let range = request.candidates.of(task.shape);
        let offers = request
            .candidates
            .offer
            .get(range.clone())
            .unwrap_or_default();
        for choice in &placed.choices {
            let row = range.start + offers.binary_search(&choice.offer).ok()?;
            let each = MicroUsd(*request.candidates.cost.get(row)?);
            sum = Some(
                sum.unwrap_or(MicroUsd(0))
                    .saturating_add(each.saturating_mul(u64::from(choice.replicas))),
            );
        }
    }
    sum
}

fn groups<'a>(request: &'a Request, placed: &[Placed]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut merged: HashMap<u32, usize> = HashMap::new();
    for (task, placed) in request.tasks.iter().zip(placed) {
        let demand: u64 = placed.choices.iter().map(|c| u64::from(c.replicas)).sum();
        if demand == 0 {
            continue;
        }
        let alike = task.current.is_empty() && task.spread_max == u32::MAX;
        if let Some(group) = merged
            .get(&task.shape)
            .filter(|_| alike)
            .and_then(|&i| groups.get_mut(i))
        {
            group.demand += demand;
            continue;
        }
        let range = request.candidates.of(task.shape);
        let offers = request
            .candidates
            .offer
            .get(range.clone())
            .unwrap_or_default();
        let costs = request.candidates.cost.get(range).unwrap_or_default();
        let arc = |(&offer, &cost): (&u32, &u64)| {
            let held = task
                .current
                .iter()
                .filter(|(o, _)| *o == offer)
                .map(|(_, n)| u64::from(*n))
                .sum();
            Arc {
                cost,
                offer,
                held,
                room: room(request, task.shape, offer),
            }
        };
        if alike {
            merged.insert(task.shape, groups.len());
        }
        let arcs = offers.iter().zip(costs).map(arc).collect();
        groups.push(Group {
            demand,
            arcs,
            spread: task.spread,
            spread_max: u64::from(task.spread_max),
            request,
        });
    }
    groups
}

/// What an offer could take of a shape if nobody else took anything.
fn room(request: &Request, shape: u32, offer: u32) -> Room {
    let (Some(placed), Some(shape)) = (
        request.offers.get(offer as usize),
        request.shapes.get(shape as usize),
    ) else {
        return Room::default();
    };
    let instances = if placed.offer.capacity == u32::MAX {
        u64::MAX
    } else {
        u64::from(placed.offer.capacity)
    };
    let share = |free: u64, need: u64| {
        if !placed.offer.shared || free == u64::MAX || need == 0 {
            u64::MAX
        } else {
            free / need
        }
    };
    let cpu = share(placed.offer.free_cpu, u64::from(shape.resources.cpu.0));
    Room {
        instances,
        cpu,
        memory: share(placed.offer.free_memory, shape.resources.memory.0),
    }
}

fn host_bound(request: &Request, groups: &[Group<'_>]) -> (MicroUsd, BoundSource) {
    let mut capacity: HashMap<u32, Room> = HashMap::new();
    for arc in groups.iter().flat_map(|g| &g.arcs) {
        let most = capacity.entry(arc.offer).or_default();
        *most = most.or(arc.room);
    }
    let mut load: BTreeMap<u32, u64> = BTreeMap::new();
    let separate = groups
        .iter()
        .map(|g| g.alone(&mut load))
        .fold(0u128, u128::saturating_add);
    let fits = |(offer, used): (&u32, &u64)| {
        capacity
            .get(offer)
            .is_none_or(|room| *used <= room.replicas())
    };
    let money = |sum: u128| MicroUsd(u64::try_from(sum).unwrap_or(u64::MAX));
    // Where the tasks' own optima do not get into each other's way they are the common one.
    if load.iter().all(fits) {
        return (money(separate), BoundSource::Transportation);
    }
    let all: u64 = groups.iter().map(|g| g.demand).sum();
    let short: Vec<Group<'_>> = groups.iter().map(|g| g.shortened(all, request)).collect();
    if short.iter().map(|g| g.arcs.len()).sum::<usize>() <= MOST_ARCS
        && let Some(together) = transport::optimum(&short, &capacity)
    {
        return (money(together), BoundSource::Transportation);
    }
    (money(separate), BoundSource::Separate)
}

impl Group<'_> {
    fn domain(&self, offer: u32) -> (&str, &str, &str) {
        self.request
            .offers
            .get(offer as usize)
            .map_or(("", "", ""), |placed| domain(self.spread, placed))
    }

    /// Its optimum as if it were alone: the cheapest first, which is exact since the limits are nested. Adds what it takes of each offer's
    /// capacity to `load`.
    fn alone(&self, load: &mut BTreeMap<u32, u64>) -> u128 {
        let mut heap: BinaryHeap<Reverse<&Arc>> = self.arcs.iter().map(Reverse).collect();
        let mut domains: HashMap<(&str, &str, &str), u64> = HashMap::new();
        let (mut left, mut sum) = (self.demand, 0u128);
        while let Some(Reverse(arc)) = heap.pop().filter(|_| left > 0) {
            let in_domain = if self.spread_max == u64::from(u32::MAX) {
                None
            } else {
                Some(domains.entry(self.domain(arc.offer)).or_default())
            };
            let free = in_domain
                .as_ref()
                .map_or(u64::MAX, |used| self.spread_max.saturating_sub(**used));
            let taken = left
                .min(free)
                .min(arc.held.saturating_add(arc.room.replicas()));
            if let Some(used) = in_domain {
                *used += taken;
            }
            left -= taken;
            sum += u128::from(arc.cost) * u128::from(taken);
            let beyond = taken.saturating_sub(arc.held);
            if beyond > 0 {
                *load.entry(arc.offer).or_default() += beyond;
            }
        }
        sum
    }

    /// The same without the arcs that no optimum needs: behind cheaper ones that have room for the replicas of all groups together, since
    /// one of these always has a place left.
    fn shortened<'a>(&self, all: u64, request: &'a Request) -> Group<'a> {
        let mut arcs = self.arcs.clone();
        if self.spread_max == u64::from(u32::MAX) {
            arcs.sort_unstable();
            let mut room = 0u64;
            let needed: HashSet<u32> = arcs
                .iter()
                .take_while(|arc| {
                    let open = room < all;
                    room = room.saturating_add(arc.room.replicas());
                    open
                })
                .map(|arc| arc.offer)
                .collect();
            arcs.retain(|arc| arc.held > 0 || needed.contains(&arc.offer));
        }
        Group {
            arcs,
            demand: self.demand,
            spread: self.spread,
            spread_max: self.spread_max,
            request,
        }
    }
}

#[cfg(test)]
mod tests;
