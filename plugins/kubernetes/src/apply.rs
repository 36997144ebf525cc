//! Making an allocation so: its secrets, then its objects in one batch, then away with what it has no more.

use tradewind_plugin_sdk::{
    Error, ErrorKind,
    host::{Kubernetes as Capability, Propagation, Reference},
    types::{Allocation, Condition},
    warn,
};

use crate::{Kubernetes, istio::Change, objects, state::State, wanted::Wanted};

impl<H: Capability> Kubernetes<H> {
    pub(crate) fn make_so(&self, allocation: &Allocation, prior: Option<&State>) -> Result<State, Error> {
        let wanted = Wanted::of(allocation, &self.settings)?;
        let made = self.write(&wanted);
        let state = match made {
            Ok(state) => state,
            Err(error) => return Err(self.undo(&wanted, prior, error)),
        };
        let stale: Vec<Reference> = prior.map(|prior| prior.objects(&allocation.id)).unwrap_or_default();
        let kept = state.objects(&allocation.id);
        let stale: Vec<Reference> = stale.into_iter().filter(|old| !kept.contains(old)).collect();
        if !stale.is_empty() {
            self.cluster.host.delete(&stale, Propagation::Background)?;
        }
        if let Some(mesh) = &state.mesh {
            self.route(&self.settings.namespace, mesh, &Change::Joins(allocation, &state.ports))?;
        } else if let Some(mesh) = prior.and_then(|prior| prior.mesh.as_ref()) {
            self.route(&self.settings.namespace, mesh, &Change::Leaves(&allocation.id))?;
        }
        Ok(state)
    }

    fn write(&self, wanted: &Wanted<'_>) -> Result<State, Error> {
        let (namespace, id) = (&self.settings.namespace, &wanted.allocation.id);
        let version = match wanted.content.secrets.as_slice() {
            [] => String::new(),
            items => self.cluster.host.apply_secret(namespace, id, items)?,
        };
        let (objects, state) = objects::of(wanted, &version)?;
        self.cluster.apply(&objects)?;
        Ok(state)
    }

    /// When the host will try another place, it takes it that nothing is here: what this call has made goes again. What was there before
    /// stays, and so does everything after a failure that may pass.
    fn undo(&self, wanted: &Wanted<'_>, prior: Option<&State>, error: Error) -> Error {
        let elsewhere = matches!(error.kind, ErrorKind::OutOfCapacity | ErrorKind::Quota | ErrorKind::Denied | ErrorKind::Invalid);
        if prior.is_some() || !elsewhere {
            return error;
        }
        let made = objects::of(wanted, "").map(|(_, state)| state.objects(&wanted.allocation.id)).unwrap_or_default();
        // One by one: what is not ours, or not granted, is not there because of us.
        for object in made {
            match self.cluster.host.delete(std::slice::from_ref(&object), Propagation::Background) {
                Ok(_) => {}
                Err(failure) if failure.kind == ErrorKind::Denied => {}
                Err(failure) => {
                    warn!("what was made can't be removed again: {failure}"; allocation = wanted.allocation.id);
                    return Error::unavailable(format!("{error}; and what was made can't be removed again: {failure}"));
                }
            }
        }
        error
    }

    /// Whether the cluster answers, and has what the settings want of it.
    pub(crate) fn usable(&self) -> Result<Vec<Condition>, Error> {
        let info = self.cluster.host.info()?;
        let namespace = &self.settings.namespace;
        let granted = info.namespaces.contains(namespace);
        let mut conditions = vec![
            condition("ClusterReachable", true, "Ready", format!("the API server is of version {}", info.version)),
            match granted {
                true => condition("NamespaceGranted", true, "Granted", format!("everything goes into the namespace \"{namespace}\"")),
                false => condition(
                    "NamespaceGranted",
                    false,
                    "NotGranted",
                    format!(
                        "the namespace \"{namespace}\" of the settings is not granted: add it to namespaces in [grants.kubernetes] of the instance file"
                    ),
                ),
            },
        ];
        if self.settings.istio {
            let missing: Vec<&str> =
                ["VirtualService", "DestinationRule"].into_iter().filter(|kind| !info.kinds.iter().any(|k| k.kind == *kind)).collect();
            let message = match missing.as_slice() {
                [] => "the mesh takes routes".to_owned(),
                missing => format!(
                    "{} is not granted, or not installed: add it to kinds in [grants.kubernetes] of the instance file",
                    missing.join(" and ")
                ),
            };
            conditions.push(condition("MeshReady", missing.is_empty(), if missing.is_empty() { "Ready" } else { "KindMissing" }, message));
        }
        Ok(conditions)
    }
}

pub(crate) fn condition(kind: &str, met: bool, reason: &str, message: impl Into<String>) -> Condition {
    Condition { kind: kind.to_owned(), met, reason: reason.to_owned(), message: message.into() }
}
