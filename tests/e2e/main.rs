//! End to end: the real daemon, the real plugins, real processes, seen from outside.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails"
)]

mod api;
mod assessment;
mod attacks;
mod authors;
mod aws;
mod aws_account;
mod azure;
mod budgets;
mod canary;
mod conformance;
mod constraints;
mod containers;
mod crash;
mod decisions;
mod docker;
mod everywhere;
mod faults;
mod fixture;
mod gcp;
mod health;
mod hedge;
mod history;
mod identity;
mod images;
mod jobs;
mod kubernetes;
mod lists;
mod output;
mod package;
mod pages;
mod placing;
mod plans;
mod policies;
mod price;
mod processes;
mod reload;
mod replacement;
mod resilience;
mod restart;
mod rollout;
mod scale;
mod secrets;
mod services;
mod shadow;
mod shop;
mod simulate;
mod storage;
mod updates;
mod upgrade;

use anyhow::Result;
use serde_json::Value;
use tradewind_tests::hello;

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

/// Every process id of a deployment's replicas, in order.
pub fn pids(deployment: &Value) -> Vec<String> {
    let tasks = deployment["tasks"].as_array().into_iter().flatten();
    let allocations = tasks.flat_map(|t| t["allocations"].as_array().into_iter().flatten());
    let replicas = allocations.flat_map(|a| a["replicaStatus"].as_array().into_iter().flatten());
    let mut ids: Vec<String> = replicas
        .map(|r| r["id"].as_str().unwrap_or_default().to_owned())
        .collect();
    ids.sort();
    ids
}

/// What a URL answers.
pub async fn fetch(http: &reqwest::Client, url: &str) -> Result<String> {
    Ok(http
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?)
}
