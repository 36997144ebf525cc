use std::sync::Arc as Shared;

use proptest::prelude::*;

use super::*;
use crate::{
    base::{
        names::Labels,
        units::{Bytes, MilliCpu, Millis},
    },
    schedule::placement::Choice,
    spec::{
        offer::Offer,
        policy_call::{Candidates, PlacedOffer, Shape, Task},
        workload::Resources,
    },
};

/// One offer: its region, its instances, and its processors if they are shared.
type Stock = (u8, u32, Option<u64>);
/// One task: replicas, cores, held on the first offer, the spread's limit, the cost per offer.
type Wish = (u32, u32, u32, Option<u32>, Vec<u64>);

fn request(stocks: &[Stock], wishes: &[Wish]) -> Request {
    let offer = |(i, (region, capacity, pool)): (usize, &Stock)| {
        let mut offer = Offer::new(
            &format!("o{i}"),
            MilliCpu(64_000),
            Bytes(1 << 40),
            MicroUsd(1),
        );
        offer.region = region.to_string().into();
        offer.capacity = *capacity;
        offer.shared = pool.is_some();
        offer.free_cpu = pool.map_or(u64::MAX, |cores| cores * 1000);
        PlacedOffer {
            provider: "p".parse().expect("name"),
            offer,
        }
    };
    let offers: Vec<PlacedOffer> = stocks.iter().enumerate().map(offer).collect();
    let mut request = Request {
        seed: 0,
        tasks: Vec::new(),
        shapes: Vec::new(),
        candidates: Candidates {
            start: vec![0],
            ..Default::default()
        },
        offers: Shared::new(offers),
    };
    for (i, (replicas, cores, held, spread, costs)) in wishes.iter().enumerate() {
        let resources = Resources {
            cpu: MilliCpu(cores * 1000),
            ..Default::default()
        };
        request.shapes.push(Shape {
            resources,
            duration: Millis::from_secs(3600),
        });
        for (o, cost) in (0u32..).zip(costs).take(stocks.len()) {
            request.candidates.offer.push(o);
            request.candidates.cost.push(*cost);
            request.candidates.hourly.push(*cost);
        }
        request
            .candidates
            .start
            .push(request.candidates.offer.len() as u32);
        request.tasks.push(Task {
            namespace: "n".parse().expect("name"),
            deployment: "d".parse().expect("name"),
            name: format!("t{i}").parse().expect("name"),
            shape: i as u32,
            replicas: *replicas,
            priority: 0,
            job: false,
            spread: if spread.is_some() {
                Spread::Region
            } else {
                Spread::None
            },
            spread_max: spread.unwrap_or(u32::MAX),
            max_hourly: MicroUsd::MAX,
            current: if *held > 0 {
                vec![(0, *held)]
            } else {
                Vec::new()
            },
            labels: Labels::new(),
            affinity: None,
            anti_affinity: None,
            deadline: None,
            expected: Default::default(),
        });
    }
    request
}

/// Every way to place all replicas of all tasks: the cheapest one that the check of answers accepts.
fn brute_force(request: &Request) -> Option<(u64, Vec<Placed>)> {
    fn ways(replicas: u32, offers: usize) -> Vec<Vec<u32>> {
        if offers == 1 {
            return vec![vec![replicas]];
        }
        (0..=replicas)
            .flat_map(|n| {
                ways(replicas - n, offers - 1)
                    .into_iter()
                    .map(move |rest| [vec![n], rest].concat())
            })
            .collect()
    }
    let mut all: Vec<Vec<Vec<u32>>> = vec![Vec::new()];
    for task in &request.tasks {
        let each = ways(task.replicas, request.offers.len());
        all = all
            .iter()
            .flat_map(|before| {
                each.iter()
                    .map(|way| [before.clone(), vec![way.clone()]].concat())
            })
            .collect();
    }
    let priced = all.into_iter().filter_map(|plan| {
        let mut answer = crate::spec::policy_call::Answer::default();
        for (t, way) in (0u32..).zip(&plan) {
            for (o, n) in (0u32..).zip(way).filter(|(_, n)| **n > 0) {
                answer.task.push(t);
                answer.offer.push(o);
                answer.replicas.push(*n);
            }
        }
        let placed = crate::schedule::placement::validate(request, &answer).ok()?;
        Some((cost(request, &placed).map_or(0, |c| c.0), placed))
    });
    priced.min_by_key(|(cost, _)| *cost)
}

