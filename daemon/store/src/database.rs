//! The handle: opens the state, gives it out as core's `Store`, and closes it.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::sync::{mpsc, oneshot, watch};

use tradewind_core::{
    audit,
    names::Digest,
    store::{self, Change, Listing, Record, Revision, Store, Trouble, Txn},
};

use crate::{
    Error, Options,
    error::backend,
    file,
    readers::Readers,
    schema,
    snapshot::{self, Snapshot},
    tables,
    tail::Tail,
    watching::Watching,
    writer::{self, Job, Keep, Pending, Thread, Writer},
};

/// Writers that may wait in line; those beyond wait to get in.
const QUEUE: usize = 1024;

/// The state of one daemon. Clones share it. It is released by `close`, or when the last clone is dropped: that waits for the writes
/// in line and so blocks, where `close` does not.
#[derive(Debug, Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    readers: Arc<Readers>,
    tail: Arc<Tail>,
    published: watch::Receiver<u64>,
    trouble: watch::Receiver<Option<Trouble>>,
    jobs: mpsc::Sender<Job>,
    /// After the sender of its jobs, whose drop ends it.
    _thread: Thread,
}

impl Database {
    /// Opens the state, or makes it. It blocks for disk work, and for a check of the whole file when the last run ended badly.
    ///
    /// # Errors
    /// The folder or file can't be made or written; another daemon has the state; the file is damaged, another program's or a
    /// newer version's.
    pub fn open(options: Options) -> Result<Self, Error> {
        let Options {
            path,
            keep_changes,
            keep_change_bytes,
            readers,
        } = options;
        let lock = file::Lock::take(&path)?;
        let ended_badly = file::ended_badly(&path);
        let mut connection = file::writer(&path)?;
        if ended_badly {
            schema::check(&connection, &path)?;
        }
        schema::prepare(&mut connection, &path, schema::MIGRATIONS)?;
        if !ended_badly {
            schema::check_records(&connection, &path)?;
        }
        let writer = Writer::new(
            connection,
            path.clone(),
            lock,
            Keep {
                revisions: keep_changes,
                bytes: keep_change_bytes,
            },
        )?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (tail, published, trouble) = (writer.tail(), writer.published(), writer.trouble());
        let thread = writer.start(queue)?;
        let readers = Arc::new(Readers::new(path.clone(), readers));
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                readers,
                tail,
                published,
                trouble,
                jobs,
                _thread: thread,
            }),
        })
    }

    /// Copies the whole state, as of one moment, to a new file. Reads and writes go on meanwhile.
    ///
    /// # Errors
    /// The state can't be read or the file can't be written.
    pub async fn copy(&self, to: PathBuf) -> Result<Snapshot, Error> {
        let from = self.inner.path.clone();
        tokio::task::spawn_blocking(move || snapshot::copy(&from, &to))
            .await
            .unwrap_or_else(|source| Err(Error::Task { source }))
    }

    /// Why writes are refused at the moment, if they are.
    pub fn trouble(&self) -> watch::Receiver<Option<Trouble>> {
        self.inner.trouble.clone()
    }

    /// Finds out whether writes are possible again, so that `trouble` tells it even when nobody writes.
    pub async fn probe(&self) {
        let (reply, answer) = oneshot::channel();
        if self.inner.jobs.send(Job::Probe(reply)).await.is_ok() {
            // No answer: the state was closed meanwhile.
            let _ = answer.await;
        }
    }

    /// Finishes the writes that wait, folds the log into the file and releases the state, for all clones. Later calls fail with
    /// `Closed`, and watches end with it.
    ///
    /// # Errors
    /// The log can't be folded in. What was committed is safe in it all the same.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.readers.close().await;
        let (reply, answer) = oneshot::channel();
        match self.inner.jobs.send(Job::Close(reply)).await {
            Ok(()) => answer.await.unwrap_or(Ok(())),
            // Closed before.
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Database {
    async fn get(&self, key: &str) -> Result<Option<Record>, store::Error> {
        let key = key.to_owned();
        self.inner
            .readers
            .run(move |connection| tables::get(connection, &key))
            .await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, store::Error> {
        let prefix = prefix.to_owned();
        self.inner
            .readers
            .run(move |connection| tables::list(connection, &prefix))
            .await
    }

    /// Once it waits in line it is written, even if the caller stops waiting for the answer.
    async fn commit(&self, txn: Txn) -> Result<Revision, store::Error> {
        writer::check_size(&txn)
            .map_err(|refusal| backend("written", &self.inner.path, refusal))?;
        let (answer, answered) = oneshot::channel();
        self.inner
            .jobs
            .send(Job::Commit(Pending { txn, answer }))
            .await
            .map_err(|_| store::Error::Closed)?;
        answered.await.unwrap_or(Err(store::Error::Closed))
    }

    async fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Change, store::Error>>, store::Error> {
        let Inner {
            readers,
            tail,
            published,
            ..
        } = &*self.inner;
        let watching = Watching::start(
            Arc::clone(readers),
            Arc::clone(tail),
            published.clone(),
            prefix,
            after,
        )
        .await?;
        Ok(watching.stream())
    }

    async fn audit(&self, after: u64, limit: usize) -> Result<Vec<audit::Entry>, store::Error> {
        self.inner
            .readers
            .run(move |connection| crate::audit::entries(connection, after, limit))
            .await
    }

    async fn size(&self, prefix: &str) -> Result<u64, store::Error> {
        let prefix = prefix.to_owned();
        self.inner
            .readers
            .run(move |connection| tables::size(connection, &prefix))
            .await
    }

    async fn audit_size(&self) -> Result<u64, store::Error> {
        self.inner.readers.run(crate::audit::size).await
    }

    async fn audit_bounds(&self) -> Result<audit::Bounds, store::Error> {
        self.inner.readers.run(crate::audit::bounds).await
    }

    async fn audit_verify(&self, expected: Option<Digest>) -> Result<audit::Verdict, store::Error> {
        let path = self.inner.path.clone();
        // What other connections have in memory says nothing about the file.
        self.inner
            .readers
            .run(move |_| crate::audit::verify(&file::reader(&path)?, expected))
            .await
    }

    async fn revision(&self) -> Result<Revision, store::Error> {
        Ok(Revision(*self.inner.published.borrow()))
    }
}
