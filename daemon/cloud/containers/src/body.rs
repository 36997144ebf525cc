//! From a checked spec to what the engine is told. Pure.

use std::{collections::HashMap, net::IpAddr};

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig, Mount,
    MountType, NetworkingConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use tradewind_core::{
    capability::containers::ContainerSpec,
    grant::ContainersGrant,
    units::{Bytes, Millis},
    workload::{Check, Exposure, Probe, Protocol, Run, VolumeSource},
};

use crate::{check::Prepared, injected::Injected, labels::NotedPort};

/// What the engine's names are for what the spec names.
pub(crate) struct Names {
    /// One for each network of the spec.
    pub(crate) networks: Vec<String>,
    /// One for each volume of the spec that is persistent.
    pub(crate) volumes: Vec<Option<String>>,
    /// How the others in its networks call it.
    pub(crate) alias: Option<String>,
}

pub(crate) fn body(
    grant: &ContainersGrant,
    prepared: &Prepared,
    given: &Injected,
    names: &Names,
    labels: HashMap<String, String>,
) -> ContainerCreateBody {
    let spec = &prepared.spec;
    let some = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let published = if spec.host_network {
        &[][..]
    } else {
        &given.ports[..]
    };
    ContainerCreateBody {
        entrypoint: some(&spec.command),
        cmd: some(&spec.arguments),
        working_dir: spec.working_directory.clone(),
        user: text(&spec.user),
        env: some(&given.env),
        exposed_ports: Some(published.iter().map(exposed).collect()),
        healthcheck: spec.health.as_ref().and_then(health),
        labels: Some(labels),
        stop_signal: text(&spec.stop_signal),
        stop_timeout: Some(seconds(spec.stop_grace)),
        host_config: Some(host(grant, prepared, published, names)),
        networking_config: names.networks.first().map(|name| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(
                name.clone(),
                endpoint(names.alias.as_ref()),
            )])),
        }),
        ..Default::default()
    }
}

/// How a container joins a network.
pub(crate) fn endpoint(alias: Option<&String>) -> EndpointSettings {
    EndpointSettings {
        aliases: alias.map(|a| vec![a.clone()]),
        ..Default::default()
    }
}

/// Whole seconds, rounded up: engines know no shorter ones.
pub(crate) fn seconds(span: Millis) -> i64 {
    i64::try_from(span.0.div_ceil(1000)).unwrap_or(i64::MAX)
}

fn host(
    grant: &ContainersGrant,
    prepared: &Prepared,
    published: &[NotedPort],
    names: &Names,
) -> HostConfig {
    let spec = &prepared.spec;
    let number = |n: u64| i64::try_from(n).ok().filter(|n| *n > 0);
    let own = |b: Bytes| number(b.0);
    let shares = number(u64::from(spec.resources.cpu.0) * 1024 / 1000).map(|s| s.max(2));
    let cap = spec
        .limits
        .as_ref()
        .and_then(|l| number(u64::from(l.cpu.0) * 1_000_000));
    let network = names.networks.first().map_or(
        if spec.host_network { "host" } else { "bridge" },
        String::as_str,
    );
    HostConfig {
        network_mode: Some(network.to_owned()),
        port_bindings: Some(
            published
                .iter()
                .map(|p| (exposed(p), Some(vec![binding(grant, prepared, p)])))
                .collect(),
        ),
        restart_policy: Some(restart(spec)),
        privileged: Some(spec.privileged),
        memory: spec
            .limits
            .as_ref()
            .and_then(|l| own(l.memory))
            .or_else(|| own(spec.resources.memory)),
        cpu_shares: shares,
        nano_cpus: cap,
        mounts: Some(mounts(prepared, names)),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([(
                "max-size".to_owned(),
                grant.log_size.0.to_string(),
            )])),
        }),
        ..Default::default()
    }
}

/// How often the engine starts a container again when it fails.
pub(crate) fn restarts(spec: &ContainerSpec) -> u32 {
    match spec.run {
        Run::Service => spec.restarts,
        Run::Job { retries, .. } => retries,
    }
}

fn restart(spec: &ContainerSpec) -> RestartPolicy {
    let most = restarts(spec);
    if most == 0 {
        return RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        };
    }
    RestartPolicy {
        name: Some(RestartPolicyNameEnum::ON_FAILURE),
        maximum_retry_count: Some(i64::from(most)),
    }
}

/// `8080/tcp`.
fn exposed(port: &NotedPort) -> String {
    format!(
        "{}/{}",
        port.number,
        if port.protocol == Protocol::Udp {
            "udp"
        } else {
            "tcp"
        }
    )
}

fn binding(grant: &ContainersGrant, prepared: &Prepared, port: &NotedPort) -> PortBinding {
    let wanted = prepared
        .spec
        .ports
        .iter()
        .find(|p| p.name == port.name)
        .and_then(|p| p.published)
        .filter(|p| *p != 0);
    PortBinding {
        host_ip: Some(address(grant, port.exposure).to_string()),
        host_port: Some(wanted.map_or_else(String::new, |p| p.to_string())),
    }
}

/// Where a port of this exposure answers on the engine's machine.
pub(crate) fn address(grant: &ContainersGrant, exposure: Exposure) -> IpAddr {
    let public = grant
        .public_address
        .filter(|_| exposure == Exposure::Public);
    public.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))
}

fn mounts(prepared: &Prepared, names: &Names) -> Vec<Mount> {
    let each = prepared
        .spec
        .volumes
        .iter()
        .zip(&prepared.host_paths)
        .zip(&names.volumes);
    let mount = each.map(|((volume, host_path), name)| {
        let (typ, source) = match &volume.source {
            // Without a name, it goes with the container.
            VolumeSource::Scratch { .. } => (MountType::VOLUME, None),
            VolumeSource::Persistent { .. } => (MountType::VOLUME, name.clone()),
            VolumeSource::HostPath { path } => (
                MountType::BIND,
                host_path
                    .as_ref()
                    .map(|p| p.display().to_string())
                    .or_else(|| Some(path.clone())),
            ),
        };
        Mount {
            target: Some(volume.path.clone()),
            source,
            typ: Some(typ),
            read_only: Some(volume.read_only),
            ..Default::default()
        }
    });
    mount.collect()
}

fn health(probe: &Probe) -> Option<HealthConfig> {
    let Check::Command { command } = &probe.check else {
        return None;
    };
    // Engines take nothing below a millisecond, and zero for their own default.
    let nanos = |span: Millis| {
        Some(i64::try_from(span.0.max(1).saturating_mul(1_000_000)).unwrap_or(i64::MAX))
    };
    Some(HealthConfig {
        test: Some(
            std::iter::once("CMD".to_owned())
                .chain(command.iter().cloned())
                .collect(),
        ),
        interval: nanos(probe.interval),
        timeout: nanos(probe.timeout),
        retries: Some(i64::from(probe.unhealthy_after.max(1))),
        start_period: (probe.initial_delay.0 > 0)
            .then(|| nanos(probe.initial_delay))
            .flatten(),
        start_interval: None,
    })
}
