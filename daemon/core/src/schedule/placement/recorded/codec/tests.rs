use std::sync::Arc;

use proptest::prelude::*;

use super::{read::measure_of, *};
use crate::{
    base::{
        names::Digest,
        units::{Bytes, Instant, MicroUsd, MilliCpu, Millis},
        version::Identity,
    },
    schedule::placement::recorded::Excluded,
    spec::{
        policy_call::{Expected, Group, Request},
        workload::Accelerator,
    },
};

const NAMES: [&str; 4] = ["a", "web", "eu-north-1", "some-longer-name"];

fn floats() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::NAN),
        Just(-0.0),
        Just(f64::INFINITY),
        any::<f64>()
    ]
}

prop_compose! {
    fn offers()(
        (provider, id, region) in (0..4usize, 0..4usize, 0..4usize),
        (cpu, memory, capacity, price) in any::<(u32, u64, u32, u64)>(),
        (shared, spot, unit, quoted_at) in (any::<bool>(), any::<bool>(), 0..3u8, any::<u64>()),
        performance in floats(),
        carbon in floats(),
        label in 0..4usize,
        metric in floats(),
    ) -> PlacedOffer {
        let mut offer = Offer::new(NAMES[id], MilliCpu(cpu), Bytes(memory), MicroUsd(price));
        offer.region = Arc::from(NAMES[region]);
        offer.price_unit = [PriceUnit::Instance, PriceUnit::Cpu, PriceUnit::CpuMemory][unit as usize];
        (offer.shared, offer.spot, offer.capacity, offer.quoted_at) = (shared, spot, capacity, Instant(quoted_at));
        (offer.performance, offer.carbon) = (performance, carbon);
        offer.labels.insert(NAMES[label].to_owned(), "x".to_owned());
        offer.metrics.push((Arc::from("m"), metric));
        PlacedOffer { provider: NAMES[provider].parse().unwrap(), offer }
    }
}

fn group(kind: usize) -> Option<Group> {
    let over = *[Spread::None, Spread::Zone, Spread::Region, Spread::Provider].get(kind)?;
    (over != Spread::None).then(|| Group {
        word: format!("default/{kind}"),
        over,
    })
}

prop_compose! {
    fn tasks()(
        (name, shape, replicas, priority) in (0..4usize, any::<u32>(), any::<u32>(), any::<i32>()),
        (spread, job, hourly) in (0..4usize, any::<bool>(), any::<u64>()),
        current in prop::collection::vec(any::<(u32, u32)>(), 0..3),
        (near, far, deadline, rate) in (0..4usize, 0..4usize, any::<Option<u64>>(), any::<Option<u32>>()),
    ) -> Task {
        let name = NAMES[name];
        Task {
            namespace: name.parse().unwrap(),
            deployment: name.parse().unwrap(),
            name: name.parse().unwrap(),
            shape,
            replicas,
            priority,
            job,
            spread: [Spread::None, Spread::Zone, Spread::Region, Spread::Provider][spread],
            spread_max: replicas,
            max_hourly: MicroUsd(hourly),
            current,
            labels: [(name.to_owned(), String::new())].into(),
            affinity: group(near),
            anti_affinity: group(far),
            deadline: deadline.map(Millis),
            expected: Expected { migration_cost: MicroUsd(hourly / 2), egress: Bytes(u64::from(replicas)), request_rate: rate.map(f64::from) },
        }
    }
}

