//! The audit log in its file: whatever is done to it from outside is found, and named.

use std::path::Path;

use rusqlite::Connection;
use tradewind_core::{
    audit::{Bounds, Fault},
    store::{Error, Expect, Store, Txn},
};
use tradewind_store::Options;

use crate::support::{open, state};

async fn filled(options: &Options, count: usize) -> Bounds {
    let database = open(options);
    for n in 0..count {
        let text = format!(
            "{{\"reason\":\"Thing{n:03}\",\"message\":\"{}\"}}",
            "x".repeat(300)
        );
        database
            .commit(
                Txn::new()
                    .put(format!("k/{n}"), vec![1])
                    .audit(text.into_bytes()),
            )
            .await
            .unwrap();
    }
    let verdict = database.audit_verify(None).await.unwrap();
    assert_eq!((verdict.fault, verdict.verified), (None, count as u64));
    let bounds = database.audit_bounds().await.unwrap();
    database.close().await.unwrap();
    bounds
}

async fn fault(options: &Options) -> Option<Fault> {
    open(options).audit_verify(None).await.unwrap().fault
}

fn sql(path: &Path, statement: &str) {
    Connection::open(path)
        .unwrap()
        .execute_batch(statement)
        .unwrap();
}

#[tokio::test]
async fn every_edit_of_a_row_is_found_and_its_number_named() {
    for (statement, seq) in [
        (
            "UPDATE audit SET entry = CAST(replace(CAST(entry AS TEXT), 'Thing006', 'Thing007') AS BLOB) WHERE seq = 7",
            7,
        ),
        ("UPDATE audit SET revision = revision + 1 WHERE seq = 7", 7),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 7", 7),
        ("UPDATE audit SET hash = x'01' WHERE seq = 7", 7),
        ("DELETE FROM audit WHERE seq = 7", 7),
        ("DELETE FROM audit WHERE seq > 18", 19),
        ("DELETE FROM audit WHERE seq < 3", 1),
        (
            "UPDATE audit SET seq = seq + 100 WHERE seq = 7; UPDATE audit SET seq = 7 WHERE seq = 8; UPDATE audit SET seq = 8 WHERE seq = 107",
            7,
        ),
        (
            "INSERT INTO audit SELECT 21, revision, hash, entry FROM audit WHERE seq = 20",
            21,
        ),
        (
            "UPDATE audit_bounds SET anchor_seq = 5, anchor_hash = (SELECT hash FROM audit WHERE seq = 5); DELETE FROM audit WHERE seq <= 5",
            5,
        ),
    ] {
        let (_folder, options) = state();
        filled(&options, 20).await;
        sql(&options.path, statement);
        let found = fault(&options)
            .await
            .unwrap_or_else(|| panic!("not found: {statement}"));
        assert_eq!(found.seq(), seq, "{statement}: {found}");
    }
}

/// A byte of an entry, wherever it lies: the text, the hash, the numbers.
#[tokio::test]
async fn every_byte_counts() {
    let (_folder, options) = state();
    filled(&options, 40).await;
    let whole = std::fs::read(&options.path).unwrap();
    // Splitting a page leaves copies of rows in it that count no more.
    let places = |n: usize| {
        let name = format!("Thing{n:03}").into_bytes();
        let found: Vec<usize> = (0..whole.len() - name.len())
            .filter(|at| whole[*at..].starts_with(&name))
            .collect();
        assert!(!found.is_empty());
        found
    };
    for n in (0..40).step_by(7) {
        for offset in [0usize, 5, 60, 200] {
            let mut bytes = whole.clone();
            places(n)
                .into_iter()
                .for_each(|place| bytes[place + offset] ^= 0x04);
            std::fs::write(&options.path, &bytes).unwrap();
            let found = fault(&options)
                .await
                .unwrap_or_else(|| panic!("entry {n}, byte {offset} was not found"));
            assert_eq!(found.seq(), n as u64 + 1, "{found}");
        }
    }
    std::fs::write(&options.path, &whole).unwrap();
    assert_eq!(fault(&options).await, None);
}

#[tokio::test]
async fn a_cut_end_shows_only_against_a_head_that_was_noted() {
    let (_folder, options) = state();
    let noted = filled(&options, 20).await.head;
    let database = open(&options);
    assert_eq!(
        database
            .audit_verify(Some(noted.hash))
            .await
            .unwrap()
            .expected,
        Some(20)
    );
    database.close().await.unwrap();
    sql(
        &options.path,
        "UPDATE audit_bounds SET head_seq = 15, head_hash = (SELECT hash FROM audit WHERE seq = 15); DELETE FROM audit WHERE seq > 15",
    );
    let database = open(&options);
    assert_eq!(database.audit_verify(None).await.unwrap().fault, None);
    let fault = database.audit_verify(Some(noted.hash)).await.unwrap().fault;
    assert_eq!(
        fault,
        Some(Fault::Unexpected {
            seq: 15,
            hash: noted.hash
        })
    );
}

#[tokio::test]
async fn what_is_not_committed_is_not_recorded() {
    let (_folder, options) = state();
    let database = open(&options);
    database
        .commit(Txn::new().put("a", vec![1]).audit(b"{}".to_vec()))
        .await
        .unwrap();
    let refused = Txn::new()
        .expect(Expect::Absent {
            key: "a".to_owned(),
        })
        .put("a", vec![2])
        .audit(b"{}".to_vec());
    assert!(matches!(
        database.commit(refused).await,
        Err(Error::Conflict { .. })
    ));
    database
        .commit(Txn::new().audit(b"[1]".to_vec()).audit(b"[2]".to_vec()))
        .await
        .unwrap();
    let entries = database.audit(0, 10).await.unwrap();
    let seen: Vec<_> = entries
        .iter()
        .map(|e| (e.seq, e.revision.0, e.bytes.as_slice()))
        .collect();
    assert_eq!(seen, [(1, 1, &b"{}"[..]), (2, 2, b"[1]"), (3, 2, b"[2]")]);
    assert_eq!(database.audit(2, 10).await.unwrap().len(), 1);
}
