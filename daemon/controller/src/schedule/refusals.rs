//! What was refused to one task: a workload that a provider's grant does not allow, that the provider can't run, or that does not fit where it
//! was to go. That says nothing of the place, so others' tasks go there as before; this one goes elsewhere, and is tried again after a while,
//! once something has been freed there, or once the provider has changed. Kept in memory only: after a restart the provider refuses once more.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant as Tick;
use tradewind_core::{
    failure::Failure,
    manifest::Resolved,
    names::InstanceName,
    placement::{Closed, Spot},
    plan,
    plugin::{Plugins, Snapshot},
    record::{AllocationRecord, DeploymentKey},
    units::Millis,
};

use crate::{
    lock,
    schedule::offers::version,
    state::{cache::Cache, notes::Refusal},
};

/// How long a provider's refusal holds: the first time, and at the longest. It doubles while it is repeated.
const REFUSED: (Millis, Millis) = (Millis(30_000), Millis(1_800_000));
/// The same where there was no room for the task.
const NO_ROOM: (Millis, Millis) = (Millis(5_000), Millis(60_000));

impl Refusal {
    fn closes(&self) -> (Spot, Closed) {
        let why = Closed::Refused {
            cause: self.cause.clone(),
            lasting: self.lasting,
        };
        ((self.provider.clone(), self.offer.clone()), why)
    }
}

/// What is refused to tasks.
pub(crate) struct Refusals {
    pub(crate) cache: Arc<Mutex<Cache>>,
    pub(crate) plugins: Arc<dyn Plugins>,
}

impl Refusals {
    /// Takes in that what an allocation is for is refused, by its provider or at its offer alone.
    pub(crate) fn refused(&self, record: &AllocationRecord, failure: &Failure) {
        let version = self
            .plugins
            .snapshot()
            .providers
            .get(&record.intent.provider)
            .map(|p| version(p.as_ref()));
        let whole = failure.concerns_the_workload();
        let (first, longest) = if whole { REFUSED } else { NO_ROOM };
        let offer = (!whole).then(|| record.intent.offer.id.clone());
        let mut cache = lock(&self.cache);
        let Some(entry) = cache.deployments.get_mut(&record.key()) else {
            return;
        };
        let same = |r: &Refusal| {
            r.provider == record.intent.provider
                && r.offer == offer
                && r.workload == record.intent.workload
        };
        let times = entry
            .refusals
            .iter()
            .find(|r| same(r))
            .map_or(0, |r| r.times + 1);
        let span = Millis(first.0.saturating_mul(1 << times.min(16)).min(longest.0));
        let until = Tick::now() + span.std();
        // Of what the deployment does not want any more nothing need be known.
        let wanted = entry.resolved.clone();
        entry
            .refusals
            .retain(|r| !same(r) && wanted.iter().any(|task| task.workload == r.workload));
        entry.refusals.push(Refusal {
            provider: record.intent.provider.clone(),
            offer,
            version,
            workload: record.intent.workload.clone(),
            cause: failure.told(),
            lasting: failure.is_unsupported(),
            until,
            times,
        });
        cache.enqueue_at(&record.key(), until);
    }

    /// Where a task can't go now, though others may: it was refused there, or a port that it wants is taken.
    pub(crate) fn closed(
        &self,
        key: &DeploymentKey,
        resolved: &[Resolved],
        task: &Resolved,
        snapshot: &Snapshot,
    ) -> BTreeMap<Spot, Closed> {
        let now = Tick::now();
        let cache = lock(&self.cache);
        let Some(entry) = cache.deployments.get(key) else {
            return BTreeMap::new();
        };
        let all = entry.refusals.iter();
        let current = |r: &&Refusal| {
            snapshot
                .providers
                .get(&r.provider)
                .map(|p| version(p.as_ref()))
                == r.version
        };
        let holds = all
            .filter(|r| now < r.until && r.workload == task.workload)
            .filter(current);
        let mut closed: BTreeMap<Spot, Closed> = holds.map(Refusal::closes).collect();
        let ports = plan::machine_ports(&task.workload);
        if !ports.is_empty() {
            for (provider, number) in taken(&cache, key, resolved, task, &ports, snapshot) {
                closed
                    .entry(provider)
                    .or_insert(Closed::Port { number, own: false });
            }
        }
        closed
    }
}

impl Cache {
    /// Something has been freed at a provider: what had no room there is tried again.
    pub(crate) fn room_freed(&mut self, provider: &InstanceName) {
        let now = Tick::now();
        for refusal in self
            .deployments
            .quietly()
            .values_mut()
            .flat_map(|entry| &mut entry.refusals)
        {
            if refusal.offer.is_some() && refusal.provider == *provider {
                refusal.until = now;
            }
        }
        self.enqueue_waiting();
    }
}

/// Which of these ports others have on the machines of this set.
fn taken(
    cache: &Cache,
    key: &DeploymentKey,
    resolved: &[Resolved],
    task: &Resolved,
    ports: &[u16],
    snapshot: &Snapshot,
) -> Vec<(Spot, u16)> {
    let mut found = Vec::new();
    for (name, _) in snapshot
        .providers
        .iter()
        .filter(|(_, p)| p.features().one_machine)
    {
        for live in cache.lives_of(name) {
            let record = &live.record;
            // What the same deployment does not want any more makes way by itself.
            let own = record.key() == *key
                && (record.task == task.name && record.target == task.target
                    || !resolved
                        .iter()
                        .any(|t| t.name == record.task && t.target == record.target));
            let theirs = plan::machine_ports(&record.intent.workload);
            if let Some(number) = ports
                .iter()
                .find(|n| !own && record.intent.replicas > 0 && theirs.contains(n))
            {
                found.push((
                    (name.clone(), Some(record.intent.offer.id.clone())),
                    *number,
                ));
            }
        }
    }
    found
}
