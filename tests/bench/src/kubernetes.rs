//! A real API server: what a deployment through the daemon costs against `kubectl apply` of the same objects, and how many requests a look at many
//! allocations takes. Needs the cluster of `tests/backends/kubernetes/setup.sh`; without it there is nothing to report.
#![allow(
    clippy::indexing_slicing,
    reason = "JSON values answer null for what they lack"
)]

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Client;
use serde_json::{Value, json};
use tradewind_kit::{Daemon, cluster::Cluster};

use crate::{
    client::{self, client, put},
    report::{Baseline, Report, Unit},
    samples::Samples,
};

const ROUNDS: u32 = 20;
const MANY: [u32; 3] = [10, 100, 1_000];
const WINDOW: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(300);
/// More than one page of a thousand allocations.
const GRANT: &str = "[limits]\nhost-bytes = \"64Mi\"\nmemory = \"128Mi\"\ndeadline = \"30s\"\n";

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let Some(cluster) = Cluster::start()? else {
        return Ok(());
    };
    let daemon = Daemon::start(
        &["cheapest", "kubernetes"],
        &[("k8s", &cluster.instance("", GRANT))],
    )?;
    let client = client(&daemon)?;
    overhead(report, &cluster, &daemon, &client).await?;
    requests(report, &cluster, &daemon, &client).await
}

fn manifest(name: &str, ports: bool) -> String {
    let ports = if ports {
        json!({"http": {"protocol": "http", "port": 8080}})
    } else {
        json!({})
    };
    let web = json!({"image": "example.com/web:1", "replicas": 1, "resources": {"cpu": "1m", "memory": "1Mi"}, "ports": ports});
    json!({"apiVersion": "tradewind.dev/v1", "kind": "CloudDeployment", "metadata": {"name": name}, "spec": {"services": {"web": web}}})
        .to_string()
}

/// From the request that submits a deployment until the cluster has its objects, against the command line of Kubernetes with the same objects.
async fn overhead(
    report: &mut Report,
    cluster: &Cluster,
    daemon: &Daemon,
    client: &Client,
) -> Result<()> {
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for round in 0..ROUNDS {
        let name = format!("round-{round}");
        let since = Instant::now();
        put(client, daemon, &name, manifest(&name, true)).await?;
        let allocation = accepted(client, daemon, &name).await?;
        ours.add(since.elapsed());
        let copies = copies(cluster, &allocation, &format!("copy-{round}"))?;
        theirs.time(|| cluster.kubectl_with(&["apply", "--server-side", "-f", "-"], &copies))?;
    }
    let what =
        "a deployment with a service on a Kubernetes cluster, PUT → both objects written, median";
    report.time_against(
        what,
        Unit::Millis,
        ours.median(),
        "kubectl apply --server-side of the same objects",
        theirs.median(),
    );
    for round in 0..ROUNDS {
        daemon.delete(&format!("round-{round}")).await?;
    }
    for round in 0..ROUNDS {
        daemon.gone(&format!("round-{round}")).await?;
    }
    Ok(())
}

/// Waits until the cluster has accepted a deployment's only allocation, and answers its id.
async fn accepted(client: &Client, daemon: &Daemon, name: &str) -> Result<String> {
    let since = Instant::now();
    loop {
        let seen: Value = client
            .get(daemon.url(&format!("/v1/deployments/{name}")))
            .send()
            .await?
            .json()
            .await?;
        let allocation = seen
            .pointer("/tasks/0/allocations/0")
            .cloned()
            .unwrap_or_default();
        let phase = allocation["phase"].as_str().unwrap_or_default();
        if matches!(phase, "starting" | "running") {
            return Ok(allocation["id"].as_str().unwrap_or_default().to_owned());
        }
        ensure!(
            since.elapsed() < PATIENCE,
            "{name} is not accepted: {seen:#}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The objects of an allocation under another name, as somebody would write them.
fn copies(cluster: &Cluster, allocation: &str, name: &str) -> Result<String> {
    let mut items = Vec::new();
    for kind in ["deployment", "service"] {
        for mut object in cluster
            .ours(kind, "default")?
            .into_iter()
            .filter(|o| o["metadata"]["name"] == allocation)
        {
            let labels = object["metadata"]["labels"].clone();
            object["metadata"] =
                json!({"name": allocation, "namespace": "default", "labels": labels});
            if let Some(fields) = object.as_object_mut() {
                fields.remove("status");
            }
            if let Some(spec) = object["spec"].as_object_mut().filter(|_| kind == "service") {
                spec.retain(|key, _| matches!(key.as_str(), "type" | "selector" | "ports"));
            }
            // Under another manager's label, so that nobody takes them for ours.
            items.push(
                object
                    .to_string()
                    .replace(allocation, name)
                    .replace("\"tradewind\"", "\"bench\""),
            );
        }
    }
    ensure!(items.len() == 2, "{} objects of {allocation}", items.len());
    Ok(format!(
        r#"{{"apiVersion":"v1","kind":"List","items":[{}]}}"#,
        items.join(",")
    ))
}

/// How many requests a look at so many allocations takes, when nothing happens.
async fn requests(
    report: &mut Report,
    cluster: &Cluster,
    daemon: &Daemon,
    client: &Client,
) -> Result<()> {
    let mut there = 0;
    for many in MANY {
        let more = (there..many).map(|i| {
            let name = format!("many-{i}");
            async move { put(client, daemon, &name, manifest(&name, false)).await }
        });
        stream::iter(more)
            .buffer_unordered(8)
            .try_collect::<Vec<()>>()
            .await?;
        there = many;
        client::running(client, daemon, many as usize, PATIENCE).await?;
        let before = counted(cluster, client, daemon).await?;
        tokio::time::sleep(WINDOW).await;
        let after = counted(cluster, client, daemon).await?;
        let of = |key: &str| after.get(key).unwrap_or(&0.0) - before.get(key).unwrap_or(&0.0);
        let per_look = of("requests") / of("looks").max(1.0);
        let aim = (many == 1_000).then(|| Baseline {
            name: "one for each allocation".to_owned(),
            value: f64::from(many),
        });
        report.value(
            format!(
                "requests to the API server per call of the plugin, {many} allocations at rest"
            ),
            per_look,
            "",
            aim,
        );
    }
    Ok(())
}

/// Lists in a namespace are the daemon's alone: the cluster's own parts list and watch all of them.
async fn counted(
    cluster: &Cluster,
    client: &Client,
    daemon: &Daemon,
) -> Result<HashMap<&'static str, f64>> {
    let mut requests = 0.0;
    for resource in ["deployments", "pods", "services", "events", "jobs"] {
        let resource = format!("resource=\"{resource}\"");
        requests += cluster.metric(
            "apiserver_request_total{",
            &["verb=\"LIST\"", "scope=\"namespace\"", &resource],
        )?;
    }
    let metrics = client
        .get(daemon.url("/metrics"))
        .send()
        .await?
        .text()
        .await?;
    let calls = metrics
        .lines()
        .filter(|l| l.starts_with("tradewind_plugin_calls_total{") && l.contains("k8s"));
    let looks: f64 = calls
        .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    Ok(HashMap::from([("requests", requests), ("looks", looks)]))
}
