//! Worked examples by hand.
#![allow(
    clippy::unwrap_used,
    reason = "the helpers of tests are not marked as tests"
)]

use optimal::Optimal;
use tradewind_plugin_sdk::{
    policy::Spread,
    testing::{Batch, OfferSpec, TaskSpec},
};

/// Per hour, what 0.1 and 0.2 per unit and second are.
fn nodes() -> Batch {
    Batch::new()
        .offer(OfferSpec::new("one", 360.0).capacity(10))
        .offer(OfferSpec::new("two", 720.0).capacity(20))
}

#[test]
fn demand_goes_to_the_cheaper_node_first_and_what_exceeds_both_is_named() {
    let second = 1.0 / 3600.0;
    let placed = nodes()
        .task(TaskSpec::new("units", 20).hours(second))
        .place::<Optimal>("{}")
        .unwrap();
    assert_eq!(
        (
            placed.choices["units"]["one"],
            placed.choices["units"]["two"]
        ),
        (10, 10)
    );
    assert_eq!(
        placed.answer.lower_bound,
        Some(3_000_000),
        "{}",
        placed.answer.note
    );

    let placed = nodes()
        .task(TaskSpec::new("units", 31).hours(second))
        .place::<Optimal>("{}")
        .unwrap();
    assert_eq!(
        (
            placed.choices["units"]["one"],
            placed.choices["units"]["two"]
        ),
        (10, 20)
    );
    assert_eq!(
        placed.unplaced["units"],
        (
            1,
            "1 of 31 replicas: no candidate has capacity left".to_owned()
        )
    );
}

/// The cheapest place for the first is the only one for the second.
#[test]
fn the_batch_counts_and_not_the_single_task() {
    let batch = Batch::new()
        .offer(OfferSpec::new("a", 0.10).capacity(1))
        .offer(OfferSpec::new("b", 0.11).capacity(1))
        .task(TaskSpec::new("first", 1))
        .task(TaskSpec::new("second", 1).only(&["a"]));
    let placed = batch.place::<Optimal>("{}").unwrap();
    assert_eq!(
        (placed.choices["first"]["b"], placed.choices["second"]["a"]),
        (1, 1)
    );
    assert!(placed.unplaced.is_empty());
}

#[test]
fn tasks_that_are_alike_share_what_is_spread_evenly() {
    let offer = |id: &str, usd, zone: &str| OfferSpec::new(id, usd).place("r", zone).capacity(9);
    let batch = Batch::new()
        .offer(offer("a", 0.1, "a"))
        .offer(offer("b", 0.2, "b"))
        .offer(offer("c", 0.3, "c"));
    let batch = (0..5).fold(batch, |batch, i| {
        batch.task(TaskSpec::new(&format!("t{i}"), 4).spread(Spread::Zone, 2))
    });
    let placed = batch.place::<Optimal>("{}").unwrap();
    assert!(placed.unplaced.is_empty(), "{:?}", placed.unplaced);
    assert_eq!(
        placed.answer.lower_bound,
        Some(9 * 100_000 + 9 * 200_000 + 2 * 300_000)
    );
}

#[test]
fn running_replicas_move_only_when_that_pays() {
    let batch = |moving: f64| {
        let task = TaskSpec::new("web", 4)
            .runs_on("old", 2)
            .migration_cost(moving);
        Batch::new()
            .offer(OfferSpec::new("old", 0.3).capacity(0))
            .offer(OfferSpec::new("new", 0.1).capacity(9))
            .task(task)
    };
    let old = |moving: f64, settings: &str| {
        batch(moving).place::<Optimal>(settings).unwrap().choices["web"]
            .get("old")
            .copied()
    };
    assert_eq!(old(0.0, "{}"), Some(2));
    assert_eq!(old(0.1, r#"{"sticky": false}"#), None);
    assert_eq!(old(0.3, r#"{"sticky": false}"#), Some(2));
}