#[test]
fn the_worked_example_of_two_nodes_is_certified() {
    // 20 units over nodes of 0.1 and 0.2, which have 10 and 20.
    let request = request(
        &[(0, 10, None), (0, 20, None)],
        &[(20, 1, 0, None, vec![100_000, 200_000])],
    );
    let choices = vec![
        Choice {
            offer: 0,
            replicas: 10,
        },
        Choice {
            offer: 1,
            replicas: 10,
        },
    ];
    let best = certify(
        &request,
        &[Placed {
            choices,
            unplaced: None,
        }],
        None,
    )
    .expect("placed");
    let three = MicroUsd(3_000_000);
    let source = BoundSource::Transportation;
    assert_eq!(
        best,
        Certificate {
            cost: three,
            lower_bound: three,
            gap: MicroUsd(0),
            source,
            unpriced: 0
        }
    );
    // In proportion to the prices it costs more, and the gap says how much.
    let choices = vec![
        Choice {
            offer: 0,
            replicas: 7,
        },
        Choice {
            offer: 1,
            replicas: 13,
        },
    ];
    let worse = certify(
        &request,
        &[Placed {
            choices,
            unplaced: None,
        }],
        None,
    )
    .expect("placed");
    assert_eq!(
        (worse.lower_bound, worse.gap),
        (MicroUsd(3_000_000), MicroUsd(300_000))
    );
    assert!(
        worse.to_string().contains("at most $0.30 (10.0%) above"),
        "{worse}"
    );
    assert_eq!(certify(&request, &[Placed::default()], None), None);
}

#[test]
fn what_has_no_price_does_not_cost_nothing_in_silence() {
    let mut request = request(
        &[(0, u32::MAX, None), (0, u32::MAX, None)],
        &[(3, 1, 0, None, vec![0, 7])],
    );
    let told = |request: &Request, offer: u32, replicas: u32| {
        let placed = [Placed {
            choices: vec![Choice { offer, replicas }],
            unplaced: None,
        }];
        certify(request, &placed, None).expect("placed").to_string()
    };
    let free =
        "cost $0.00 is the least possible: lower bound $0.00, computed as a transportation problem";
    let mut offers = request.offers.to_vec();
    (offers[0].offer.price, offers[0].offer.source) = (MicroUsd(0), "settings".into());
    request.offers = Shared::new(offers.clone());
    assert_eq!(
        told(&request, 0, 3),
        free,
        "somebody has said that it costs nothing"
    );
    offers[0].offer.source = crate::spec::offer::NO_PRICE.into();
    request.offers = Shared::new(offers);
    assert_eq!(
        told(&request, 0, 3),
        format!("{free}; no price is set for the places of 3 replicas, which count as $0.00")
    );
    assert!(
        told(&request, 0, 1)
            .ends_with("; no price is set for the place of 1 replica, which counts as $0.00")
    );
    assert!(
        !told(&request, 1, 3).contains("no price"),
        "nothing of it is there"
    );
}

#[test]
fn a_policys_bound_counts_as_far_as_nothing_refutes_it() {
    let request = request(
        &[(0, u32::MAX, None), (0, u32::MAX, None)],
        &[(1, 1, 0, None, vec![5, 9])],
    );
    let placed = [Placed {
        choices: vec![Choice {
            offer: 1,
            replicas: 1,
        }],
        unplaced: None,
    }];
    let bound = |claim: Option<u64>| {
        let c = certify(&request, &placed, claim.map(MicroUsd)).expect("placed");
        (c.lower_bound.0, c.source)
    };
    assert_eq!(bound(None), (5, BoundSource::Transportation));
    assert_eq!(bound(Some(7)), (7, BoundSource::Policy));
    assert_eq!(
        bound(Some(4)),
        (5, BoundSource::Transportation),
        "weaker than the host's"
    );
    assert_eq!(
        bound(Some(10)),
        (5, BoundSource::Transportation),
        "above what it was placed for"
    );
}

#[test]
fn tasks_that_compete_for_an_offer_are_bounded_together() {
    // Both want the one cheap instance; the second loses least by giving way.
    let stocks = [(0, 1, None), (0, u32::MAX, None)];
    let request = request(
        &stocks,
        &[(1, 1, 0, None, vec![1, 100]), (1, 2, 0, None, vec![1, 10])],
    );
    let placed = |offer| Placed {
        choices: vec![Choice { offer, replicas: 1 }],
        unplaced: None,
    };
    let certificate = certify(&request, &[placed(0), placed(1)], None).expect("placed");
    assert_eq!((certificate.lower_bound.0, certificate.gap.0), (11, 0));
}

fn wish() -> impl Strategy<Value = Wish> {
    (
        1u32..4,
        1u32..4,
        0u32..2,
        proptest::option::weighted(0.3, 1u32..3),
        proptest::collection::vec(1u64..20, 3),
    )
}

proptest! {
    #[test]
    fn no_bound_is_above_the_optimum(
        stocks in proptest::collection::vec((0u8..2, 0u32..4, proptest::option::weighted(0.3, 0u64..8)), 3),
        wishes in proptest::collection::vec(wish(), 1..4),
    ) {
        let request = request(&stocks, &wishes);
        if let Some((optimum, placed)) = brute_force(&request) {
            let groups = groups(&request, &placed);
            let (bound, source) = host_bound(&request, &groups);
            prop_assert!(bound.0 <= optimum, "{} > {optimum}", bound.0);
            // Without pools the relaxation is the problem itself.
            if stocks.iter().all(|(_, _, pool)| pool.is_none()) {
                prop_assert_eq!((bound.0, source), (optimum, BoundSource::Transportation));
            }
        }
    }
}
