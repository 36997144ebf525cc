//! Hard constraints, candidates, and the check of a policy's answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test that can't go on fails")]

use std::{collections::BTreeMap, sync::Arc};

use tradewind_core::{
    manifest::{self, Format},
    names::InstanceName,
    offer::{Offer, PriceUnit},
    placement::{self, Answer, PlacedOffer, RankBy, Refusal, Request, Table, Want},
    plugin::Features,
    units::{Bytes, GIB, MicroUsd, MilliCpu},
};

fn name(text: &str) -> InstanceName {
    text.parse().unwrap()
}

fn offer(provider: &str, id: &str, region: &str, cpu: u32, price: u64) -> PlacedOffer {
    let mut offer = Offer::new(id, MilliCpu(cpu), Bytes(4 * GIB), MicroUsd(price));
    offer.region = Arc::from(region);
    offer.capacity = 3;
    PlacedOffer { provider: name(provider), offer }
}

fn table(offers: Vec<PlacedOffer>) -> Table {
    let all = Features {
        images: true,
        commands: true,
        services: true,
        jobs: true,
        volumes: true,
        networks: true,
        secrets: true,
        files: true,
        resize: true,
        command_checks: true,
        logs: true,
    };
    let features: BTreeMap<_, _> = offers.iter().map(|o| (o.provider.clone(), all)).collect();
    Table::new(Arc::new(offers), features, Default::default())
}

fn want(service: &str) -> Want {
    let text = format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: web}}\nspec:\n  services:\n    web: {{command: [serve], {service}}}\n"
    );
    let manifest = manifest::parse(text.as_bytes(), Format::Yaml).unwrap();
    let task = manifest::resolve(&manifest).remove(0);
    Want::of(&manifest.metadata.namespace, &manifest.metadata.name, &task)
}

#[test]
fn each_constraint_excludes_and_says_why() {
    let mut spot = offer("a", "spot", "r1", 1000, 1);
    spot.offer.spot = true;
    let mut full = offer("a", "full", "r1", 1000, 1);
    full.offer.capacity = 0;
    let mut labelled = offer("a", "labelled", "r1", 1000, 5);
    labelled.offer.labels.insert("tier".into(), "gold".into());
    let mut pool = offer("b", "pool", "r2", 8000, 1);
    (pool.offer.shared, pool.offer.free_cpu) = (true, 400);
    let table = table(vec![offer("a", "small", "r1", 400, 1), offer("a", "dear", "r1", 1000, 9), spot, full, labelled, pool]);
    let cases = [
        ("resources: {cpu: 500m}", vec!["labelled", "dear"], "fewer cores than 500m"),
        ("resources: {cpu: 500m}, placement: {maxPrice: 0.000005}", vec!["labelled"], "costs more than"),
        ("resources: {cpu: 500m}, placement: {spot: true}", vec!["spot", "labelled", "dear"], "no capacity left"),
        ("resources: {cpu: 500m}, placement: {labels: {tier: gold}}", vec!["labelled"], "the label tier=gold is missing"),
        ("resources: {cpu: 300m}, placement: {regions: [r2]}", vec!["pool"], "the region is not among"),
        ("resources: {cpu: 300m}, placement: {providers: [b]}", vec!["pool"], "provider \"a\" is not among"),
        ("resources: {cpu: 500m, gpu: 1}", vec![], "no 1 × accelerators"),
    ];
    for (service, expected, reason) in cases {
        let want = want(service);
        let ranked = table.ranked(&want, RankBy::Cost);
        let got: Vec<&str> = ranked.iter().map(|&i| &*table.offers()[i as usize].offer.id).collect();
        assert_eq!(got, expected, "{service}");
        let excluded = table.excluded(&want);
        assert!(excluded.iter().any(|e| e.reason.contains(reason)), "{service}: {excluded:?}");
        let counted: usize = excluded.iter().map(|e| e.offers as usize).sum();
        assert_eq!(counted + expected.len(), table.offers().len(), "every offer is a candidate or has a reason");
    }
}

#[test]
fn a_task_keeps_a_full_offer_that_it_holds_and_equal_needs_share_a_shape() {
    let mut full = offer("a", "full", "r1", 1000, 1);
    full.offer.capacity = 0;
    let table = table(vec![full, offer("a", "free", "r1", 1000, 2)]);
    let mut holder = want("replicas: 1");
    holder.current = vec![(name("a"), "full".to_owned(), 1)];
    let request = placement::build(&[want("replicas: 1"), want("replicas: 2"), holder], &table, 7);
    assert_eq!(request.tasks.iter().map(|t| t.shape).collect::<Vec<_>>(), [0, 0, 1]);
    assert_eq!(request.candidates.offer, [1, 0, 1]);
    assert_eq!(request.tasks[2].current, [(0, 1)]);
}

