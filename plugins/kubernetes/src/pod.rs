//! The pod that runs one replica.

use serde_json::{Map, Value, json};
use tradewind_plugin_sdk::{
    Error,
    types::{Check, Probe, Resources, Run, VolumeSource},
};

use crate::{
    names,
    state::Wired,
    wanted::{Claim, Wanted},
};

/// The name of its container.
pub(crate) const CONTAINER: &str = "main";
/// Seconds that a start may take where no startup check says otherwise: the manifest's five minutes.
const START_BOUND: u64 = 300;
/// Seconds: the longest pause between looks at a start.
const QUICK: u64 = 5;

/// The template of a Deployment or a Job.
pub(crate) fn template(wanted: &Wanted<'_>, secret_version: &str) -> Result<Value, Error> {
    let workload = &wanted.allocation.workload;
    let (labels, mut annotations) = names::sorted(
        workload
            .labels
            .iter()
            .map(|l| (l.key.clone(), l.value.clone())),
    );
    annotations.retain(|key, _| names::is_key(key));
    annotations.extend(wanted.extension.annotations.clone());
    annotations.extend(
        wanted
            .content
            .print(secret_version)
            .map(|print| (names::CONTENT.to_owned(), print)),
    );
    let account = &wanted.settings.service_account;
    let mut spec = json!({
        "containers": [container(wanted)?],
        "automountServiceAccountToken": !account.is_empty(),
        "terminationGracePeriodSeconds": workload.stop_grace.div_ceil(1000),
        "restartPolicy": match workload.run { Run::Service => "Always", Run::Job(_) => "Never" },
    });
    let mut set = |key: &str, value: Value| {
        let empty = value.as_object().is_some_and(Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty)
            || value == json!("");
        if let Some(spec) = spec.as_object_mut().filter(|_| !empty) {
            spec.insert(key.to_owned(), value);
        }
    };
    set("serviceAccountName", json!(account));
    set("nodeSelector", json!(wanted.nodes));
    let pull: Vec<Value> = wanted
        .settings
        .image_pull_secrets
        .iter()
        .map(|name| json!({"name": name}))
        .collect();
    set("imagePullSecrets", json!(pull));
    let mut volumes = wanted.content.volumes(&wanted.allocation.id);
    let claims = wanted.claims.iter().map(Option::as_ref);
    volumes.extend(
        workload
            .volumes
            .iter()
            .zip(claims)
            .enumerate()
            .map(|(i, (volume, claim))| self::volume(i, &volume.source, claim)),
    );
    set("volumes", json!(volumes));
    Ok(json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": spec}))
}

fn volume(i: usize, source: &VolumeSource, claim: Option<&Claim>) -> Value {
    let name = format!("volume-{i}");
    match source {
        VolumeSource::Scratch(0) => json!({"name": name, "emptyDir": {}}),
        VolumeSource::Scratch(size) => {
            json!({"name": name, "emptyDir": {"sizeLimit": size.to_string()}})
        }
        VolumeSource::Persistent(persistent) => {
            let claim = claim.map_or(&persistent.name, |claim| &claim.name);
            json!({"name": name, "persistentVolumeClaim": {"claimName": claim}})
        }
        VolumeSource::HostPath(path) => json!({"name": name, "hostPath": {"path": path}}),
    }
}

fn container(wanted: &Wanted<'_>) -> Result<Value, Error> {
    let workload = &wanted.allocation.workload;
    let mut fields = Map::new();
    let mut set = |key: &str, value: Value| {
        let empty = value.is_null()
            || value.as_object().is_some_and(Map::is_empty)
            || value.as_array().is_some_and(Vec::is_empty);
        if !empty {
            fields.insert(key.to_owned(), value);
        }
    };
    set("name", json!(CONTAINER));
    set("image", json!(wanted.image));
    set("command", literal(&workload.command));
    set("args", literal(&workload.arguments));
    set("workingDir", json!(workload.working_directory));
    set("env", json!(env(wanted)));
    set(
        "ports",
        json!(wanted.ports.iter().map(port).collect::<Vec<_>>()),
    );
    set("resources", resources(wanted));
    let mut mounts = wanted.content.mounts.clone();
    let mount = |(i, volume): (usize, &tradewind_plugin_sdk::types::Volume)| json!({"name": format!("volume-{i}"), "mountPath": volume.path, "readOnly": volume.read_only});
    mounts.extend(workload.volumes.iter().enumerate().map(mount));
    set("volumeMounts", json!(mounts));
    set("securityContext", user(&workload.user));
    let probes = &workload.probes;
    let startup = probes
        .startup
        .clone()
        .or_else(|| probes.liveness.as_ref().map(first_success));
    for (key, asked) in [
        ("startupProbe", &startup),
        ("readinessProbe", &probes.readiness),
        ("livenessProbe", &probes.liveness),
    ] {
        if let Some(asked) = asked {
            set(key, probe(asked, key, &wanted.ports)?);
        }
    }
    Ok(Value::Object(fields))
}

/// What the workload says, and the ports that were chosen for it.
fn env(wanted: &Wanted<'_>) -> Vec<Value> {
    let workload = &wanted.allocation.workload;
    let told = |name: &str| workload.env.iter().any(|var| var.name == name);
    let mut env = wanted.content.env.clone();
    let mut chosen = |name: String, number: u16| {
        if !told(&name) {
            env.push(json!({"name": name, "value": number.to_string()}));
        }
    };
    for (i, (port, wired)) in workload.ports.iter().zip(&wanted.ports).enumerate() {
        if i == 0 {
            chosen("PORT".to_owned(), wired.number);
        }
        chosen(
            format!("PORT_{}", port.name.to_uppercase().replace('-', "_")),
            wired.number,
        );
    }
    env
}

/// Words that reach the program unchanged.
fn literal(words: &[String]) -> Value {
    words.iter().map(|word| names::literal(word)).collect()
}

fn port(wired: &Wired) -> Value {
    json!({"containerPort": wired.number, "protocol": transport(wired)})
}

pub(crate) fn transport(wired: &Wired) -> &'static str {
    if wired.protocol == "udp" {
        "UDP"
    } else {
        "TCP"
    }
}

