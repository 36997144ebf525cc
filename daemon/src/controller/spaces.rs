//! Plugin instances that were closed to a namespace while its deployments run there. What runs stays; who owns it is told.

use std::{collections::BTreeMap, sync::Arc};

use tradewind_core::{
    names::{InstanceName, TaskName},
    plugin::Snapshot,
    record::{AllocationRecord, DeploymentKey},
    view::{Event, Severity},
};

use super::{
    Shared,
    journal::{CONTROLLER, event},
    lock,
    render::replicas_have,
};

/// What is told of a place that its namespace has no access to any more.
pub(super) fn closed_place(record: &AllocationRecord, snapshot: &Snapshot) -> Option<String> {
    is_closed(record, snapshot).then(|| told(&record.provider, record))
}

fn told(provider: &InstanceName, record: &AllocationRecord) -> String {
    format!("\"{provider}\" is closed to namespace \"{}\" by now: what runs there stays, new replicas go elsewhere", record.namespace)
}

fn is_closed(record: &AllocationRecord, snapshot: &Snapshot) -> bool {
    snapshot.providers.get(&record.provider).is_some_and(|p| !p.namespaces().admits(&record.namespace))
}

impl Shared {
    /// Tells the deployments whose places have been closed to them since an earlier look.
    pub(super) async fn tell_closed(self: &Arc<Self>, before: &Snapshot, now: &Snapshot) {
        if now.is_open() {
            return;
        }
        let mut closed: BTreeMap<(DeploymentKey, TaskName, InstanceName), (u32, String)> = BTreeMap::new();
        for (key, entry) in &lock(&self.world).deployments {
            for record in entry.allocations.values().map(|live| &live.record) {
                if is_closed(record, now) && !is_closed(record, before) && record.replicas > 0 {
                    let place = (key.clone(), record.task.clone(), record.provider.clone());
                    closed.entry(place).or_insert_with(|| (0, told(&record.provider, record))).0 += record.replicas;
                }
            }
        }
        for ((key, task, provider), (replicas, why)) in closed {
            let message = format!("{task}: {} its place kept: {why}", replicas_have(replicas));
            let told = event(Severity::Warning, "PlaceClosed", CONTROLLER, &key, message);
            self.note(Event { task: Some(task), plugin: Some(provider), ..told }).await;
        }
    }
}
