//! An allocation's steps from version to version. What its fields mean, this module must not know.

use serde_json::{Map, Value};

/// The fields of each part of version 2. Version 1 had them beside each other; this list never changes.
const PARTS: [(&str, &[&str]); 3] = [
    (
        "intent",
        &[
            "provider",
            "offer",
            "hourly",
            "takes",
            "replicas",
            "generation",
            "workload",
            "need",
            "decision",
            "stage",
            "superseded",
            "wanted",
            "drain",
            "traffic",
            "attempt",
            "createdAt",
            "hedge",
            "deadline",
        ],
    ),
    ("handle", &["state", "held", "pinned"]),
    (
        "status",
        &["phase", "meter", "recovery", "lost", "ended", "began"],
    ),
];

/// From version 1 to version 2: the fields go into their parts. What is absent stays absent.
pub(super) fn in_parts(document: Value) -> Result<Value, String> {
    let Value::Object(mut flat) = document else {
        return Err("it is no object".to_owned());
    };
    for (part, names) in PARTS {
        let fields: Map<String, Value> = names
            .iter()
            .filter_map(|name| flat.remove_entry(*name))
            .collect();
        flat.insert(part.to_owned(), fields.into());
    }
    Ok(flat.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        base::units::{Instant, MicroUsd, Millis},
        spec::{
            health::{Recovery, Restarts},
            manifest::Target,
            workload::{ChosenOffer, Phase, Workload},
        },
        state::{
            document::{self, from_slice, to_vec},
            hedge::Hedge,
            job::End,
            ledger::Meter,
            record::{AllocationRecord, AllocationStatus, Handle, Intent, Stage},
            rollout::Drain,
        },
    };

    const WORKLOAD: &str = r#"{"run":{"job":{"retries":0,"deadline":"1h"}},"image":null,"command":["run"],
        "arguments":[],"workingDirectory":null,"user":"","env":[],"ports":[],"volumes":[],"networks":[],"files":[],
        "resources":{"cpu":"100m","memory":"128Mi","disk":"0","accelerators":[]},"limits":null,
        "probes":{"startup":null,"readiness":null,"liveness":null},"stopSignal":"TERM","stopGrace":"10s",
        "scaling":{"min":1,"max":4,"metric":"load","target":0.7},"labels":{"app":"web"},
        "extensions":{"kubernetes":{"a":[1,2.5,"b"]}}}"#;

    /// As version 1 was written, with every field that it had.
    const FULL: &str = r#"{"v":1,"id":"a-1","namespace":"default","deployment":"x","task":"j",
        "target":{"provider":"p","region":"r1","platform":"EKS"},"provider":"p",
        "offer":{"id":"o","region":"r1","zone":"z","size":"s","spot":true,"price":"0.000001","labels":{"k":"v"}},
        "hourly":"0.000005","takes":"1m","replicas":2,"generation":9,"workload":WORKLOAD,
        "need":"sha256:c08f5754b23fde8cda735fd37ca863cc03f7515fa65d4cc45663ecb1aea0488b","decision":"d-1",
        "stage":"intended","superseded":true,"wanted":3,"held":4,"drain":{"to":1,"since":"2023-11-14T22:13:20.000Z"},
        "traffic":250,"attempt":7,"state":"b3BhcXVl","phase":"running","createdAt":"2023-11-14T22:13:19.000Z",
        "meter":{"hourly":"0.00002","since":"2023-11-14T22:13:20.000Z","metered":"0.000021"},
        "recovery":{"failures":3,"here":1,"next":"2023-11-14T22:13:21.000Z","wellSince":"2023-11-14T22:13:20.500Z",
            "reason":"it fell","restarts":{"0":{"seen":2,"row":0}}},
        "lost":true,"hedge":{"group":"a-0","rank":1,"until":"2023-11-14T22:13:22.000Z"},"pinned":true,
        "ended":{"1":{"succeeded":true,"id":"x1","exitCode":0,"startedAt":"2023-11-14T22:13:20.000Z",
            "endedAt":"2023-11-14T22:13:20.900Z","restarts":1,"message":"done"}},
        "began":"2023-11-14T22:13:20.000Z","deadline":"50m"}"#;

    /// As version 1 was written before it had any of the fields that may be absent, `v` included.
    const MINIMAL: &str = r#"{"id":"a-1","namespace":"default","deployment":"x","task":"j","target":null,"provider":"p",
        "offer":{"id":"o","region":"","zone":"","size":"","spot":false,"price":"0.000001","labels":{}},
        "hourly":"0.000001","replicas":2,"generation":1,"workload":WORKLOAD,
        "need":"sha256:c08f5754b23fde8cda735fd37ca863cc03f7515fa65d4cc45663ecb1aea0488b","decision":null,
        "stage":"applied","attempt":0,"phase":"running","createdAt":"1970-01-01T00:00:00.000Z"}"#;

    fn at(millis: u64) -> Instant {
        Instant(1_700_000_000_000 + millis)
    }

    fn workload() -> Workload {
        serde_json::from_str(WORKLOAD).unwrap()
    }

    fn full() -> AllocationRecord {
        AllocationRecord {
            id: "a-1".parse().unwrap(),
            namespace: "default".parse().unwrap(),
            deployment: "x".parse().unwrap(),
            task: "j".parse().unwrap(),
            target: Some(Target {
                provider: "p".parse().unwrap(),
                region: Some("r1".parse().unwrap()),
                platform: Some("EKS".to_owned()),
            }),
            intent: Intent {
                provider: "p".parse().unwrap(),
                offer: ChosenOffer {
                    id: "o".to_owned(),
                    region: "r1".to_owned(),
                    zone: "z".to_owned(),
                    size: "s".to_owned(),
                    spot: true,
                    price: MicroUsd(1),
                    labels: [("k".to_owned(), "v".to_owned())].into(),
                },
                hourly: MicroUsd(5),
                takes: Some(Millis(60_000)),
                replicas: 2,
                generation: 9,
                run: 0,
                workload: workload(),
                need: minimal().intent.need,
                decision: Some("d-1".parse().unwrap()),
                stage: Stage::Intended,
                superseded: true,
                wanted: Some(3),
                drain: Some(Drain {
                    to: 1,
                    since: at(0),
                }),
                traffic: Some(250),
                attempt: 7,
                created_at: Instant(1_699_999_999_000),
                hedge: Some(Hedge {
                    group: "a-0".parse().unwrap(),
                    rank: 1,
                    until: at(2_000),
                }),
                deadline: Some(Millis(3_000_000)),
            },
            handle: Handle {
                state: Some(b"opaque".to_vec()),
                held: 4,
                pinned: true,
            },
            status: AllocationStatus {
                phase: Phase::Running,
                meter: Some(Meter {
                    hourly: MicroUsd(20),
                    since: at(0),
                    metered: Some(MicroUsd(21)),
                }),
                recovery: Recovery {
                    failures: 3,
                    here: 1,
                    next: Some(at(1_000)),
                    well_since: Some(at(500)),
                    reason: "it fell".to_owned(),
                    restarts: [(
                        0,
                        Restarts {
                            seen: 2,
                            ..Restarts::default()
                        },
                    )]
                    .into(),
                },
                lost: true,
                ended: [(
                    1,
                    End {
                        succeeded: true,
                        id: "x1".to_owned(),
                        exit_code: Some(0),
                        started_at: Some(at(0)),
                        ended_at: Some(at(900)),
                        restarts: 1,
                        message: "done".to_owned(),
                    },
                )]
                .into(),
                began: Some(at(0)),
            },
        }
    }

    fn minimal() -> AllocationRecord {
        AllocationRecord {
            id: "a-1".parse().unwrap(),
            namespace: "default".parse().unwrap(),
            deployment: "x".parse().unwrap(),
            task: "j".parse().unwrap(),
            target: None,
            intent: Intent {
                provider: "p".parse().unwrap(),
                offer: ChosenOffer {
                    id: "o".to_owned(),
                    region: String::new(),
                    zone: String::new(),
                    size: String::new(),
                    spot: false,
                    price: MicroUsd(1),
                    labels: Default::default(),
                },
                hourly: MicroUsd(1),
                takes: None,
                replicas: 2,
                generation: 1,
                run: 0,
                workload: workload(),
                need: "sha256:c08f5754b23fde8cda735fd37ca863cc03f7515fa65d4cc45663ecb1aea0488b"
                    .parse()
                    .unwrap(),
                decision: None,
                stage: Stage::Applied,
                superseded: false,
                wanted: None,
                drain: None,
                traffic: None,
                attempt: 0,
                created_at: Instant(0),
                hedge: None,
                deadline: None,
            },
            handle: Handle::default(),
            status: AllocationStatus {
                phase: Phase::Running,
                meter: None,
                recovery: Recovery::default(),
                lost: false,
                ended: Default::default(),
                began: None,
            },
        }
    }

    #[test]
    fn an_allocation_of_version_1_is_read_whole() {
        for (text, record) in [(FULL, full()), (MINIMAL, minimal())] {
            let text = text.replace("WORKLOAD", WORKLOAD);
            let read: AllocationRecord = from_slice(text.as_bytes()).unwrap();
            assert_eq!(read, record);
            let written = to_vec(&record).unwrap();
            assert!(written.starts_with(br#"{"v":3,"#));
            assert_eq!(from_slice::<AllocationRecord>(&written).unwrap(), record);
        }
    }

    #[test]
    fn the_step_makes_the_parts_that_are_written() {
        let text = FULL.replace("WORKLOAD", WORKLOAD);
        let mut stepped = super::in_parts(serde_json::from_str(&text).unwrap()).unwrap();
        // The step after it changes nothing.
        stepped["v"] = json!(3);
        let written: serde_json::Value = serde_json::from_slice(&to_vec(&full()).unwrap()).unwrap();
        assert_eq!(stepped, written, "no field is left at the top");
    }

    #[test]
    fn what_lacks_a_field_is_no_allocation() {
        for text in [r#"{"id":"a-1"}"#, r#"[]"#, r#"{"v":2,"id":"a-1"}"#] {
            let error = from_slice::<AllocationRecord>(text.as_bytes()).unwrap_err();
            assert!(
                !matches!(error, document::Error::Newer { .. }),
                "{text}: {error:?}"
            );
        }
    }
}
