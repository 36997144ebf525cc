//! Between the contract's types and the domain's: faults, workloads, observations, logs. Everything that comes from a guest is checked
//! and its texts are capped; what can't be right is `Nonsense`.

use tradewind_core::{
    failure::{Failure, FailureKind},
    names::AllocationId,
    output,
    units::{Bytes, Instant, MicroUsd, MilliCpu, Millis},
    workload as core,
};

use super::bindings::provider::tradewind::plugin::types as wit;
use crate::base::text::tame;

/// Why an answer can't be right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Nonsense(pub(crate) String);

pub(crate) fn nonsense<T>(what: impl Into<String>) -> Result<T, Nonsense> {
    Err(Nonsense(what.into()))
}

/// The largest opaque state of one allocation, in bytes.
pub(crate) const STATE_CAP: usize = 1 << 20;
/// More replicas than any allocation may have.
const REPLICAS_CAP: usize = 100_000;

// === failures ===

pub(crate) fn failure(error: wit::Error) -> Failure {
    let (kind, fault, after) = match error {
        wit::Error::Invalid(f) => (FailureKind::Invalid, f, None),
        wit::Error::Denied(f) => (FailureKind::Denied, f, None),
        wit::Error::OutOfCapacity(f) => (FailureKind::OutOfCapacity, f, None),
        wit::Error::Quota(f) => (FailureKind::Quota, f, None),
        wit::Error::Throttled(t) => (FailureKind::Throttled, t.fault, t.retry_after.map(Millis)),
        wit::Error::Unavailable(f) => (FailureKind::Unavailable, f, None),
        wit::Error::NotFound(f) => (FailureKind::NotFound, f, None),
        wit::Error::Internal(f) => (FailureKind::Internal, f, None),
    };
    from_fault(kind, fault).retry_after(after)
}

pub(crate) fn from_fault(kind: FailureKind, fault: wit::Fault) -> Failure {
    let mut failure = Failure::new(kind, tame(&fault.message));
    failure.field = fault.field.as_deref().map(tame);
    failure.code = fault.code.as_deref().map(tame);
    failure.remedy = fault.remedy.as_deref().map(tame);
    failure
}

/// A failed capability call as the guest sees it.
pub(crate) fn error(failure: Failure) -> wit::Error {
    let fault = wit::Fault {
        message: failure.message,
        field: failure.field,
        code: failure.code,
        remedy: failure.remedy,
    };
    match failure.kind {
        FailureKind::Invalid => wit::Error::Invalid(fault),
        FailureKind::Denied => wit::Error::Denied(fault),
        FailureKind::OutOfCapacity => wit::Error::OutOfCapacity(fault),
        FailureKind::Quota => wit::Error::Quota(fault),
        FailureKind::Throttled => wit::Error::Throttled(wit::Throttle {
            fault,
            retry_after: failure.retry_after.map(|m| m.0),
        }),
        FailureKind::Unavailable => wit::Error::Unavailable(fault),
        FailureKind::NotFound => wit::Error::NotFound(fault),
        FailureKind::Internal => wit::Error::Internal(fault),
    }
}

pub(crate) fn invalid(field: &str, why: impl std::fmt::Display) -> Failure {
    Failure::invalid(why.to_string()).field(field)
}

// === to the guest ===

