//! Hard constraints, candidates, and the check of a policy's answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails"
)]

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use tradewind_core::{
    manifest::{self, Constraints},
    names::InstanceName,
    offer::{Offer, PriceUnit},
    placement::{
        self, Answer, Closed, Domain, Group, Neighbour, PlacedOffer, RankBy, Refusal, Request,
        Spot, Spread, Table, Want,
    },
    plugin::Features,
    units::{Bytes, GIB, MicroUsd, MilliCpu},
};
use tradewind_manifest::Format;

fn name(text: &str) -> InstanceName {
    text.parse().unwrap()
}

fn offer(provider: &str, id: &str, region: &str, cpu: u32, price: u64) -> PlacedOffer {
    let mut offer = Offer::new(id, MilliCpu(cpu), Bytes(4 * GIB), MicroUsd(price));
    offer.region = Arc::from(region);
    offer.capacity = 3;
    PlacedOffer {
        provider: name(provider),
        offer,
    }
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
        one_machine: false,
        tells_images: false,
        logs: true,
    };
    let features: BTreeMap<_, _> = offers.iter().map(|o| (o.provider.clone(), all)).collect();
    Table::new(Arc::new(offers), features, Default::default())
}

fn want(service: &str) -> Want {
    let text = format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: web}}\nspec:\n  services:\n    web: {{command: [serve], {service}}}\n"
    );
    let manifest = tradewind_manifest::parse(text.as_bytes(), Format::Yaml).unwrap();
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
    let table = table(vec![
        offer("a", "small", "r1", 400, 1),
        offer("a", "dear", "r1", 1000, 9),
        spot,
        full,
        labelled,
        pool,
    ]);
    let cases = [
        (
            "resources: {cpu: 500m}",
            vec!["labelled", "dear"],
            "fewer cores than 500m",
        ),
        (
            "resources: {cpu: 500m}, placement: {maxPrice: 0.000005}",
            vec!["labelled"],
            "costs more than",
        ),
        (
            "resources: {cpu: 500m}, placement: {spot: true}",
            vec!["spot", "labelled", "dear"],
            "no capacity left",
        ),
        (
            "resources: {cpu: 500m}, placement: {labels: {tier: gold}}",
            vec!["labelled"],
            "the label tier=gold is missing",
        ),
        (
            "resources: {cpu: 300m}, placement: {regions: [r2]}",
            vec!["pool"],
            "the region is not among",
        ),
        (
            "resources: {cpu: 300m}, placement: {providers: [b]}",
            vec!["pool"],
            "provider \"a\" is not among",
        ),
        (
            "resources: {cpu: 500m, gpu: 1}",
            vec![],
            "no 1 × accelerators",
        ),
    ];
    for (service, expected, reason) in cases {
        let want = want(service);
        let ranked = table.ranked(&want, RankBy::Cost);
        let got: Vec<&str> = ranked
            .iter()
            .map(|&i| &*table.offers()[i as usize].offer.id)
            .collect();
        assert_eq!(got, expected, "{service}");
        let excluded = table.excluded(&want);
        assert!(
            excluded.iter().any(|e| e.reason.contains(reason)),
            "{service}: {excluded:?}"
        );
        let counted: usize = excluded.iter().map(|e| e.offers as usize).sum();
        assert_eq!(
            counted + expected.len(),
            table.offers().len(),
            "every offer is a candidate or has a reason"
        );
    }
}

#[test]
fn a_task_keeps_a_full_offer_that_it_holds_and_equal_needs_share_a_shape() {
    let mut full = offer("a", "full", "r1", 1000, 1);
    full.offer.capacity = 0;
    let table = table(vec![full, offer("a", "free", "r1", 1000, 2)]);
    let mut holder = want("replicas: 1");
    holder.current = vec![(name("a"), "full".to_owned(), 1)];
    let request = placement::build(
        &[want("replicas: 1"), want("replicas: 2"), holder],
        &table,
        7,
    );
    assert_eq!(
        request.tasks.iter().map(|t| t.shape).collect::<Vec<_>>(),
        [0, 0, 1]
    );
    assert_eq!(request.candidates.offer, [1, 0, 1]);
    assert_eq!(request.tasks[2].current, [(0, 1)]);
}

