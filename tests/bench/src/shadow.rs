//! What a shadow policy costs those who deploy: the same daemon, with a shadow and without, by turns.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reqwest::Client;
use serde_json::Value;
use tradewind_kit::{Daemon, component};

use crate::{
    client::{client, put},
    load::ROOMY,
    report::{Report, Unit},
    samples::Samples,
};

const ROUNDS: usize = 8;
const EACH: usize = 100;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "simulated"], &[("roomy", ROOMY)])?;
    let client = client(&daemon)?;
    let fastest = component("fastest").to_string_lossy().into_owned();
    let (mut without, mut with) = (Samples::default(), Samples::default());
    // Not measured: connections, caches, the first offers.
    round(&client, &daemon, "warm", &mut Samples::default()).await?;
    let mut seen = 0;
    for n in 0..ROUNDS {
        round(&client, &daemon, &format!("a{n}"), &mut without).await?;
        daemon.run(&["policy", "shadow", "start", &fastest])?;
        round(&client, &daemon, &format!("b{n}"), &mut with).await?;
        let last: Value = serde_json::from_str(
            &daemon.run(&["-o", "json", "policy", "shadow", "stop", "fastest"])?,
        )?;
        seen += last
            .pointer("/report/seen")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_default();
    }
    ensure!(seen > 0, "the shadow has seen nothing");
    let name = "deployment, PUT → placed, with a shadow policy, median";
    report.time_against(
        name,
        Unit::Millis,
        with.median(),
        "without",
        without.median(),
    );
    report.time_against("… p95", Unit::Millis, with.p95(), "without", without.p95());
    report.value(
        "… decisions that the shadow has seen",
        seen as f64,
        "",
        None,
    );
    Ok(())
}

/// One deployment after the other, each until it has a place.
async fn round(
    client: &Client,
    daemon: &Daemon,
    prefix: &str,
    samples: &mut Samples,
) -> Result<()> {
    for n in 0..EACH {
        let name = format!("{prefix}-{n}");
        let manifest = format!(
            "{{\"apiVersion\":\"tradewind.dev/v1\",\"kind\":\"CloudDeployment\",\"metadata\":{{\"name\":\"{name}\"}},\
             \"spec\":{{\"services\":{{\"web\":{{\"command\":[\"serve\"]}}}}}}}}"
        );
        let since = Instant::now();
        put(client, daemon, &name, manifest).await?;
        let url = daemon.url(&format!("/v1/deployments/{name}"));
        loop {
            let shown: Value = client.get(&url).send().await?.json().await?;
            if shown
                .get("places")
                .and_then(serde_json::Value::as_array)
                .is_some_and(|places| !places.is_empty())
            {
                break;
            }
            ensure!(since.elapsed() < PATIENCE, "{name} has no place: {shown:#}");
            tokio::task::yield_now().await;
        }
        samples.add(since.elapsed());
    }
    Ok(())
}
