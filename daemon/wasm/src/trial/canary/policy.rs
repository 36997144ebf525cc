//! A policy of two versions: each decision is drawn to one of them.

use std::{sync::Arc, time::Instant as Watch};

use async_trait::async_trait;
use tradewind_core::{
    failure::Failure,
    grant::Spaces,
    placement::{Answer, Request, validate},
    plugin::{Identity, Policy},
};

use super::split::{Side, Split};

struct SplitPolicy {
    old: Arc<dyn Policy>,
    new: Arc<NewPolicy>,
    split: Arc<Split>,
}

/// The new version, watched.
struct NewPolicy {
    version: Arc<dyn Policy>,
    split: Arc<Split>,
}

pub(super) fn split(
    old: Arc<dyn Policy>,
    new: Arc<dyn Policy>,
    split: Arc<Split>,
) -> Arc<dyn Policy> {
    Arc::new(SplitPolicy {
        old,
        new: Arc::new(NewPolicy {
            version: new,
            split: split.clone(),
        }),
        split,
    })
}

#[async_trait]
impl Policy for SplitPolicy {
    fn identity(&self) -> &Identity {
        self.old.identity()
    }

    fn namespaces(&self) -> &Spaces {
        self.old.namespaces()
    }

    fn drawn(&self, decision: &[u8]) -> Option<Arc<dyn Policy>> {
        self.split
            .draws(decision)
            .then(|| self.new.clone() as Arc<dyn Policy>)
    }

    async fn place(&self, request: &Request) -> Result<Answer, Failure> {
        self.split
            .time(Side::Old, "place", self.old.place(request))
            .await
    }
}

#[async_trait]
impl Policy for NewPolicy {
    fn identity(&self) -> &Identity {
        self.version.identity()
    }

    async fn place(&self, request: &Request) -> Result<Answer, Failure> {
        let since = Watch::now();
        let answer = self.version.place(request).await;
        // An answer that breaks a rule is no answer.
        let failed = answer
            .as_ref()
            .map_or(true, |answer| validate(request, answer).is_err());
        self.split.count(Side::New, "place", since, failed);
        answer
    }
}