pub(crate) fn entries(labels: &core::Labels) -> Vec<wit::Entry> {
    labels
        .iter()
        .map(|(key, value)| wit::Entry {
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
}

pub(crate) fn resources(r: &core::Resources) -> wit::Resources {
    wit::Resources {
        cpu: r.cpu.0,
        memory: r.memory.0,
        disk: r.disk.0,
        accelerators: r
            .accelerators
            .iter()
            .map(|a| wit::Accelerator {
                kind: a.kind.clone(),
                count: a.count,
                memory: a.memory.0,
            })
            .collect(),
    }
}

fn secret(s: &core::SecretRef) -> wit::SecretRef {
    wit::SecretRef {
        name: s.name.clone(),
        key: s.key.clone(),
    }
}

fn protocol(p: core::Protocol) -> wit::Protocol {
    match p {
        core::Protocol::Tcp => wit::Protocol::Tcp,
        core::Protocol::Udp => wit::Protocol::Udp,
        core::Protocol::Http => wit::Protocol::Http,
        core::Protocol::Https => wit::Protocol::Https,
        core::Protocol::Grpc => wit::Protocol::Grpc,
    }
}

fn exposure(e: core::Exposure) -> wit::Exposure {
    match e {
        core::Exposure::Local => wit::Exposure::Local,
        core::Exposure::Internal => wit::Exposure::Internal,
        core::Exposure::Public => wit::Exposure::Public,
    }
}

fn volume(v: &core::Volume) -> wit::Volume {
    wit::Volume {
        path: v.path.clone(),
        read_only: v.read_only,
        source: match &v.source {
            core::VolumeSource::Scratch { size } => wit::VolumeSource::Scratch(size.0),
            core::VolumeSource::Persistent { name, size, class } => {
                wit::VolumeSource::Persistent(wit::PersistentVolume {
                    name: name.clone(),
                    size: size.0,
                    class: class.clone(),
                })
            }
            core::VolumeSource::HostPath { path } => wit::VolumeSource::HostPath(path.clone()),
        },
    }
}

fn probe(p: &core::Probe) -> wit::Probe {
    wit::Probe {
        check: match &p.check {
            core::Check::Http {
                port,
                path,
                headers,
                status_min,
                status_max,
            } => wit::Check::Http(wit::HttpCheck {
                port: port.clone(),
                path: path.clone(),
                headers: entries(headers),
                status_min: *status_min,
                status_max: *status_max,
            }),
            core::Check::Tcp { port } => wit::Check::Tcp(port.clone()),
            core::Check::Command { command } => wit::Check::Command(command.clone()),
        },
        initial_delay: p.initial_delay.0,
        interval: p.interval.0,
        timeout: p.timeout.0,
        healthy_after: p.healthy_after,
        unhealthy_after: p.unhealthy_after,
    }
}

fn workload(w: &core::Workload) -> wit::Workload {
    wit::Workload {
        run: match &w.run {
            core::Run::Service => wit::Run::Service,
            core::Run::Job { retries, deadline } => wit::Run::Job(wit::Job {
                retries: *retries,
                deadline: deadline.map(|d| d.0),
            }),
        },
        image: w.image.clone(),
        command: w.command.clone(),
        arguments: w.arguments.clone(),
        working_directory: w.working_directory.clone(),
        user: w.user.clone(),
        env: w
            .env
            .iter()
            .map(|e| wit::EnvVar {
                name: e.name.clone(),
                value: match &e.value {
                    core::EnvValue::Text(t) => wit::EnvValue::Text(t.clone()),
                    core::EnvValue::Secret(s) => wit::EnvValue::Secret(secret(s)),
                },
            })
            .collect(),
        ports: w
            .ports
            .iter()
            .map(|p| wit::Port {
                name: p.name.clone(),
                number: p.number,
                published: p.published,
                protocol: protocol(p.protocol),
                exposure: exposure(p.exposure),
            })
            .collect(),
        volumes: w.volumes.iter().map(volume).collect(),
        networks: w
            .networks
            .iter()
            .map(|n| wit::Network {
                name: n.name.clone(),
                internal: n.internal,
                options: entries(&n.options),
            })
            .collect(),
        files: w
            .files
            .iter()
            .map(|f| wit::ConfigFile {
                path: f.path.clone(),
                mode: f.mode,
                content: match &f.content {
                    core::FileContent::Data(d) => wit::FileContent::Data(d.clone()),
                    core::FileContent::Secret(s) => wit::FileContent::Secret(secret(s)),
                },
            })
            .collect(),
        resources: resources(&w.resources),
        limits: w.limits.as_ref().map(resources),
        probes: wit::Probes {
            startup: w.probes.startup.as_ref().map(probe),
            readiness: w.probes.readiness.as_ref().map(probe),
            liveness: w.probes.liveness.as_ref().map(probe),
        },
        stop_signal: w.stop_signal.clone(),
        stop_grace: w.stop_grace.0,
        scaling: w.scaling.as_ref().map(|s| wit::Scaling {
            min: s.min,
            max: s.max,
            metric: s.metric.clone(),
            target: s.target,
        }),
        labels: entries(&w.labels),
        extensions: w
            .extensions
            .iter()
            .map(|(key, value)| wit::Entry {
                key: key.clone(),
                value: value.to_string(),
            })
            .collect(),
    }
}

pub(crate) fn allocation(a: &core::Allocation) -> wit::Allocation {
    wit::Allocation {
        id: a.id.as_str().to_owned(),
        namespace: a.namespace.as_str().to_owned(),
        deployment: a.deployment.as_str().to_owned(),
        task: a.task.as_str().to_owned(),
        generation: a.generation,
        replicas: a.replicas,
        workload: workload(&a.workload),
        offer: wit::ChosenOffer {
            id: a.offer.id.clone(),
            region: a.offer.region.clone(),
            zone: a.offer.zone.clone(),
            size: a.offer.size.clone(),
            spot: a.offer.spot,
            price: a.offer.price.0,
            labels: entries(&a.offer.labels),
        },
        token: a.token.clone(),
        tags: entries(&a.tags),
        traffic: a.traffic,
    }
}

pub(crate) fn log_query(q: &core::LogQuery) -> wit::LogQuery {
    wit::LogQuery {
        replica: q.replica,
        tail: q.tail,
        after: q.after.clone(),
    }
}

pub(crate) fn log_chunk(chunk: core::LogChunk) -> wit::LogChunk {
    let line = |l: core::LogLine| wit::LogLine {
        replica: l.replica,
        output: match l.output {
            core::Output::Stdout => wit::Output::Stdout,
            core::Output::Stderr => wit::Output::Stderr,
            core::Output::Combined => wit::Output::Combined,
        },
        time: l.time.map(|t| t.0),
        text: {
            let text = if l.continues || l.partial {
                output::marked(&l.text, l.continues, l.partial)
            } else {
                l.text
            };
            output::with_restart(text, l.restart)
        },
    };
    wit::LogChunk {
        lines: chunk.lines.into_iter().map(line).collect(),
        next: chunk.next,
    }
}

pub(crate) fn phase(p: core::Phase) -> wit::Phase {
    match p {
        core::Phase::Pending => wit::Phase::Pending,
        core::Phase::Starting => wit::Phase::Starting,
        core::Phase::Running => wit::Phase::Running,
        core::Phase::Succeeded => wit::Phase::Succeeded,
        core::Phase::Failed => wit::Phase::Failed,
        core::Phase::Stopping => wit::Phase::Stopping,
        core::Phase::Gone => wit::Phase::Gone,
    }
}

pub(crate) fn health(h: core::Health) -> wit::Health {
    match h {
        core::Health::Unknown => wit::Health::Unknown,
        core::Health::Healthy => wit::Health::Healthy,
        core::Health::Unhealthy => wit::Health::Unhealthy,
    }
}

pub(crate) fn endpoint(e: core::Endpoint) -> wit::Endpoint {
    wit::Endpoint {
        port: e.port,
        protocol: protocol(e.protocol),
        host: e.host,
        number: e.number,
        exposure: exposure(e.exposure),
    }
}

pub(crate) fn usage(u: core::Usage) -> wit::Usage {
    wit::Usage {
        cpu: u.cpu,
        memory: u.memory.0,
        requests: u.requests,
    }
}

// === from the guest ===

pub(crate) fn allocation_id(text: String) -> Result<AllocationId, Nonsense> {
    AllocationId::try_from(text).map_err(|e| Nonsense(e.to_string()))
}

pub(crate) fn state_from(state: Vec<u8>) -> Result<Vec<u8>, Nonsense> {
    if state.len() > STATE_CAP {
        return nonsense(format!(
            "a state of {} bytes, the most is {}",
            state.len(),
            Bytes(STATE_CAP as u64)
        ));
    }
    Ok(state)
}

fn protocol_from(p: wit::Protocol) -> core::Protocol {
    match p {
        wit::Protocol::Tcp => core::Protocol::Tcp,
        wit::Protocol::Udp => core::Protocol::Udp,
        wit::Protocol::Http => core::Protocol::Http,
        wit::Protocol::Https => core::Protocol::Https,
        wit::Protocol::Grpc => core::Protocol::Grpc,
    }
}

fn exposure_from(e: wit::Exposure) -> core::Exposure {
    match e {
        wit::Exposure::Local => core::Exposure::Local,
        wit::Exposure::Internal => core::Exposure::Internal,
        wit::Exposure::Public => core::Exposure::Public,
    }
}

fn phase_from(p: wit::Phase) -> core::Phase {
    match p {
        wit::Phase::Pending => core::Phase::Pending,
        wit::Phase::Starting => core::Phase::Starting,
        wit::Phase::Running => core::Phase::Running,
        wit::Phase::Succeeded => core::Phase::Succeeded,
        wit::Phase::Failed => core::Phase::Failed,
        wit::Phase::Stopping => core::Phase::Stopping,
        wit::Phase::Gone => core::Phase::Gone,
    }
}

fn health_from(h: wit::Health) -> core::Health {
    match h {
        wit::Health::Unknown => core::Health::Unknown,
        wit::Health::Healthy => core::Health::Healthy,
        wit::Health::Unhealthy => core::Health::Unhealthy,
    }
}

fn endpoint_from(e: wit::Endpoint) -> core::Endpoint {
    core::Endpoint {
        port: tame(&e.port),
        protocol: protocol_from(e.protocol),
        host: tame(&e.host),
        number: e.number,
        exposure: exposure_from(e.exposure),
    }
}

fn known(x: f64) -> f64 {
    if x.is_finite() { x } else { 0.0 }
}

fn replica_from(r: wit::Replica) -> core::Replica {
    core::Replica {
        index: r.index,
        id: tame(&r.id),
        phase: phase_from(r.phase),
        health: health_from(r.health),
        endpoints: r.endpoints.into_iter().map(endpoint_from).collect(),
        message: tame(&r.message),
        restarts: r.restarts,
        started_at: r.started_at.map(Instant),
        ended_at: r.ended_at.map(Instant),
        exit_code: r.exit_code,
        usage: r.usage.map(|u| core::Usage {
            cpu: known(u.cpu),
            memory: Bytes(u.memory),
            requests: known(u.requests),
        }),
    }
}

pub(crate) fn condition_from(c: wit::Condition) -> core::Condition {
    core::Condition {
        kind: tame(&c.kind),
        met: c.met,
        reason: tame(&c.reason),
        message: tame(&c.message),
    }
}

pub(crate) fn observation_from(o: wit::Observation) -> Result<core::Observation, Nonsense> {
    if o.replicas.len() > REPLICAS_CAP {
        return nonsense(format!(
            "{} replicas of allocation \"{}\"",
            o.replicas.len(),
            tame(&o.allocation)
        ));
    }
    Ok(core::Observation {
        allocation: allocation_id(o.allocation)?,
        phase: phase_from(o.phase),
        endpoints: o.endpoints.into_iter().map(endpoint_from).collect(),
        replicas: o.replicas.into_iter().map(replica_from).collect(),
        message: tame(&o.message),
        conditions: o.conditions.into_iter().map(condition_from).collect(),
        state: o.state.map(state_from).transpose()?,
        metered_cost: o.metered_cost.map(MicroUsd),
    })
}

pub(crate) fn log_chunk_from(chunk: wit::LogChunk) -> core::LogChunk {
    let line = |l: wit::LogLine| {
        let (restart, text) = output::without_restart(l.text);
        let (continues, partial, text) = output::unmarked(text);
        core::LogLine {
            replica: l.replica,
            output: match l.output {
                wit::Output::Stdout => core::Output::Stdout,
                wit::Output::Stderr => core::Output::Stderr,
                wit::Output::Combined => core::Output::Combined,
            },
            time: l.time.map(Instant),
            text,
            continues,
            partial,
            restart,
        }
    };
    core::LogChunk {
        lines: chunk.lines.into_iter().map(line).collect(),
        next: chunk.next,
    }
}

pub(crate) fn log_query_from(q: wit::LogQuery, previous: bool) -> core::LogQuery {
    core::LogQuery {
        replica: q.replica,
        tail: q.tail,
        after: q.after,
        previous,
    }
}

pub(crate) fn secret_from(s: wit::SecretRef) -> core::SecretRef {
    core::SecretRef {
        name: s.name,
        key: s.key,
    }
}

pub(crate) fn env_from(e: wit::EnvVar) -> core::EnvVar {
    core::EnvVar {
        name: e.name,
        value: match e.value {
            wit::EnvValue::Text(t) => core::EnvValue::Text(t),
            wit::EnvValue::Secret(s) => core::EnvValue::Secret(secret_from(s)),
        },
    }
}

pub(crate) fn port_from(p: wit::Port) -> core::Port {
    core::Port {
        name: p.name,
        number: p.number,
        published: p.published,
        protocol: protocol_from(p.protocol),
        exposure: exposure_from(p.exposure),
    }
}

pub(crate) fn file_from(f: wit::ConfigFile) -> core::ConfigFile {
    core::ConfigFile {
        path: f.path,
        mode: f.mode,
        content: match f.content {
            wit::FileContent::Data(d) => core::FileContent::Data(d),
            wit::FileContent::Secret(s) => core::FileContent::Secret(secret_from(s)),
        },
    }
}

pub(crate) fn resources_from(r: wit::Resources) -> core::Resources {
    core::Resources {
        cpu: MilliCpu(r.cpu),
        memory: Bytes(r.memory),
        disk: Bytes(r.disk),
        accelerators: r
            .accelerators
            .into_iter()
            .map(|a| core::Accelerator {
                kind: a.kind,
                count: a.count,
                memory: Bytes(a.memory),
            })
            .collect(),
    }
}

pub(crate) fn probe_from(p: wit::Probe) -> core::Probe {
    core::Probe {
        check: match p.check {
            wit::Check::Http(h) => core::Check::Http {
                port: h.port,
                path: h.path,
                headers: h.headers.into_iter().map(|e| (e.key, e.value)).collect(),
                status_min: h.status_min,
                status_max: h.status_max,
            },
            wit::Check::Tcp(port) => core::Check::Tcp { port },
            wit::Check::Command(command) => core::Check::Command { command },
        },
        initial_delay: Millis(p.initial_delay),
        interval: Millis(p.interval),
        timeout: Millis(p.timeout),
        healthy_after: p.healthy_after,
        unhealthy_after: p.unhealthy_after,
    }
}