#[test]
fn what_is_closed_to_one_task_is_open_to_others_and_never_is_told_from_not_now() {
    let table = table(vec![
        offer("a", "x", "r1", 1000, 1),
        offer("b", "y", "r1", 2000, 2),
    ]);
    let spot = |provider: &str, offer: Option<&str>| (name(provider), offer.map(str::to_owned));
    let refused = |lasting| Closed::Refused {
        cause: "not here".to_owned(),
        lasting,
    };
    let ids = |want: &Want| table.ranked(want, RankBy::Cost);
    let mut one = want("resources: {cpu: 500m}");
    one.need.closed.insert(
        spot("a", Some("x")),
        Closed::Port {
            number: 80,
            own: false,
        },
    );
    assert_eq!(
        (ids(&one), ids(&want("resources: {cpu: 500m}"))),
        (vec![1], vec![0, 1])
    );
    assert!(table.hindrances(&one)[0].contains("the port \"80\" is taken on the machine of \"a\""));
    // Who runs there keeps its place.
    one.current = vec![(name("a"), "x".to_owned(), 1)];
    assert_eq!(ids(&one), [0, 1]);

    let never = |cpu: &str, closed: &[(Spot, Closed)]| {
        let mut want = want(&format!("resources: {{cpu: {cpu}}}"));
        want.need.closed.extend(closed.iter().cloned());
        table.never_fits(&want)
    };
    assert!(never("3", &[]) && !never("2", &[]));
    let both = |lasting| {
        [
            (spot("a", None), refused(lasting)),
            (spot("b", None), refused(lasting)),
        ]
    };
    assert!(never("1", &both(true)) && !never("1", &both(false)));
    assert!(
        never(
            "2",
            &[(
                spot("b", Some("y")),
                Closed::Port {
                    number: 80,
                    own: true
                }
            )]
        ),
        "it has no other machine"
    );
    assert!(
        !never(
            "2",
            &[(
                spot("b", Some("y")),
                Closed::Port {
                    number: 80,
                    own: false
                }
            )]
        ),
        "the port may be free one day"
    );
    assert!(
        !Table::default().never_fits(&want("resources: {cpu: 3}")),
        "nothing is offered yet"
    );
}

#[test]
fn costs_follow_the_unit_of_the_offer() {
    let mut by_cpu = offer("a", "x", "r1", 2000, 500_000);
    by_cpu.offer.price_unit = PriceUnit::Cpu;
    let request = placement::build(
        &[want("duration: 2h, resources: {cpu: 1}")],
        &table(vec![by_cpu]),
        0,
    );
    assert_eq!(
        (request.candidates.hourly[0], request.candidates.cost[0]),
        (1_000_000, 2_000_000)
    );
    assert_eq!(
        (request.candidates.units[0], request.candidates.hours[0]),
        (2.0, 2.0)
    );
}

fn request() -> Request {
    let mut shared = offer("b", "pool", "r2", 8000, 1);
    (
        shared.offer.shared,
        shared.offer.capacity,
        shared.offer.free_cpu,
        shared.offer.free_memory,
    ) = (true, u32::MAX, 1000, 8 * GIB);
    let table = table(vec![
        offer("a", "x", "r1", 1000, 1),
        offer("a", "y", "r1", 1000, 2),
        offer("a", "tiny", "r1", 100, 1),
        shared,
    ]);
    let spread = "replicas: 4, resources: {cpu: 500m}, placement: {spread: {over: region, max: 2}}";
    placement::build(
        &[want("replicas: 5, resources: {cpu: 500m}"), want(spread)],
        &table,
        0,
    )
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
    let placed =
        placement::validate(&request(), &answer(&[(0, 0, 3), (1, 1, 2), (1, 3, 2)])).unwrap();
    assert_eq!(
        placed[0]
            .choices
            .iter()
            .map(|c| (c.offer, c.replicas))
            .collect::<Vec<_>>(),
        [(0, 3)]
    );
    assert_eq!(placed[0].unplaced.as_ref().map(|u| u.0), Some(2));
    assert_eq!(placed[1].unplaced, None);
}

