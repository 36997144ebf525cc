//! One watcher's way through the log of changes. It only ever reads on from its own position, from memory where it can and from
//! disk where it must, so there is no seam between what has been and what is to come where a change could get lost.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;

use tradewind_core::store::{Change, Error, Revision};

use crate::{
    readers::Readers,
    tables::{self, Page, Position},
    tail::Tail,
};

#[derive(Debug)]
pub(crate) struct Watching {
    readers: Arc<Readers>,
    tail: Arc<Tail>,
    published: watch::Receiver<u64>,
    prefix: String,
    position: Position,
    ready: VecDeque<Change>,
}

impl Watching {
    /// Reads the first page already, so that a watcher who comes too late hears it from the call.
    pub(crate) async fn start(
        readers: Arc<Readers>,
        tail: Arc<Tail>,
        published: watch::Receiver<u64>,
        prefix: &str,
        after: Revision,
    ) -> Result<Self, Error> {
        let prefix = prefix.to_owned();
        let mut watching = Self {
            readers,
            tail,
            published,
            prefix,
            position: Position::after(after.0),
            ready: VecDeque::new(),
        };
        if watching.is_behind() {
            watching.read().await?;
        }
        Ok(watching)
    }

    /// Ends after the first error.
    pub(crate) fn stream(self) -> BoxStream<'static, Result<Change, Error>> {
        stream::unfold(Some(self), |watching| async {
            let mut watching = watching?;
            match watching.next().await {
                Ok(change) => Some((Ok(change), Some(watching))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Change, Error> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            if !self.is_behind() {
                let seen = self.position.revision();
                self.published
                    .wait_for(|revision| *revision > seen)
                    .await
                    .map_err(|_| Error::Closed)?;
            }
            self.read().await?;
        }
    }

    fn is_behind(&self) -> bool {
        !self.position.is_between_revisions() || *self.published.borrow() > self.position.revision()
    }

    async fn read(&mut self) -> Result<(), Error> {
        if self.position.is_between_revisions()
            && let Some(committed) = self.tail.after(self.position.revision())
        {
            for one in &committed {
                self.ready.extend(
                    one.changes
                        .iter()
                        .filter(|change| change.key.starts_with(&self.prefix))
                        .cloned(),
                );
                self.position = Position::after(one.revision);
            }
            return Ok(());
        }
        let (position, prefix) = (self.position, self.prefix.clone());
        match self
            .readers
            .run(move |connection| tables::changes(connection, position, &prefix))
            .await?
        {
            Page::Changes { changes, read_to } => {
                self.ready.extend(changes);
                self.position = read_to;
                Ok(())
            }
            Page::Compacted { oldest } => Err(Error::Compacted {
                asked: position.revision(),
                oldest,
            }),
        }
    }
}
