//! The one thread that writes: it commits all that is waiting as one SQLite transaction, publishes it, then answers.
//! It knows nothing of watchers but the tail they read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use tradewind_core::{
    audit::Bounds,
    store::{self, Revision, Trouble, Txn, Write},
};

use crate::{
    Error, audit,
    error::Refusal,
    file::{self, Lock},
    schema,
    tables::{self, Head},
    tail::{Committed, Tail},
};

/// Of one group: enough to spread a sync over every writer there is, small enough to answer soon.
const MAX_GROUP: usize = 512;
const MAX_GROUP_BYTES: usize = 16 << 20;

/// Written since the last checkpoint, before the next: what a start after a crash has to go through.
const CHECKPOINT_WRITES: usize = 1000;
const CHECKPOINT_BYTES: usize = 4 << 20;

/// Pages that are free and stay: they are used again sooner than they would be given back.
const SPARE_PAGES: u64 = 1024;

/// Pages given back at once, between two writes.
const TURN_PAGES: u64 = 512;

/// How much of the log of changes stays, at least by revisions and at most by bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    pub(crate) revisions: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) enum Job {
    Commit(Pending),
    /// Asks whether writes are possible again.
    Probe(oneshot::Sender<()>),
    Close(oneshot::Sender<Result<(), Error>>),
}

#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) txn: Txn,
    pub(crate) answer: oneshot::Sender<Result<Revision, store::Error>>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    connection: Connection,
    path: PathBuf,
    /// After the connection: the state is let go of only once nothing can write it.
    lock: Lock,
    keep: Keep,
    head: Head,
    /// How many bytes the log of changes takes.
    logged: u64,
    bounds: Bounds,
    tail: Arc<Tail>,
    published: watch::Sender<u64>,
    since_checkpoint: Amount,
    /// Free pages are being given back, some at a time.
    shrinking: bool,
    trouble: watch::Sender<Option<Trouble>>,
    /// Set by a failure that leaves open what the disk holds. Nothing is taken after it before the file has been read anew, and nothing
    /// at all when that can't tell either: an answer would be a guess.
    halted: Option<Arc<rusqlite::Error>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Amount {
    writes: usize,
    bytes: usize,
}

/// What a group has made of the state.
#[derive(Debug)]
struct Written {
    head: Head,
    bounds: Bounds,
    logged: u64,
    outcomes: Vec<Outcome>,
}

/// What became of one transaction of a group.
#[derive(Debug)]
enum Outcome {
    At(u64),
    Conflict(String),
}

/// Waits for the thread when dropped, so that whoever lets go of the state finds it released.
#[derive(Debug)]
pub(crate) struct Thread(Option<JoinHandle<()>>);

// === impl Writer ===

impl Writer {
    pub(crate) fn new(
        connection: Connection,
        path: PathBuf,
        lock: Lock,
        keep: Keep,
    ) -> Result<Self, Error> {
        let head =
            tables::head(&connection).map_err(|source| file::failure("opened", &path, source))?;
        let logged =
            tables::logged(&connection).map_err(|source| file::failure("opened", &path, source))?;
        let bounds =
            audit::bounds(&connection).map_err(|source| file::failure("opened", &path, source))?;
        let tail = Arc::new(Tail::new(head.revision));
        let published = watch::Sender::new(head.revision);
        let since_checkpoint = Amount::default();
        Ok(Self {
            connection,
            path,
            lock,
            keep,
            head,
            logged,
            bounds,
            tail,
            published,
            since_checkpoint,
            shrinking: false,
            trouble: watch::Sender::new(None),
            halted: None,
        })
    }

    pub(crate) fn tail(&self) -> Arc<Tail> {
        Arc::clone(&self.tail)
    }

