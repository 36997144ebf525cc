//! A provider of two versions. Calls about an allocation go to the version that has made its state; where that is the old one, a share of
//! the allocations is given to the new one, which must be able to read it. The way back does not need the old one to read anything of the
//! new one's: it finds what there is by its tags. Calls about no allocation are answered by the old version, and a share of them is asked
//! of the new one beside.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use futures::future::{BoxFuture, FutureExt};
use tradewind_core::{
    failure::Failure,
    grant::{ProbeGrant, Spaces},
    names::AllocationId,
    offer::{Offer, OffersQuery},
    plugin::{Destroyed, Features, Identity, Owned, Provider, Tracked},
    session::{Opening, ReplicaRef, Session},
    workload::{Allocation, Condition, LogChunk, LogQuery, Observation},
};

use super::split::{
    Side::{New, Old},
    Split,
};

struct SplitProvider {
    old: Arc<dyn Provider>,
    new: Arc<dyn Provider>,
    split: Arc<Split>,
}

pub(super) fn split(
    old: Arc<dyn Provider>,
    new: Arc<dyn Provider>,
    split: Arc<Split>,
) -> Arc<dyn Provider> {
    Arc::new(SplitProvider { old, new, split })
}

impl SplitProvider {
    /// Asks the new version for a share of the calls whose answer the old one gives. Nobody waits for it.
    fn mirror(
        &self,
        operation: &'static str,
        call: impl FnOnce(Arc<dyn Provider>) -> BoxFuture<'static, Result<(), Failure>>,
    ) {
        if self.split.draws_next() {
            let (split, call) = (self.split.clone(), call(self.new.clone()));
            tokio::spawn(async move { split.time(New, operation, call).await });
        }
    }

    /// What the old version finds at the cloud of these, with states that it can read.
    async fn found(
        &self,
        wanted: &[&AllocationId],
    ) -> Result<BTreeMap<AllocationId, Vec<u8>>, Failure> {
        let owned = self.old.owned().await?;
        Ok(owned
            .into_iter()
            .filter(|o| wanted.contains(&&o.allocation))
            .map(|o| (o.allocation, o.state))
            .collect())
    }

