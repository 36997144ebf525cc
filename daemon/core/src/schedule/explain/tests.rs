use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use proptest::prelude::*;

use super::*;
use crate::{
    base::{
        names::{Digest, Labels},
        units::{Bytes, Instant, MilliCpu},
    },
    schedule::{
        explain::Flip,
        placement::{
            BuiltIn, by_cost,
            recorded::{Excluded, Measure, ShapeLimits},
            validate,
        },
    },
    spec::{
        offer::Offer,
        policy_call::{Answer, Candidates, Request, Shape, Spread, Task},
        workload::Resources,
    },
};

/// What never waits is done at the first look.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// One shape; offers by price per hour, capacity and region; tasks by replicas, priority and the most in a region.
fn recorded(offers: &[(u64, u32, &str)], tasks: &[(u32, i32, u32)]) -> Recorded {
    let offers: Vec<PlacedOffer> = offers
        .iter()
        .enumerate()
        .map(|(i, (price, capacity, region))| {
            let mut offer =
                Offer::new(&format!("o{i}"), MilliCpu(1000), Bytes(1), MicroUsd(*price));
            (offer.capacity, offer.region) = (*capacity, Arc::from(*region));
            PlacedOffer {
                provider: "cloud".parse().unwrap(),
                offer,
            }
        })
        .collect();
    let task = |(i, (replicas, priority, spread_max)): (usize, &(u32, i32, u32))| Task {
        namespace: "default".parse().unwrap(),
        deployment: "web".parse().unwrap(),
        name: format!("t{i}").parse().unwrap(),
        shape: 0,
        replicas: *replicas,
        priority: *priority,
        job: false,
        spread: if *spread_max == u32::MAX {
            Spread::None
        } else {
            Spread::Region
        },
        spread_max: *spread_max,
        max_hourly: MicroUsd::MAX,
        current: Vec::new(),
        labels: Labels::new(),
        affinity: None,
        anti_affinity: None,
        deadline: None,
        expected: Default::default(),
    };
    let hourly: Vec<u64> = offers.iter().map(|p| p.offer.price.0).collect();
    let cost: Vec<u64> = hourly.iter().map(|h| h * 2).collect();
    let n = offers.len();
    let resources = Resources {
        cpu: MilliCpu(1000),
        ..Default::default()
    };
    let candidates = Candidates {
        start: vec![0, n as u32],
        offer: (0..n as u32).collect(),
        expected: cost.clone(),
        cost,
        hourly,
        units: vec![1.0; n],
        hours: vec![2.0; n],
    };
    let request = Request {
        seed: 0,
        tasks: tasks.iter().enumerate().map(task).collect(),
        shapes: vec![Shape {
            resources,
            duration: Millis::from_secs(7200),
        }],
        candidates,
        offers: Arc::new(offers),
    };
    let answer = by_cost(&request);
    let policy = BuiltIn::new().unwrap();
    let limits = vec![ShapeLimits {
        max_hourly: None,
        excluded: Vec::new(),
    }];
    Recorded {
        at: Instant(0),
        policy: crate::ports::plugin::Policy::identity(&policy).clone(),
        request,
        limits,
        answer,
    }
}

fn told(recorded: &Recorded, calls: u32) -> TaskExplanation {
    let policy = BuiltIn::new().unwrap();
    let bounds = Bounds {
        rows: 10,
        calls,
        is_late: &|| false,
    };
    now(explain(
        &"d-1".parse().unwrap(),
        recorded,
        0,
        Ok(&policy),
        Millis::from_secs(3600),
        bounds,
    ))
    .unwrap()
}

#[test]
fn the_prices_and_the_capacity_at_which_the_answer_flips() {
    let told = told(
        &recorded(
            &[(100_000, 5, "a"), (250_000, 5, "a"), (70_000, 1, "b")],
            &[(3, 0, u32::MAX)],
        ),
        1000,
    );
    let offers: Vec<(&str, u32)> = told
        .candidates
        .iter()
        .map(|c| (c.place.offer.as_str(), c.replicas))
        .collect();
    assert_eq!(offers, [("o2", 1), ("o0", 2), ("o1", 0)]);
    let flip = |wanted: fn(&Flip) -> bool, offer: &str| {
        let of = |f: &&Flip| match f {
            Flip::Cheaper { place, .. }
            | Flip::Dearer { place, .. }
            | Flip::Fuller { place, .. } => place.offer == offer,
        };
        told.flips
            .iter()
            .filter(of)
            .find(|f| wanted(f))
            .cloned()
            .unwrap()
    };
    // At o0's own price the order of the offers decides, and o0 comes first: only below it does o1 win.
    assert!(matches!(
        flip(|f| matches!(f, Flip::Cheaper { .. }), "o1"),
        Flip::Cheaper {
            flips_at: Some(MicroUsd(99_999)),
            ..
        }
    ));
    assert!(matches!(
        flip(|f| matches!(f, Flip::Dearer { .. }), "o0"),
        Flip::Dearer {
            flips_at: Some(MicroUsd(250_001)),
            ..
        }
    ));
    assert!(matches!(
        flip(|f| matches!(f, Flip::Fuller { .. }), "o0"),
        Flip::Fuller {
            flips_at: Some(1),
            capacity: Some(5),
            ..
        }
    ));
    assert_eq!(told.note, "");
}