#[test]
fn each_broken_rule_is_refused_with_its_row() {
    let request = request();
    let refused =
        |answer: Answer| placement::validate(&request, &answer).expect_err("must be refused");
    assert!(matches!(
        refused(answer(&[(9, 0, 1)])),
        Refusal::UnknownTask {
            row: 0,
            task: 9,
            ..
        }
    ));
    assert!(matches!(
        refused(answer(&[(0, 0, 1), (0, 99, 1)])),
        Refusal::UnknownOffer {
            row: 1,
            offer: 99,
            ..
        }
    ));
    assert!(matches!(
        refused(answer(&[(0, 2, 1)])),
        Refusal::NotACandidate { row: 0, .. }
    ));
    assert!(matches!(
        refused(answer(&[(0, 0, 1), (0, 0, 1)])),
        Refusal::Twice { row: 1, .. }
    ));
    assert!(matches!(
        refused(answer(&[(0, 0, 0)])),
        Refusal::Zero { row: 0 }
    ));
    assert!(matches!(
        refused(answer(&[(0, 0, 3), (0, 1, 3)])),
        Refusal::TooMany {
            row: 1,
            given: 6,
            wanted: 5,
            ..
        }
    ));
    assert!(matches!(
        refused(answer(&[(0, 0, 2), (1, 0, 2)])),
        Refusal::Overfilled { row: 1, .. }
    ));
    assert!(matches!(
        refused(answer(&[(0, 3, 3)])),
        Refusal::Overfilled { row: 0, .. }
    ));
    assert!(matches!(
        refused(answer(&[(1, 0, 1), (1, 1, 2)])),
        Refusal::Spread {
            row: 1,
            given: 3,
            max: 2,
            ..
        }
    ));
    assert!(matches!(
        refused(Answer {
            scores: vec![1.0],
            ..Default::default()
        }),
        Refusal::Scores {
            given: 1,
            wanted: 6
        }
    ));
    let scores = vec![0.0, 1.0, f64::NAN, 1.0, 1.0, 1.0];
    assert!(matches!(
        refused(Answer {
            scores,
            ..Default::default()
        }),
        Refusal::NotANumber { row: 2 }
    ));
    assert!(matches!(
        refused(Answer {
            task: vec![0],
            ..Default::default()
        }),
        Refusal::Columns { .. }
    ));
    assert!(matches!(
        refused(Answer {
            unplaced: vec![(7, 1, String::new())],
            ..Default::default()
        }),
        Refusal::UnplacedTask { row: 0, .. }
    ));
    // The 32-bit sums of an evil answer must not wrap round.
    assert!(matches!(
        refused(answer(&[(0, 0, u32::MAX), (0, 1, u32::MAX)])),
        Refusal::TooMany { row: 0, .. }
    ));
}

/// Two providers with two regions each, and two zones in each of those.
fn places() -> Vec<PlacedOffer> {
    let mut offers = Vec::new();
    for (n, (provider, region, zone)) in ["a", "b"]
        .iter()
        .flat_map(|p| ["r1", "r2"].map(|r| ["z1", "z2"].map(|z| (*p, r, z))))
        .flatten()
        .enumerate()
    {
        let mut placed = offer(
            provider,
            &format!("{region}-{zone}"),
            region,
            1000,
            1 + n as u64,
        );
        (placed.offer.zone, placed.offer.capacity) = (Arc::from(zone), 12);
        offers.push(placed);
    }
    offers
}

fn domain_of(over: Spread, placed: &PlacedOffer) -> (String, String, String) {
    let keep = |from: Spread, text: &str| {
        if over <= from {
            text.to_owned()
        } else {
            String::new()
        }
    };
    (
        placed.provider.to_string(),
        keep(Spread::Region, &placed.offer.region),
        keep(Spread::Zone, &placed.offer.zone),
    )
}

fn bound(task: &str, affinity: Option<(&str, Spread)>, apart: Option<(&str, Spread)>) -> Want {
    let group = |(word, over): (&str, Spread)| Group {
        word: word.to_owned(),
        over,
    };
    let mut want = want("replicas: 3");
    want.task = task.parse().unwrap();
    (
        want.need.constraints.affinity,
        want.need.constraints.anti_affinity,
    ) = (affinity.map(group), apart.map(group));
    want
}