    async fn observe_old(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Failure> {
        if tracked.is_empty() {
            return Ok(Vec::new());
        }
        self.split
            .time(Old, "observe", self.old.observe(tracked))
            .await
    }

    /// # Errors
    /// When both versions fail.
    async fn observe_new(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Failure> {
        if tracked.is_empty() {
            return Ok(Vec::new());
        }
        if !self.split.is_open() {
            return self.take_back(tracked).await;
        }
        match self
            .split
            .time(New, "observe", self.new.observe(tracked))
            .await
        {
            Ok(all) => {
                for (allocation, state) in all
                    .iter()
                    .filter_map(|o| Some((&o.allocation, o.state.as_ref()?)))
                {
                    self.split.made(allocation, state).await?;
                }
                Ok(all)
            }
            Err(_) => {
                let (made, unread): (Vec<_>, Vec<_>) = tracked
                    .iter()
                    .cloned()
                    .partition(|t| self.split.has_made(&t.allocation, &t.state));
                let (mut all, more) =
                    futures::future::try_join(self.take_back(&made), self.observe_old(&unread))
                        .await?;
                all.extend(more);
                Ok(all)
            }
        }
    }

    /// Gives what the new version has made to the old one. What that does not find is still observed by the new one.
    async fn take_back(&self, made: &[Tracked]) -> Result<Vec<Observation>, Failure> {
        if made.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&AllocationId> = made.iter().map(|t| &t.allocation).collect();
        let mut found = self.found(&ids).await.unwrap_or_default();
        // No record will show that these are the old version's: both write the same bytes.
        let same = made
            .iter()
            .filter(|t| found.get(&t.allocation) == Some(&t.state))
            .map(|t| &t.allocation);
        self.split.forget(same).await;
        let (mut read, mut left) = (Vec::new(), Vec::new());
        for tracked in made {
            match found.remove(&tracked.allocation) {
                Some(state) => read.push(Tracked {
                    allocation: tracked.allocation.clone(),
                    state,
                }),
                None => left.push(tracked.clone()),
            }
        }
        let mut all = self.observe_old(&read).await?;
        for observation in &mut all {
            if observation.state.is_none() {
                observation.state = read
                    .iter()
                    .find(|t| t.allocation == observation.allocation)
                    .map(|t| t.state.clone());
            }
        }
        if !left.is_empty() {
            all.extend(self.new.observe(&left).await?);
        }
        Ok(all)
    }

    /// A state that the old version can read, of what the given one describes. None: there is nothing that it knows of.
    async fn readable(
        &self,
        allocation: &AllocationId,
        state: &[u8],
    ) -> Result<Option<Vec<u8>>, Failure> {
        if self.split.has_made(allocation, state) {
            return Ok(self.found(&[allocation]).await?.remove(allocation));
        }
        Ok(Some(state.to_vec()))
    }
}

#[async_trait]
impl Provider for SplitProvider {
    fn identity(&self) -> &Identity {
        self.old.identity()
    }

    fn namespaces(&self) -> &Spaces {
        self.old.namespaces()
    }

    fn features(&self) -> Features {
        self.old.features()
    }

    fn concurrency(&self) -> u32 {
        self.old.concurrency()
    }

    fn probe_grant(&self) -> Option<&ProbeGrant> {
        self.old.probe_grant()
    }

    async fn check(&self) -> Result<Vec<Condition>, Failure> {
        self.mirror("check", |new| {
            async move { new.check().await.map(drop) }.boxed()
        });
        self.split.time(Old, "check", self.old.check()).await
    }

    async fn offers(&self, query: &OffersQuery) -> Result<Vec<Offer>, Failure> {
        let asked = query.clone();
        self.mirror("offers", |new| {
            async move { new.offers(&asked).await.map(drop) }.boxed()
        });
        self.split.time(Old, "offers", self.old.offers(query)).await
    }

    async fn apply(
        &self,
        allocation: &Allocation,
        prior: Option<&[u8]>,
    ) -> Result<Vec<u8>, Failure> {
        if self.split.draws(allocation.id.as_str().as_bytes()) {
            // A failure is not made up for by the old version: the call may have had its effect.
            let state = self
                .split
                .time(New, "apply", self.new.apply(allocation, prior))
                .await?;
            self.split.made(&allocation.id, &state).await?;
            return Ok(state);
        }
        let prior = match prior {
            Some(state) => self.readable(&allocation.id, state).await?,
            None => None,
        };
        self.split
            .time(Old, "apply", self.old.apply(allocation, prior.as_deref()))
            .await
    }

    async fn observe(&self, tracked: &[Tracked]) -> Result<Vec<Observation>, Failure> {
        let holds = self.split.holds() > 0;
        let made = |t: &Tracked| holds && self.split.has_made(&t.allocation, &t.state);
        if holds && !self.split.is_open() {
            // Their records have got states of the old version since.
            let back: Vec<&AllocationId> = tracked
                .iter()
                .filter(|t| !made(t))
                .map(|t| &t.allocation)
                .collect();
            self.split.forget(back).await;
        }
        let (new, old): (Vec<Tracked>, Vec<Tracked>) = tracked
            .iter()
            .cloned()
            .partition(|t| made(t) || self.split.draws(t.allocation.as_str().as_bytes()));
        let (mut all, more) =
            futures::future::try_join(self.observe_new(&new), self.observe_old(&old)).await?;
        all.extend(more);
        Ok(all)
    }

    async fn destroy(&self, tracked: &Tracked) -> Result<Destroyed, Failure> {
        let gone = if !self.split.has_made(&tracked.allocation, &tracked.state) {
            self.split
                .time(Old, "destroy", self.old.destroy(tracked))
                .await?
        } else if self.split.is_open() {
            self.split
                .time(New, "destroy", self.new.destroy(tracked))
                .await?
        } else {
            match self
                .found(&[&tracked.allocation])
                .await?
                .remove(&tracked.allocation)
            {
                Some(state) => {
                    self.old
                        .destroy(&Tracked {
                            allocation: tracked.allocation.clone(),
                            state,
                        })
                        .await?
                }
                None => self.new.destroy(tracked).await?,
            }
        };
        if gone == Destroyed::Gone {
            self.split.forget([&tracked.allocation]).await;
        }
        Ok(gone)
    }

    async fn owned(&self) -> Result<Vec<Owned>, Failure> {
        self.mirror("owned", |new| {
            async move { new.owned().await.map(drop) }.boxed()
        });
        self.split.time(Old, "owned", self.old.owned()).await
    }

    async fn open(&self, replica: &ReplicaRef, what: Opening) -> Result<Session, Failure> {
        // Both have the grants of one instance file.
        self.old.open(replica, what).await
    }

    async fn logs(&self, tracked: &Tracked, query: &LogQuery) -> Result<LogChunk, Failure> {
        let made = self.split.has_made(&tracked.allocation, &tracked.state);
        if made || self.split.draws(tracked.allocation.as_str().as_bytes()) {
            let told = self
                .split
                .time(New, "logs", self.new.logs(tracked, query))
                .await;
            if told.is_ok() || made {
                return told;
            }
        }
        self.split
            .time(Old, "logs", self.old.logs(tracked, query))
            .await
    }
}
