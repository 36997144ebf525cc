//! Hedged provisioning: the same replicas are asked for in several places at once, the first that is ready is kept, the others go.
//! Pure: which places are asked, and what becomes of a group. A group lives in the records of its members alone, so it outlasts a crash.

pub use crate::{spec::rules::hedge::Policy, state::hedge::Hedge};

use crate::{
    base::units::{Instant, MicroUsd},
    spec::workload::Phase,
    state::{
        plan::Placement,
        record::{AllocationRecord, Stage},
    },
};

/// A place that could be asked as well, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Rival {
    /// The place, with the number of replicas.
    pub placement: Placement,
    /// Once, of one replica.
    pub setup: MicroUsd,
}

/// The places to ask besides the first, and those left out for their cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chosen {
    /// Places to ask, best first.
    pub asked: Vec<Placement>,
    /// Places that would cost more than the hedge may.
    pub too_dear: Vec<Placement>,
}

/// Chooses the additional places: of another provider first, then of another region, then any other offer; in each case the best.
pub fn choose(policy: &Policy, first: &Placement, rivals: &[Rival]) -> Chosen {
    let mut out = Chosen::default();
    let mut taken = vec![first];
    let mut spent = MicroUsd(0);
    let mut left: Vec<&Rival> = rivals
        .iter()
        .filter(|r| !same_offer(&r.placement, first))
        .collect();
    while (taken.len() as u64) < u64::from(policy.offers) && !left.is_empty() {
        let near = |r: &Rival| {
            taken
                .iter()
                .map(|t| nearness(&r.placement, t))
                .max()
                .unwrap_or(0)
        };
        let Some(at) = (0..left.len()).min_by_key(|i| left.get(*i).map_or(u8::MAX, |r| near(r)))
        else {
            break;
        };
        let rival = left.remove(at);
        if taken.iter().any(|t| same_offer(&rival.placement, t)) {
            continue;
        }
        let cost = cost(policy, rival, first.replicas);
        if policy
            .spend_cap
            .is_some_and(|cap| spent.saturating_add(cost) > cap)
        {
            out.too_dear.push(Placement {
                replicas: first.replicas,
                ..rival.placement.clone()
            });
            continue;
        }
        spent = spent.saturating_add(cost);
        taken.push(&rival.placement);
        out.asked.push(Placement {
            replicas: first.replicas,
            ..rival.placement.clone()
        });
    }
    out
}

/// The most that asking there can cost: all replicas for the whole time.
fn cost(policy: &Policy, rival: &Rival, replicas: u32) -> MicroUsd {
    rival
        .placement
        .hourly
        .scaled(policy.within.hours())
        .saturating_add(rival.setup)
        .saturating_mul(u64::from(replicas))
}

fn same_offer(a: &Placement, b: &Placement) -> bool {
    a.provider == b.provider && a.offer.id == b.offer.id
}

/// What two places share: 0 nothing, 1 the provider, 2 the region too.
fn nearness(a: &Placement, b: &Placement) -> u8 {
    match (a.provider == b.provider, a.offer.region == b.offer.region) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => 2,
    }
}

/// Whether a record stands behind another member of its group: the plan counts the group's first only.
pub fn stands_behind<'a>(
    record: &AllocationRecord,
    all: impl IntoIterator<Item = &'a AllocationRecord>,
) -> bool {
    let Some(hedge) = &record.intent.hedge else {
        return false;
    };
    let before = |r: &AllocationRecord| {
        r.intent.stage != Stage::Removing
            && r.intent
                .hedge
                .as_ref()
                .is_some_and(|h| h.group == hedge.group && h.rank < hedge.rank)
    };
    record.intent.stage != Stage::Removing && all.into_iter().any(before)
}

/// A member as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its place in the order of the decision; 0 is the first choice.
    pub rank: u32,
    /// All its replicas are ready.
    pub ready: bool,
    /// It may still become ready: it is neither going, nor gone, nor failed.
    pub alive: bool,
    /// It is what is wanted: not superseded, and of the first's workload and size.
    pub wanted: bool,
}

impl Member {
    /// The member that a record stands for. `first` is the record of the first choice.
    pub fn of(record: &AllocationRecord, ready: bool, first: &AllocationRecord) -> Self {
        Self {
            rank: record.intent.hedge.as_ref().map_or(0, |h| h.rank),
            ready: ready && record.intent.stage == Stage::Applied,
            alive: record.intent.stage != Stage::Removing
                && !matches!(record.status.phase, Phase::Gone | Phase::Failed),
            wanted: !record.intent.superseded
                && record.intent.workload == first.intent.workload
                && record.intent.replicas == first.intent.replicas,
        }
    }
}

/// What becomes of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on until this.
    Wait(Instant),
    /// The member with this rank stays as the only one and leaves the group.
    Keep(u32),
    /// None has become ready in time: all go.
    GiveUp,
}

