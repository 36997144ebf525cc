//! What is kept of the past, and what goes. The last events and decisions of all stay, and beyond those the last of each deployment, so that
//! nobody's history is erased by what others do; and what something still runs on stays with its inputs for as long as that.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    capability::Clock,
    document::Document,
    names::{DecisionId, DeploymentName, InstanceName, Namespace},
    plugin::Plugins,
    record::{
        ALLOCATIONS, AllocationRecord, DECISIONS, DeploymentKey, EVENTS, INPUT_SIZES, INPUTS,
        InputSize, NAMESPACES,
    },
    store::{self, Record},
};

use crate::{
    Options, lock,
    service::plans,
    state::cache::Cache,
    state::commit::{Change, Committer},
    state::journal::decode,
    state::reads::Reads,
};

/// How often what is kept is brought down to its limit.
const TIDY: Duration = Duration::from_secs(60);

/// Whose history a record belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Owner {
    Deployment(DeploymentKey),
    /// What belongs to no deployment that is there, together.
    Namespace(Namespace),
    Plugin(InstanceName),
    Daemon,
}

/// Those who have a history of their own. Others share what is left for all.
#[derive(Debug, Default)]
struct Owners {
    deployments: HashSet<DeploymentKey>,
    namespaces: HashSet<Namespace>,
    plugins: HashSet<InstanceName>,
}

/// The part of an event that says whose it is.
#[derive(Deserialize)]
struct Told {
    namespace: Option<Namespace>,
    deployment: Option<DeploymentName>,
    plugin: Option<InstanceName>,
}

/// The part of a decision that says whose it is.
#[derive(Deserialize)]
struct Decided {
    id: DecisionId,
    inputs: Option<DecisionId>,
    tasks: Vec<Concerned>,
}

#[derive(Deserialize)]
struct Concerned {
    namespace: Namespace,
    deployment: DeploymentName,
}

/// The part of an allocation that says what it stands on: all of them are read every minute.
#[derive(Deserialize)]
struct Standing {
    /// Of version 1.
    decision: Option<DecisionId>,
    intent: Option<StandingIntent>,
}

#[derive(Deserialize)]
struct StandingIntent {
    decision: Option<DecisionId>,
}

const _: () = assert!(
    AllocationRecord::VERSION == 3,
    "`Standing` reads versions 1 to 3"
);

impl Standing {
    fn decision(self) -> Option<DecisionId> {
        match self.intent {
            Some(intent) => intent.decision,
            None => self.decision,
        }
    }
}

/// How much is kept: of all, and beyond that of each owner.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    all: usize,
    /// Of all, in bytes.
    size: u64,
    own: usize,
}

/// What is let go of the decisions, and what is needed of the inputs of the rest.
struct Sorted {
    gone: Vec<String>,
    /// Inputs of decisions that are kept.
    referred: HashSet<String>,
    /// Those of decisions that something stands on.
    pinned: HashSet<String>,
}

// === impl Owners ===

impl Owners {
    fn of(&self, told: Told) -> Option<Owner> {
        let Told {
            namespace,
            deployment,
            plugin,
        } = told;
        match (namespace, deployment, plugin) {
            (Some(namespace), Some(name), _) => {
                let key = DeploymentKey { namespace, name };
                if self.deployments.contains(&key) {
                    Some(Owner::Deployment(key))
                } else {
                    self.namespace(key.namespace)
                }
            }
            (Some(namespace), None, _) => self.namespace(namespace),
            (None, _, Some(plugin)) => self
                .plugins
                .contains(&plugin)
                .then_some(Owner::Plugin(plugin)),
            (None, _, None) => Some(Owner::Daemon),
        }
    }

    fn namespace(&self, namespace: Namespace) -> Option<Owner> {
        self.namespaces
            .contains(&namespace)
            .then_some(Owner::Namespace(namespace))
    }
}

