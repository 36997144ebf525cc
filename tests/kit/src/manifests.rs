//! What tests deploy, and what they read out of the deployment that is answered.

use serde_json::Value;

use crate::hello;

/// The instance file of the provider of processes on this machine: what most tests need beside a policy.
pub const LOCAL: &str = r#"
component = "process.wasm"
[grants.process]
commands = ["*"]
"#;

/// A manifest with one service that runs `hello`.
pub fn web(name: &str, replicas: u32, greeting: &str) -> String {
    let hello = hello().display().to_string();
    format!(
        r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {{name: {name}}}
spec:
  services:
    web:
      command: ["{hello}"]
      env: {{GREETING: "{greeting}"}}
      ports: {{http: {{protocol: http}}}}
      health: {{http: /health, interval: 200ms}}
      replicas: {replicas}
      resources: {{cpu: 10m, memory: 64Mi}}
"#
    )
}

fn allocations(deployment: &Value) -> impl Iterator<Item = &Value> {
    let tasks = deployment["tasks"].as_array().into_iter().flatten();
    tasks.flat_map(|task| task["allocations"].as_array().into_iter().flatten())
}

/// Every process id of a deployment's replicas, in order.
pub fn pids(deployment: &Value) -> Vec<String> {
    let replicas =
        allocations(deployment).flat_map(|a| a["replicaStatus"].as_array().into_iter().flatten());
    let mut ids: Vec<String> = replicas
        .map(|r| r["id"].as_str().unwrap_or_default().to_owned())
        .collect();
    ids.sort();
    ids
}

/// Every endpoint of a deployment, as `http://host:port`.
pub fn endpoints(deployment: &Value) -> Vec<String> {
    let all = allocations(deployment).flat_map(|a| a["endpoints"].as_array().into_iter().flatten());
    all.map(|e| {
        format!(
            "http://{}:{}",
            e["host"].as_str().unwrap_or_default(),
            e["number"]
        )
    })
    .collect()
}
