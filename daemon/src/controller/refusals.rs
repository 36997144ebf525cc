//! What a provider has refused to run: a workload that its grant does not allow, or whose secret can't be read. That says nothing of the
//! provider, so others' tasks go there as before; this one goes elsewhere, and is tried again after a while or once the provider has changed.
//! Kept in memory only: after a restart the provider refuses once more.

use std::collections::BTreeMap;

use tokio::time::Instant as Tick;
use tradewind_core::{
    failure::Failure,
    manifest::Resolved,
    names::InstanceName,
    plugin::Snapshot,
    record::{AllocationRecord, DeploymentKey},
    units::Millis,
    workload::Workload,
};

use super::{
    Shared, lock,
    offers::{Version, version},
};

/// How long a refusal holds: the first time, and at the longest. It doubles while it is repeated.
const FIRST: Millis = Millis(30_000);
const LONGEST: Millis = Millis(1_800_000);

pub(super) struct Refusal {
    provider: InstanceName,
    version: Option<Version>,
    workload: Workload,
    cause: String,
    until: Tick,
    times: u32,
}

impl Shared {
    /// Takes in that a provider refuses what an allocation is for.
    pub(super) fn refused(&self, record: &AllocationRecord, failure: &Failure) {
        let version = self.plugins.snapshot().providers.get(&record.provider).map(|p| version(p.as_ref()));
        let mut world = lock(&self.world);
        let Some(entry) = world.deployments.get_mut(&record.key()) else { return };
        let same = |r: &Refusal| r.provider == record.provider && r.workload == record.workload;
        let times = entry.refusals.iter().find(|r| same(r)).map_or(0, |r| r.times + 1);
        let span = Millis(FIRST.0.saturating_mul(1 << times.min(16)).min(LONGEST.0));
        let until = Tick::now() + span.std();
        // Of what the deployment does not want any more nothing need be known.
        let wanted = entry.resolved.clone();
        entry.refusals.retain(|r| !same(r) && wanted.iter().any(|task| task.workload == r.workload));
        entry.refusals.push(Refusal {
            provider: record.provider.clone(),
            version,
            workload: record.workload.clone(),
            cause: failure.told(),
            until,
            times,
        });
        world.mark_at(&record.key(), until);
    }

    /// Where a task need not be tried now, and why.
    pub(super) fn refusals(&self, key: &DeploymentKey, task: &Resolved, snapshot: &Snapshot) -> BTreeMap<InstanceName, String> {
        let now = Tick::now();
        let world = lock(&self.world);
        let all = world.deployments.get(key).into_iter().flat_map(|entry| &entry.refusals);
        let current = |r: &&Refusal| snapshot.providers.get(&r.provider).map(|p| version(p.as_ref())) == r.version;
        let holds = all.filter(|r| now < r.until && r.workload == task.workload).filter(current);
        holds.map(|r| (r.provider.clone(), r.cause.clone())).collect()
    }
}
