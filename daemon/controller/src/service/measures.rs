//! What is measured of the controller, for metrics. Entries are taken out of the cache some at a time, and looked at without the lock.

use std::{collections::BTreeMap, time::Duration};

use tradewind_api::{CordonView, Status};
use tradewind_core::{
    names::{DeploymentName, InstanceName, Namespace},
    record::DeploymentKey,
    rollout,
    units::MicroUsd,
};

use crate::{
    Handle, lock,
    service::{listing::AT_ONCE, render},
    state::timings::Times,
};

/// A deployment as metrics have it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentMeasure {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: DeploymentName,
    /// How it stands.
    pub status: Status,
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas that it shall have.
    pub replicas: u32,
    /// Restarts of its replicas since the daemon began, as their providers count them.
    pub restarts: u64,
    /// Where its update stands. None: it is done.
    pub rollout: Option<rollout::Status>,
}

/// What the controller has to do, and how long it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Measures {
    /// Deployments that are to be looked at now.
    pub queued: usize,
    /// Deployments that are to be looked at later.
    pub delayed: usize,
    /// Deployments with replicas that have no place.
    pub waiting: usize,
    /// How many places are cordoned, draining and drained.
    pub places: BTreeMap<&'static str, usize>,
    /// How old each provider's last offers are.
    pub quotes: BTreeMap<InstanceName, Duration>,
    /// The most that each namespace may spend per hour and per month, where it has a budget.
    pub budgets: BTreeMap<Namespace, (Option<MicroUsd>, Option<MicroUsd>)>,
    /// Decisions.
    pub decision: Times,
    /// Steps of the reconciler.
    pub reconcile: Times,
    /// Commits of the state.
    pub store: Times,
}

impl Handle {
    /// What there is to do, and how long it takes.
    pub fn measures(&self) -> Measures {
        let ((queued, delayed, waiting), cordons) = {
            let cache = lock(&self.shared.cache);
            (cache.queued(), cache.cordons.clone())
        };
        let mut places = BTreeMap::from([("cordoned", 0), ("draining", 0), ("drained", 0)]);
        for cordon in cordons.iter() {
            *places.entry(CordonView::from(cordon).state()).or_default() += 1;
        }
        let budgets = lock(&self.shared.namespaces)
            .limits
            .iter()
            .filter_map(|(name, (record, _))| {
                let budget = record.manifest.spec.budget.as_ref()?;
                Some((name.clone(), (budget.hourly, budget.monthly)))
            })
            .collect();
        let timings = &self.shared.committer.timings;
        Measures {
            queued,
            delayed,
            waiting,
            places,
            budgets,
            quotes: self.shared.quotes.ages(),
            decision: timings.decision.read(),
            reconcile: timings.reconcile.read(),
            store: timings.store.read(),
        }
    }

    /// Every deployment, by namespace and name.
    pub async fn deployment_measures(&self) -> Vec<DeploymentMeasure> {
        let snapshot = self.shared.plugins.snapshot();
        let mut behind: Option<DeploymentKey> = None;
        let mut found = Vec::new();
        loop {
            let taken = lock(&self.shared.cache).behind(behind.as_ref(), None, AT_ONCE);
            let Some((last, _)) = taken.last() else { break };
            behind = Some(last.clone());
            found.extend(taken.iter().map(|(key, entry)| {
                let (status, ready, replicas) = render::standing(entry, &snapshot);
                DeploymentMeasure {
                    namespace: key.namespace.clone(),
                    name: key.name.clone(),
                    status,
                    ready,
                    replicas,
                    restarts: entry.restarted,
                    rollout: entry
                        .record
                        .rollout
                        .as_ref()
                        .map(|rollout| rollout.status)
                        .filter(|status| *status != rollout::Status::Done),
                }
            }));
            tokio::task::yield_now().await;
        }
        found
    }
}
