//! What replicas use, as their providers measured it last. Entries are taken out of the cache some at a time, and looked at without the lock.

use tradewind_api::ReplicaUsage;
use tradewind_core::{
    identity::Scope,
    names::{DeploymentName, Namespace},
    record::{DeploymentKey, Stage},
};

use crate::{
    Handle, lock,
    service::{handle::not_found, listing::AT_ONCE},
    state::cache::DeploymentState,
};

impl Handle {
    /// Every replica that its provider tells of, of these namespaces or of one deployment.
    ///
    /// # Errors
    /// `NotFound` for a deployment that is not there.
    pub async fn usage(
        &self,
        scope: &Scope,
        namespace: Option<&Namespace>,
        deployment: Option<&DeploymentName>,
    ) -> Result<Vec<ReplicaUsage>, crate::Error> {
        if let Some(name) = deployment {
            let namespace = namespace.cloned();
            let key = DeploymentKey {
                namespace: namespace.unwrap_or_else(Namespace::default_namespace),
                name: name.clone(),
            };
            let entry = lock(&self.shared.cache).deployments.take_copy(&key);
            let entry = entry
                .filter(|_| scope.admits(&key.namespace))
                .ok_or_else(|| not_found(&key))?;
            return Ok(replicas(&key, &entry).collect());
        }
        let mut behind: Option<DeploymentKey> = None;
        let mut found = Vec::new();
        loop {
            let taken = lock(&self.shared.cache).behind(behind.as_ref(), None, AT_ONCE);
            let Some((last, _)) = taken.last() else { break };
            behind = Some(last.clone());
            let wanted = taken.iter().filter(|(key, _)| {
                scope.admits(&key.namespace) && namespace.is_none_or(|n| *n == key.namespace)
            });
            found.extend(wanted.flat_map(|(key, entry)| replicas(key, entry)));
            tokio::task::yield_now().await;
        }
        Ok(found)
    }
}

fn replicas(key: &DeploymentKey, entry: &DeploymentState) -> impl Iterator<Item = ReplicaUsage> {
    let live = entry
        .allocations
        .values()
        .filter(|live| live.record.intent.stage != Stage::Removing);
    live.flat_map(move |live| {
        let (record, asked) = (&live.record, &live.record.intent.workload.resources);
        let seen = live.observation.iter().flat_map(|seen| &seen.replicas);
        seen.filter(|replica| !replica.phase.is_final())
            .map(move |replica| ReplicaUsage {
                namespace: key.namespace.clone(),
                deployment: key.name.clone(),
                task: record.task.clone(),
                allocation: record.id.clone(),
                replica: replica.index,
                provider: record.intent.provider.clone(),
                region: record.intent.offer.region.clone(),
                phase: replica.phase,
                cpu_milli: replica.usage.map(|usage| usage.cpu),
                memory_bytes: replica.usage.map(|usage| usage.memory.0),
                cpu_milli_asked: asked.cpu.0,
                memory_asked: asked.memory,
                restarts: replica.restarts,
            })
    })
}