fn resources(wanted: &Wanted<'_>) -> Value {
    let workload = &wanted.allocation.workload;
    let amounts = |of: &Resources| {
        let mut map = Map::new();
        if of.cpu > 0 {
            map.insert("cpu".to_owned(), json!(format!("{}m", of.cpu)));
        }
        if of.memory > 0 {
            map.insert("memory".to_owned(), json!(of.memory.to_string()));
        }
        if of.disk > 0 {
            map.insert("ephemeral-storage".to_owned(), json!(of.disk.to_string()));
        }
        map
    };
    let mut requests = amounts(&workload.resources);
    // Memory can't be taken back, so what is asked for is also the most. Processors are shared by what is asked for.
    let mut limits = workload.limits.as_ref().map_or_else(
        || {
            amounts(&Resources {
                cpu: 0,
                disk: 0,
                ..workload.resources.clone()
            })
        },
        amounts,
    );
    for (resource, count) in &wanted.devices {
        requests.insert(resource.clone(), json!(count.to_string()));
        limits.insert(resource.clone(), json!(count.to_string()));
    }
    json!({"requests": requests, "limits": limits})
}

fn user(user: &str) -> Value {
    let mut numbers = user.split(':').filter_map(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(user), Some(group)) => json!({"runAsUser": user, "runAsGroup": group}),
        (Some(user), None) => json!({"runAsUser": user}),
        _ => Value::Null,
    }
}

/// The startup probe of a task that has none: its liveness probe counts from its own first success, or after the time that a start may take.
fn first_success(liveness: &Probe) -> Probe {
    let seconds = liveness.interval.div_ceil(1000).clamp(1, QUICK);
    let failures = u32::try_from(START_BOUND.div_ceil(seconds)).unwrap_or(u32::MAX);
    Probe {
        interval: seconds * 1000,
        unhealthy_after: failures,
        ..liveness.clone()
    }
}

fn probe(probe: &Probe, key: &str, ports: &[Wired]) -> Result<Value, Error> {
    let field = format!("workload.probes.{}", key.trim_end_matches("Probe"));
    let number = |name: &str| {
        let known = ports
            .iter()
            .find(|port| port.name == name)
            .map(|port| port.number);
        known.ok_or_else(|| {
            Error::invalid(format!("there is no port {name:?}")).field(field.clone())
        })
    };
    let (how, check) = match &probe.check {
        Check::Http(http) => {
            if (http.status_min, http.status_max) != (200, 399) {
                let message = format!(
                    "a cluster takes the statuses 200 to 399 for healthy, not {} to {}",
                    http.status_min, http.status_max
                );
                return Err(Error::unsupported(message).field(field));
            }
            let headers: Vec<Value> = http
                .headers
                .iter()
                .map(|h| json!({"name": h.key, "value": h.value}))
                .collect();
            (
                "httpGet",
                json!({"port": number(&http.port)?, "path": http.path, "httpHeaders": headers}),
            )
        }
        Check::Tcp(port) => ("tcpSocket", json!({"port": number(port)?})),
        Check::Command(words) => ("exec", json!({"command": literal(words)})),
    };
    let seconds = |millis: u64| millis.div_ceil(1000);
    Ok(json!({
        how: check,
        "initialDelaySeconds": seconds(probe.initial_delay),
        "periodSeconds": seconds(probe.interval).max(1),
        "timeoutSeconds": seconds(probe.timeout).max(1),
        // Of the others the cluster demands one success.
        "successThreshold": if key == "readinessProbe" { probe.healthy_after.max(1) } else { 1 },
        "failureThreshold": probe.unhealthy_after.max(1),
    }))
}
