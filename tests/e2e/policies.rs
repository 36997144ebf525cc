//! The worked examples of placing, through the API, with real policies and simulated clouds.

use anyhow::Result;
use serde_json::{Value, json};
use tradewind_kit::Daemon;

/// Worked example E1: C = 1.0, 0.6 and 0.2, T = 1, 2 and 1.
const CLOUDS: [(&str, &str, u32, &str, f64); 3] = [
    ("aws", "0.5", 2, "4Gi", 1.0),
    ("azure", "0.3", 1, "2Gi", 0.5),
    ("google", "0.2", 1, "2Gi", 1.0),
];

fn cloud(price: &str, cores: u32, memory: &str, performance: f64) -> String {
    format!(
        "component = \"simulated.wasm\"\n[settings.regions.r.sizes.s]\ncpu = {cores}\nmemory = \"{memory}\"\nprice = \"{price}\"\nprice-unit = \"cpu\"\nperformance = {performance:?}\n"
    )
}

async fn assess(daemon: &Daemon, manifest: &str) -> Result<Value> {
    let request = daemon
        .http
        .post(daemon.url("/v1/assessments"))
        .header("content-type", "application/yaml")
        .body(manifest.to_owned());
    let response = request.send().await?;
    anyhow::ensure!(
        response.status().is_success(),
        "{}: {}",
        response.status(),
        response.text().await?
    );
    Ok(response.json().await?)
}

#[tokio::test]
async fn weighing_cost_resources_and_time_chooses_google_cloud() -> Result<()> {
    let clouds = CLOUDS.map(|(name, price, cores, memory, performance)| {
        (name, cloud(price, cores, memory, performance))
    });
    let instances: Vec<(&str, &str)> = clouds
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let daemon = Daemon::start(&["cheapest", "weighted", "simulated"], &instances)?;
    let manifest =
        include_str!("../manifests/good/e1.yaml").replace("spec:\n", "spec:\n  policy: weighted\n");
    let report = assess(&daemon, &manifest).await?;
    assert_eq!(
        report["tasks"][0]["choice"][0]["provider"], "google",
        "{report:#}"
    );
    daemon.put("e1", &manifest).await?;
    daemon
        .until("e1", "placed", |d| d["places"] == json!(["google/r"]))
        .await?;
    let decision = daemon.list("/v1/decisions").await?[0].clone();
    assert_eq!(decision["policy"]["instance"], "weighted", "{decision:#}");
    assert_eq!(
        decision["tasks"][0]["chosen"][0]["score"], 0.0,
        "the best by every criterion: {decision:#}"
    );
    Ok(())
}

/// Worked example E2: a unit costs 0.1 and 0.2 per second, which is 360 and 720 per hour.
const NODES: [(&str, &str); 2] = [("node-1", NODE_1), ("node-2", NODE_2)];

const NODE_1: &str = "component = \"simulated.wasm\"\n[settings]\njob-duration = \"10m\"\n[settings.regions.r.sizes.unit]\ncpu = 1\nmemory = \"1Gi\"\nprice = \"360\"\ncapacity = 10\n";

const NODE_2: &str = "component = \"simulated.wasm\"\n[settings]\njob-duration = \"10m\"\n[settings.regions.r.sizes.unit]\ncpu = 1\nmemory = \"1Gi\"\nprice = \"720\"\ncapacity = 20\n";

fn units(demand: u32) -> String {
    format!(
        r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {{name: units}}
spec:
  policy: optimal
  jobs:
    work: {{command: [work], duration: 1s, replicas: {demand}, resources: {{cpu: 1, memory: 1Gi}}}}
"#
    )
}

#[tokio::test]
async fn demand_meets_capacity_at_the_least_cost_or_is_said_to_be_too_much() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "optimal", "simulated"], &NODES)?;
    let on = |report: &Value| -> Vec<(String, u64)> {
        let choice = report["tasks"][0]["choice"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        choice
            .iter()
            .map(|c| {
                (
                    c["provider"].as_str().unwrap_or_default().to_owned(),
                    c["replicas"].as_u64().unwrap_or_default(),
                )
            })
            .collect()
    };
    let report = assess(&daemon, &units(20)).await?;
    assert_eq!(
        on(&report),
        [("node-1".to_owned(), 10), ("node-2".to_owned(), 10)],
        "{report:#}"
    );

    let report = assess(&daemon, &units(31)).await?;
    assert_eq!(
        on(&report),
        [("node-1".to_owned(), 10), ("node-2".to_owned(), 20)],
        "{report:#}"
    );
    let told = report.to_string();
    assert!(
        told.contains("1 of 31 replicas") && told.contains("capacity"),
        "the shortfall of 1 is named: {report:#}"
    );

    daemon.put("units", &units(20)).await?;
    daemon
        .until("units", "placed", |d| {
            d["places"] == json!(["node-1/r", "node-2/r"])
        })
        .await?;
    let decision = daemon.list("/v1/decisions").await?[0].clone();
    assert_eq!(
        decision["lowerBound"], "3.00",
        "three dollars a second, and no way to do it for less: {decision:#}"
    );
    Ok(())
}