#[test]
fn answers_that_break_affinity_are_refused_with_the_row() {
    let together = |over| Some(("db", over));
    let request = placement::build(
        &[
            bound("one", together(Spread::Region), None),
            bound("two", together(Spread::Zone), None),
            bound("free", None, None),
        ],
        &table(places()),
        0,
    );
    let told = |rows: &[(u32, u32, u32)]| {
        placement::validate(&request, &answer(rows)).map_err(|e| e.to_string())
    };
    assert_eq!(told(&[(0, 0, 3), (1, 0, 3), (2, 5, 3)]).err(), None);
    let refused = told(&[(0, 0, 3), (1, 1, 3)]).unwrap_err();
    assert_eq!(
        refused,
        "row 1: task 1 (\"two\") is not in the zone of the other tasks with affinity \"default/db\"",
        "the narrowest counts"
    );
    assert!(
        told(&[(0, 0, 1), (0, 1, 2)]).is_err(),
        "the replicas of one task share the domain as well"
    );

    let apart = |over| Some(("db", over));
    let request = placement::build(
        &[
            bound("one", None, apart(Spread::Zone)),
            bound("two", None, apart(Spread::Region)),
        ],
        &table(places()),
        0,
    );
    let told = |rows: &[(u32, u32, u32)]| {
        placement::validate(&request, &answer(rows)).map_err(|e| e.to_string())
    };
    assert!(
        told(&[(0, 0, 2), (0, 1, 1), (1, 2, 3)]).is_ok(),
        "replicas of one task may share a domain"
    );
    let refused = told(&[(0, 0, 3), (1, 1, 3)]).unwrap_err();
    assert!(
        refused.contains("row 1: task 1 (\"two\") is in a region of task 0"),
        "the widest counts: {refused}"
    );
}

#[test]
fn what_runs_already_leaves_only_the_places_that_affinity_admits() {
    let table = table(places());
    let there = |want: &Want, over: Spread, apart: bool, place: usize| {
        let mut constraints = want.need.constraints.clone();
        let group = Some(Group {
            word: "db".to_owned(),
            over,
        });
        (constraints.affinity, constraints.anti_affinity) =
            if apart { (None, group) } else { (group, None) };
        let PlacedOffer { provider, offer } = &table.offers()[place];
        (
            constraints,
            vec![Domain::new(provider, &offer.region, &offer.zone)],
        )
    };
    let candidates =
        |mut want: Want, constraints: Constraints, places: Vec<Domain>, part_of: Option<usize>| {
            let namespace = want.namespace.clone();
            let neighbour = Neighbour {
                namespace: &namespace,
                constraints: &constraints,
                places,
                part_of,
            };
            placement::apply_affinity(std::slice::from_mut(&mut want), &[neighbour]);
            let mut offers = table.ranked(&want, RankBy::Cost);
            offers.sort_unstable();
            (offers, table.excluded(&want))
        };
    let one = bound("one", Some(("db", Spread::Region)), None);
    let (constraints, places) = there(&one, Spread::Region, false, 2);
    let (offers, excluded) = candidates(one.clone(), constraints, places, None);
    assert_eq!(offers, [2, 3]);
    assert_eq!(
        excluded[0].reason,
        "not in the region where the other tasks with affinity \"db\" are (placement.affinity)"
    );

    let one = bound("one", None, Some(("db", Spread::Zone)));
    let (constraints, places) = there(&one, Spread::Region, true, 2);
    let (offers, excluded) = candidates(one.clone(), constraints.clone(), places.clone(), None);
    assert_eq!(
        (offers, excluded[0].offers),
        (vec![0, 1, 4, 5, 6, 7], 2),
        "the widest counts"
    );
    assert_eq!(
        candidates(one.clone(), constraints.clone(), places.clone(), Some(0))
            .0
            .len(),
        8,
        "its own replicas keep it from nothing"
    );
    let elsewhere = Want {
        namespace: "other".parse().unwrap(),
        ..one
    };
    let neighbour = Neighbour {
        namespace: &"default".parse().unwrap(),
        constraints: &constraints,
        places,
        part_of: None,
    };
    let mut wants = [elsewhere];
    placement::apply_affinity(&mut wants, &[neighbour]);
    assert_eq!(
        table.ranked(&wants[0], RankBy::Cost).len(),
        8,
        "words bind within a namespace"
    );
}

