//! What every ranking policy gets for nothing. `Batch` refuses any answer that the host would refuse.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests are not marked as tests"
)]

use std::collections::BTreeMap;

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Error, PolicyInfo, Score,
    policy::{Candidate, Spread},
    testing::{Batch, OfferSpec, Placement, TaskSpec},
};

/// The cheapest, except that offers above `never` are never used.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByCost {
    #[serde(default = "yes")]
    sticky: bool,
    #[serde(default)]
    never: Option<f64>,
}

fn yes() -> bool {
    true
}

impl Score for ByCost {
    fn info() -> PolicyInfo {
        PolicyInfo::new("by-cost", "0.1.0", "for tests")
    }
    fn score(&self, candidate: Candidate<'_>) -> f64 {
        if self.never.is_some_and(|never| candidate.cost_usd() > never) {
            f64::NAN
        } else {
            candidate.cost_usd()
        }
    }
    fn sticky(&self) -> bool {
        self.sticky
    }
}

fn place(batch: &Batch) -> Placement {
    batch.rank::<ByCost>("{}").unwrap()
}

fn on(offers: &[(&str, u32)]) -> BTreeMap<String, u32> {
    offers
        .iter()
        .map(|(offer, replicas)| ((*offer).to_owned(), *replicas))
        .collect()
}

#[test]
fn the_best_come_first_and_capacity_is_kept() {
    let offers = [("a", 0.3, 10), ("b", 0.1, 2), ("c", 0.2, 2)]
        .iter()
        .fold(Batch::new(), |batch, (id, usd, capacity)| {
            batch.offer(OfferSpec::new(id, *usd).capacity(*capacity))
        });
    let placed = place(
        &offers
            .clone()
            .task(TaskSpec::new("low", 3))
            .task(TaskSpec::new("high", 3).priority(5)),
    );
    assert_eq!(placed.choices["high"], on(&[("b", 2), ("c", 1)]));
    assert_eq!(placed.choices["low"], on(&[("c", 1), ("a", 2)]));
    assert_eq!(
        placed.answer.scores,
        [0.3, 0.1, 0.2],
        "one score for each candidate of the one shape"
    );

    let placed = place(&offers.task(TaskSpec::new("big", 20)));
    assert_eq!(
        placed.unplaced["big"],
        (
            6,
            "6 of 20 replicas: no candidate has capacity left".to_owned()
        )
    );
}

#[test]
fn ties_go_to_the_lower_offer_and_costs_are_shared_between_tasks_of_a_shape() {
    let batch = (0..40).fold(Batch::new(), |batch, i| {
        batch.offer(OfferSpec::new(&format!("o{i}"), 0.1).capacity(1))
    });
    let placed = place(&(0..45).fold(batch, |batch, i| {
        batch.task(TaskSpec::new(&format!("t{i:02}"), 1))
    }));
    assert_eq!(placed.choices["t00"], on(&[("o0", 1)]));
    assert_eq!(placed.choices["t39"], on(&[("o39", 1)]));
    assert_eq!(placed.unplaced.len(), 5);
}

#[test]
fn shared_offers_are_bounded_by_their_free_room() {
    let shared = OfferSpec::new("pool", 0.1).with(|offer| {
        offer.shared = true;
        offer.free_cpu = 2500;
        offer.free_memory = 100 << 30;
    });
    let placed = place(&Batch::new().offer(shared).task(TaskSpec::new("web", 4)));
    assert_eq!(placed.choices["web"], on(&[("pool", 2)]));
    assert_eq!(placed.unplaced["web"].0, 2);
}

#[test]
fn spread_and_hourly_limits_hold() {
    let batch = Batch::new()
        .offer(OfferSpec::new("a1", 0.1).place("eu", "a"))
        .offer(OfferSpec::new("a2", 0.11).place("eu", "a"))
        .offer(OfferSpec::new("b", 0.2).place("eu", "b"));
    let placed = place(
        &batch
            .clone()
            .task(TaskSpec::new("web", 5).spread(Spread::Zone, 2)),
    );
    assert_eq!(placed.choices["web"], on(&[("a1", 2), ("b", 2)]));
    assert_eq!(
        placed.unplaced["web"],
        (
            1,
            "1 of 5 replicas: at most 2 may run per zone, and there are no more of them".to_owned()
        )
    );

    let placed = place(&batch.task(TaskSpec::new("web", 5).max_hourly(0.35)));
    assert_eq!(placed.choices["web"], on(&[("a1", 3)]));
    assert_eq!(
        placed.unplaced["web"],
        (
            2,
            "2 of 5 replicas: the limit of $0.35 per hour allows no more".to_owned()
        )
    );
}

