//! Preemption: whose places a task of a higher priority takes when there is none for it. Pure and deterministic. Nobody gives way to an
//! equal, so nobody takes turns: every step moves room to a strictly higher priority.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::base::{
    names::{AllocationId, InstanceName},
    units::Instant,
};

/// What has no place.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Its priority.
    pub priority: i32,
    /// Replicas that have no place.
    pub replicas: u32,
    /// Millicores of each replica.
    pub cpu: u64,
    /// Bytes of each replica.
    pub memory: u64,
}

/// An offer that would serve, were it not full.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The provider instance.
    pub provider: InstanceName,
    /// The provider's name for the offer.
    pub offer: String,
    /// Replicas that fit as it is; `u32::MAX`: it is not counted in replicas.
    pub capacity: u32,
    /// Free millicores and bytes, where it is shared.
    pub shared: Option<(u64, u64)>,
    /// The most replicas that the ask may have here.
    pub most: u32,
}

/// What runs at an offer and may have to go.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// The allocation.
    pub id: AllocationId,
    /// The provider instance.
    pub provider: InstanceName,
    /// The provider's name for the offer.
    pub offer: String,
    /// Its priority.
    pub priority: i32,
    /// When it was placed: of equal priorities the youngest goes first.
    pub since: Instant,
    /// Its replicas.
    pub replicas: u32,
    /// Millicores of each replica.
    pub cpu: u64,
    /// Bytes of each replica.
    pub memory: u64,
}

/// What is taken at one place, and how many replicas of the ask that makes room for.
struct Taking {
    given: Vec<(AllocationId, u32)>,
    room: u32,
    /// The highest priority among those that give way.
    priority: i32,
    replicas: u32,
}

/// Who gives up how many replicas: places where most fit first, then the lowest priority, then the fewest replicas, the youngest first.
/// Empty: there is no room to be had from lower priorities.
pub fn victims(ask: &Ask, places: &[Place], tenants: &[Tenant]) -> Vec<(AllocationId, u32)> {
    let mut left = ask.replicas;
    let mut by_offer: BTreeMap<(&InstanceName, &str), Vec<&Tenant>> = BTreeMap::new();
    for tenant in tenants
        .iter()
        .filter(|t| t.priority < ask.priority && t.replicas > 0)
    {
        by_offer
            .entry((&tenant.provider, &tenant.offer))
            .or_default()
            .push(tenant);
    }
    by_offer
        .values_mut()
        .for_each(|lower| lower.sort_by_key(|t| (t.priority, Reverse(t.since), &t.id)));
    let with_tenants =
        |place: &'_ &Place| by_offer.contains_key(&(&place.provider, place.offer.as_str()));
    let mut open: Vec<&Place> = places.iter().filter(with_tenants).collect();
    let mut given = Vec::new();
    while left > 0 {
        let takings = open.iter().enumerate().filter_map(|(i, &place)| {
            let lower = by_offer.get(&(&place.provider, place.offer.as_str()))?;
            take(ask, left, place, lower).map(|t| (i, t))
        });
        let rank = |(i, t): &(usize, Taking)| (Reverse(t.room), t.priority, t.replicas, *i);
        let Some((i, best)) = takings.min_by_key(rank) else {
            break;
        };
        left -= best.room.min(left);
        given.extend(best.given);
        open.remove(i);
    }
    given
}