prop_compose! {
    fn records()(
        offers in prop::collection::vec(offers(), 0..6),
        tasks in prop::collection::vec(tasks(), 0..4),
        rows in prop::collection::vec((any::<u32>(), any::<u64>(), any::<u64>(), floats()), 0..8),
        weighed in any::<bool>(),
        (seed, cpu, duration, max) in any::<(u64, u32, u64, Option<u64>)>(),
        choices in prop::collection::vec(any::<(u32, u32, u32)>(), 0..4),
        scores in prop::collection::vec(floats(), 0..4),
        bound in any::<Option<u64>>(),
        measure in 0..10u8,
    ) -> Recorded {
        let cost: Vec<u64> = rows.iter().map(|r| r.1).collect();
        let accelerators = vec![Accelerator { kind: "gpu".into(), count: cpu, memory: Bytes(duration) }];
        let resources = Resources { cpu: MilliCpu(cpu), memory: Bytes(seed), disk: Bytes(1), accelerators };
        Recorded {
            at: Instant(duration),
            policy: Identity {
                instance: "cheapest".parse().unwrap(),
                plugin: "cheapest".into(),
                version: "1.0.0".into(),
                component: Digest::of(b"c"),
                settings: Digest::of(b"s"),
            },
            request: Request {
                seed,
                tasks,
                shapes: vec![Shape { resources, duration: Millis(duration) }],
                candidates: Candidates {
                    start: vec![0, rows.len() as u32],
                    offer: rows.iter().map(|r| r.0).collect(),
                    expected: if weighed { rows.iter().map(|r| r.2).collect() } else { cost.clone() },
                    hourly: rows.iter().map(|r| r.2).collect(),
                    units: rows.iter().map(|r| r.3).collect(),
                    hours: rows.iter().map(|r| -r.3).collect(),
                    cost,
                },
                offers: Arc::new(offers),
            },
            limits: vec![ShapeLimits {
                max_hourly: max.map(MicroUsd),
                excluded: vec![Excluded { reason: "too small".into(), measure: measure_of(measure).unwrap(), offers: vec![3, 4, 900] }],
            }],
            answer: Answer {
                task: choices.iter().map(|c| c.0).collect(),
                offer: choices.iter().map(|c| c.1).collect(),
                replicas: choices.iter().map(|c| c.2).collect(),
                scores,
                unplaced: vec![(1, 2, "why\u{1f4a1}".into())],
                lower_bound: bound.map(MicroUsd),
                note: "a note".into(),
            },
        }
    }
}

/// `NaN` differs from itself, so what is compared is every bit as it prints and as it is written.
fn bits(recorded: &Recorded) -> String {
    let floats = |column: &[f64]| column.iter().map(|f| f.to_bits()).collect::<Vec<_>>();
    let qualities: Vec<_> = recorded
        .request
        .offers
        .iter()
        .map(|p| floats(&qualities(&p.offer)))
        .collect();
    let c = &recorded.request.candidates;
    format!(
        "{recorded:?} {qualities:?} {:?} {:?} {:?}",
        floats(&c.units),
        floats(&c.hours),
        floats(&recorded.answer.scores)
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_comes_back_bit_for_bit(recorded in records()) {
        let bytes = encode(&recorded).unwrap();
        let back = decode(&bytes).unwrap();
        prop_assert_eq!(bits(&back), bits(&recorded));
        prop_assert_eq!(answer_bytes(&back.answer), answer_bytes(&recorded.answer));
        prop_assert_eq!(encode(&back).unwrap(), bytes);
    }

    #[test]
    fn what_is_damaged_is_refused_or_harmless(recorded in records(), cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>()) {
        let bytes = encode(&recorded).unwrap();
        let mut flipped = bytes.clone();
        flipped[flip.index(bytes.len())] ^= 0x41;
        // Either answer is right for a flipped bit; what matters is that it neither panics nor takes the memory it is told to take.
        let _ = decode(&flipped);
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
    }
}

#[test]
fn other_versions_and_other_files_are_refused_by_name() {
    let mut old = MAGIC.to_vec();
    old.extend([0, 0, 1, 2, 3]);
    assert_eq!(
        decode(&old).unwrap_err().to_string(),
        "it is a record of version 0, and this daemon reads versions up to 2"
    );
    assert!(matches!(decode(b"{\"v\":1}"), Err(Error::Foreign)));
    let mut bomb = MAGIC.to_vec();
    bomb.extend(VERSION.to_le_bytes());
    bomb.extend(u32::MAX.to_le_bytes());
    assert!(matches!(decode(&bomb), Err(Error::Damaged(_))));
}