#[test]
fn replicas_stay_where_they_run_unless_told_otherwise() {
    // The old place has no capacity left, which those that run there already don't need.
    let batch = Batch::new()
        .offer(OfferSpec::new("old", 0.3).capacity(0))
        .offer(OfferSpec::new("new", 0.1));
    let grown = batch
        .clone()
        .task(TaskSpec::new("web", 4).runs_on("old", 2));
    assert_eq!(place(&grown).choices["web"], on(&[("old", 2), ("new", 2)]));
    assert_eq!(
        grown.rank::<ByCost>(r#"{"sticky":false}"#).unwrap().choices["web"],
        on(&[("new", 4)])
    );
    let shrunk = batch
        .clone()
        .task(TaskSpec::new("web", 2).runs_on("old", 2).runs_on("new", 1));
    assert_eq!(
        place(&shrunk).choices["web"],
        on(&[("new", 1), ("old", 1)]),
        "the dearest goes first"
    );
    let moved = batch.task(TaskSpec::new("web", 2).runs_on("old", 2).only(&["new"]));
    assert_eq!(
        place(&moved).choices["web"],
        on(&[("new", 2)]),
        "an offer that is no candidate any more is left"
    );
}

#[test]
fn candidates_may_be_refused_and_nothing_is_said_twice() {
    let batch = Batch::new()
        .offer(OfferSpec::new("dear", 9.0))
        .task(TaskSpec::new("web", 1))
        .task(TaskSpec::new("none", 1).only(&[]));
    let placed = batch.rank::<ByCost>(r#"{"never":1}"#).unwrap();
    assert_eq!(
        placed.unplaced["web"].1,
        "1 of 1 replicas: the policy found no candidate good enough"
    );
    assert_eq!(
        placed.unplaced["none"].1,
        "1 of 1 replicas: no offer satisfies every constraint"
    );
    assert!(placed.answer.scores.iter().all(|score| score.is_finite()));
    let refused: Error = batch.rank::<ByCost>(r#"{"stikcy":true}"#).unwrap_err();
    assert_eq!(refused.field.as_deref(), Some("settings.stikcy"));
}

#[test]
fn affinity_holds_and_the_strictest_kind_counts() {
    let batch = Batch::new()
        .offer(OfferSpec::new("a", 0.1).place("eu", "a").capacity(3))
        .offer(OfferSpec::new("b", 0.2).place("eu", "b").capacity(9))
        .offer(OfferSpec::new("c", 0.3).place("us", "c").capacity(9));
    let friends = batch
        .clone()
        .task(TaskSpec::new("web", 2).affinity("pair", Spread::Region))
        .task(TaskSpec::new("cache", 2).affinity("pair", Spread::Zone));
    let placed = place(&friends);
    assert_eq!(
        (&placed.choices["web"], &placed.choices["cache"]),
        (&on(&[("a", 2)]), &on(&[("a", 1)])),
        "the narrower kind counts"
    );
    assert!(
        placed.unplaced["cache"].1.contains("affinity"),
        "{:?}",
        placed.unplaced
    );

    let rivals = batch
        .task(TaskSpec::new("one", 1).anti_affinity("alone", Spread::Zone))
        .task(TaskSpec::new("two", 1).anti_affinity("alone", Spread::Region));
    let placed = place(&rivals);
    assert_eq!(
        (&placed.choices["one"], &placed.choices["two"]),
        (&on(&[("a", 1)]), &on(&[("c", 1)])),
        "the wider kind counts"
    );
}

/// Any request: no limit is broken (`Batch` checks), and a replica is left over only where nothing has room for it.
#[test]
fn random_requests_break_no_limit() {
    let mut seed = 7u64;
    let mut random = move |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..300 {
        let mut batch = Batch::new();
        let offers = 1 + random(12);
        for i in 0..offers {
            let (zone, capacity, shared) =
                (format!("z{}", random(3)), random(4) as u32, random(4) == 0);
            batch = batch.offer(
                OfferSpec::new(&format!("o{i}"), random(50) as f64 / 100.0)
                    .place("r", &zone)
                    .capacity(capacity)
                    .with(|offer| {
                        offer.shared = shared;
                        offer.free_cpu = if shared { 3000 } else { u64::MAX };
                    }),
            );
        }
        let mut unlimited = Vec::new();
        for i in 0..1 + random(8) {
            let mut task = TaskSpec::new(&format!("t{i}"), 1 + random(6) as u32)
                .priority(random(3) as i32)
                .needs(500 + 500 * random(3) as u32, 1);
            if random(2) == 0 {
                task = task.runs_on(&format!("o{}", random(offers)), 1 + random(3) as u32);
            }
            match random(6) {
                0 => task = task.spread(Spread::Zone, 1 + random(3) as u32),
                1 => task = task.max_hourly(random(100) as f64 / 100.0),
                2 => task = task.affinity("with", Spread::Zone),
                3 => task = task.anti_affinity("without", Spread::Zone),
                _ => unlimited.push(format!("t{i}")),
            }
            batch = batch.task(task);
        }
        let sticky = round % 2 == 0;
        let placed = batch
            .rank::<ByCost>(&format!(r#"{{"sticky":{sticky}}}"#))
            .unwrap();
        let unbounded = placed
            .unplaced
            .iter()
            .filter(|(task, _)| unlimited.contains(task));
        unbounded.for_each(|(task, (_, reason))| {
            assert!(
                reason.ends_with("no candidate has capacity left"),
                "{task}: {reason}"
            )
        });
        assert_eq!(
            placed.answer,
            batch
                .rank::<ByCost>(&format!(r#"{{"sticky":{sticky}}}"#))
                .unwrap()
                .answer,
            "the same request, the same answer"
        );
    }
}