#[test]
fn what_nothing_flips_is_said_to_be_so_and_the_bounds_hold() {
    let alone = told(
        &recorded(&[(100_000, u32::MAX, "a")], &[(1, 0, u32::MAX)]),
        1000,
    );
    assert!(
        alone
            .flips
            .iter()
            .any(|f| matches!(f, Flip::Dearer { flips_at: None, .. })),
        "{alone:?}"
    );
    let few = told(
        &recorded(&[(100_000, 5, "a"), (250_000, 5, "a")], &[(3, 0, u32::MAX)]),
        7,
    );
    assert_eq!(few.policy_calls, 7);
    assert!(few.note.contains("asked 7 times"), "{}", few.note);
}

#[test]
fn a_limit_on_the_price_flips_before_the_next_best_does() {
    let mut recorded = recorded(&[(100_000, 5, "a"), (250_000, 5, "a")], &[(1, 0, u32::MAX)]);
    recorded.limits[0].max_hourly = Some(MicroUsd(150_000));
    let told = told(&recorded, 1000);
    assert!(
        told.flips.iter().any(|f| matches!(
            f,
            Flip::Dearer {
                flips_at: Some(MicroUsd(150_001)),
                ..
            }
        )),
        "{told:?}"
    );
}

/// Decisions made when services were divided by the performance are explained as they were made.
#[test]
fn a_flip_is_searched_with_the_hours_that_the_decision_counted() {
    let mut kept = recorded(&[(100_000, 5, "a"), (150_000, 5, "a")], &[(1, 0, u32::MAX)]);
    Arc::make_mut(&mut kept.request.offers)[1].offer.performance = 2.0;
    let columns = &mut kept.request.candidates;
    (columns.hours[1], columns.cost[1], columns.expected[1]) = (1.0, 150_000, 150_000);
    kept.answer = by_cost(&kept.request);
    let told = told(&kept, 1000);
    assert_eq!(
        (
            told.candidates[0].place.offer.as_str(),
            told.candidates[0].replicas
        ),
        ("o1", 1)
    );
    // For one hour it is as dear as the other for two at $0.20, where the first of the two wins.
    assert!(
        told.flips.iter().any(|f| matches!(
            f,
            Flip::Dearer {
                flips_at: Some(MicroUsd(200_000)),
                ..
            }
        )),
        "{told:?}"
    );
}

#[test]
fn what_excluded_an_offer_is_told_with_both_values() {
    let mut recorded = recorded(&[(100_000, 5, "a"), (250_000, 5, "b")], &[(1, 0, u32::MAX)]);
    let excluded = |reason: &str, measure, offer| Excluded {
        reason: reason.into(),
        measure,
        offers: vec![offer],
    };
    recorded.limits[0].excluded = vec![
        excluded("fewer cores than 2", Measure::Cpu, 0),
        excluded("costs more", Measure::Hourly, 1),
    ];
    let told = told(&recorded, 1000);
    let values: Vec<_> = told
        .excluded
        .iter()
        .map(|e| (e.place.offer.as_str(), e.value.as_deref().unwrap()))
        .collect();
    assert_eq!(values, [("o0", "1"), ("o1", "$0.25")]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// The built-in order stands in for policies, so its answers have to pass the same check.
    #[test]
    fn the_built_in_order_breaks_no_rule(
        offers in prop::collection::vec((1..1000u64, 0..6u32, prop::sample::select(vec!["a", "b", "c"])), 0..8),
        tasks in prop::collection::vec((0..9u32, -3..3i32, prop_oneof![Just(u32::MAX), 1..4u32]), 1..5),
        hourly in prop_oneof![Just(u64::MAX), 0..5000u64],
        shared in any::<bool>(),
    ) {
        let mut recorded = recorded(&offers, &tasks);
        recorded.request.tasks[0].max_hourly = MicroUsd(hourly);
        if let Some(placed) = Arc::make_mut(&mut recorded.request.offers).first_mut().filter(|_| shared) {
            (placed.offer.shared, placed.offer.free_cpu, placed.offer.free_memory) = (true, 2500, 10);
        }
        let answer: Answer = by_cost(&recorded.request);
        let placed = validate(&recorded.request, &answer);
        prop_assert!(placed.is_ok(), "{placed:?}");
        prop_assert_eq!(Digest::of(&crate::schedule::placement::recorded::answer_bytes(&answer)), Digest::of(&crate::schedule::placement::recorded::answer_bytes(&by_cost(&recorded.request))));
    }
}
