//! What instances each plugin instance has: for the grant's limit, and to know again what was just made and is not listed yet.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tradewind_core::{
    failure::{Failure, FailureKind},
    names::InstanceName,
};

/// How long after its creation the cloud's lists may lack something.
const NEW: Duration = Duration::from_secs(300);

#[derive(Default)]
pub(crate) struct Census {
    owners: Mutex<HashMap<InstanceName, Arc<tokio::sync::Mutex<Count>>>>,
    /// What was made by this process, and when.
    made: Mutex<HashMap<(InstanceName, String), Instant>>,
}

/// The instances of one owner.
#[derive(Default)]
struct Count {
    ids: Option<HashSet<String>>,
    under_way: usize,
}

impl Census {
    /// Takes a place for one more. `list` tells what exists; it is asked at first, and when the limit seems to be reached.
    ///
    /// # Errors
    /// `quota` when the grant's limit is reached; whatever `list` fails with.
    pub(crate) async fn reserve(
        &self,
        owner: &InstanceName,
        limit: u32,
        list: impl Future<Output = Result<HashSet<String>, Failure>>,
    ) -> Result<(), Failure> {
        let count = self.of(owner);
        let mut count = count.lock().await;
        let limit = limit as usize;
        let room = |count: &Count| {
            count
                .ids
                .as_ref()
                .is_some_and(|ids| ids.len() + count.under_way < limit)
        };
        if !room(&count) {
            count.ids = Some(list.await?);
        }
        if !room(&count) {
            let message =
                format!("the grant allows {limit} instances at once, and so many there are");
            let remedy = "raise instances in [grants.aws] of the instance file";
            return Err(Failure::new(FailureKind::Quota, message)
                .field("instances")
                .code("grant-limit")
                .remedy(remedy));
        }
        count.under_way += 1;
        Ok(())
    }

    /// Gives the place to what was made, or back.
    pub(crate) async fn settle(&self, owner: &InstanceName, made: Option<&str>) {
        let count = self.of(owner);
        let mut count = count.lock().await;
        count.under_way = count.under_way.saturating_sub(1);
        if let Some(id) = made {
            count.ids.get_or_insert_default().insert(id.to_owned());
            self.made(owner, id);
        }
    }

    pub(crate) async fn removed(&self, owner: &InstanceName, ids: &[String]) {
        let count = self.of(owner);
        let mut count = count.lock().await;
        if let Some(known) = &mut count.ids {
            ids.iter().for_each(|id| {
                known.remove(id);
            });
        }
    }

    /// Remembers for a while that this was made for this owner.
    pub(crate) fn made(&self, owner: &InstanceName, id: &str) {
        let mut made = self.made.lock();
        made.retain(|_, at| at.elapsed() < NEW);
        made.insert((owner.clone(), id.to_owned()), Instant::now());
    }

    /// Whether this was just made for this owner.
    pub(crate) fn is_new(&self, owner: &InstanceName, id: &str) -> bool {
        let made = self.made.lock();
        made.get(&(owner.clone(), id.to_owned()))
            .is_some_and(|at| at.elapsed() < NEW)
    }

    fn of(&self, owner: &InstanceName) -> Arc<tokio::sync::Mutex<Count>> {
        self.owners.lock().entry(owner.clone()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_than_the_limit_at_once_and_what_has_gone_makes_room() {
        let (census, owner) = (
            Census::default(),
            InstanceName::try_from("aws".to_owned()).unwrap(),
        );
        let list = |ids: &'static [&'static str]| async move {
            Ok(ids.iter().map(|id| (*id).to_owned()).collect())
        };
        census.reserve(&owner, 2, list(&[])).await.unwrap();
        census.reserve(&owner, 2, list(&[])).await.unwrap();
        let failure = census.reserve(&owner, 2, list(&[])).await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.field.as_deref()),
            (FailureKind::Quota, Some("instances"))
        );
        census.settle(&owner, Some("i-1")).await;
        census.settle(&owner, None).await;
        census.reserve(&owner, 2, list(&[])).await.unwrap();
        census.settle(&owner, Some("i-2")).await;
        assert!(
            census
                .reserve(&owner, 2, list(&["i-1", "i-2"]))
                .await
                .is_err()
        );
        assert!(
            census.reserve(&owner, 2, list(&["i-2"])).await.is_ok(),
            "somebody else has removed one"
        );
        census.settle(&owner, None).await;
        census.removed(&owner, &["i-2".to_owned()]).await;
        census.reserve(&owner, 1, list(&["i-1"])).await.unwrap();
        assert!(census.is_new(&owner, "i-1") && !census.is_new(&owner, "i-9"));
    }
}