/// Which of the records stay, newest first: the first of all, and those that are among the first of one of their owners. Each comes with its
/// bytes.
fn stays<K: Eq + Hash>(
    owners: impl Iterator<Item = (Vec<K>, u64)>,
    bounds: Bounds,
) -> impl Iterator<Item = bool> {
    let mut counts: HashMap<K, usize> = HashMap::new();
    let mut left = Some(bounds.size);
    owners.enumerate().map(move |(place, (owners, size))| {
        left = left.and_then(|left| left.checked_sub(size));
        let mut within = place < bounds.all && left.is_some();
        for owner in owners {
            let count = counts.entry(owner).or_default();
            within |= *count < bounds.own;
            *count += 1;
        }
        within
    })
}

/// The keys of events that go. A record that can't be read stays: nothing is guessed.
fn old_events(records: &[Record], owners: &Owners, bounds: Bounds) -> Vec<String> {
    let readable: Vec<(&Record, Told)> = read(records.iter().rev()).collect();
    let (keys, told): (Vec<&Record>, Vec<Told>) = readable.into_iter().unzip();
    let sized = told.into_iter().zip(&keys).map(|(told, record)| {
        (
            owners.of(told).into_iter().collect(),
            record.value.len() as u64,
        )
    });
    let stay: Vec<bool> = stays(sized, bounds).collect();
    keys.into_iter()
        .zip(stay)
        .filter(|(_, stays)| !stays)
        .map(|(record, _)| record.key.clone())
        .collect()
}

/// `standing`: decisions that something stands on. `planned`: inputs that a stored plan can still lead to.
fn sort_decisions(
    records: &[Record],
    owners: &Owners,
    standing: &HashSet<DecisionId>,
    planned: &BTreeSet<String>,
    bounds: Bounds,
) -> Sorted {
    let mut sorted = Sorted {
        gone: Vec::new(),
        referred: planned.iter().cloned().collect(),
        pinned: HashSet::new(),
    };
    let decided: Vec<(&Record, Decided)> = read(records.iter().rev()).collect();
    let concerned = decided.iter().map(|(record, d)| {
        let keys = d.tasks.iter().map(|t| DeploymentKey {
            namespace: t.namespace.clone(),
            name: t.deployment.clone(),
        });
        let keys: HashSet<DeploymentKey> = keys
            .filter(|key| owners.deployments.contains(key))
            .collect();
        (keys.into_iter().collect(), record.value.len() as u64)
    });
    let stay: Vec<bool> = stays(concerned, bounds).collect();
    for ((record, decision), stays) in decided.iter().zip(stay) {
        let stands = standing.contains(&decision.id);
        if !stays && !stands {
            sorted.gone.push(record.key.clone());
            continue;
        }
        if let Some(inputs) = &decision.inputs {
            sorted.referred.insert(inputs.to_string());
            if stands {
                sorted.pinned.insert(inputs.to_string());
            }
        }
    }
    sorted
}

fn read<'a, T: DeserializeOwned>(
    records: impl Iterator<Item = &'a Record>,
) -> impl Iterator<Item = (&'a Record, T)> {
    records.filter_map(|record| {
        serde_json::from_slice(&record.value)
            .ok()
            .map(|read| (record, read))
    })
}

/// Keeps what is kept of the past within its limits.
pub(crate) struct Retention {
    pub(crate) store: Reads,
    pub(crate) committer: Arc<Committer>,
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) plugins: Arc<dyn Plugins>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Arc<Options>,
    pub(crate) stop: CancellationToken,
}