    /// The last committed revision. It ends when the writer does.
    pub(crate) fn published(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Why writes are refused at the moment, if they are.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<Trouble>> {
        self.trouble.subscribe()
    }

    pub(crate) fn start(self, jobs: mpsc::Receiver<Job>) -> Result<Thread, Error> {
        let builder = std::thread::Builder::new().name("state-writer".to_owned());
        let work = move || {
            let _guard = tradewind_core::vital::guard("state writer");
            self.run(jobs);
        };
        let handle = builder
            .spawn(work)
            .map_err(|source| Error::Thread { source })?;
        Ok(Thread(Some(handle)))
    }

    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut closing = Vec::new();
        while let Some(first) = self.next(&mut jobs) {
            let mut group = Vec::new();
            let (mut bytes, mut probes) = (0, Vec::new());
            let mut next = Some(first);
            while let Some(job) = next {
                match job {
                    Job::Commit(pending) => {
                        bytes += size(&pending.txn).bytes;
                        group.push(pending);
                    }
                    Job::Probe(reply) => probes.push(reply),
                    Job::Close(reply) => {
                        jobs.close();
                        closing.push(reply);
                    }
                }
                next = if group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
                    jobs.try_recv().ok()
                } else {
                    None
                };
            }
            if !group.is_empty() {
                self.commit(group);
            } else if !probes.is_empty() {
                self.probe();
            }
            for reply in probes {
                // Whoever asked may have gone.
                let _ = reply.send(());
            }
        }
        self.finish(closing);
    }

    /// The next job. While there is none, pages that nothing needs go back to the file system, a few at a time.
    fn next(&mut self, jobs: &mut mpsc::Receiver<Job>) -> Option<Job> {
        loop {
            match jobs.try_recv() {
                Ok(job) => return Some(job),
                Err(mpsc::error::TryRecvError::Empty) if self.give_back() => {}
                Err(_) => return jobs.blocking_recv(),
            }
        }
    }

    fn commit(&mut self, group: Vec<Pending>) {
        if let Some(source) = self.halted.clone()
            && !self.begin_anew(&source)
        {
            for pending in group {
                pending.answer(Err(unwritable(
                    &self.path,
                    &source,
                    Refusal::Halted {
                        source: Arc::clone(&source),
                    },
                )));
            }
            return;
        }
        match self.write(&group) {
            Ok(Written {
                head,
                bounds,
                logged,
                outcomes,
            }) => {
                self.trouble
                    .send_if_modified(|trouble| trouble.take().is_some());
                (self.head, self.bounds, self.logged) = (head, bounds, logged);
                self.publish(group, outcomes);
                self.checkpoint_when_due();
            }
            Err(source) => self.refuse(group, source),
        }
    }

    /// Writes nothing new, to find out whether that is possible.
    fn probe(&mut self) {
        if let Some(source) = self.halted.clone()
            && !self.begin_anew(&source)
        {
            return;
        }
        match self.write(&[]).and_then(|_| {
            self.connection
                .execute("UPDATE head SET revision = revision", [])
        }) {
            Ok(_) => {
                self.trouble
                    .send_if_modified(|trouble| trouble.take().is_some());
            }
            Err(source) => self.refuse(Vec::new(), source),
        }
    }

    /// After a failure that left open what the disk holds: reads the file anew and goes on from what is there. Not after one that
    /// reading can't make up for: damage, or a sync that failed, after which the system may show what the disk does not have.
    fn begin_anew(&mut self, source: &rusqlite::Error) -> bool {
        if trouble(source) == Trouble::Damaged || is_sync(source) {
            return false;
        }
        let read = || -> Result<_, Error> {
            let connection = file::writer(&self.path)?;
            schema::durable(&connection, &self.path)?;
            let failed = |source| file::failure("opened", &self.path, source);
            let (head, bounds) = (
                tables::head(&connection).map_err(failed)?,
                audit::bounds(&connection).map_err(failed)?,
            );
            let logged = tables::logged(&connection).map_err(failed)?;
            Ok((connection, head, bounds, logged))
        };
        match read() {
            Ok((connection, head, bounds, logged)) => {
                if head != self.head {
                    // What was answered with the failure has been written after all: followers find it in the log.
                    self.tail.begin_anew(head.revision);
                    self.published.send_replace(head.revision);
                }
                (self.connection, self.head, self.bounds, self.logged) =
                    (connection, head, bounds, logged);
                self.halted = None;
                true
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), error = &error as &dyn std::error::Error, "the state can't be opened anew");
                false
            }
        }
    }

    /// All of the group in one transaction; an unmet expectation costs only its own.
    fn write(&mut self, group: &[Pending]) -> rusqlite::Result<Written> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut head, mut bounds, mut logged) = (self.head, self.bounds, self.logged);
        let mut outcomes = Vec::with_capacity(group.len());
        for Pending { txn, .. } in group {
            if let Some(key) = tables::unmet(&transaction, &txn.expects)? {
                outcomes.push(Outcome::Conflict(key.to_owned()));
                continue;
            }
            if !txn.is_empty() {
                head.revision += 1;
                logged += tables::apply(&transaction, head.revision, &txn.writes)?;
                if let Some(through) = txn.cut {
                    audit::cut(&transaction, &mut bounds, through)?;
                }
                audit::append(&transaction, &mut bounds.head, head.revision, &txn.audit)?;
            }
            outcomes.push(Outcome::At(head.revision));
        }
        if head.revision != self.head.revision {
            let Keep { revisions, bytes } = self.keep;
            let mut droppable = head.revision.saturating_sub(revisions);
            // Some at a time: forgetting one revision per commit would touch the log's far end at every commit.
            if droppable.saturating_sub(head.compacted) <= revisions / 16 {
                droppable = head.compacted;
            }
            if logged > bytes {
                droppable =
                    droppable.max(tables::oldest(&transaction, logged - bytes + bytes / 16)?);
            }
            if droppable > head.compacted {
                logged = logged.saturating_sub(tables::logged_through(&transaction, droppable)?);
                tables::compact(&transaction, droppable)?;
                head.compacted = droppable;
            }
            tables::set_head(&transaction, head)?;
        }
        if bounds != self.bounds {
            audit::set_bounds(&transaction, bounds)?;
        }
        transaction.commit()?;
        Ok(Written {
            head,
            bounds,
            logged,
            outcomes,
        })
    }

    /// Watchers first: who has been answered may look for what he wrote.
    fn publish(&mut self, group: Vec<Pending>, outcomes: Vec<Outcome>) {
        let mut committed = Vec::with_capacity(group.len());
        let mut answers = Vec::with_capacity(group.len());
        for (Pending { txn, answer }, outcome) in group.into_iter().zip(outcomes) {
            let amount = size(&txn);
            let result = match outcome {
                Outcome::At(revision) => {
                    if !txn.is_empty() {
                        self.since_checkpoint.writes += amount.writes;
                        self.since_checkpoint.bytes += amount.bytes;
                        committed.push(Committed::new(revision, txn.writes));
                    }
                    Ok(Revision(revision))
                }
                Outcome::Conflict(key) => Err(store::Error::Conflict { key }),
            };
            answers.push((answer, result));
        }
        if !committed.is_empty() {
            self.tail.push(committed);
            self.published.send_replace(self.head.revision);
        }
        for (answer, result) in answers {
            Pending::send(answer, result);
        }
    }

    fn refuse(&mut self, group: Vec<Pending>, source: rusqlite::Error) {
        let source = Arc::new(source);
        let why = trouble(&source);
        if self.trouble.send_replace(Some(why)) != Some(why) {
            tracing::error!(path = %self.path.display(), error = %source, remedy = why.remedy(), "the state takes no writes: {why}");
        }
        if leaves_doubt(&source) {
            self.halted = Some(Arc::clone(&source));
        }
        for pending in group {
            pending.answer(Err(unwritable(&self.path, &source, Arc::clone(&source))));
        }
    }

    /// Gives a few pages back when many are free. False: there is nothing to do, or it can't be done now.
    fn give_back(&mut self) -> bool {
        if self.halted.is_some() || self.trouble.borrow().is_some() {
            return false;
        }
        match self.shrink() {
            Ok(None) => false,
            Ok(Some(bytes)) => {
                self.since_checkpoint.bytes += bytes;
                // The file itself becomes shorter when the log is folded in: after the last of them in any case.
                if bytes == 0 {
                    self.checkpoint()
                } else {
                    self.checkpoint_when_due()
                }
                bytes > 0
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "free pages of the state can't be given back");
                false
            }
        }
    }

    /// How many bytes were given back; 0 when those that are free may stay and some were given back before. None: none were.
    fn shrink(&mut self) -> rusqlite::Result<Option<usize>> {
        let number = |sql| {
            self.connection
                .prepare_cached(sql)?
                .query_row([], |row| row.get(0))
                .map(tables::unsigned)
        };
        let (free, pages) = (
            number("PRAGMA freelist_count")?,
            number("PRAGMA page_count")?,
        );
        if free <= SPARE_PAGES.max(pages.saturating_sub(free) / 4) {
            return Ok(std::mem::take(&mut self.shrinking).then_some(0));
        }
        let turn = free.min(TURN_PAGES);
        {
            let mut statement = self
                .connection
                .prepare(&format!("PRAGMA incremental_vacuum({turn})"))?;
            let mut rows = statement.query([])?;
            // Each step gives back one.
            while rows.next()?.is_some() {}
        }
        // In a file that could not be rewritten nothing goes back.
        self.shrinking = number("PRAGMA freelist_count")? < free;
        let page = number("PRAGMA page_size")?;
        Ok(self
            .shrinking
            .then(|| usize::try_from(turn * page).unwrap_or(usize::MAX)))
    }

    fn checkpoint_when_due(&mut self) {
        if self.since_checkpoint.writes >= CHECKPOINT_WRITES
            || self.since_checkpoint.bytes >= CHECKPOINT_BYTES
        {
            self.checkpoint();
        }
    }

    fn checkpoint(&mut self) {
        // When it fails the log only stays longer, and the next one tries again.
        match self
            .connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        {
            Ok(()) => self.since_checkpoint = Amount::default(),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the state's log can't be folded into its file")
            }
        }
    }

    fn finish(self, closing: Vec<oneshot::Sender<Result<(), Error>>>) {
        let Self {
            connection,
            path,
            lock,
            published,
            ..
        } = self;
        let mut result = connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .and_then(|()| connection.close().map_err(|(_, source)| source))
            .map_err(|source| file::failure("closed", &path, source));
        drop(lock);
        drop(published);
        for reply in closing {
            // The first to ask hears of a failure; nobody may be listening any more.
            let _ = reply.send(std::mem::replace(&mut result, Ok(())));
        }
    }
}

