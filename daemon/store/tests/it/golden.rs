//! The state that version 0.1 has left, document by document, in a program that has no type of the API in it: whatever a field is called there,
//! what is stored is understood, and nothing of it is lost when it is written again.

use std::{path::Path, process::Command};

use serde_json::Value;
use tradewind_core::{
    cordon::{CordonRecord, PLACES},
    decision::Decision,
    document::{self, Document, KINDS},
    event::Event,
    identity::{TOKEN_USES, TOKENS, TokenRecord, TokenUse},
    image::Pins,
    ledger::Segment,
    plan::stored::{PLANS, PlanRecord},
    quality::Stored,
    record::{
        ALLOCATIONS, AllocationRecord, DAEMON, DECISIONS, DEPLOYMENTS, DaemonRecord,
        DeploymentRecord, EVENTS, HELD, HeldRecord, IMAGES, INPUT_SIZES, INSTALLATION, InputSize,
        InstallationRecord, LEDGERS, LedgerRecord, MEASURES, NAMESPACES, NamespaceRecord, ORPHANS,
        OrphanRecord, RESTORED, REVISIONS, Restored, RevisionRecord, SEGMENTS, SHADOWS,
        ShadowRecord,
    },
    store::Record,
};

/// Whether all of the one is in the other; a field that is new may stand beside.
fn holds(now: &Value, then: &Value) -> bool {
    match (now, then) {
        (Value::Object(now), Value::Object(then)) => then
            .iter()
            .all(|(key, then)| now.get(key).is_some_and(|now| holds(now, then))),
        (Value::Array(now), Value::Array(then)) => {
            now.len() == then.len() && now.iter().zip(then).all(|(now, then)| holds(now, then))
        }
        (now, then) => now == then,
    }
}

/// Understands the documents of a kind and writes them again. How many there are.
fn kept<T: Document>(records: &[Record]) -> usize {
    for record in records {
        let read: T = document::decode(record).unwrap();
        let written = document::encode(&read).unwrap();
        let again = Record {
            value: written.clone(),
            ..record.clone()
        };
        let again: T = document::decode(&again).unwrap();
        let whole = |document: &T| serde_json::to_value(document).unwrap();
        assert_eq!(whole(&again), whole(&read), "{}", record.key);
        let then: Value = serde_json::from_slice(&record.value).unwrap();
        let now: Value = serde_json::from_slice(&written).unwrap();
        // An upgraded one has another form; the test of its step looks at that.
        if then["v"].as_u64().unwrap_or(1) == u64::from(T::VERSION) {
            assert!(holds(&now, &then), "{}: {then} became {now}", record.key);
        }
    }
    records.len()
}

#[test]
fn what_0_1_has_stored_is_kept_whole_whatever_the_api_calls_it() {
    let folder = tempfile::tempdir().unwrap();
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/state/0.1/state.tar.gz");
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(packed)
        .arg("-C")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(unpacked.success());
    let state = folder.path().join("data/state.db");
    let mut kinds = 0;
    for (prefix, _) in KINDS {
        let records = tradewind_store::read(&state, &[prefix]).unwrap();
        let found = match *prefix {
            INSTALLATION => kept::<InstallationRecord>(&records),
            RESTORED => kept::<Restored>(&records),
            DAEMON => kept::<DaemonRecord>(&records),
            DEPLOYMENTS => kept::<DeploymentRecord>(&records),
            REVISIONS => kept::<RevisionRecord>(&records),
            ALLOCATIONS => kept::<AllocationRecord>(&records),
            HELD => kept::<HeldRecord>(&records),
            IMAGES => kept::<Pins>(&records),
            PLANS => kept::<PlanRecord>(&records),
            PLACES => kept::<CordonRecord>(&records),
            DECISIONS => kept::<Decision>(&records),
            INPUT_SIZES => kept::<InputSize>(&records),
            EVENTS => kept::<Event>(&records),
            NAMESPACES => kept::<NamespaceRecord>(&records),
            SEGMENTS => kept::<Segment>(&records),
            LEDGERS => kept::<LedgerRecord>(&records),
            MEASURES => kept::<Stored>(&records),
            SHADOWS => kept::<ShadowRecord>(&records),
            ORPHANS => kept::<OrphanRecord>(&records),
            TOKENS => kept::<TokenRecord>(&records),
            TOKEN_USES => kept::<TokenUse>(&records),
            other => panic!("\"{other}\" is a kind that this test does not know"),
        };
        kinds += usize::from(found > 0);
    }
    assert!(kinds > 12, "{kinds} kinds of document");
}
