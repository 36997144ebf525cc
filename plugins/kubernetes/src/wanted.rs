//! What an allocation means on a cluster, checked: what Kubernetes can't do is refused by its field, never left out.

use std::collections::BTreeMap;

use tradewind_plugin_sdk::{
    Error,
    types::{Allocation, Exposure, Run, VolumeSource, Workload},
};

use crate::{
    extension::{self, Extension},
    files::Content,
    names,
    settings::Settings,
    state::{Wired, word},
};

pub(crate) struct Wanted<'a> {
    pub(crate) allocation: &'a Allocation,
    pub(crate) settings: &'a Settings,
    pub(crate) extension: Extension,
    pub(crate) content: Content,
    pub(crate) ports: Vec<Wired>,
    /// Labels that the nodes must have.
    pub(crate) nodes: BTreeMap<String, String>,
    /// Countable devices for each replica, by resource.
    pub(crate) devices: BTreeMap<String, u32>,
    /// The claim of each volume that has one.
    pub(crate) claims: Vec<Option<Claim>>,
    /// The image that its pods are made of.
    pub(crate) image: String,
}

/// The claim of a named volume.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claim {
    pub(crate) name: String,
    /// What it asks for; 0: the claim is somebody's, and only used.
    pub(crate) size: u64,
    /// What it is known to have asked for before, if it is there already.
    pub(crate) had: Option<u64>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn of(allocation: &'a Allocation, settings: &'a Settings) -> Result<Self, Error> {
        let workload = &allocation.workload;
        refuse(workload)?;
        let extension = extension::of(workload)?;
        let content = Content::of(workload, &allocation.id)?;
        let mut nodes = settings.node_selector.clone();
        // What makes the offer's nodes what they are.
        let known = [names::REGION, names::ZONE, names::SIZE];
        nodes.extend(
            allocation
                .offer
                .labels
                .iter()
                .filter(|l| known.contains(&l.key.as_str()))
                .map(|l| (l.key.clone(), l.value.clone())),
        );
        nodes.extend(extension.node_selector.clone());
        let mut devices = BTreeMap::new();
        for (i, wanted) in workload.resources.accelerators.iter().enumerate() {
            let fits = |kind: &String, one: &crate::settings::Accelerator| {
                (wanted.kind.is_empty() || *kind == wanted.kind) && one.memory.0 >= wanted.memory
            };
            let Some((_, known)) = settings
                .accelerators
                .iter()
                .find(|(kind, one)| fits(kind, one))
            else {
                return Err(Error::unsupported(format!(
                    "the accelerator {:?} is not one of the settings'",
                    wanted.kind
                ))
                .field(format!("workload.resources.accelerators[{i}]"))
                .remedy("name it in [settings.accelerators] of the instance file"));
            };
            *devices.entry(known.resource.clone()).or_insert(0) += wanted.count;
            nodes.extend(known.node_selector.clone());
        }
        let claims = workload
            .volumes
            .iter()
            .map(|volume| claim(allocation, &volume.source))
            .collect();
        let image = workload.image.clone().unwrap_or_default();
        Ok(Self {
            allocation,
            settings,
            extension,
            content,
            ports: ports(workload),
            nodes,
            devices,
            claims,
            image,
        })
    }

    pub(crate) fn is_job(&self) -> bool {
        matches!(self.allocation.workload.run, Run::Job(_))
    }

    /// Ports that somebody else than the pod itself may reach.
    pub(crate) fn is_reached(&self) -> bool {
        !self.is_job()
            && self
                .allocation
                .workload
                .ports
                .iter()
                .any(|port| port.exposure != Exposure::Local)
    }

    pub(crate) fn in_mesh(&self) -> bool {
        self.is_reached() && self.extension.istio.unwrap_or(self.settings.istio)
    }
}

/// Ports as they are inside the pod and at the service. Numbers that the provider chooses are the lowest free ones from 8080 on.
fn ports(workload: &Workload) -> Vec<Wired> {
    let mut taken: Vec<u16> = workload
        .ports
        .iter()
        .map(|port| port.number)
        .filter(|number| *number != 0)
        .collect();
    let mut wired = Vec::new();
    for port in &workload.ports {
        let number = match port.number {
            0 => (8080..=u16::MAX)
                .find(|number| !taken.contains(number))
                .unwrap_or(8080),
            number => number,
        };
        taken.push(number);
        wired.push(Wired {
            name: port.name.clone(),
            protocol: word(port.protocol).to_owned(),
            number,
            published: port.published.unwrap_or(number),
            public: port.exposure == Exposure::Public,
        });
    }
    wired
}

/// A volume without a size is a claim that is there: manifests have none any more, and those that are stored go on.
fn claim(allocation: &Allocation, source: &VolumeSource) -> Option<Claim> {
    match source {
        VolumeSource::Persistent(volume) if volume.size == 0 => Some(Claim {
            name: volume.name.clone(),
            size: 0,
            had: None,
        }),
        VolumeSource::Persistent(volume) => {
            let name = names::claim(&allocation.namespace, &allocation.deployment, &volume.name);
            Some(Claim {
                name,
                size: volume.size,
                had: None,
            })
        }
        VolumeSource::Scratch(_) | VolumeSource::HostPath(_) => None,
    }
}

fn refuse(workload: &Workload) -> Result<(), Error> {
    let refused = [
        (
            workload.image.is_none(),
            "workload.image",
            "nothing to run but an image: a plain command has none",
        ),
        (
            !workload.networks.is_empty(),
            "workload.networks",
            "networks of its own",
        ),
        (
            workload.stop_signal != "TERM" && !workload.stop_signal.is_empty(),
            "workload.stop_signal",
            "stop signals but that of the image",
        ),
    ];
    if let Some((_, field, what)) = refused.into_iter().find(|(present, ..)| *present) {
        return Err(Error::unsupported(format!("a cluster has no {what}")).field(field));
    }
    let user = &workload.user;
    let numbers =
        user.split(':').all(|part| part.parse::<u32>().is_ok()) && user.split(':').count() <= 2;
    if !user.is_empty() && !numbers {
        let message = format!(
            "the user {user:?} is not understood: a cluster takes numbers such as 1000 or 1000:1000"
        );
        return Err(Error::unsupported(message).field("workload.user"));
    }
    for (i, volume) in workload.volumes.iter().enumerate() {
        let unfit = |v: &&tradewind_plugin_sdk::types::PersistentVolume| {
            v.size == 0 && !names::is_name(&v.name)
        };
        if let VolumeSource::Persistent(persistent) = &volume.source
            && let Some(unfit) = Some(persistent).filter(unfit)
        {
            let message = format!(
                "the volume {:?} has no size, and is not the name of a claim that could be there",
                unfit.name
            );
            return Err(Error::invalid(message)
                .field(format!("workload.volumes[{i}].source.size"))
                .remedy("write the least that it must hold, such as 1Gi"));
        }
    }
    Ok(())
}
