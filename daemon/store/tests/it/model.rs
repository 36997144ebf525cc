//! The state behaves like a map in memory, whatever is done to it in whatever order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use tradewind_core::store::{Change, Error, Expect, Record, Revision, Store, Txn, Write};

use crate::support::{open, state, take};

/// Those that a pattern, a range or a comparison could get wrong.
const KEYS: &[&str] = &[
    "",
    "a",
    "A",
    "a/",
    "a/b",
    "a/c",
    "a%",
    "a_",
    "a%/x",
    "a\0",
    "a\0b",
    "aÿ",
    "a\u{10ffff}",
    "a\u{10ffff}z",
    "b",
    "ab",
    "é",
    "%",
    "_",
];

#[derive(Debug, Clone)]
enum Step {
    Commit {
        expects: Vec<Expected>,
        writes: Vec<Write>,
    },
    List(&'static str),
    Get(&'static str),
    Reopen,
}

#[derive(Debug, Clone)]
enum Expected {
    Absent(&'static str),
    /// What the model says, plus this.
    Revision(&'static str, u64),
}

#[derive(Debug, Default)]
struct Model {
    revision: u64,
    records: BTreeMap<String, Record>,
    log: Vec<Change>,
}

impl Model {
    fn expect(&self, expected: &Expected) -> Expect {
        match *expected {
            Expected::Absent(key) => Expect::Absent {
                key: key.to_owned(),
            },
            Expected::Revision(key, off) => {
                let revision = self.records.get(key).map_or(0, |record| record.revision.0);
                Expect::AtRevision {
                    key: key.to_owned(),
                    revision: Revision(revision + off),
                }
            }
        }
    }

    fn commit(&mut self, txn: &Txn) -> Result<Revision, String> {
        for expect in &txn.expects {
            let (key, holds) = match expect {
                Expect::Absent { key } => (key, !self.records.contains_key(key)),
                Expect::AtRevision { key, revision } => (
                    key,
                    self.records
                        .get(key)
                        .is_some_and(|record| record.revision == *revision),
                ),
            };
            if !holds {
                return Err(key.clone());
            }
        }
        if !txn.writes.is_empty() {
            self.revision += 1;
        }
        let revision = Revision(self.revision);
        for write in &txn.writes {
            let (key, value) = match write {
                Write::Put { key, value } => (key.clone(), Some(value.clone())),
                // It is there to be read, and nobody is told of it.
                Write::Archive { key, value } => {
                    self.records.insert(
                        key.clone(),
                        Record {
                            key: key.clone(),
                            value: value.clone(),
                            revision,
                        },
                    );
                    continue;
                }
                Write::Delete { key } => (key.clone(), None),
            };
            match &value {
                Some(value) => self.records.insert(
                    key.clone(),
                    Record {
                        key: key.clone(),
                        value: value.clone(),
                        revision,
                    },
                ),
                None => self.records.remove(&key),
            };
            self.log.push(Change {
                revision,
                key,
                value,
            });
        }
        Ok(revision)
    }

    fn under(&self, prefix: &str) -> Vec<Record> {
        self.records
            .values()
            .filter(|record| record.key.starts_with(prefix))
            .cloned()
            .collect()
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || select(KEYS);
    let expected = prop_oneof![
        key().prop_map(Expected::Absent),
        (key(), prop_oneof![4 => Just(0u64), 1 => Just(1)])
            .prop_map(|(key, off)| Expected::Revision(key, off)),
    ];
    let write = prop_oneof![
        3 => (key(), prop::collection::vec(any::<u8>(), 0..5)).prop_map(|(key, value)| Write::Put { key: key.to_owned(), value }),
        1 => (key(), prop::collection::vec(any::<u8>(), 0..5)).prop_map(|(key, value)| Write::Archive { key: key.to_owned(), value }),
        1 => key().prop_map(|key| Write::Delete { key: key.to_owned() }),
    ];
    let step = prop_oneof![
        8 => (prop::collection::vec(expected, 0..2), prop::collection::vec(write, 0..5)).prop_map(|(expects, writes)| Step::Commit { expects, writes }),
        2 => key().prop_map(Step::List),
        1 => key().prop_map(Step::Get),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_map_with_revisions_and_a_log(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps))?;
    }
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (_folder, options) = state();
    let mut database = open(&options);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Commit { expects, writes } => {
                let expects = expects
                    .iter()
                    .map(|expected| model.expect(expected))
                    .collect();
                let txn = Txn {
                    expects,
                    writes,
                    ..Txn::default()
                };
                let wanted = model.commit(&txn);
                match (database.commit(txn).await, wanted) {
                    (Ok(revision), Ok(wanted)) => prop_assert_eq!(revision, wanted),
                    (Err(Error::Conflict { key }), Err(wanted)) => prop_assert_eq!(key, wanted),
                    (result, wanted) => {
                        prop_assert!(false, "got {:?}, wanted {:?}", result, wanted)
                    }
                }
            }
            Step::List(prefix) => {
                let listing = database.list(prefix).await.unwrap();
                prop_assert_eq!(listing.records, model.under(prefix), "under {:?}", prefix);
                prop_assert_eq!(listing.revision.0, model.revision);
            }
            Step::Get(key) => {
                let record = database.get(key).await.unwrap();
                prop_assert_eq!(record.as_ref(), model.records.get(key));
            }
            Step::Reopen => {
                drop(database);
                database = open(&options);
            }
        }
        prop_assert_eq!(database.revision().await.unwrap().0, model.revision);
    }
    for prefix in KEYS {
        let wanted: Vec<Change> = model
            .log
            .iter()
            .filter(|change| change.key.starts_with(prefix))
            .cloned()
            .collect();
        let mut stream = database.watch(prefix, Revision(0)).await.unwrap();
        prop_assert_eq!(
            take(&mut stream, wanted.len()).await,
            wanted,
            "under {:?}",
            prefix
        );
    }
    Ok(())
}
