//! A state that forgets everything when it is dropped. It keeps no audit log and no history of changes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use parking_lot::Mutex;
use tradewind_core::{
    audit,
    names::Digest,
    store::{Change, Error, Expect, Listing, Record, Revision, Store, Txn, Write},
};

#[derive(Default)]
struct Kept {
    records: BTreeMap<String, (Vec<u8>, Revision)>,
    revision: u64,
}

#[derive(Default)]
pub(super) struct Memory(Mutex<Kept>);

impl Memory {
    fn with<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        act(&mut self.0.lock())
    }

    /// Without expectations, as nobody but a test may.
    pub(super) fn set(&self, key: String, value: Option<Vec<u8>>) {
        self.with(|kept| {
            kept.revision += 1;
            match value {
                Some(value) => drop(kept.records.insert(key, (value, Revision(kept.revision)))),
                None => drop(kept.records.remove(&key)),
            }
        });
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &str) -> Result<Option<Record>, Error> {
        let of = |(value, revision): &(Vec<u8>, Revision)| Record {
            key: key.to_owned(),
            value: value.clone(),
            revision: *revision,
        };
        Ok(self.with(|kept| kept.records.get(key).map(of)))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        Ok(self.with(|kept| {
            let all = kept
                .records
                .range(prefix.to_owned()..)
                .take_while(|(key, _)| key.starts_with(prefix));
            let records = all.map(|(key, (value, revision))| Record {
                key: key.clone(),
                value: value.clone(),
                revision: *revision,
            });
            Listing {
                records: records.collect(),
                revision: Revision(kept.revision),
            }
        }))
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, Error> {
        // Others get their turn between the question and the answer, as with a disk.
        tokio::task::yield_now().await;
        self.with(|kept| {
            for expect in txn.expects {
                let (key, wanted) = match expect {
                    Expect::Absent { key } => (key, None),
                    Expect::AtRevision { key, revision } => (key, Some(revision)),
                };
                if kept.records.get(&key).map(|(_, revision)| *revision) != wanted {
                    return Err(Error::Conflict { key });
                }
            }
            kept.revision += 1;
            for write in txn.writes {
                match write {
                    Write::Put { key, value } | Write::Archive { key, value } => {
                        drop(kept.records.insert(key, (value, Revision(kept.revision))))
                    }
                    Write::Delete { key } => drop(kept.records.remove(&key)),
                }
            }
            Ok(Revision(kept.revision))
        })
    }

    async fn watch(
        &self,
        _: &str,
        _: Revision,
    ) -> Result<BoxStream<'static, Result<Change, Error>>, Error> {
        Ok(futures::stream::pending().boxed())
    }

    async fn audit(&self, _: u64, _: usize) -> Result<Vec<audit::Entry>, Error> {
        Ok(Vec::new())
    }

    async fn audit_bounds(&self) -> Result<audit::Bounds, Error> {
        let none = audit::Head {
            seq: 0,
            hash: Digest::from_bytes([0; 32]),
        };
        Ok(audit::Bounds {
            anchor: none,
            head: none,
        })
    }

    async fn audit_verify(&self, expected: Option<Digest>) -> Result<audit::Verdict, Error> {
        Ok(audit::Chain::behind(self.audit_bounds().await?.anchor, expected).conclude(None, None))
    }

    async fn revision(&self) -> Result<Revision, Error> {
        Ok(self.with(|kept| Revision(kept.revision)))
    }
}
