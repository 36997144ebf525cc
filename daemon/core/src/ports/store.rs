//! The state, as a port: keys and values under one revision that only grows. Implementations live in `tradewind-store`.

pub use crate::base::revision::Revision;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::{base::names::Digest, ports::audit};

/// A value under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: String,
    /// The value's bytes.
    pub value: Vec<u8>,
    /// Of the last write to this key.
    pub revision: Revision,
}

/// Records as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// In key order.
    pub records: Vec<Record>,
    /// The store's revision that this is a snapshot of.
    pub revision: Revision,
}

/// A condition that must hold when the transaction commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// There is no value under the key.
    Absent {
        /// The key.
        key: String,
    },
    /// The key was last written at this revision.
    AtRevision {
        /// The key.
        key: String,
        /// The revision.
        revision: Revision,
    },
}

/// What a transaction does to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// It gets this value.
    Put {
        /// The key.
        key: String,
        /// The value's bytes.
        value: Vec<u8>,
    },
    /// Like `Put`, but nobody follows it: large values are not written a second time for those who watch.
    Archive {
        /// The key.
        key: String,
        /// The value's bytes.
        value: Vec<u8>,
    },
    /// It loses its value.
    Delete {
        /// The key.
        key: String,
    },
}

impl Write {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Archive { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// All of it or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub expects: Vec<Expect>,
    /// What it writes, in order.
    pub writes: Vec<Write>,
    /// What the audit log shall say of it, in order.
    pub audit: Vec<Vec<u8>>,
    /// The audit log's entries up to this one are not kept any longer.
    pub cut: Option<u64>,
}

impl Txn {
    /// A transaction that does nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same under a further condition.
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expects.push(expect);
        self
    }

    /// The same with a further value.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: Vec<u8>) -> Self {
        self.writes.push(Write::Put {
            key: key.into(),
            value,
        });
        self
    }

    /// Writes what `watch` need not tell of.
    #[must_use]
    pub fn archive(mut self, key: impl Into<String>, value: Vec<u8>) -> Self {
        self.writes.push(Write::Archive {
            key: key.into(),
            value,
        });
        self
    }

    /// The same without the key's value.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }
}

impl Txn {
    /// Records an event in the audit log, as of this transaction.
    #[must_use]
    pub fn audit(mut self, bytes: Vec<u8>) -> Self {
        self.audit.push(bytes);
        self
    }

    /// Lets go of the beginning of the audit log. The same transaction must record it.
    #[must_use]
    pub fn cut_audit(mut self, through: u64) -> Self {
        self.cut = Some(through);
        self
    }

    /// Both, in this order.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.expects.extend(other.expects);
        self.writes.extend(other.writes);
        self.audit.extend(other.audit);
        self.cut = self.cut.max(other.cut);
        self
    }

    /// Whether it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.audit.is_empty() && self.cut.is_none()
    }
}

/// One key's change. A transaction's changes follow one another and share its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The transaction's revision.
    pub revision: Revision,
    /// The key.
    pub key: String,
    /// None: deleted.
    pub value: Option<Vec<u8>>,
}

/// Why a state takes no writes at the moment. What was answered before stays, and reads go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// There is no room on the disk.
    Full,
    /// Another program holds the file.
    Locked,
    /// The file is not what was written.
    Damaged,
    /// The disk can't be written.
    Failing,
}

impl Trouble {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "the disk is full",
            Self::Locked => "another program holds the file",
            Self::Damaged => "the file is damaged",
            Self::Failing => "the disk fails",
        }
    }

    /// What can be done about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Full => {
                "free some space on the disk that holds the data folder: writes go on by themselves"
            }
            Self::Locked => {
                "end the program that has the file open for writing: writes go on by themselves"
            }
            Self::Damaged => "stop the daemon and put a backup back with `tradewind restore`",
            Self::Failing => "see to the disk, then start the daemon again",
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("another write came first to \"{key}\"")]
    Conflict { key: String },
    #[error("changes up to revision {oldest} are no longer kept, asked for those after {asked}")]
    Compacted { asked: u64, oldest: u64 },
    #[error("the state at \"{path}\" can't be {action}")]
    Backend {
        action: &'static str,
        path: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the state at \"{path}\" takes no writes: {trouble}")]
    Unwritable {
        path: String,
        trouble: Trouble,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "the document \"{key}\" is of version {found}, and this daemon reads versions up to {known}: run the daemon that wrote it or a newer one, or put a backup of before that back (`tradewind restore`)"
    )]
    Newer { key: String, found: u32, known: u32 },
    #[error("the state store has stopped")]
    Closed,
}

/// A durable, ordered key-value state. What `commit` has answered survives a crash of the process and of the machine.
#[async_trait]
pub trait Store: Send + Sync {
    /// The value under a key. `None`: there is none.
    async fn get(&self, key: &str) -> Result<Option<Record>, Error>;

    /// Every key that starts with `prefix`, as of one revision.
    async fn list(&self, prefix: &str) -> Result<Listing, Error>;

    /// # Errors
    /// `Conflict` when an expectation does not hold; nothing is written then.
    async fn commit(&self, txn: Txn) -> Result<Revision, Error>;

    /// Changes under `prefix` after revision `after`, first those that have been, then those to come, without a gap. Each is told with the
    /// value that it wrote, whatever became of the key since.
    ///
    /// # Errors
    /// `Compacted` when they are no longer all kept: the call's or, later, the stream's last item. Implementations need not keep large values
    /// that have been replaced since.
    async fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Change, Error>>, Error>;

    /// Entries of the audit log behind number `after`, at most `limit`.
    async fn audit(&self, after: u64, limit: usize) -> Result<Vec<audit::Entry>, Error>;

    /// How many bytes the keys that start with `prefix` take, with their values.
    async fn size(&self, prefix: &str) -> Result<u64, Error> {
        let listing = self.list(prefix).await?;
        Ok(listing
            .records
            .iter()
            .map(|record| (record.key.len() + record.value.len()) as u64)
            .sum())
    }

    /// How many bytes the entries of the audit log take.
    async fn audit_size(&self) -> Result<u64, Error> {
        Ok(0)
    }

    /// What is kept of the audit log.
    async fn audit_bounds(&self) -> Result<audit::Bounds, Error>;

    /// Reads the whole audit log and checks its chain. `expected`: a hash that some entry must have.
    async fn audit_verify(&self, expected: Option<Digest>) -> Result<audit::Verdict, Error>;

    /// The last committed revision.
    async fn revision(&self) -> Result<Revision, Error>;
}
