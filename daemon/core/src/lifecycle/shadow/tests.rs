use std::sync::Arc;

use super::*;
use crate::{
    base::{
        names::Namespace,
        units::{Bytes, GIB, MilliCpu, Millis},
    },
    spec::{
        offer::Offer,
        policy_call::{Candidates, PlacedOffer, Shape, Spread, Task},
        workload::Resources,
    },
};

fn task(namespace: &str, deployment: &str, shape: u32) -> Task {
    Task {
        namespace: namespace.parse().expect("a name"),
        deployment: deployment.parse().expect("a name"),
        name: "web".parse().expect("a name"),
        shape,
        replicas: 2,
        priority: 0,
        job: false,
        spread: Spread::None,
        spread_max: u32::MAX,
        max_hourly: MicroUsd::MAX,
        current: Vec::new(),
        labels: Default::default(),
        affinity: None,
        anti_affinity: None,
        deadline: None,
        expected: Default::default(),
    }
}

/// Two shapes, three offers of three replicas each; the second shape has only the last two.
fn request(tasks: Vec<Task>) -> Request {
    let offer = |id: &str| {
        let mut offer = Offer::new(id, MilliCpu(1000), Bytes(GIB), MicroUsd(1));
        offer.capacity = 3;
        PlacedOffer {
            provider: "p".parse().expect("a name"),
            offer,
        }
    };
    let shape = Shape {
        resources: Resources::default(),
        duration: Millis(0),
    };
    Request {
        seed: 7,
        tasks,
        shapes: vec![shape.clone(), shape],
        candidates: Candidates {
            start: vec![0, 3, 5],
            offer: vec![0, 1, 2, 1, 2],
            cost: vec![10, 20, 30, 200, 300],
            expected: vec![10, 20, 30, 200, 300],
            hourly: vec![1, 2, 3, 20, 30],
            units: vec![1.0; 5],
            hours: vec![1.0; 5],
        },
        offers: Arc::new(vec![offer("a"), offer("b"), offer("c")]),
    }
}

fn placed(choices: &[(u32, u32)], unplaced: u32) -> Placed {
    let choices = choices
        .iter()
        .map(|&(offer, replicas)| Choice { offer, replicas })
        .collect();
    Placed {
        choices,
        unplaced: (unplaced > 0).then(|| (unplaced, String::new())),
    }
}

#[test]
fn costs_and_differences_are_exact() {
    let request = request(vec![task("n", "one", 0), task("n", "two", 1)]);
    let live = [placed(&[(0, 1), (1, 1)], 0), placed(&[(1, 2)], 0)];
    // The order of the choices is no difference.
    let shadow = [placed(&[(1, 1), (0, 1)], 0), placed(&[(2, 1)], 1)];
    let seen = compare(&request, &live, &shadow, Instant(5), |_| None);
    assert_eq!(
        seen.live,
        Cost {
            hourly: MicroUsd(1 + 2 + 40),
            estimated: MicroUsd(10 + 20 + 400),
            unplaced: 0
        }
    );
    assert_eq!(
        seen.shadow,
        Cost {
            hourly: MicroUsd(1 + 2 + 30),
            estimated: MicroUsd(10 + 20 + 300),
            unplaced: 1
        }
    );
    let [one] = seen.differing.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!(
        (
            one.deployment.as_str(),
            one.live[0].offer.as_str(),
            one.shadow[0].offer.as_str()
        ),
        ("two", "b", "c")
    );

    let mut tally = Tally::default();
    tally.hear(Heard::Answer(seen), 100, 300);
    let report = tally.report();
    assert_eq!(
        (
            report.hourly_difference_micro_usd,
            report.estimated_difference_micro_usd
        ),
        (-10, -100)
    );
    assert_eq!(
        (
            report.compared,
            report.differing,
            report.shadow_latency.p50_micros
        ),
        (1, 1, Some(300))
    );
}

#[test]
fn a_shadow_sees_one_namespace_and_the_room_that_others_left() {
    let whole = request(vec![task("a", "x", 0), task("b", "y", 1)]);
    let answers = [placed(&[(1, 2)], 0), placed(&[(2, 2)], 0)];
    let namespace = |n: &str| n.parse::<Namespace>().expect("a name");
    let (part, kept) = narrow(&whole, &answers, &namespace("b")).expect("a part of it");
    assert_eq!(
        (part.tasks.len(), part.tasks[0].shape, part.shapes.len()),
        (1, 0, 1)
    );
    assert_eq!(
        (
            &part.candidates.start[..],
            &part.candidates.offer[..],
            &part.candidates.cost[..]
        ),
        (&[0, 2][..], &[1, 2][..], &[200, 300][..])
    );
    assert_eq!(kept, [answers[1].clone()]);
    assert_eq!(
        part.offers
            .iter()
            .map(|o| o.offer.capacity)
            .collect::<Vec<_>>(),
        [3, 1, 3],
        "what the other was given is gone"
    );
    assert!(narrow(&part, &kept, &namespace("b")).is_none());
}

#[test]
fn ten_failures_in_a_row_suspend_it_and_an_answer_counts_anew() {
    let mut tally = Tally::default();
    let good = || {
        Heard::Answer(Comparison {
            live: Cost::default(),
            shadow: Cost::default(),
            differing: Vec::new(),
        })
    };
    for n in 0..9 {
        tally.hear(
            if n % 2 == 0 {
                Heard::Fault("f".into())
            } else {
                Heard::Refused("r".into())
            },
            1,
            1,
        );
    }
    assert!(!tally.is_suspended());
    tally.hear(good(), 1, 1);
    (0..10).for_each(|_| tally.hear(Heard::Fault("again".into()), 1, 1));
    assert!(tally.is_suspended());
    assert_eq!(
        (tally.seen, tally.faults, tally.refused, tally.compared),
        (20, 15, 4, 1)
    );
}

#[test]
fn percentiles_are_of_the_last_thousand() {
    let mut samples = Samples::default();
    assert_eq!(samples.percentile(50), None);
    (1..=2_000).for_each(|micros| samples.push(micros));
    assert_eq!(
        (
            samples.percentile(50),
            samples.percentile(99),
            samples.percentile(100)
        ),
        (Some(1_500), Some(1_990), Some(2_000))
    );
}
