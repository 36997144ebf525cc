//! What is written over and over takes no more space than what is live, and what was taken is given back.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tradewind_core::store::{Change, Error, Revision, Store, Txn};
use tradewind_store::Options;

use crate::support::{open, state, take};

const LARGE: usize = 1 << 20;

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[tokio::test]
async fn a_large_value_that_is_written_often_is_there_once_and_goes_when_it_is_deleted() {
    let (_folder, options) = state();
    let database = open(&options);
    for number in 0..60u8 {
        database
            .commit(Txn::new().put("large", vec![number; LARGE]))
            .await
            .unwrap();
    }
    // A small file may keep free pages for the next value.
    assert!(
        size(&options.path) < 12 << 20,
        "{} bytes",
        size(&options.path)
    );
    for key in 0..20 {
        database
            .commit(Txn::new().put(format!("k/{key}"), vec![0; LARGE]))
            .await
            .unwrap();
    }
    assert!(
        size(&options.path) > 14 << 20,
        "{} bytes",
        size(&options.path)
    );
    let all = (0..20).fold(Txn::new().delete("large"), |txn, key| {
        txn.delete(format!("k/{key}"))
    });
    database.commit(all).await.unwrap();
    // Nobody writes any more: it goes all the same.
    let begun = Instant::now();
    while size(&options.path) > 6 << 20 {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{} bytes",
            size(&options.path)
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    database
        .commit(Txn::new().put("after", vec![1]))
        .await
        .unwrap();
    drop(database);
    assert_eq!(
        open(&options).get("after").await.unwrap().unwrap().value,
        [1]
    );
}

#[tokio::test]
async fn followers_get_large_values_while_they_are_live_and_are_told_of_those_that_are_not() {
    let (_folder, options) = state();
    let database = open(&options);
    let large = |byte| vec![byte; 10_000];
    database
        .commit(
            Txn::new()
                .put("a/kept", large(1))
                .put("a/twice", large(2))
                .put("a/twice", large(3)),
        )
        .await
        .unwrap();
    database
        .commit(
            Txn::new()
                .put("b/replaced", large(4))
                .put("a/small", vec![5]),
        )
        .await
        .unwrap();
    database
        .commit(Txn::new().put("b/replaced", large(6)))
        .await
        .unwrap();
    database
        .commit(
            Txn::new()
                .put("a/small", vec![7])
                .delete("a/kept")
                .put("a/kept", large(8)),
        )
        .await
        .unwrap();
    database
        .commit(Txn::new().put("c/deleted", large(9)))
        .await
        .unwrap();
    database
        .commit(Txn::new().delete("c/deleted"))
        .await
        .unwrap();
    // What is in memory would be replayed from there.
    drop(database);
    let database = open(&options);

    let change = |revision, key: &str, value| Change {
        revision: Revision(revision),
        key: key.to_owned(),
        value,
    };
    let mut stream = database.watch("a/", Revision(1)).await.unwrap();
    let wanted = [
        change(2, "a/small", Some(vec![5])),
        change(4, "a/small", Some(vec![7])),
        change(4, "a/kept", None),
        change(4, "a/kept", Some(large(8))),
    ];
    assert_eq!(take(&mut stream, 4).await, wanted);

    // Gone are the values of another prefix too, and that is nothing to a follower of this one.
    let replaced = database.watch("b/", Revision(0)).await.err();
    assert!(
        matches!(
            replaced,
            Some(Error::Compacted {
                asked: 0,
                oldest: 2
            })
        ),
        "{replaced:?}"
    );
    let mut stream = database.watch("b/", Revision(2)).await.unwrap();
    assert_eq!(
        take(&mut stream, 1).await,
        [change(3, "b/replaced", Some(large(6)))]
    );
    let mut stream = database.watch("", Revision(2)).await.unwrap();
    assert_eq!(
        take(&mut stream, 4).await.last().unwrap().revision,
        Revision(4)
    );
    let deleted = stream.next().await.unwrap();
    assert!(
        matches!(deleted, Err(Error::Compacted { oldest: 5, .. })),
        "{deleted:?}"
    );
    assert!(
        stream.next().await.is_none(),
        "a stream ends with its first error"
    );
    let mut stream = database.watch("", Revision(5)).await.unwrap();
    assert_eq!(take(&mut stream, 1).await, [change(6, "c/deleted", None)]);
}

#[tokio::test]
async fn changes_are_bounded_in_bytes_too() {
    let (_folder, options) = state();
    let options = Options {
        keep_change_bytes: 100_000,
        ..options
    };
    for round in 1..=2 {
        let database = open(&options);
        for _ in 0..100 {
            database
                .commit(Txn::new().put("k", vec![7; 2000]))
                .await
                .unwrap();
        }
        drop(database);
        assert_last_are_kept(&options, round * 100).await;
    }
}

/// Some fifty changes of two thousand bytes are there, and none of those before.
async fn assert_last_are_kept(options: &Options, head: u64) {
    let database = open(options);
    let Err(Error::Compacted { oldest, .. }) = database.watch("", Revision(0)).await else {
        panic!("all of them are there")
    };
    assert!((45..=50).contains(&(head - oldest)), "{oldest} of {head}");
    let mut stream = database.watch("", Revision(oldest)).await.unwrap();
    let changes = take(&mut stream, usize::try_from(head - oldest).unwrap()).await;
    assert!(
        changes
            .iter()
            .map(|change| change.revision.0)
            .eq(oldest + 1..=head)
    );
}
