//! The order that the daemon itself knows: by cost, the least first. It stands in for a policy that failed, so it is the same everywhere and
//! needs no plugin. What runs stays where it is: a broken policy is no reason to move anything.

use std::collections::HashMap;

use async_trait::async_trait;

use super::{
    Answer, PlacedOffer, Request, Task,
    affinity::{Ties, domain},
};
use crate::{
    base::{
        failure::Failure,
        names::{Digest, InstanceName},
        units::MicroUsd,
        version::Identity,
    },
    ports::plugin::Policy,
};

const NAME: &str = "built-in";
/// Grows when the order changes: a record made by another version can't be replayed by this one.
const VERSION: &str = "1";

/// The built-in order as a policy.
#[derive(Debug)]
pub struct BuiltIn(Identity);

impl BuiltIn {
    /// The order, with its identity.
    ///
    /// # Errors
    /// Its name is no name of an instance, which does not happen.
    pub fn new() -> Result<Self, Failure> {
        let instance = InstanceName::try_from(NAME.to_owned())
            .map_err(|e| Failure::internal(e.to_string()))?;
        let component = Digest::of_parts(&[NAME.as_bytes(), VERSION.as_bytes()]);
        let settings = Digest::of(b"");
        Ok(Self(Identity {
            instance,
            plugin: NAME.to_owned(),
            version: VERSION.to_owned(),
            component,
            settings,
        }))
    }

    /// Whether a record was made by this order.
    pub fn made(&self, identity: &Identity) -> bool {
        self.0 == *identity
    }
}

#[async_trait]
impl Policy for BuiltIn {
    fn identity(&self) -> &Identity {
        &self.0
    }

    async fn place(&self, request: &Request) -> Result<Answer, Failure> {
        Ok(by_cost(request))
    }
}

/// What is left of an offer while the answer is made.
#[derive(Default)]
struct Used {
    replicas: u64,
    cpu: u64,
    memory: u64,
}

/// Places every task, the highest priority first, where it runs already and then where it costs least. The scores are the costs in USD.
pub fn by_cost(request: &Request) -> Answer {
    let cost = weighed(request);
    let mut order: Vec<(usize, &Task)> = request.tasks.iter().enumerate().collect();
    order.sort_by_key(|(i, task)| (std::cmp::Reverse(task.priority), *i));
    let mut used: HashMap<u32, Used> = HashMap::new();
    let mut ties = Ties::of(request);
    let mut answer = Answer {
        scores: cost.iter().map(|c| MicroUsd(*c).usd()).collect(),
        ..Answer::default()
    };
    for (i, task) in order {
        let row_task = u32::try_from(i).unwrap_or(u32::MAX);
        let left = place(
            request,
            (row_task, task),
            cost,
            (&mut used, &mut ties),
            |offer, replicas| {
                answer.task.push(row_task);
                answer.offer.push(offer);
                answer.replicas.push(replicas);
            },
        );
        if left > 0 {
            answer
                .unplaced
                .push((row_task, left, "no candidate has room for it".to_owned()));
        }
    }
    answer
}

/// What a policy sees as the cost.
fn weighed(request: &Request) -> &[u64] {
    let columns = &request.candidates;
    if columns.expected.is_empty() {
        &columns.cost
    } else {
        &columns.expected
    }
}

/// Answers the replicas without a place.
fn place<'a>(
    request: &'a Request,
    (index, task): (u32, &'a Task),
    cost: &[u64],
    (used, ties): (&mut HashMap<u32, Used>, &mut Ties<'a>),
    mut give: impl FnMut(u32, u32),
) -> u32 {
    let columns = &request.candidates;
    let held = |offer: u32| {
        task.current
            .iter()
            .filter(|(o, _)| *o == offer)
            .map(|(_, n)| *n)
            .sum::<u32>()
    };
    let mut rows: Vec<(bool, u64, u32, usize)> = columns
        .of(task.shape)
        .filter_map(|row| {
            let offer = *columns.offer.get(row)?;
            Some((held(offer) == 0, cost.get(row).copied()?, offer, row))
        })
        .collect();
    rows.sort_unstable();
    let mut left = task.replicas;
    let mut hourly = task.max_hourly.0;
    let mut domains: HashMap<(&str, &str, &str), u32> = HashMap::new();
    for (_, _, offer, row) in rows {
        let Some(placed) = request.offers.get(offer as usize).filter(|_| left > 0) else {
            continue;
        };
        let used = used.entry(offer).or_default();
        let rate = columns.hourly.get(row).copied().unwrap_or(0);
        let within_hourly = hourly.checked_div(rate).unwrap_or(u64::MAX);
        let in_domain = domains.entry(domain(task.spread, placed)).or_default();
        let room = [
            u64::from(held(offer)).saturating_add(room(request, task, placed, used)),
            within_hourly,
        ];
        let most = room.into_iter().fold(
            u64::from(task.spread_max.saturating_sub(*in_domain).min(left)),
            u64::min,
        );
        let replicas = u32::try_from(most).unwrap_or(u32::MAX);
        if replicas == 0 || ties.take(0, index, task, placed).is_err() {
            continue;
        }
        give(offer, replicas);
        left -= replicas;
        hourly = hourly.saturating_sub(rate.saturating_mul(most));
        *in_domain = in_domain.saturating_add(replicas);
        let added = u64::from(replicas.saturating_sub(held(offer)));
        used.replicas += added;
        if let Some(shape) = request.shapes.get(task.shape as usize) {
            used.cpu = used
                .cpu
                .saturating_add(added.saturating_mul(u64::from(shape.resources.cpu.0)));
            used.memory = used
                .memory
                .saturating_add(added.saturating_mul(shape.resources.memory.0));
        }
    }
    left
}

/// New replicas that an offer still takes.
fn room(request: &Request, task: &Task, placed: &PlacedOffer, used: &Used) -> u64 {
    let offer = &placed.offer;
    let count = if offer.capacity == u32::MAX {
        u64::MAX
    } else {
        u64::from(offer.capacity).saturating_sub(used.replicas)
    };
    let Some(shape) = request
        .shapes
        .get(task.shape as usize)
        .filter(|_| offer.shared)
    else {
        return count;
    };
    let share = |free: u64, used: u64, need: u64| {
        free.saturating_sub(used)
            .checked_div(need)
            .unwrap_or(u64::MAX)
    };
    let cpu = share(offer.free_cpu, used.cpu, u64::from(shape.resources.cpu.0));
    count.min(cpu).min(share(
        offer.free_memory,
        used.memory,
        shape.resources.memory.0,
    ))
}
