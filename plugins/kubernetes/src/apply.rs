//! Making an allocation so: its secrets, then its objects in one batch, then away with what it has no more.

use tradewind_plugin_sdk::{
    Error, ErrorKind,
    host::{Kubernetes as Capability, Propagation, Reference},
    types::{Allocation, Condition, VolumeSource},
    units::Size,
    warn,
};

use crate::{
    Kubernetes,
    cluster::parse,
    istio::Change,
    names, objects,
    observe::{is_failed, is_lost},
    pods::image,
    seen::{Claim as Seen, Job, Pod},
    state::State,
    wanted::{Claim, Wanted},
};

impl<H: Capability> Kubernetes<H> {
    pub(crate) fn make_so(
        &self,
        allocation: &Allocation,
        prior: Option<&State>,
    ) -> Result<State, Error> {
        let mut wanted = Wanted::of(allocation, &self.settings)?;
        self.find_claims(&mut wanted)?;
        self.find_image(&mut wanted, prior)?;
        if prior.is_some() && wanted.is_job() {
            self.clear_lost(&allocation.id)?;
        }
        let made = self.write(&wanted);
        let state = match made {
            Ok(state) => state,
            Err(error) => return Err(self.undo(&wanted, prior, of_volume(&wanted, error))),
        };
        let stale: Vec<Reference> = prior
            .map(|prior| prior.objects(&allocation.id))
            .unwrap_or_default();
        let kept = state.objects(&allocation.id);
        let stale: Vec<Reference> = stale
            .into_iter()
            .filter(|old| !kept.contains(old))
            .collect();
        if !stale.is_empty() {
            self.cluster.host.delete(&stale, Propagation::Background)?;
        }
        if let Some(mesh) = &state.mesh {
            self.route(
                &self.settings.namespace,
                mesh,
                &Change::Joins(allocation, &state.ports),
            )?;
        } else if let Some(mesh) = prior.and_then(|prior| prior.mesh.as_ref()) {
            self.route(
                &self.settings.namespace,
                mesh,
                &Change::Leaves(&allocation.id),
            )?;
        }
        Ok(state)
    }

    /// Pods that were made by a tag stay when the tag's digest is asked for, as long as all of them run that: another name of the same image
    /// would make every pod anew.
    fn find_image(&self, wanted: &mut Wanted<'_>, prior: Option<&State>) -> Result<(), Error> {
        let Some(prior) = prior else { return Ok(()) };
        let by_tag = wanted
            .image
            .split_once('@')
            .is_some_and(|(tag, _)| tag == prior.image);
        if !by_tag {
            return Ok(());
        }
        let of = [(names::ALLOCATION, wanted.allocation.id.as_str())];
        let pods: Vec<Pod> = self.cluster.list("Pod", &self.settings.namespace, &of)?;
        let alike = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .filter_map(image)
            .all(|runs| runs == wanted.image);
        if alike {
            wanted.image.clone_from(&prior.image);
        }
        Ok(())
    }

    /// Removes the jobs that have failed because the cluster took their pod away: they are made anew, with all their retries.
    fn clear_lost(&self, allocation: &str) -> Result<(), Error> {
        let (namespace, of) = (&self.settings.namespace, [(names::ALLOCATION, allocation)]);
        let jobs: Vec<Job> = self.cluster.list("Job", namespace, &of)?;
        let failed: Vec<&Job> = jobs.iter().filter(|job| is_failed(job)).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let pods: Vec<Pod> = self.cluster.list("Pod", namespace, &of)?;
        let lost = failed.into_iter().filter(|job| is_lost(job, &pods));
        let reference = |job: &Job| Reference {
            kind: "Job".to_owned(),
            namespace: namespace.clone(),
            name: job.metadata.name.clone(),
        };
        let lost: Vec<Reference> = lost.map(reference).collect();
        if lost.is_empty() {
            Ok(())
        } else {
            self.cluster
                .host
                .delete(&lost, Propagation::Background)
                .map(drop)
        }
    }

    /// Looks for the claims of named volumes. Earlier versions named a claim as its volume, whosever that was: one that is this deployment's
    /// stays in use.
    fn find_claims(&self, wanted: &mut Wanted<'_>) -> Result<(), Error> {
        let allocation = wanted.allocation;
        for (volume, claim) in allocation.workload.volumes.iter().zip(&mut wanted.claims) {
            let (VolumeSource::Persistent(volume), Some(claim)) = (&volume.source, claim) else {
                continue;
            };
            if claim.size == 0 {
                continue;
            }
            if let Some(there) = self.claim(&claim.name)? {
                claim.had = size(&there);
                continue;
            }
            let is = |label: &str, value: &str, claim: &Seen| {
                claim.metadata.labels.get(label).is_some_and(|v| v == value)
            };
            let own = |c: &Seen| {
                is(names::NAMESPACE, &allocation.namespace, c)
                    && is(names::DEPLOYMENT, &allocation.deployment, c)
            };
            let early = if names::is_name(&volume.name) {
                self.claim(&volume.name)?.filter(own)
            } else {
                None
            };
            if let Some(early) = early {
                (claim.name, claim.had) = (volume.name.clone(), size(&early));
            }
        }
        Ok(())
    }