// === impl Pending ===

impl Pending {
    fn answer(self, result: Result<Revision, store::Error>) {
        Self::send(self.answer, result);
    }

    fn send(
        answer: oneshot::Sender<Result<Revision, store::Error>>,
        result: Result<Revision, store::Error>,
    ) {
        // Whoever asked may have gone: the write stands all the same.
        let _ = answer.send(result);
    }
}

// === impl Thread ===

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            // It has no panics of its own to tell of.
            let _ = handle.join();
        }
    }
}

/// Whether, after this failure, the disk may hold something else than what was answered. A full disk is not one of those:
/// SQLite has taken the whole group back.
fn leaves_doubt(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::InternalMalfunction
        )
    )
}

fn trouble(error: &rusqlite::Error) -> Trouble {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Trouble::Full,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Trouble::Locked,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Trouble::Damaged,
        _ => Trouble::Failing,
    }
}

/// Whether it was a sync to disk that failed.
fn is_sync(error: &rusqlite::Error) -> bool {
    let codes = [
        rusqlite::ffi::SQLITE_IOERR_FSYNC,
        rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC,
    ];
    error
        .sqlite_error()
        .is_some_and(|e| codes.contains(&e.extended_code))
}

fn unwritable(
    path: &Path,
    error: &rusqlite::Error,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> store::Error {
    store::Error::Unwritable {
        path: path.display().to_string(),
        trouble: trouble(error),
        source: source.into(),
    }
}

fn size(txn: &Txn) -> Amount {
    let bytes = txn.writes.iter().map(|write| match write {
        Write::Put { key, value } | Write::Archive { key, value } => key.len() + value.len(),
        Write::Delete { key } => key.len(),
    });
    let told = txn.audit.iter().map(Vec::len);
    Amount {
        writes: txn.writes.len() + txn.audit.len(),
        bytes: bytes.chain(told).sum(),
    }
}

/// Refuses what would make one group, and with it everyone's wait, too long.
pub(crate) fn check_size(txn: &Txn) -> Result<(), Refusal> {
    const MAX_BYTES: usize = 64 << 20;
    let Amount { writes, bytes } = size(txn);
    if writes > tables::MAX_WRITES || bytes > MAX_BYTES {
        return Err(Refusal::TooLarge {
            writes,
            bytes,
            max_writes: tables::MAX_WRITES,
            max_bytes: MAX_BYTES,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readers::Readers;

    #[tokio::test]
    async fn a_full_disk_takes_the_whole_group_back_and_later_ones_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let lock = Lock::take(&path).unwrap();
        let mut connection = file::writer(&path).unwrap();
        schema::prepare(&mut connection, &path, schema::MIGRATIONS).unwrap();
        let pages: i64 = connection
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .unwrap();
        connection
            .query_row(
                &format!("PRAGMA max_page_count = {}", pages + 20),
                [],
                |_| Ok(()),
            )
            .unwrap();
        let writer = Writer::new(
            connection,
            path.clone(),
            lock,
            Keep {
                revisions: 100,
                bytes: 1 << 20,
            },
        )
        .unwrap();

        let (jobs, queue) = mpsc::channel(8);
        let mut answers = Vec::new();
        let mut send = |key: &str, size: usize| {
            let (answer, answered) = oneshot::channel();
            jobs.try_send(Job::Commit(Pending {
                txn: Txn::new().put(key, vec![0; size]),
                answer,
            }))
            .unwrap();
            answers.push(answered);
        };
        // All in line before the writer starts: one group.
        send("before", 10);
        send("large", 200_000);
        send("after", 10);
        let published = writer.published();
        let thread = writer.start(queue).unwrap();
        for answered in answers.drain(..) {
            let error = answered.await.unwrap().unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert_eq!(source, "database or disk is full");
        }
        assert_eq!(*published.borrow(), 0);
        let send = |key: &str| {
            let (answer, answered) = oneshot::channel();
            jobs.try_send(Job::Commit(Pending {
                txn: Txn::new().put(key, vec![0; 10]),
                answer,
            }))
            .unwrap();
            answered
        };
        assert_eq!(send("small").await.unwrap().unwrap(), Revision(1));
        let readers = Arc::new(Readers::new(path, 1));
        let listing = readers
            .run(|connection| tables::list(connection, ""))
            .await
            .unwrap();
        assert_eq!(
            listing
                .records
                .iter()
                .map(|record| record.key.as_str())
                .collect::<Vec<_>>(),
            ["small"]
        );
        drop(jobs);
        drop(thread);
    }
}
