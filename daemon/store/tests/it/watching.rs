//! A watcher sees every change once and in order, wherever it starts and whatever goes on meanwhile.

use std::collections::BTreeMap;

use futures::StreamExt;
use tradewind_core::store::{Change, Error, Revision, Store, Txn};
use tradewind_store::{Database, Options};

use crate::support::{open, state, take};

/// `count` transactions of two changes each.
async fn write(database: &Database, writer: usize, count: usize) {
    for number in 0..count {
        let own = format!("own/{writer}/{number}");
        let txn = Txn::new()
            .put(own, vec![0; 100])
            .put("shared", format!("{writer}/{number}").into_bytes());
        database.commit(txn).await.unwrap();
    }
}

fn assert_whole(changes: &[Change], from: u64) {
    for (pair, revision) in changes.chunks(2).zip(from + 1..) {
        assert_eq!(pair[0].revision.0, revision);
        assert!(pair[0].key.starts_with("own/"));
        assert_eq!(
            (pair[1].revision.0, pair[1].key.as_str()),
            (revision, "shared")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_gap_between_what_has_been_and_what_comes() {
    const WRITERS: usize = 8;
    const EACH: usize = 60;
    const BEFORE: usize = 700;
    let (_folder, options) = state();
    let database = open(&options);
    write(&database, 99, BEFORE).await;
    database.close().await.unwrap();
    // Opened again, what has been is on disk only and what comes in memory: watchers from 0 have to cross over.
    let database = open(&options);
    let total = BEFORE + WRITERS * EACH;

    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let database = database.clone();
            tokio::spawn(async move { write(&database, writer, EACH).await })
        })
        .collect();
    let watchers: Vec<_> = (0..12)
        .map(|watcher| {
            let database = database.clone();
            tokio::spawn(async move {
                let listing = database.list("").await.unwrap();
                let after = if watcher % 2 == 0 {
                    Revision(0)
                } else {
                    listing.revision
                };
                let mut stream = database.watch("", after).await.unwrap();
                let changes =
                    take(&mut stream, (total - usize::try_from(after.0).unwrap()) * 2).await;
                assert_whole(&changes, after.0);

                let mut map: BTreeMap<String, Vec<u8>> = BTreeMap::new();
                if after.0 > 0 {
                    map.extend(
                        listing
                            .records
                            .into_iter()
                            .map(|record| (record.key, record.value)),
                    );
                }
                map.extend(
                    changes
                        .into_iter()
                        .map(|change| (change.key, change.value.unwrap())),
                );
                map
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let listing = database.list("").await.unwrap();
    assert_eq!(listing.revision.0, total as u64);
    let last: BTreeMap<_, _> = listing
        .records
        .into_iter()
        .map(|record| (record.key, record.value))
        .collect();
    for watcher in watchers {
        assert_eq!(
            watcher.await.unwrap(),
            last,
            "a snapshot and the changes after it make the newest snapshot"
        );
    }
}

#[tokio::test]
async fn one_large_transaction_is_replayed_whole() {
    let (_folder, options) = state();
    let database = open(&options);
    let keys: Vec<String> = (0..3000)
        .map(|number| format!("k/{:04}", (number * 7) % 3000))
        .collect();
    let txn = keys
        .iter()
        .fold(Txn::new(), |txn, key| txn.put(key, vec![1; 2000]));
    database.commit(txn).await.unwrap();
    database.commit(Txn::new().delete("k/0000")).await.unwrap();
    drop(database);

    let database = open(&options);
    let mut stream = database.watch("k/", Revision(0)).await.unwrap();
    let changes = take(&mut stream, 3001).await;
    assert!(
        changes
            .iter()
            .take(3000)
            .map(|change| &change.key)
            .eq(&keys)
    );
    assert_eq!(
        changes.last().unwrap(),
        &Change {
            revision: Revision(2),
            key: "k/0000".to_owned(),
            value: None
        }
    );
}

#[tokio::test]
async fn changes_no_longer_kept_are_told_of() {
    let (_folder, options) = state();
    let options = Options {
        keep_changes: 32,
        ..options
    };
    let database = open(&options);
    for number in 0..200u64 {
        assert_eq!(
            database
                .commit(Txn::new().put("k", number.to_be_bytes().to_vec()))
                .await
                .unwrap(),
            Revision(number + 1)
        );
    }
    drop(database);

    // What is in memory would still be replayed, so it has to be gone for this.
    let database = open(&options);
    let Err(error) = database.watch("k", Revision(3)).await else {
        panic!("changes after revision 3 can't be there")
    };
    let Error::Compacted { asked: 3, oldest } = error else {
        panic!("{error}")
    };
    assert!(
        (160..=168).contains(&oldest),
        "kept are 32 revisions and a few more: {oldest}"
    );
    assert_eq!(
        error.to_string(),
        format!("changes up to revision {oldest} are no longer kept, asked for those after 3")
    );
    let mut stream = database.watch("k", Revision(oldest)).await.unwrap();
    let changes = take(&mut stream, usize::try_from(200 - oldest).unwrap()).await;
    assert!(
        changes
            .iter()
            .map(|change| change.revision.0)
            .eq(oldest + 1..=200)
    );
}

#[tokio::test]
async fn an_idle_watcher_is_woken_by_its_own_prefix_only() {
    let (_folder, options) = state();
    let database = open(&options);
    let mut stream = database.watch("mine/", Revision(0)).await.unwrap();
    let waiting = tokio::spawn(async move { stream.next().await });
    database
        .commit(Txn::new().put("theirs/1", vec![]))
        .await
        .unwrap();
    database
        .commit(Txn::new().put("mine", vec![]))
        .await
        .unwrap();
    database
        .commit(Txn::new().put("mine/1", vec![7]))
        .await
        .unwrap();
    let change = waiting.await.unwrap().unwrap().unwrap();
    assert_eq!(
        change,
        Change {
            revision: Revision(3),
            key: "mine/1".to_owned(),
            value: Some(vec![7])
        }
    );
}
