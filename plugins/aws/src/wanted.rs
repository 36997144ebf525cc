//! What an allocation means to EC2: instances of which size with which user data, ports with numbers, and a fingerprint that tells old from
//! new. What instances can't do is refused by its field, never left out.

use tradewind_plugin_sdk::{
    Error, fleet,
    host::aws::{HealthCheck, Piece, RunRequest},
    types::{Allocation, Check, Exposure, Port, Protocol, Run, VolumeSource, Workload},
};

use crate::{
    script,
    settings::{Place, Settings},
    state::Wired,
};

/// Where ports begin that the provider numbers.
const FIRST_PORT: u16 = 8080;
/// What EC2 takes as user data, before it is encoded. Secrets are counted by the host, which alone knows them.
const USER_DATA: usize = 16 << 10;

pub(crate) struct Wanted {
    pub(crate) allocation: String,
    pub(crate) region: String,
    pub(crate) replicas: u32,
    pub(crate) token: String,
    pub(crate) spec: String,
    pub(crate) job: bool,
    pub(crate) ports: Vec<Wired>,
    /// The ways through a load balancer; none: no load balancer.
    pub(crate) routes: Vec<Route>,
    request: RunRequest,
}

/// A port that a load balancer stands before.
pub(crate) struct Route {
    pub(crate) port: String,
    pub(crate) number: u16,
    pub(crate) listens: u16,
    pub(crate) check: HealthCheck,
}

impl Wanted {
    pub(crate) fn of(allocation: &Allocation, settings: &Settings) -> Result<Self, Error> {
        let (workload, offer) = (&allocation.workload, &allocation.offer);
        refuse(workload)?;
        if offer.region.is_empty() || offer.size.is_empty() {
            let message = format!(
                "the offer {:?} is none of AWS: it names no region and size",
                offer.id
            );
            return Err(Error::invalid(message).field("offer.id"));
        }
        let place = settings.place(&offer.region)?;
        let ports = numbered(&workload.ports);
        let user_data = script::user_data(workload, &ports);
        let size = user_data
            .iter()
            .map(|piece| {
                if let Piece::Text(text) = piece {
                    text.len()
                } else {
                    0
                }
            })
            .sum();
        fleet::fits(workload, "the user data", size, USER_DATA)?;
        // Not of images and groups: what the operator changes there is for what comes next, and replaces nothing that runs.
        let spec = fingerprint(&format!("{} {} {user_data:?}", offer.size, offer.spot));
        let job = matches!(workload.run, Run::Job(_));
        let request = RunRequest {
            region: offer.region.clone(),
            zone: offer.zone.clone(),
            subnet: place.subnets.get(&offer.zone).cloned().unwrap_or_default(),
            instance_type: offer.size.clone(),
            image: image(allocation, place)?,
            security_groups: place.security_groups.clone(),
            key_name: place.key_name.clone(),
            instance_profile: place.instance_profile.clone(),
            spot: offer.spot,
            ends_with_system: job,
            disk: workload.resources.disk,
            user_data,
            replica: 0,
            ordinal: 0,
            spec: spec.clone(),
        };
        Ok(Self {
            allocation: allocation.id.clone(),
            region: offer.region.clone(),
            replicas: allocation.replicas,
            token: allocation.token.clone(),
            spec,
            job,
            routes: if settings.load_balancer {
                routes(workload, &ports)
            } else {
                Vec::new()
            },
            ports,
            request,
        })
    }

    /// For one replica, after so many lost ones.
    pub(crate) fn request(&self, replica: u32, ordinal: u32) -> RunRequest {
        let mut request = self.request.clone();
        (request.replica, request.ordinal) = (replica, ordinal);
        request
    }

    #[cfg(test)]
    pub(crate) fn user_data(&self) -> &[Piece] {
        &self.request.user_data
    }
}

fn image(allocation: &Allocation, place: &Place) -> Result<String, Error> {
    let arch = allocation
        .offer
        .labels
        .iter()
        .find(|label| label.key == "arch")
        .map_or("x86_64", |label| label.value.as_str());
    let architectures: Vec<String> = arch.split(',').map(str::to_owned).collect();
    let image = place.image_for(&architectures).map(str::to_owned);
    let message = || {
        format!(
            "the settings of {:?} name no image for {arch:?}",
            allocation.offer.region
        )
    };
    image.ok_or_else(|| {
        Error::invalid(message()).field(format!(
            "settings.regions.{}.image",
            allocation.offer.region
        ))
    })
}