/// Judges a group. It has at least one member.
pub fn judge(members: &[Member], until: Instant, now: Instant) -> Verdict {
    let alive = || members.iter().filter(|m| m.alive && m.wanted);
    let lowest = |m: Option<&Member>| m.map(|m| Verdict::Keep(m.rank));
    let ready = lowest(alive().filter(|m| m.ready).min_by_key(|m| m.rank));
    let last = || lowest(alive().min_by_key(|m| m.rank)).filter(|_| alive().count() == 1);
    // When none is left the first stays: what follows from its end is decided as for any other.
    let none = || lowest(members.iter().min_by_key(|m| m.rank)).filter(|_| alive().count() == 0);
    let open = || {
        if now >= until {
            Verdict::GiveUp
        } else {
            Verdict::Wait(until)
        }
    };
    ready.or_else(last).or_else(none).unwrap_or_else(open)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::base::units::Millis;

    use super::*;
    use crate::spec::workload::ChosenOffer;

    fn placement(provider: &str, region: &str, size: &str, hourly: u64) -> Placement {
        let offer = ChosenOffer {
            id: format!("{region}/{size}"),
            region: region.to_owned(),
            zone: String::new(),
            size: size.to_owned(),
            spot: false,
            price: MicroUsd(hourly),
            labels: Default::default(),
        };
        Placement {
            provider: provider.parse().expect("a name"),
            offer,
            hourly: MicroUsd(hourly),
            replicas: 2,
            takes: None,
        }
    }

    fn names(places: &[Placement]) -> Vec<String> {
        places
            .iter()
            .map(|p| format!("{}:{}", p.provider, p.offer.id))
            .collect()
    }

    #[test]
    fn the_best_of_other_clouds_come_first_and_the_cap_holds() {
        let rival = |p| Rival {
            placement: p,
            setup: MicroUsd(1_000),
        };
        let rivals: Vec<_> = [
            placement("a", "r1", "m", 100_000),
            placement("a", "r1", "l", 150_000),
            placement("a", "r2", "m", 160_000),
            placement("b", "r1", "m", 200_000),
            placement("c", "r1", "m", 9_000_000),
        ]
        .into_iter()
        .map(rival)
        .collect();
        let first = placement("a", "r1", "m", 100_000);
        let mut policy = Policy {
            offers: 3,
            within: Millis(3_600_000),
            spend_cap: None,
        };
        let chosen = |policy: &Policy| choose(policy, &first, &rivals);
        assert_eq!(names(&chosen(&policy).asked), ["b:r1/m", "c:r1/m"]);
        // Two replicas for an hour: b costs 0.402, a:r2 0.322, c more than everything.
        policy.spend_cap = Some(MicroUsd(750_000));
        assert_eq!(
            (
                names(&chosen(&policy).asked),
                names(&chosen(&policy).too_dear)
            ),
            (
                vec!["b:r1/m".into(), "a:r2/m".into()],
                vec!["c:r1/m".to_owned()]
            )
        );
        policy.spend_cap = Some(MicroUsd(0));
        assert!(chosen(&policy).asked.is_empty());
        policy = Policy {
            offers: 5,
            within: Millis(0),
            spend_cap: None,
        };
        assert_eq!(
            names(&chosen(&policy).asked),
            ["b:r1/m", "c:r1/m", "a:r2/m", "a:r1/l"]
        );
    }

    proptest! {
        #[test]
        fn the_cap_is_never_exceeded_and_no_place_is_asked_twice(
            prices in proptest::collection::vec((0u8..3, 0u8..3, 0u8..3, 1u64..2_000_000), 0..12), offers in 2u32..=5, cap in 0u64..3_000_000,
        ) {
            let policy = Policy { offers, within: Millis(1_800_000), spend_cap: Some(MicroUsd(cap)) };
            let rivals: Vec<_> = prices
                .iter()
                .map(|(p, r, s, n)| Rival { placement: placement(&format!("p{p}"), &format!("r{r}"), &format!("s{s}"), *n), setup: MicroUsd(0) })
                .collect();
            let first = placement("p0", "r0", "s0", 5);
            let chosen = choose(&policy, &first, &rivals);
            prop_assert!(chosen.asked.len() < offers as usize);
            let spent: u64 = chosen.asked.iter().map(|p| p.hourly.scaled(0.5).0 * 2).sum();
            prop_assert!(spent <= cap);
            let mut places = names(&chosen.asked);
            places.extend(names(&[first]));
            places.sort();
            let before = places.len();
            places.dedup();
            prop_assert_eq!(before, places.len());
        }

        /// Members become ready, fail, hang, are given up by others, in any order, with a crash at any point (the judgement needs nothing but
        /// the members): in the end there is exactly one or, when the time was up for all, none; never two.
        #[test]
        fn exactly_one_of_a_group_survives(
            size in 2usize..=5, events in proptest::collection::vec((0usize..5, 0u8..4), 0..40),
        ) {
            let until = Instant(1_000);
            let mut members: Vec<Member> = (0u32..).take(size).map(|rank| Member { rank, ready: false, alive: true, wanted: true }).collect();
            let mut kept = None;
            let mut given_up = false;
            let times = (0u64..).step_by(30);
            for ((who, what), now) in events.into_iter().zip(times) {
                let len = members.len();
                if let Some(m) = members.get_mut(who % len) {
                    match what {
                        0 => m.ready = m.alive,
                        1 => (m.alive, m.ready) = (false, false),
                        _ => {}
                    }
                }
                let verdict = judge(&members, until, Instant(now));
                // The same look after a crash says the same.
                prop_assert_eq!(verdict, judge(&members.clone(), until, Instant(now)));
                match verdict {
                    Verdict::Wait(at) => prop_assert!(at == until && now < until.0 && members.iter().all(|m| !m.ready)),
                    Verdict::Keep(rank) => {
                        let winner = members.iter().find(|m| m.rank == rank).copied();
                        let any_ready = members.iter().any(|m| m.ready);
                        prop_assert!(winner.is_some_and(|w| w.ready == any_ready), "what is ready wins");
                        kept = winner;
                        break;
                    }
                    Verdict::GiveUp => {
                        prop_assert!(now >= until.0 && members.iter().all(|m| !m.ready));
                        given_up = true;
                        break;
                    }
                }
            }
            // Time goes on: the group ends whatever happens.
            if kept.is_none() && !given_up {
                prop_assert!(!matches!(judge(&members, until, Instant(u64::MAX)), Verdict::Wait(_)));
            }
        }
    }
}
