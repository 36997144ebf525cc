//! What a fuzzer begins with: good inputs, and the words that are in them.

use std::{fs, io, path::Path, sync::Arc};

use serde_json::Value;
use tradewind_core::{
    manifest::json_schema,
    names::Digest,
    offer::Offer,
    placement::{
        Answer, Candidates, Expected, Group, PlacedOffer, Request, Shape, Spread, Task,
        recorded::{Excluded, Measure, Recorded, ShapeLimits, encode},
    },
    plugin::Identity,
    units::{Bytes, Instant, MicroUsd, MilliCpu, Millis},
    workload::{Accelerator, Resources},
};

/// The manifests in a folder of `tests/manifests`: `good` or `bad`.
///
/// # Errors
/// When the folder can't be read.
pub fn manifests(kind: &str) -> io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder.join(kind))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "yaml" || e == "json") {
            found.push(fs::read(path)?);
        }
    }
    found.sort();
    Ok(found)
}

/// Every name of a field, and every word that a field can hold.
pub fn words() -> Vec<String> {
    fn collect(schema: &Value, words: &mut Vec<String>) {
        match schema {
            Value::Object(map) => {
                for (key, value) in map {
                    match (key.as_str(), value) {
                        ("properties", Value::Object(fields)) => {
                            words.extend(fields.keys().cloned());
                        }
                        ("const", Value::String(word)) => words.push(word.clone()),
                        ("enum", Value::Array(all)) => {
                            words.extend(all.iter().filter_map(Value::as_str).map(str::to_owned));
                        }
                        _ => {}
                    }
                    collect(value, words);
                }
            }
            Value::Array(all) => all.iter().for_each(|value| collect(value, words)),
            _ => {}
        }
    }
    let mut words = Vec::new();
    collect(&json_schema(), &mut words);
    words.sort();
    words.dedup();
    words
}

/// The inside of a record in which everything occurs.
pub fn record() -> Vec<u8> {
    let bytes = encode(&recorded()).expect("a small record can be kept");
    // Behind the name and the version.
    let packed = bytes.get(6..).expect("a record has a head");
    lz4_flex::block::decompress_size_prepended(packed).expect("it was packed just now")
}

fn recorded() -> Recorded {
    let name = |text: &str| text.parse().expect("a name");
    let mut offer = Offer::new("small", MilliCpu(4000), Bytes(8 << 30), MicroUsd(40_000));
    offer.region = Arc::from("north-1");
    offer.labels.insert("tier".to_owned(), "gold".to_owned());
    offer.metrics.push((Arc::from("power"), 7.5));
    let offer = PlacedOffer {
        provider: "north".parse().expect("a name"),
        offer,
    };
    let resources = Resources {
        cpu: MilliCpu(1000),
        memory: Bytes(1 << 30),
        disk: Bytes(0),
        accelerators: vec![Accelerator {
            kind: "t4".to_owned(),
            count: 1,
            memory: Bytes(16 << 30),
        }],
    };
    let group = |over| {
        Some(Group {
            word: "default/a".to_owned(),
            over,
        })
    };
    let task = Task {
        namespace: "default".parse().expect("a name"),
        deployment: "web".parse().expect("a name"),
        name: name("web"),
        shape: 0,
        replicas: 2,
        priority: 5,
        job: false,
        spread: Spread::Region,
        spread_max: 2,
        max_hourly: MicroUsd(1_000_000),
        current: vec![(0, 1)],
        labels: [("app".to_owned(), "web".to_owned())].into(),
        affinity: group(Spread::Zone),
        anti_affinity: group(Spread::Provider),
        deadline: Some(Millis(60_000)),
        expected: Expected {
            migration_cost: MicroUsd(10),
            egress: Bytes(1 << 20),
            request_rate: Some(12.5),
        },
    };
    Recorded {
        at: Instant(1_700_000_000_000),
        policy: Identity {
            instance: "cheapest".parse().expect("a name"),
            plugin: "cheapest".to_owned(),
            version: "1.0.0".to_owned(),
            component: Digest::of(b"component"),
            settings: Digest::of(b"settings"),
        },
        request: Request {
            seed: 7,
            tasks: vec![task],
            shapes: vec![Shape {
                resources,
                duration: Millis(3_600_000),
            }],
            candidates: Candidates {
                start: vec![0, 1],
                offer: vec![0],
                cost: vec![40_000],
                expected: vec![41_000],
                hourly: vec![40_000],
                units: vec![1.0],
                hours: vec![1.0],
            },
            offers: Arc::new(vec![offer]),
        },
        limits: vec![ShapeLimits {
            max_hourly: Some(MicroUsd(50_000)),
            excluded: vec![Excluded {
                reason: "too small".to_owned(),
                measure: Measure::Cpu,
                offers: vec![0],
            }],
        }],
        answer: Answer {
            task: vec![0],
            offer: vec![0],
            replicas: vec![1],
            scores: vec![0.5],
            unplaced: vec![(0, 1, "no room".to_owned())],
            lower_bound: Some(MicroUsd(40_000)),
            note: "a note".to_owned(),
        },
    }
}