fn refuse(workload: &Workload) -> Result<(), Error> {
    let scratch = |source: &VolumeSource| matches!(source, VolumeSource::Scratch(_));
    let relative = workload.image.is_some() && workload.working_directory.is_none();
    let odd_name = |name: &str| {
        let first = name.bytes().next().is_none_or(|c| c.is_ascii_digit());
        first || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
    };
    let odd_signal = workload.stop_signal.is_empty()
        || !workload
            .stop_signal
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'+');
    let elsewhere = [
        (
            workload.volumes.iter().any(|v| !scratch(&v.source)),
            "volumes",
            "instances have no volumes that outlive them",
        ),
        (
            !workload.volumes.is_empty(),
            "volumes",
            "instances have their own disk: ask for it by resources.disk",
        ),
        (
            !workload.networks.is_empty(),
            "networks",
            "instances are in the subnets of the settings",
        ),
        (
            workload.scaling.is_some(),
            "scaling",
            "this provider does not scale by itself",
        ),
    ];
    if let Some((_, field, why)) = elsewhere.into_iter().find(|(present, ..)| *present) {
        return Err(Error::unsupported(why).field(format!("workload.{field}")));
    }
    let refused = [
        (
            workload.image.is_none() && workload.command.is_empty(),
            "command",
            "there is neither an image nor a command to run",
        ),
        (
            workload.env.iter().any(|var| odd_name(&var.name)),
            "env",
            "a variable's name has other characters than letters, digits and _",
        ),
        (
            workload
                .files
                .iter()
                .any(|file| file.path.contains("..") || file.path.is_empty()),
            "files",
            "a file's path has \"..\" or is empty",
        ),
        (
            relative && workload.files.iter().any(|f| !f.path.starts_with('/')),
            "files",
            "a relative path needs working-directory",
        ),
        (odd_signal, "stop-signal", "it is not the name of a signal"),
    ];
    match refused.into_iter().find(|(present, ..)| *present) {
        Some((_, field, why)) => Err(Error::invalid(why).field(format!("workload.{field}"))),
        None => Ok(()),
    }
}

/// Every port with the number that instances answer at: the workload's, else one that no other port has.
fn numbered(ports: &[Port]) -> Vec<Wired> {
    let taken: Vec<u16> = ports.iter().map(|port| port.number).collect();
    let mut free = (FIRST_PORT..).filter(|number| !taken.contains(number));
    let number = |port: &Port, free: &mut dyn Iterator<Item = u16>| {
        if port.number == 0 {
            free.next().unwrap_or(0)
        } else {
            port.number
        }
    };
    ports
        .iter()
        .map(|port| Wired::new(port, number(port, &mut free)))
        .collect()
}

/// Public HTTP ports: the first is reached at 80, the others at their own numbers, unless they are published at another.
fn routes(workload: &Workload, ports: &[Wired]) -> Vec<Route> {
    let pairs = workload.ports.iter().zip(ports);
    let public = pairs
        .filter(|(port, _)| port.exposure == Exposure::Public && port.protocol == Protocol::Http);
    let route = |(position, (port, wired)): (usize, (&Port, &Wired))| Route {
        port: port.name.clone(),
        number: wired.number,
        listens: port
            .published
            .filter(|number| *number != 0)
            .unwrap_or(if position == 0 { 80 } else { wired.number }),
        check: health_check(workload, &port.name),
    };
    public.enumerate().map(route).collect()
}

/// The workload's own check of this port, else whether it answers at all.
fn health_check(workload: &Workload, port: &str) -> HealthCheck {
    let probes = [
        &workload.probes.readiness,
        &workload.probes.startup,
        &workload.probes.liveness,
    ];
    let own = probes
        .into_iter()
        .flatten()
        .find_map(|probe| match &probe.check {
            Check::Http(http) if http.port == port => Some((probe, http)),
            _ => None,
        });
    match own {
        Some((probe, http)) => HealthCheck {
            path: http.path.clone(),
            interval: probe.interval,
            timeout: probe.timeout,
            healthy_after: probe.healthy_after,
            unhealthy_after: probe.unhealthy_after,
            status_min: http.status_min,
            status_max: http.status_max,
        },
        None => HealthCheck {
            path: "/".to_owned(),
            interval: 10_000,
            timeout: 5_000,
            healthy_after: 2,
            unhealthy_after: 3,
            status_min: 200,
            status_max: 499,
        },
    }
}

/// FNV-1a: the same on every machine and in every version, which the standard library's hashes don't promise.
fn fingerprint(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