#[test]
fn a_job_goes_only_where_it_ends_in_time() {
    let mut fast = offer("a", "fast", "r1", 1000, 9);
    fast.offer.performance = 2.0;
    let table = table(vec![offer("a", "slow", "r1", 1000, 1), fast]);
    let text = |job: &str| {
        format!(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: j}}\nspec:\n  jobs:\n    j: {{command: [run], {job}}}\n"
        )
    };
    let candidates = |job: &str| {
        let manifest = tradewind_manifest::parse(text(job).as_bytes(), Format::Yaml).unwrap();
        let want = Want::of(
            &manifest.metadata.namespace,
            &manifest.metadata.name,
            &manifest::resolve(&manifest)[0],
        );
        (table.ranked(&want, RankBy::Cost), table.excluded(&want))
    };
    let (offers, excluded) = candidates("duration: 2h, deadline: 1h");
    assert_eq!(
        (offers, excluded[0].reason.as_str()),
        (vec![1], "takes longer than 1h there (deadline)")
    );
    assert_eq!(candidates("duration: 2h, deadline: 2h").0, [0, 1]);
    assert_eq!(
        candidates("deadline: 5m").0,
        [0, 1],
        "an estimate that nobody made excludes nothing"
    );
}

proptest! {
    /// Whatever a policy answers: what is accepted breaks no hard constraint. The rules are written down here a second time, and plainly.
    #[test]
    fn no_accepted_answer_breaks_a_hard_constraint(
        tasks in proptest::collection::vec((1u32..5, 0usize..4, 0usize..4, 1usize..4, 1usize..4), 1..5),
        rows in proptest::collection::vec((0u32..5, 0u32..8, 1u32..4), 0..7),
    ) {
        const KINDS: [Spread; 4] = [Spread::None, Spread::Zone, Spread::Region, Spread::Provider];
        let wants: Vec<Want> = tasks.iter().enumerate().map(|(i, (replicas, spread, words, near, far))| {
            let near = (words & 1 != 0).then_some(("near", KINDS[*near]));
            let far = (words & 2 != 0).then_some(("far", KINDS[*far]));
            let mut want = bound(&format!("t{i}"), near, far);
            (want.replicas, want.need.constraints.spread, want.need.constraints.spread_max) = (*replicas, KINDS[*spread], Some(2));
            want
        }).collect();
        let request = placement::build(&wants, &table(places()), 0);
        let answer = answer(&rows);
        let Ok(placed) = placement::validate(&request, &answer) else { return Ok(()) };
        let all: Vec<(usize, &PlacedOffer, u32)> = placed.iter().enumerate()
            .flat_map(|(t, p)| p.choices.iter().map(move |c| (t, c.offer, c.replicas)))
            .map(|(t, o, n)| (t, &request.offers[o as usize], n)).collect();
        for (t, want) in wants.iter().enumerate() {
            let mine = || all.iter().filter(|(of, ..)| *of == t);
            prop_assert!(mine().map(|(.., n)| n).sum::<u32>() <= want.replicas);
            let constraints = &want.need.constraints;
            for (_, place, _) in mine() {
                if constraints.spread != Spread::None {
                    let here = domain_of(constraints.spread, place);
                    let there: u32 = mine().filter(|(_, p, _)| domain_of(constraints.spread, p) == here).map(|(.., n)| n).sum();
                    prop_assert!(there <= 2);
                }
                for (other, theirs, _) in &all {
                    let others = &wants[*other].need.constraints;
                    if let (Some(group), Some(_)) = (&constraints.affinity, &others.affinity) {
                        prop_assert_eq!(domain_of(group.over, place), domain_of(group.over, theirs));
                    }
                    if let (Some(group), Some(_), true) = (&constraints.anti_affinity, &others.anti_affinity, *other != t) {
                        prop_assert_ne!(domain_of(group.over, place), domain_of(group.over, theirs));
                    }
                }
            }
        }
        for (i, placed) in request.offers.iter().enumerate() {
            let used: u32 = all.iter().filter(|(_, p, _)| p.offer.id == placed.offer.id && p.provider == placed.provider).map(|(.., n)| n).sum();
            prop_assert!(used <= placed.offer.capacity, "offer {}", i);
        }
    }
}