    /// A claim of this instance. One of others is none, and what is not granted is told when it is written.
    fn claim(&self, name: &str) -> Result<Option<Seen>, Error> {
        let reference = Reference {
            kind: "PersistentVolumeClaim".to_owned(),
            namespace: self.settings.namespace.clone(),
            name: name.to_owned(),
        };
        match self.cluster.host.get(&reference) {
            Ok(found) => found.as_deref().map(parse).transpose(),
            Err(error) if error.kind == ErrorKind::Denied => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, wanted: &Wanted<'_>) -> Result<State, Error> {
        let (namespace, id) = (&self.settings.namespace, &wanted.allocation.id);
        let version = match wanted.content.secrets.as_slice() {
            [] => String::new(),
            items => self.cluster.host.apply_secret(namespace, id, items)?,
        };
        let (mut objects, state) = objects::of(wanted, &version)?;
        loop {
            match self.cluster.apply(&objects) {
                Err(error) if objects::without_policy(&mut objects, &error) => {}
                other => return other.map(|()| state),
            }
        }
    }

    /// When the host will try another place, it takes it that nothing is here: what this call has made goes again. What was there before
    /// stays, and so does everything after a failure that may pass.
    fn undo(&self, wanted: &Wanted<'_>, prior: Option<&State>, error: Error) -> Error {
        let elsewhere = matches!(
            error.kind,
            ErrorKind::OutOfCapacity | ErrorKind::Quota | ErrorKind::Denied | ErrorKind::Invalid
        );
        if prior.is_some() || !elsewhere {
            return error;
        }
        let made = objects::of(wanted, "")
            .map(|(_, state)| state.objects(&wanted.allocation.id))
            .unwrap_or_default();
        // One by one: what is not ours, or not granted, is not there because of us.
        for object in made {
            match self
                .cluster
                .host
                .delete(std::slice::from_ref(&object), Propagation::Background)
            {
                Ok(_) => {}
                Err(failure) if failure.kind == ErrorKind::Denied => {}
                Err(failure) => {
                    warn!("what was made can't be removed again: {failure}"; allocation = wanted.allocation.id);
                    return Error::unavailable(format!(
                        "{error}; and what was made can't be removed again: {failure}"
                    ));
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
            condition(
                "ClusterReachable",
                true,
                "Ready",
                format!("the API server is of version {}", info.version),
            ),
            match granted {
                true => condition(
                    "NamespaceGranted",
                    true,
                    "Granted",
                    format!("everything goes into the namespace \"{namespace}\""),
                ),
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
            let missing: Vec<&str> = ["VirtualService", "DestinationRule"]
                .into_iter()
                .filter(|kind| !info.kinds.iter().any(|k| k.kind == *kind))
                .collect();
            let message = match missing.as_slice() {
                [] => "the mesh takes routes".to_owned(),
                missing => format!(
                    "{} is not granted, or not installed: add it to kinds in [grants.kubernetes] of the instance file",
                    missing.join(" and ")
                ),
            };
            conditions.push(condition(
                "MeshReady",
                missing.is_empty(),
                if missing.is_empty() {
                    "Ready"
                } else {
                    "KindMissing"
                },
                message,
            ));
        }
        Ok(conditions)
    }
}

fn size(claim: &Seen) -> Option<u64> {
    claim
        .spec
        .resources
        .requests
        .get("storage")?
        .parse::<Size>()
        .ok()
        .map(|size| size.0)
}

/// A size as people write it.
fn shown(bytes: u64) -> String {
    let units = [
        ("Ti", 1_u64 << 40),
        ("Gi", 1 << 30),
        ("Mi", 1 << 20),
        ("Ki", 1 << 10),
    ];
    let unit = units
        .into_iter()
        .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(
        || bytes.to_string(),
        |(name, unit)| format!("{}{name}", bytes / unit),
    )
}

/// A claim that is there and can't be as it is wanted: told by its volume, not by the API server's account of the object.
fn of_volume(wanted: &Wanted<'_>, error: Error) -> Error {
    if error.kind != ErrorKind::Invalid {
        return error;
    }
    let volumes = wanted
        .allocation
        .workload
        .volumes
        .iter()
        .zip(&wanted.claims)
        .enumerate();
    for (i, (volume, claim)) in volumes {
        let (
            VolumeSource::Persistent(volume),
            Some(Claim {
                name,
                size,
                had: Some(had),
            }),
        ) = (&volume.source, claim)
        else {
            continue;
        };
        if !error
            .message
            .contains(&format!("PersistentVolumeClaim \"{name}\""))
        {
            continue;
        }
        let told = if size > had {
            format!(
                "the volume {:?} was made for {} and the cluster does not let it grow to {}",
                volume.name,
                shown(*had),
                shown(*size)
            )
        } else {
            format!(
                "the volume {:?} is there with another class, and the cluster does not let it change",
                volume.name
            )
        };
        let remedy = format!(
            "write \"size: {}\" and the class that it was made with, or give the volume another name",
            shown(*had)
        );
        return Error::invalid(told)
            .field(format!("workload.volumes[{i}].source.size"))
            .remedy(remedy);
    }
    error
}

pub(crate) fn condition(
    kind: &str,
    met: bool,
    reason: &str,
    message: impl Into<String>,
) -> Condition {
    Condition {
        kind: kind.to_owned(),
        met,
        reason: reason.to_owned(),
        message: message.into(),
    }
}
