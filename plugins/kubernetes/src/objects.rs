//! The objects of one allocation. All bear its name; the host adds the labels by which they are found.

use serde_json::{Map, Value, json};
use tradewind_plugin_sdk::{
    Error,
    types::{Job, Run, VolumeSource},
};

use crate::{
    extension::Autoscale,
    names, pod, pods,
    settings::Public,
    state::{Beside, State, Wired, Work},
    wanted::{Claim, Wanted},
};

/// A field of jobs that clusters before 1.26 don't know, and that can't be given to a job that is there.
const FAILURE_POLICY: &str = "podFailurePolicy";

/// Takes what jobs can't have out of the objects that the cluster has refused for it. False: it was not that.
pub(crate) fn without_policy(objects: &mut [Value], error: &Error) -> bool {
    if !error.message.contains(FAILURE_POLICY) {
        return false;
    }
    let refused = |object: &&mut Value| {
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        object.get("kind").is_some_and(|kind| kind == "Job")
            && error.message.contains(&format!("\"{name}\""))
    };
    let taken = objects
        .iter_mut()
        .filter(refused)
        .filter_map(|o| o.get_mut("spec")?.as_object_mut()?.remove(FAILURE_POLICY));
    taken.count() > 0
}

/// The objects, and the state that remembers them.
pub(crate) fn of(wanted: &Wanted<'_>, secret_version: &str) -> Result<(Vec<Value>, State), Error> {
    let allocation = wanted.allocation;
    let template = pod::template(wanted, secret_version)?;
    let scaler = scaler(wanted)?;
    let replicas = allocation.replicas;
    let (mut objects, mut beside) = (claims(wanted), Vec::new());
    let mut add = |what: Beside, object: Value| {
        beside.push(what);
        objects.push(object);
    };
    if wanted.content.has_config() {
        add(Beside::Config, config(wanted));
    }
    if wanted.is_reached() {
        add(
            Beside::Service,
            service(wanted, &allocation.id, "ClusterIP", |_| true),
        );
        if wanted.ports.iter().any(|port| port.public) {
            let kind = if wanted.settings.public == Public::LoadBalancer {
                "LoadBalancer"
            } else {
                "NodePort"
            };
            add(
                Beside::PublicService,
                service(wanted, &names::public(&allocation.id), kind, |port| {
                    port.public
                }),
            );
        }
    }
    let most = scaler.as_ref().map(|(_, max)| *max);
    if let Some((autoscaler, _)) = scaler {
        add(Beside::Autoscaler, autoscaler);
    }
    if !wanted.is_job() && wanted.settings.disruption_budget && most.unwrap_or(replicas) > 1 {
        let spec = json!({"maxUnavailable": 1, "selector": selector(wanted)});
        add(
            Beside::DisruptionBudget,
            object(wanted, "PodDisruptionBudget", &allocation.id, spec),
        );
    }
    let work = match &allocation.workload.run {
        Run::Service => {
            objects.push(deployment(wanted, &template, most.is_none()));
            Work::Service { replicas }
        }
        Run::Job(job) => {
            objects.extend((0..replicas).map(|index| self::job(wanted, job, &template, index)));
            Work::Jobs { replicas }
        }
    };
    if !wanted.content.secrets.is_empty() {
        beside.push(Beside::Secret);
    }
    let mesh = wanted.in_mesh().then(|| {
        names::shared(
            &allocation.namespace,
            &allocation.deployment,
            &allocation.task,
        )
    });
    let state = State {
        version: 1,
        namespace: wanted.settings.namespace.clone(),
        work,
        beside,
        ports: if wanted.is_reached() {
            wanted.ports.clone()
        } else {
            Vec::new()
        },
        autoscaled: most,
        mesh,
        image: wanted.image.clone(),
    };
    Ok((objects, state))
}

fn object(wanted: &Wanted<'_>, kind: &str, name: &str, spec: Value) -> Value {
    json!({"kind": kind, "metadata": {"name": name, "namespace": wanted.settings.namespace}, "spec": spec})
}

fn selector(wanted: &Wanted<'_>) -> Value {
    json!({"matchLabels": {names::ALLOCATION: wanted.allocation.id}})
}

fn deployment(wanted: &Wanted<'_>, template: &Value, counted: bool) -> Value {
    let mut spec =
        json!({"selector": selector(wanted), "template": template, "revisionHistoryLimit": 2});
    // An autoscaler's number is the autoscaler's.
    if let Some(spec) = spec.as_object_mut().filter(|_| counted) {
        spec.insert("replicas".to_owned(), json!(wanted.allocation.replicas));
    }
    let mut deployment = object(wanted, "Deployment", &wanted.allocation.id, spec);
    if let (Some(traffic), Some(metadata)) = (
        wanted.allocation.traffic,
        deployment
            .get_mut("metadata")
            .and_then(Value::as_object_mut),
    ) {
        metadata.insert(
            "annotations".to_owned(),
            json!({names::TRAFFIC: traffic.to_string()}),
        );
    }
    deployment
}

/// One for each replica: it is started again as often as a replica may be, and another number of replicas touches none of the others.
fn job(wanted: &Wanted<'_>, job: &Job, template: &Value, index: u32) -> Value {
    let mut spec = json!({"template": template, "backoffLimit": job.retries, "completions": 1, "parallelism": 1});
    // A pod that the cluster has ended uses up no retry.
    if let Some(spec) = spec.as_object_mut() {
        let disrupted = json!([{"type": pods::DISRUPTED, "status": "True"}]);
        spec.insert(
            FAILURE_POLICY.to_owned(),
            json!({"rules": [{"action": "Ignore", "onPodConditions": disrupted}]}),
        );
    }
    if let (Some(deadline), Some(spec)) = (job.deadline, spec.as_object_mut()) {
        spec.insert(
            "activeDeadlineSeconds".to_owned(),
            json!(deadline.div_ceil(1000).max(1)),
        );
    }
    object(
        wanted,
        "Job",
        &names::job(&wanted.allocation.id, index),
        spec,
    )
}

