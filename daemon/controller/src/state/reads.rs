//! The state, to be read. Nobody who has this can write: that is the committer's alone.

use std::sync::Arc;

use futures::stream::BoxStream;
use tradewind_core::{
    audit,
    names::Digest,
    store::{Change, Error, Listing, Record, Revision, Store},
};

/// Core's `Store` without `commit`. Errors are those of its methods of the same names.
#[derive(Clone)]
pub(crate) struct Reads(Arc<dyn Store>);

impl Reads {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<Record>, Error> {
        self.0.get(key).await
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        self.0.list(prefix).await
    }

    pub(crate) async fn size(&self, prefix: &str) -> Result<u64, Error> {
        self.0.size(prefix).await
    }

    pub(crate) async fn watch(
        &self,
        prefix: &str,
        after: Revision,
    ) -> Result<BoxStream<'static, Result<Change, Error>>, Error> {
        self.0.watch(prefix, after).await
    }

    pub(crate) async fn audit(&self, after: u64, limit: usize) -> Result<Vec<audit::Entry>, Error> {
        self.0.audit(after, limit).await
    }

    pub(crate) async fn audit_size(&self) -> Result<u64, Error> {
        self.0.audit_size().await
    }

    pub(crate) async fn audit_bounds(&self) -> Result<audit::Bounds, Error> {
        self.0.audit_bounds().await
    }

    pub(crate) async fn audit_verify(
        &self,
        expected: Option<Digest>,
    ) -> Result<audit::Verdict, Error> {
        self.0.audit_verify(expected).await
    }
}
