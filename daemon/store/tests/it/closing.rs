//! How the state ends.

use futures::StreamExt;
use tradewind_core::store::{Error, Revision, Store, Txn};

use crate::support::{open, state, take};

#[tokio::test]
async fn closing_finishes_what_waits_and_refuses_what_comes() {
    let (_folder, options) = state();
    let database = open(&options);
    let mut watch = database.watch("", Revision(0)).await.unwrap();
    let waiting: Vec<_> = (0..20)
        .map(|number| {
            let database = database.clone();
            tokio::spawn(async move {
                database
                    .commit(Txn::new().put(format!("k/{number:02}"), vec![]))
                    .await
            })
        })
        .collect();
    // This test's runtime has one thread: all twenty are in line when `close` gets there.
    tokio::task::yield_now().await;
    database.close().await.unwrap();
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    database.close().await.unwrap();
    assert!(matches!(database.get("k/00").await, Err(Error::Closed)));
    assert!(matches!(database.list("").await, Err(Error::Closed)));
    assert!(matches!(
        database.commit(Txn::new().put("k", vec![])).await,
        Err(Error::Closed)
    ));
    assert_eq!(take(&mut watch, 20).await.len(), 20);
    assert!(matches!(watch.next().await, Some(Err(Error::Closed))));
    assert!(watch.next().await.is_none());

    let log = options.path.with_extension("db-wal");
    assert!(!log.exists(), "all of the log is in the file");
    let database = open(&options);
    assert_eq!(database.list("k/").await.unwrap().records.len(), 20);
}

#[tokio::test]
async fn a_watcher_does_not_keep_the_state_open() {
    let (_folder, options) = state();
    let database = open(&options);
    let mut watch = database.watch("", Revision(0)).await.unwrap();
    drop(database);
    let _again = open(&options);
    assert!(matches!(watch.next().await, Some(Err(Error::Closed))));
}
