//! What nodes have and what their pods leave of it. Pods of everybody count; none of them is told of.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use tradewind_core::{
    capability::kubernetes::{Device, Node},
    failure::Failure,
    units::Bytes,
    workload::Labels,
};

use crate::{
    api::{Cluster, Request},
    check,
    kinds::NODE,
    quantity::{millicores, whole},
    read::pages,
};

type Amounts = BTreeMap<String, serde_json::Value>;

#[derive(Deserialize)]
struct Seen {
    metadata: Described,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Described {
    name: String,
    labels: Labels,
    annotations: Labels,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    unschedulable: bool,
    taints: Vec<Taint>,
}

#[derive(Deserialize)]
struct Taint {
    effect: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    allocatable: Amounts,
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    spec: PodSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: String,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    overhead: Amounts,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default)]
    resources: Asked,
    restart_policy: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    requests: Amounts,
}

/// # Errors
/// `denied` when nodes are not granted, or the cluster does not let us see them.
pub(crate) async fn all(
    cluster: &Cluster<'_>,
    annotations: &[String],
) -> Result<Vec<Node>, Failure> {
    if !cluster.grant.read.iter().any(|kind| kind == NODE) {
        return Err(check::refused(
            "the capacity of nodes is not granted",
            "grants.kubernetes.read",
            "\"Node\" to read, that is read = [\"Node\", …],",
        ));
    }
    let nodes: Vec<Seen> = pages(
        cluster,
        &Request::get("/api/v1/nodes".to_owned(), "list nodes"),
    )
    .await?;
    let running = "status.phase!=Succeeded,status.phase!=Failed,spec.nodeName!=";
    let pods: Vec<Pod> = pages(
        cluster,
        &Request::get("/api/v1/pods".to_owned(), "list pods of all namespaces")
            .with("fieldSelector", running),
    )
    .await?;
    let mut taken: HashMap<String, (u32, BTreeMap<String, u64>)> = HashMap::new();
    for Pod { spec } in pods {
        let (count, sum) = taken.entry(spec.node_name.clone()).or_default();
        *count += 1;
        for (resource, amount) in requests(&spec) {
            *sum.entry(resource).or_default() += amount;
        }
    }
    Ok(nodes
        .into_iter()
        .map(|node| told(node, &taken, annotations))
        .collect())
}

fn told(
    node: Seen,
    taken: &HashMap<String, (u32, BTreeMap<String, u64>)>,
    annotations: &[String],
) -> Node {
    let none = (0, BTreeMap::new());
    let (running, used) = taken.get(&node.metadata.name).unwrap_or(&none);
    let has: BTreeMap<String, u64> = node
        .status
        .allocatable
        .iter()
        .map(|(resource, text)| (resource.clone(), amount(resource, text)))
        .collect();
    let all = |resource: &str| has.get(resource).copied().unwrap_or(0);
    let free =
        |resource: &str| all(resource).saturating_sub(used.get(resource).copied().unwrap_or(0));
    let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    // Devices have a vendor's domain before their name.
    let devices = has.keys().filter(|resource| resource.contains('/'));
    let devices = devices
        .map(|r| Device {
            resource: r.clone(),
            count: count(all(r)),
            free: count(free(r)),
        })
        .collect();
    let ready = node
        .status
        .conditions
        .iter()
        .any(|c| c.kind == "Ready" && c.status == "True");
    let tainted = node
        .spec
        .taints
        .iter()
        .any(|taint| taint.effect != "PreferNoSchedule");
    let Described {
        name,
        labels,
        annotations: has_annotations,
    } = node.metadata;
    Node {
        name,
        labels,
        annotations: has_annotations
            .into_iter()
            .filter(|(key, _)| annotations.contains(key))
            .collect(),
        usable: ready && !node.spec.unschedulable && !tainted,
        cpu: all("cpu"),
        free_cpu: free("cpu"),
        memory: Bytes(all("memory")),
        free_memory: Bytes(free("memory")),
        disk: Bytes(all("ephemeral-storage")),
        pods: count(all("pods")),
        free_pods: count(all("pods")).saturating_sub(*running),
        devices,
    }
}

/// In millicores for processors, else as a whole number.
fn amount(resource: &str, text: &serde_json::Value) -> u64 {
    let text = text
        .as_str()
        .map_or_else(|| text.to_string(), str::to_owned);
    if resource == "cpu" {
        millicores(&text)
    } else {
        whole(&text)
    }
}

/// What a pod holds of its node: its containers together, or its greatest first step, whichever is more.
fn requests(spec: &PodSpec) -> BTreeMap<String, u64> {
    let mut sum: BTreeMap<String, u64> = BTreeMap::new();
    let stays = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
    for container in spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().filter(stays))
    {
        for (resource, text) in &container.resources.requests {
            *sum.entry(resource.clone()).or_default() += amount(resource, text);
        }
    }
    for container in spec.init_containers.iter().filter(|c| !stays(c)) {
        for (resource, text) in &container.resources.requests {
            let first = sum.entry(resource.clone()).or_default();
            *first = (*first).max(amount(resource, text));
        }
    }
    for (resource, text) in &spec.overhead {
        *sum.entry(resource.clone()).or_default() += amount(resource, text);
    }
    sum
}