#[test]
fn costs_follow_the_unit_of_the_offer() {
    let mut by_cpu = offer("a", "x", "r1", 2000, 500_000);
    by_cpu.offer.price_unit = PriceUnit::Cpu;
    let request = placement::build(&[want("duration: 2h, resources: {cpu: 1}")], &table(vec![by_cpu]), 0);
    assert_eq!((request.candidates.hourly[0], request.candidates.cost[0]), (1_000_000, 2_000_000));
    assert_eq!((request.candidates.units[0], request.candidates.hours[0]), (2.0, 2.0));
}

fn request() -> Request {
    let mut shared = offer("b", "pool", "r2", 8000, 1);
    (shared.offer.shared, shared.offer.capacity, shared.offer.free_cpu, shared.offer.free_memory) = (true, u32::MAX, 1000, 8 * GIB);
    let table = table(vec![offer("a", "x", "r1", 1000, 1), offer("a", "y", "r1", 1000, 2), offer("a", "tiny", "r1", 100, 1), shared]);
    let spread = "replicas: 4, resources: {cpu: 500m}, placement: {spread: {over: region, max: 2}}";
    placement::build(&[want("replicas: 5, resources: {cpu: 500m}"), want(spread)], &table, 0)
}

fn answer(rows: &[(u32, u32, u32)]) -> Answer {
    Answer {
        task: rows.iter().map(|r| r.0).collect(),
        offer: rows.iter().map(|r| r.1).collect(),
        replicas: rows.iter().map(|r| r.2).collect(),
        ..Default::default()
    }
}

#[test]
fn an_acceptable_answer_is_taken_and_the_rest_counts_as_unplaced() {
    let placed = placement::validate(&request(), &answer(&[(0, 0, 3), (1, 1, 2), (1, 3, 2)])).unwrap();
    assert_eq!(placed[0].choices.iter().map(|c| (c.offer, c.replicas)).collect::<Vec<_>>(), [(0, 3)]);
    assert_eq!(placed[0].unplaced.as_ref().map(|u| u.0), Some(2));
    assert_eq!(placed[1].unplaced, None);
}

#[test]
fn each_broken_rule_is_refused_with_its_row() {
    let request = request();
    let refused = |answer: Answer| placement::validate(&request, &answer).expect_err("must be refused");
    assert!(matches!(refused(answer(&[(9, 0, 1)])), Refusal::UnknownTask { row: 0, task: 9, .. }));
    assert!(matches!(refused(answer(&[(0, 0, 1), (0, 99, 1)])), Refusal::UnknownOffer { row: 1, offer: 99, .. }));
    assert!(matches!(refused(answer(&[(0, 2, 1)])), Refusal::NotACandidate { row: 0, .. }));
    assert!(matches!(refused(answer(&[(0, 0, 1), (0, 0, 1)])), Refusal::Twice { row: 1, .. }));
    assert!(matches!(refused(answer(&[(0, 0, 0)])), Refusal::Zero { row: 0 }));
    assert!(matches!(refused(answer(&[(0, 0, 3), (0, 1, 3)])), Refusal::TooMany { row: 1, given: 6, wanted: 5, .. }));
    assert!(matches!(refused(answer(&[(0, 0, 2), (1, 0, 2)])), Refusal::Overfilled { row: 1, .. }));
    assert!(matches!(refused(answer(&[(0, 3, 3)])), Refusal::Overfilled { row: 0, .. }));
    assert!(matches!(refused(answer(&[(1, 0, 1), (1, 1, 2)])), Refusal::Spread { row: 1, given: 3, max: 2, .. }));
    assert!(matches!(refused(Answer { scores: vec![1.0], ..Default::default() }), Refusal::Scores { given: 1, wanted: 6 }));
    let scores = vec![0.0, 1.0, f64::NAN, 1.0, 1.0, 1.0];
    assert!(matches!(refused(Answer { scores, ..Default::default() }), Refusal::NotANumber { row: 2 }));
    assert!(matches!(refused(Answer { task: vec![0], ..Default::default() }), Refusal::Columns { .. }));
    assert!(matches!(
        refused(Answer { unplaced: vec![(7, 1, String::new())], ..Default::default() }),
        Refusal::UnplacedTask { row: 0, .. }
    ));
    // The 32-bit sums of an evil answer must not wrap round.
    assert!(matches!(refused(answer(&[(0, 0, u32::MAX), (0, 1, u32::MAX)])), Refusal::TooMany { row: 0, .. }));
}
