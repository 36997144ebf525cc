//! Copies of the state that are made while it is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use tradewind_core::store::{Error, Revision, Store, Txn};
use tradewind_store::{Options, inspect, renumber};

use crate::support::{open, state};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_of_one_moment_while_writes_go_on() {
    let (folder, options) = state();
    let database = open(&options);
    database
        .commit(
            Txn::new()
                .put("a", vec![0; 2000])
                .put("b", vec![0; 2000])
                .audit(b"0".to_vec()),
        )
        .await
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (database, stop) = (database.clone(), stop.clone());
        async move {
            let mut n = 0u64;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                let value = n.to_be_bytes().repeat(250);
                let txn = Txn::new()
                    .put("a", value.clone())
                    .put("b", value)
                    .put(format!("k/{n}"), vec![1; 500]);
                database
                    .commit(txn.audit(n.to_string().into_bytes()))
                    .await
                    .unwrap();
            }
            n
        }
    });
    for i in 0..5 {
        let path = folder.path().join(format!("copy-{i}.db"));
        let made = database.copy(path.clone()).await.unwrap();
        let (seen, verdict) = inspect(&path).unwrap();
        assert_eq!((seen, verdict.fault), (made, None));
        let copy = open(&Options::new(&path));
        let value = |record: Option<tradewind_core::store::Record>| record.unwrap().value;
        assert_eq!(
            value(copy.get("a").await.unwrap()),
            value(copy.get("b").await.unwrap())
        );
        assert_eq!(
            copy.list("k/").await.unwrap().records.len() as u64 + 1,
            made.revision.0
        );
        assert_eq!(made.audit.seq, made.revision.0);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writing.await.unwrap() > 0);
}

#[tokio::test]
async fn who_followed_the_state_before_is_told_to_read_again() {
    let (folder, options) = state();
    let database = open(&options);
    for n in 0..3u8 {
        database.commit(Txn::new().put("k", vec![n])).await.unwrap();
    }
    let path = folder.path().join("copy.db");
    database.copy(path.clone()).await.unwrap();
    database.commit(Txn::new().put("k", vec![9])).await.unwrap();
    renumber(&path).unwrap();
    let restored = open(&Options::new(&path));
    assert_eq!(restored.get("k").await.unwrap().unwrap().value, [2]);
    for seen in [0, 2, 3, 4, 1000] {
        assert!(
            matches!(
                restored.watch("", Revision(seen)).await.err(),
                Some(Error::Compacted { .. })
            ),
            "{seen}"
        );
    }
    let now = restored.revision().await.unwrap();
    let mut changes = restored.watch("", now).await.unwrap();
    restored.commit(Txn::new().put("k", vec![3])).await.unwrap();
    assert_eq!(changes.next().await.unwrap().unwrap().value, Some(vec![3]));
}

#[tokio::test]
async fn what_is_no_sound_copy_is_refused() {
    let (folder, options) = state();
    let database = open(&options);
    for n in 0..200 {
        database
            .commit(Txn::new().put(format!("k/{n:03}"), vec![1; 1000]))
            .await
            .unwrap();
    }
    let path = folder.path().join("copy.db");
    database.copy(path.clone()).await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes
        .iter_mut()
        .skip(8 * 4096)
        .take(4096)
        .for_each(|byte| *byte = 0xff);
    std::fs::write(&path, bytes).unwrap();
    let message = inspect(&path).unwrap_err().to_string();
    assert!(
        message.contains("is damaged") && message.contains("copy.db"),
        "{message}"
    );
    std::fs::write(&path, "text").unwrap();
    assert!(inspect(&path).is_err());
}