impl Retention {
    /// Runs from the start until the controller stops.
    pub(crate) async fn run(self) {
        loop {
            if let Err(error) = plans::forget(&self.store, &self.committer, self.clock.now()).await
            {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "old plans could not be removed"
                );
            }
            if let Err(error) = self.trim_events().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "old events could not be removed"
                );
            }
            if let Err(error) = self.trim_decisions().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "old decisions could not be removed"
                );
            }
            if let Err(error) = self.trim_audit().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the audit log could not be trimmed"
                );
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(TIDY) => {}
            }
        }
    }

    async fn trim_events(&self) -> Result<(), store::Error> {
        let bounds = Bounds {
            all: self.options.keep_events,
            size: self.options.keep_events_size.0,
            own: self.options.keep_own_events,
        };
        let records = self.store.list(EVENTS).await?.records;
        if records.len() <= bounds.all
            && records.iter().map(|r| r.value.len() as u64).sum::<u64>() <= bounds.size
        {
            return Ok(());
        }
        let owners = self.owners().await?;
        let gone = aside(move || old_events(&records, &owners, bounds)).await?;
        self.remove(gone).await
    }

    /// Lets go of decisions, and of inputs by age and size. What something stands on is never let go of.
    async fn trim_decisions(&self) -> Result<(), store::Error> {
        let size = self.options.keep_decisions_size.0;
        let bounds = Bounds {
            all: self.options.keep_decisions,
            size,
            own: self.options.keep_own_decisions,
        };
        let records = self.store.list(DECISIONS).await?.records;
        // Behind the decisions: whatever stands on one of those is in this list.
        let allocations = self.store.list(ALLOCATIONS).await?.records;
        let now = self.clock.now();
        let planned = plans::open_inputs(&self.store, now).await?;
        let owners = self.owners().await?;
        let mut adopted: HashSet<DecisionId> = HashSet::new();
        let mut pinned: HashSet<String> = HashSet::new();
        for entry in lock(&self.cache).deployments.values() {
            // To be taken over by the next step.
            let decision = entry
                .record
                .adopt
                .iter()
                .filter_map(|a| a.decision.as_ref());
            decision.for_each(|d| {
                adopted.insert(d.id.clone());
                pinned.extend(d.inputs.iter().map(ToString::to_string));
            });
        }
        let sorted = aside(move || {
            let mut standing = adopted;
            standing.extend(read::<Standing>(allocations.iter()).filter_map(|(_, a)| a.decision()));
            sort_decisions(&records, &owners, &standing, &planned, bounds)
        });
        let Sorted {
            mut gone,
            referred,
            pinned: stood_on,
        } = sorted.await?;
        pinned.extend(stood_on);
        let sizes = self.store.list(INPUT_SIZES).await?.records;
        let name = |stored: &Record| {
            stored
                .key
                .strip_prefix(INPUT_SIZES)
                .unwrap_or_default()
                .to_owned()
        };
        let (fixed, loose): (Vec<&Record>, Vec<&Record>) = sizes
            .iter()
            .partition(|stored| pinned.contains(&name(stored)));
        let mut left = self.options.keep_inputs_size.0;
        for stored in fixed {
            left = left.saturating_sub(decode::<InputSize>(stored)?.size);
        }
        // Newest first: the older ones go when there is too much.
        for stored in loose.into_iter().rev() {
            let InputSize { at, size } = decode(stored)?;
            let within = left.checked_sub(size);
            left = within.unwrap_or(0);
            if within.is_none()
                || !referred.contains(&name(stored))
                || now.since(at) > self.options.keep_inputs_age
            {
                gone.extend([stored.key.clone(), format!("{INPUTS}{}", name(stored))]);
            }
        }
        self.remove(gone).await
    }

    async fn owners(&self) -> Result<Owners, store::Error> {
        let limited = self.store.list(NAMESPACES).await?.records;
        let limited = limited
            .iter()
            .filter_map(|r| r.key.strip_prefix(NAMESPACES)?.parse().ok());
        let snapshot = self.plugins.snapshot();
        let plugins = snapshot
            .providers
            .keys()
            .chain(snapshot.policies.keys())
            .cloned()
            .collect();
        let deployments: HashSet<DeploymentKey> =
            lock(&self.cache).deployments.keys().cloned().collect();
        let namespaces = deployments
            .iter()
            .map(|key| key.namespace.clone())
            .chain(limited)
            .collect();
        Ok(Owners {
            deployments,
            namespaces,
            plugins,
        })
    }

    async fn remove(&self, keys: Vec<String>) -> Result<(), store::Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut change = Change::new();
        keys.into_iter().for_each(|key| change.delete(key));
        self.committer.commit(change).await.map(drop)
    }
}

