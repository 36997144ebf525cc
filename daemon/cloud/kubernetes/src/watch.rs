//! Watches pods, so that a change is looked at at once instead of at the next turn. What is told is a hint and nothing more: an allocation's
//! name. Missed ones are found by the controller's timer.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use futures::StreamExt;
use kube::core::WatchEvent;
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tradewind_core::{
    failure::Failure,
    grant::KubernetesGrant,
    names::{AllocationId, InstanceName},
    workload::Labels,
};

use crate::{
    api::{Cluster, METADATA, Request},
    apply::Existing,
    connection::Connections,
    marks,
};

const KEPT: usize = 4096;
/// A watch that nobody has applied or listed anything under for so long ends.
const UNUSED: Duration = Duration::from_secs(900);
/// How long the API server keeps one open.
const TURN: Duration = Duration::from_secs(300);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Something happened to a pod of this allocation.
pub type Change = (InstanceName, AllocationId);

/// All watches of a daemon.
pub(crate) struct Watches {
    changes: broadcast::Sender<Change>,
    running: Mutex<HashMap<Watched, Instant>>,
}

/// What one watch is about.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Watched {
    owner: InstanceName,
    namespace: String,
    /// The grant, as text: another one may lead to another cluster.
    grant: String,
}

impl Watches {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            changes: broadcast::channel(KEPT).0,
            running: Mutex::default(),
        })
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Sees to it that an instance's pods in a namespace are watched.
    pub(crate) fn over(
        self: &Arc<Self>,
        connections: &Connections,
        owner: &InstanceName,
        grant: &KubernetesGrant,
        namespace: &str,
    ) {
        let watched = Watched {
            owner: owner.clone(),
            namespace: namespace.to_owned(),
            grant: format!("{grant:?}"),
        };
        let known = self.table().insert(watched.clone(), Instant::now());
        if known.is_none() {
            let follow = follow(
                Arc::downgrade(self),
                connections.clone(),
                grant.clone(),
                watched,
            );
            tokio::spawn(tradewind_core::vital::part("watch of pods", follow));
        }
    }

    fn table(&self) -> parking_lot::MutexGuard<'_, HashMap<Watched, Instant>> {
        self.running.lock()
    }

    /// Whether a watch goes on. One that does not is forgotten.
    fn goes_on(&self, watched: &Watched) -> bool {
        let mut table = self.table();
        let used = table.get(watched).is_some_and(|at| at.elapsed() < UNUSED);
        if !used {
            table.remove(watched);
        }
        used
    }
}

/// Runs until nobody wants it any more.
async fn follow(
    watches: Weak<Watches>,
    connections: Connections,
    grant: KubernetesGrant,
    watched: Watched,
) {
    let mut pause = FIRST_PAUSE;
    while watches
        .upgrade()
        .is_some_and(|watches| watches.goes_on(&watched))
    {
        match turn(&watches, &connections, &grant, &watched).await {
            Ok(()) => pause = FIRST_PAUSE,
            Err(failure) => {
                tracing::debug!(owner = %watched.owner, namespace = watched.namespace, message = failure.message, "pods can't be watched");
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// One watch, from the state of the moment on, until the API server ends it.
async fn turn(
    watches: &Weak<Watches>,
    connections: &Connections,
    grant: &KubernetesGrant,
    watched: &Watched,
) -> Result<(), Failure> {
    let cluster = Cluster { connections, grant };
    let path = cluster.kind("Pod").await?.path(&watched.namespace);
    let request = Request::get(
        path,
        format!("watch pods in the namespace \"{}\"", watched.namespace),
    )
    .with("watch", true)
    .with(
        "labelSelector",
        marks::selector(&watched.owner, &Labels::new()),
    )
    .with("timeoutSeconds", TURN.as_secs())
    .accept(METADATA);
    let events = cluster.events::<Existing>(&request).await?;
    let mut events = std::pin::pin!(events);
    while let Some(Ok(event)) = events.next().await {
        let Some(watches) = watches.upgrade() else {
            return Ok(());
        };
        let (WatchEvent::Added(pod) | WatchEvent::Modified(pod) | WatchEvent::Deleted(pod)) = event
        else {
            continue;
        };
        let allocation = pod
            .metadata
            .labels
            .get(marks::ALLOCATION)
            .and_then(|text| text.parse().ok());
        if let Some(allocation) = allocation {
            // Nobody may listen; then nobody misses it.
            let _ = watches.changes.send((watched.owner.clone(), allocation));
        }
    }
    Ok(())
}
