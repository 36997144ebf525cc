//! Removing allocations, and finding all that are there.

use std::collections::BTreeMap;

use tradewind_plugin_sdk::{
    Error,
    host::{Deletion, Kubernetes as Capability, OwnedObject, Propagation},
    provider::write_state,
    types::{Destroyed, OwnedAllocation},
};

use crate::{
    Kubernetes,
    istio::Change,
    names,
    state::{Beside, State, Work},
};

/// Kinds that the allocations of a task share in a mesh, besides a service.
const SHARED: [&str; 2] = ["VirtualService", "DestinationRule"];

impl<H: Capability> Kubernetes<H> {
    pub(crate) fn remove(&self, allocation: &str, state: &State) -> Result<Destroyed, Error> {
        // First nobody is sent there.
        if let Some(mesh) = &state.mesh {
            self.route(&state.namespace, mesh, &Change::Leaves(allocation))?;
        }
        let ends = self
            .cluster
            .host
            .delete(&state.objects(allocation), Propagation::Foreground)?;
        Ok(if ends.iter().all(|end| *end == Deletion::Gone) {
            Destroyed::Gone
        } else {
            Destroyed::Going
        })
    }

    pub(crate) fn everything(&self) -> Result<Vec<OwnedAllocation>, Error> {
        let mut by_allocation: BTreeMap<String, Vec<OwnedObject>> = BTreeMap::new();
        for object in self.cluster.host.owned()? {
            by_allocation
                .entry(object.allocation.clone())
                .or_default()
                .push(object);
        }
        let working: Vec<String> = by_allocation
            .values()
            .flatten()
            .filter(|o| is_work(o))
            .filter_map(shared_name)
            .collect();
        let mut all = Vec::new();
        for (allocation, objects) in by_allocation {
            let state = found(&allocation, &objects, &working);
            if let Some(state) = state {
                let description = described(&state);
                all.push(OwnedAllocation {
                    allocation,
                    state: write_state(&state)?,
                    description,
                });
            }
        }
        Ok(all)
    }
}

fn is_work(object: &OwnedObject) -> bool {
    matches!(object.object.kind.as_str(), "Deployment" | "Job")
}

/// What the task of an object shares in a mesh, by its labels.
fn shared_name(object: &OwnedObject) -> Option<String> {
    let label = |key: &str| {
        object
            .labels
            .iter()
            .find(|l| l.key == key)
            .map(|l| l.value.as_str())
    };
    Some(names::shared(
        label(names::NAMESPACE)?,
        label(names::DEPLOYMENT)?,
        label(names::TASK)?,
    ))
}

/// The state with which an allocation is observed and removed; none when nothing of it is its own.
fn found(allocation: &str, objects: &[OwnedObject], working: &[String]) -> Option<State> {
    let namespace = objects.first()?.object.namespace.clone();
    let is = |kind: &str, name: &str| {
        objects
            .iter()
            .any(|o| o.object.kind == kind && o.object.name == name)
    };
    let beside: Vec<Beside> = Beside::ALL
        .into_iter()
        .filter(|one| is(one.kind(), &one.name(allocation)))
        .collect();
    let jobs = objects
        .iter()
        .filter(|o| o.object.kind == "Job")
        .filter_map(|o| names::index(&o.object.name, allocation))
        .max();
    let work = match jobs {
        Some(last) => Work::Jobs { replicas: last + 1 },
        // How many there are, the cluster tells.
        None => Work::Service { replicas: 1 },
    };
    let shared = objects
        .iter()
        .find(|o| SHARED.contains(&o.object.kind.as_str()))
        .map(|o| o.object.name.clone());
    // What a task shares is its last writer's only when nothing of the task is left.
    let left = shared.filter(|name| !working.contains(name));
    let own = objects.iter().find(|o| is_work(o));
    if own.is_none() && beside.is_empty() && left.is_none() {
        return None;
    }
    let mesh = left.or_else(|| {
        own.and_then(shared_name)
            .filter(|name| objects_share(objects, name))
    });
    Some(State {
        version: 1,
        namespace,
        work,
        beside,
        ports: Vec::new(),
        autoscaled: None,
        mesh,
        image: String::new(),
    })
}

fn objects_share(objects: &[OwnedObject], name: &str) -> bool {
    objects.iter().any(|o| o.object.name == name)
}

fn described(state: &State) -> String {
    match state.work {
        Work::Service { .. } => format!("a service in the namespace {}", state.namespace),
        Work::Jobs { replicas } => {
            format!("{replicas} job(s) in the namespace {}", state.namespace)
        }
    }
}