/// Reading thousands of documents takes a while: others go on meanwhile.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, store::Error> {
    let failed = |e: tokio::task::JoinError| store::Error::Backend {
        action: "read",
        path: "the past".to_owned(),
        source: e.into(),
    };
    spawn_blocking(work).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_an_allocation_stands_on_is_read_of_every_version() {
        for (text, stands_on) in [
            (r#"{"v":1,"decision":"d-1","stage":"applied"}"#, Some("d-1")),
            (r#"{"v":1,"decision":null,"stage":"applied"}"#, None),
            (
                r#"{"v":2,"intent":{"decision":"d-1"},"handle":{}}"#,
                Some("d-1"),
            ),
            (r#"{"v":2,"intent":{"decision":null},"handle":{}}"#, None),
        ] {
            let standing: Standing = serde_json::from_str(text).unwrap();
            let expected = stands_on.map(|id| id.parse().unwrap());
            assert_eq!(standing.decision(), expected, "{text}");
        }
    }

    proptest! {
        /// Whatever others do: an owner's last ones stay, the last of all stay, and nothing else does.
        #[test]
        fn each_owner_keeps_its_last_and_the_rest_is_bounded(
            owners in proptest::collection::vec(0u8..5, 0..200), all in 0usize..50, own in 0usize..10,
        ) {
            let kept: Vec<bool> = stays(owners.iter().map(|owner| (vec![*owner], 1)), Bounds { all, size: u64::MAX, own }).collect();
            for (place, (owner, kept)) in owners.iter().zip(&kept).enumerate() {
                let newer = owners[..place].iter().filter(|other| *other == owner).count();
                prop_assert_eq!(*kept, place < all || newer < own);
            }
            prop_assert!(kept.iter().filter(|kept| **kept).count() <= all + 5 * own);
        }

        /// Large ones of one owner leave no room for all, and take nothing of another's own.
        #[test]
        fn what_all_have_is_bounded_in_bytes(sizes in proptest::collection::vec(0u64..100, 0..100), size in 0u64..2000, own in 0usize..5) {
            let owners = sizes.iter().enumerate().map(|(i, size)| (vec![i % 3], *size));
            let kept: Vec<bool> = stays(owners, Bounds { all: usize::MAX, size, own }).collect();
            for (place, kept) in kept.iter().enumerate() {
                let before: u64 = sizes[..=place].iter().sum();
                prop_assert_eq!(*kept, before <= size || place / 3 < own);
            }
        }

        /// What one owner adds takes nothing from another beyond the last of all.
        #[test]
        fn a_bulk_of_one_erases_nothing_of_another(bulk in 0usize..500, mine in 1usize..20, own in 1usize..10) {
            let owners = std::iter::repeat_n("bulk", bulk).chain(std::iter::repeat_n("mine", mine));
            let kept: Vec<bool> = stays(owners.map(|owner| (vec![owner], 1)), Bounds { all: 0, size: u64::MAX, own }).collect();
            prop_assert_eq!(kept[bulk..].iter().filter(|kept| **kept).count(), mine.min(own));
        }
    }

    fn decision(id: &str, deployment: &str) -> Record {
        let value = serde_json::json!({
            "id": id, "inputs": id, "tasks": [{"namespace": "default", "deployment": deployment, "task": "t"}],
        });
        Record {
            key: format!("{DECISIONS}{id}"),
            value: value.to_string().into_bytes(),
            revision: store::Revision(1),
        }
    }

    #[test]
    fn what_something_stands_on_stays_with_its_inputs() {
        let ids = [
            "d-01arz3ndektsv4rrffq69g5fa1",
            "d-01arz3ndektsv4rrffq69g5fa2",
            "d-01arz3ndektsv4rrffq69g5fa3",
        ];
        let records: Vec<Record> = ids.iter().map(|id| decision(id, "web")).collect();
        let standing: HashSet<DecisionId> = [ids[0].parse().unwrap()].into();
        let sorted = sort_decisions(
            &records,
            &Owners::default(),
            &standing,
            &BTreeSet::new(),
            Bounds {
                all: 1,
                size: u64::MAX,
                own: 0,
            },
        );
        assert_eq!(sorted.gone, [format!("{DECISIONS}{}", ids[1])]);
        assert_eq!(sorted.pinned, [ids[0].to_owned()].into());
        assert_eq!(
            sorted.referred,
            [ids[0].to_owned(), ids[2].to_owned()].into()
        );
    }
}