/// `lower`: those who may go, the first to go first.
fn take(ask: &Ask, wanted: u32, place: &Place, lower: &[&Tenant]) -> Option<Taking> {
    let wanted = wanted.min(place.most);
    let (mut capacity, mut shared) = (place.capacity, place.shared);
    let room = |capacity: u32, shared: Option<(u64, u64)>| {
        let by = |free: u64, need: u64| {
            free.checked_div(need)
                .map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX))
        };
        let (cpu, memory) = shared.map_or((u32::MAX, u32::MAX), |(cpu, memory)| {
            (by(cpu, ask.cpu), by(memory, ask.memory))
        });
        capacity.min(cpu).min(memory).min(wanted)
    };
    let before = room(capacity, shared);
    let mut taking = Taking {
        given: Vec::new(),
        room: before,
        priority: i32::MIN,
        replicas: 0,
    };
    let mut gone: Vec<(AllocationId, u32)> = Vec::new();
    for tenant in lower {
        let mut gives = 0;
        while taking.room < wanted && gives < tenant.replicas {
            gives += 1;
            capacity = capacity.saturating_add(1);
            shared = shared.map(|(cpu, memory)| {
                (
                    cpu.saturating_add(tenant.cpu),
                    memory.saturating_add(tenant.memory),
                )
            });
            let now = room(capacity, shared);
            // Only what has made more room is taken.
            if now > taking.room {
                let given: Vec<_> = gone
                    .iter()
                    .cloned()
                    .chain([(tenant.id.clone(), gives)])
                    .filter(|(_, n)| *n > 0)
                    .collect();
                let replicas = given.iter().map(|(_, n)| n).sum();
                taking = Taking {
                    given,
                    room: now,
                    priority: taking.priority.max(tenant.priority),
                    replicas,
                };
            }
        }
        gone.push((tenant.id.clone(), gives));
    }
    (taking.room > before).then_some(taking)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(offer: &str, capacity: u32) -> Place {
        Place {
            provider: "p".parse().expect("a name"),
            offer: offer.to_owned(),
            capacity,
            shared: None,
            most: u32::MAX,
        }
    }

    fn tenant(id: &str, offer: &str, priority: i32, since: u64, replicas: u32) -> Tenant {
        Tenant {
            id: id.parse().expect("an id"),
            provider: "p".parse().expect("a name"),
            offer: offer.to_owned(),
            priority,
            since: Instant(since),
            replicas,
            cpu: 500,
            memory: 1,
        }
    }

    fn ask(priority: i32, replicas: u32) -> Ask {
        Ask {
            priority,
            replicas,
            cpu: 1000,
            memory: 1,
        }
    }

    fn given(ask: &Ask, places: &[Place], tenants: &[Tenant]) -> Vec<(String, u32)> {
        victims(ask, places, tenants)
            .into_iter()
            .map(|(id, n)| (id.to_string(), n))
            .collect()
    }

    #[test]
    fn the_lowest_and_youngest_go_and_no_more_than_needed() {
        let tenants = [
            tenant("old", "a", 0, 1, 3),
            tenant("young", "a", 0, 2, 1),
            tenant("mid", "a", 5, 3, 9),
            tenant("else", "b", 1, 1, 9),
        ];
        let places = [place("a", 0), place("b", 0)];
        assert_eq!(
            given(&ask(9, 3), &places, &tenants),
            [("young".to_owned(), 1), ("old".to_owned(), 2)]
        );
        // What is still free counts.
        assert_eq!(
            given(&ask(9, 3), &[place("a", 2)], &tenants),
            [("young".to_owned(), 1)]
        );
        // Nobody gives way to an equal.
        assert_eq!(given(&ask(0, 1), &places, &tenants), []);
        // One place with room for all is better than two with a little.
        let spread = [tenant("x", "a", 0, 1, 1), tenant("y", "b", 1, 1, 3)];
        assert_eq!(given(&ask(9, 3), &places, &spread), [("y".to_owned(), 3)]);
    }

    #[test]
    fn shared_offers_are_counted_in_cores() {
        let shared = Place {
            shared: Some((0, 100)),
            ..place("a", u32::MAX)
        };
        let tenants = [tenant("small", "a", 0, 1, 4)];
        assert_eq!(
            given(&ask(1, 1), std::slice::from_ref(&shared), &tenants),
            [("small".to_owned(), 2)]
        );
        // Even all of it would not be enough for one: nobody goes for nothing.
        let big = Ask {
            cpu: 2500,
            ..ask(1, 1)
        };
        assert_eq!(given(&big, &[shared], &tenants), []);
    }

    proptest! {
        /// Among tasks that all want one place, preempting comes to rest, and in the end nobody waits below whom somebody lower runs.
        #[test]
        fn nobody_takes_turns(wants in proptest::collection::vec((0i32..4, 1u32..5), 1..7), capacity in 1u32..8) {
            let mut has: BTreeMap<usize, u32> = BTreeMap::new();
            let mut moves = 0;
            loop {
                // Free room first, by priority.
                let mut free = capacity - has.values().sum::<u32>();
                let mut order: Vec<usize> = (0..wants.len()).collect();
                order.sort_by_key(|&i| Reverse(wants[i].0));
                for &i in &order {
                    let n = (wants[i].1 - has.get(&i).copied().unwrap_or(0)).min(free);
                    *has.entry(i).or_default() += n;
                    free -= n;
                }
                let tenants: Vec<Tenant> = has.iter().filter(|(_, n)| **n > 0).map(|(i, n)| tenant(&format!("t{i}"), "a", wants[*i].0, *i as u64, *n)).collect();
                let next = order.iter().find_map(|&i| {
                    let missing = wants[i].1 - has.get(&i).copied().unwrap_or(0);
                    let taken = victims(&ask(wants[i].0, missing), &[place("a", free)], &tenants);
                    (!taken.is_empty()).then_some((i, taken))
                });
                let Some((i, taken)) = next else { break };
                for (id, n) in taken {
                    let victim: usize = id.as_str()[1..].parse().expect("an index");
                    prop_assert!(wants[victim].0 < wants[i].0);
                    *has.entry(victim).or_default() -= n;
                    *has.entry(i).or_default() += n;
                }
                prop_assert!(has.values().sum::<u32>() <= capacity);
                moves += 1;
                prop_assert!(moves <= 64, "still moving: {has:?}");
            }
            for (i, (priority, n)) in wants.iter().enumerate() {
                let waits = has.get(&i).copied().unwrap_or(0) < *n;
                let lower = wants.iter().enumerate().any(|(j, (p, _))| p < priority && has.get(&j).copied().unwrap_or(0) > 0);
                prop_assert!(!(waits && lower), "{i} waits while a lower priority runs: {has:?}");
            }
        }
    }
}
