//! Reads: a few connections, used on blocking threads only.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use tradewind_core::store::Error;

use crate::{error::backend, file};

#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    max: usize,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf, max: usize) -> Self {
        let max = max.clamp(1, 64);
        Self {
            path,
            max,
            permits: Arc::new(Semaphore::new(max)),
            idle: Mutex::new(Vec::new()),
        }
    }

    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| Error::Closed)?;
        let readers = Arc::clone(self);
        let task = spawn_blocking(move || {
            // Here and not with the caller, who may go away while the read runs on.
            let _permit = permit;
            readers.read(read)
        });
        match task.await {
            Ok(result) => result.map_err(|source| backend("read", &self.path, source)),
            Err(source) => Err(backend("read", &self.path, source)),
        }
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => file::reader(&self.path)?,
        };
        let value = read(&connection)?;
        // One that failed is not kept.
        self.idle.lock().push(connection);
        Ok(value)
    }

    /// Takes no more reads, and returns when those that run have ended.
    pub(crate) async fn close(&self) {
        let all = self
            .permits
            .acquire_many(u32::try_from(self.max).unwrap_or(u32::MAX))
            .await;
        self.permits.close();
        drop(all);
        let connections = std::mem::take(&mut *self.idle.lock());
        // Closing touches the disk. It can't fail in a way that would matter: nothing was written through these.
        let _ = spawn_blocking(move || drop(connections)).await;
    }
}
