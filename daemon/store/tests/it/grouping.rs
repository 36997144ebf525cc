//! Writes that are committed together stay each their own: all of it or nothing.

use tradewind_core::store::{Error, Expect, Revision, Store, Txn};

use crate::support::{chain, open, state};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_writers_at_once_a_conflict_costs_only_its_own() {
    let (_folder, options) = state();
    let database = open(&options);
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(64));
    let writers: Vec<_> = (0..64)
        .map(|writer| {
            let (database, start) = (database.clone(), start.clone());
            // Two each want the same key, and write two more of their own.
            let claim = format!("claim/{}", writer / 2);
            let txn = Txn::new()
                .expect(Expect::Absent { key: claim.clone() })
                .put(format!("a/{writer}"), vec![1])
                .put(claim, writer.to_string().into_bytes())
                .put(format!("b/{writer}"), vec![2]);
            tokio::spawn(async move {
                start.wait().await;
                (writer, database.commit(txn).await)
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for writer in writers {
        let (writer, result) = writer.await.unwrap();
        let own = [
            database.get(&format!("a/{writer}")).await.unwrap(),
            database.get(&format!("b/{writer}")).await.unwrap(),
        ];
        let claim = database
            .get(&format!("claim/{}", writer / 2))
            .await
            .unwrap()
            .unwrap();
        match result {
            Ok(revision) => {
                assert_eq!(claim.value, writer.to_string().into_bytes());
                assert!(
                    own.iter()
                        .flatten()
                        .all(|record| record.revision == revision)
                        && own.iter().all(Option::is_some)
                );
                revisions.push(revision.0);
            }
            Err(Error::Conflict { key }) => {
                assert_eq!(key, claim.key);
                assert_ne!(claim.value, writer.to_string().into_bytes());
                assert_eq!(own, [None, None]);
            }
            Err(error) => panic!("{error}"),
        }
    }
    revisions.sort_unstable();
    assert!(
        revisions.into_iter().eq(1..=32),
        "one winner for each key, each with a revision of its own"
    );
}

#[tokio::test]
async fn a_transaction_too_large_for_anyone_is_refused_with_its_size() {
    let (_folder, options) = state();
    let database = open(&options);
    let error = database
        .commit(Txn::new().put("k", vec![0; 65 << 20]))
        .await
        .unwrap_err();
    assert!(
        chain(&error).contains("one transaction has 1 writes of 68157441 bytes"),
        "{}",
        chain(&error)
    );
    assert_eq!(database.revision().await.unwrap(), Revision(0));
}
