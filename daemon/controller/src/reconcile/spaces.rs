//! Telling those whose places have been closed to their namespace.

use std::{collections::BTreeMap, sync::Arc};

use tradewind_core::{
    event::{Event, Reason, Severity},
    names::{InstanceName, TaskName},
    plugin::Snapshot,
    record::DeploymentKey,
};

use crate::{
    lock,
    reconcile::reconciler::Reconciler,
    schedule::spaces::{is_closed, told},
    state::journal::{CONTROLLER, event, replicas_have},
};

impl Reconciler {
    /// Tells the deployments whose places have been closed to them since an earlier look.
    pub(crate) async fn tell_closed(self: &Arc<Self>, before: &Snapshot, now: &Snapshot) {
        if now.is_open() {
            return;
        }
        let mut closed: BTreeMap<(DeploymentKey, TaskName, InstanceName), (u32, String)> =
            BTreeMap::new();
        for (key, entry) in &lock(&self.cache).deployments {
            for record in entry.allocations.values().map(|live| &live.record) {
                if is_closed(record, now)
                    && !is_closed(record, before)
                    && record.intent.replicas > 0
                {
                    let place = (
                        key.clone(),
                        record.task.clone(),
                        record.intent.provider.clone(),
                    );
                    closed
                        .entry(place)
                        .or_insert_with(|| (0, told(&record.intent.provider, record)))
                        .0 += record.intent.replicas;
                }
            }
        }
        for ((key, task, provider), (replicas, why)) in closed {
            let message = format!("{task}: {} its place kept: {why}", replicas_have(replicas));
            let told = event(
                Severity::Warning,
                Reason::PlaceClosed,
                CONTROLLER,
                &key,
                message,
            );
            self.committer
                .emit_event(Event {
                    task: Some(task),
                    plugin: Some(provider),
                    ..told
                })
                .await;
        }
    }
}
