//! What the tests share: throwaway states, and error chains as text.

use std::error::Error;

use futures::StreamExt;
use futures::stream::BoxStream;
use tempfile::TempDir;
use tradewind_core::store::{self, Change};
use tradewind_store::{Database, Options};

pub(crate) fn state() -> (TempDir, Options) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("state/tradewind.db"));
    (folder, options)
}

pub(crate) fn open(options: &Options) -> Database {
    Database::open(options.clone()).unwrap()
}

pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

/// The next `count` changes.
pub(crate) async fn take(
    stream: &mut BoxStream<'static, Result<Change, store::Error>>,
    count: usize,
) -> Vec<Change> {
    let mut changes = Vec::new();
    while changes.len() < count {
        changes.push(stream.next().await.unwrap().unwrap());
    }
    changes
}