fn service(wanted: &Wanted<'_>, name: &str, kind: &str, which: impl Fn(&Wired) -> bool) -> Value {
    let exposed = wanted.allocation.workload.ports.iter().zip(&wanted.ports);
    let exposed = exposed
        .filter(|(port, _)| port.exposure != tradewind_plugin_sdk::types::Exposure::Local)
        .map(|(_, wired)| wired);
    let ports: Vec<Value> = exposed
        .filter(|wired| which(wired))
        .map(|wired| service_port(wired, kind))
        .collect();
    let mut service = object(
        wanted,
        "Service",
        name,
        json!({"type": kind, "selector": {names::ALLOCATION: wanted.allocation.id}, "ports": ports}),
    );
    let annotations = &wanted.extension.annotations;
    if let Some(metadata) = service
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .filter(|_| !annotations.is_empty())
    {
        metadata.insert("annotations".to_owned(), json!(annotations));
    }
    service
}

/// Ports that clusters give out of their nodes'.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

pub(crate) fn service_port(wired: &Wired, kind: &str) -> Value {
    let mut port = Map::new();
    port.insert("name".to_owned(), json!(wired.name));
    port.insert("port".to_owned(), json!(wired.published));
    port.insert("targetPort".to_owned(), json!(wired.number));
    port.insert("protocol".to_owned(), json!(pod::transport(wired)));
    let known = match wired.protocol.as_str() {
        "http" => Some("http"),
        "https" => Some("https"),
        "grpc" => Some("grpc"),
        _ => None,
    };
    port.extend(known.map(|word| ("appProtocol".to_owned(), json!(word))));
    if kind == "NodePort" && NODE_PORTS.contains(&wired.published) {
        port.insert("nodePort".to_owned(), json!(wired.published));
    }
    Value::Object(port)
}

fn config(wanted: &Wanted<'_>) -> Value {
    let metadata = json!({"name": wanted.allocation.id, "namespace": wanted.settings.namespace});
    json!({"kind": "ConfigMap", "metadata": metadata, "data": wanted.content.data, "binaryData": wanted.content.binary})
}

/// Named volumes outlive their deployment: they are made when they are not there, and never removed. One that holds more than it must stays so.
fn claims(wanted: &Wanted<'_>) -> Vec<Value> {
    let each = wanted
        .allocation
        .workload
        .volumes
        .iter()
        .zip(&wanted.claims);
    let made = each.filter_map(|(volume, claim)| match (&volume.source, claim) {
        (VolumeSource::Persistent(volume), Some(claim)) if claim.size > 0 => Some((volume, claim)),
        _ => None,
    });
    let object = |(volume, claim): (&tradewind_plugin_sdk::types::PersistentVolume, &Claim)| {
        let size = claim.had.map_or(claim.size, |had| had.max(claim.size));
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size.to_string()}}});
        if let Some(spec) = spec.as_object_mut().filter(|_| !volume.class.is_empty()) {
            spec.insert("storageClassName".to_owned(), json!(volume.class));
        }
        object(wanted, "PersistentVolumeClaim", &claim.name, spec)
    };
    made.map(object).collect()
}

/// The autoscaler, and the most replicas that it makes.
fn scaler(wanted: &Wanted<'_>) -> Result<Option<(Value, u32)>, Error> {
    let utilised = |name: &str, percent: u32| json!({"type": "Resource", "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}}});
    let (min, max, metrics) = match (
        &wanted.allocation.workload.scaling,
        &wanted.extension.autoscale,
    ) {
        _ if wanted.is_job() => return Ok(None),
        (Some(scaling), _) => {
            let value = match scaling.metric.as_str() {
                "cpu" => format!("{}m", scaling.target.round()),
                "memory" => format!("{}", scaling.target.round()),
                other => {
                    let message = format!(
                        "a cluster's autoscaler does not know {other:?}: it knows cpu and memory"
                    );
                    return Err(Error::unsupported(message).field("workload.scaling.metric"));
                }
            };
            let target = json!({"type": "AverageValue", "averageValue": value});
            (
                scaling.min,
                scaling.max,
                vec![
                    json!({"type": "Resource", "resource": {"name": scaling.metric, "target": target}}),
                ],
            )
        }
        (
            None,
            Some(Autoscale {
                min,
                max,
                cpu,
                memory,
            }),
        ) => {
            let metrics = [("cpu", cpu), ("memory", memory)];
            let mut metrics: Vec<Value> = metrics
                .into_iter()
                .filter_map(|(name, p)| p.map(|p| utilised(name, p)))
                .collect();
            if metrics.is_empty() {
                metrics.push(utilised("cpu", 80));
            }
            (*min, *max, metrics)
        }
        (None, None) => return Ok(None),
    };
    if min == 0 || max < min {
        let message = format!(
            "from {min} to {max} replicas is no range of an autoscaler: begin with 1 at least"
        );
        return Err(Error::invalid(message).field("workload.extensions.kubernetes.autoscale"));
    }
    let target =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": wanted.allocation.id});
    let spec = json!({"scaleTargetRef": target, "minReplicas": min, "maxReplicas": max, "metrics": metrics});
    Ok(Some((
        object(
            wanted,
            "HorizontalPodAutoscaler",
            &wanted.allocation.id,
            spec,
        ),
        max,
    )))
}
