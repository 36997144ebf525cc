//! A region that dies, and one that hangs: how long until the service is served from elsewhere. The cloud is the tests' fixture; it answers
//! at once and boots an instance in 200 ms, so what is measured is the daemon's own part.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use tradewind_kit::{
    Daemon, PATIENCE, endpoints,
    fixture::{Config, Fault, FixtureCloud, Kind, Operation},
};

use crate::{
    report::{Report, Unit},
    samples::Samples,
};

const ROUNDS: usize = 5;
/// How long a region may be silent before its replicas are replaced, in the manifest below.
const SILENCE: Duration = Duration::from_secs(1);
/// How long a call to the cloud may take: what one hung region costs whoever waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONFIG: &str =
    "[controller]\nobserve-interval = \"200ms\"\nobserve-interval-changing = \"50ms\"\n";

fn app(spec: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: app}}, spec: {{{spec} services: {{web: {{image: web, \
         ports: {{http: {{protocol: http}}}}, resources: {{cpu: 1, memory: 1Gi}}, replicas: 2}}}}}}}}"
    )
}

fn cloud() -> Result<FixtureCloud> {
    FixtureCloud::start(Config {
        boot_ms: 200,
        ..Config::default().with_regions(&["east", "west"])
    })
}

fn daemon(cloud: &FixtureCloud) -> Result<Daemon> {
    let settings = format!("timeout = \"{}s\"", TIMEOUT.as_secs());
    let mut daemon = Daemon::start(
        &["cheapest", "rest"],
        &[("cloud", &cloud.instance_with(&settings))],
    )?;
    daemon.kill()?;
    std::fs::write(daemon.folder.path().join("config.toml"), CONFIG)?;
    daemon.launch()?;
    Ok(daemon)
}

/// Waits until two replicas are served from the west and each answers HTTP.
async fn served_from_the_west(daemon: &Daemon) -> Result<()> {
    let since = Instant::now();
    loop {
        let seen = daemon.get("/v1/deployments/app").await?;
        if in_the_west(&seen) {
            for url in endpoints(&seen) {
                daemon.http.get(url).send().await?.error_for_status()?;
            }
            return Ok(());
        }
        ensure!(
            since.elapsed() < PATIENCE,
            "not served from the west: {seen:#}\n{}",
            daemon.log()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn in_the_west(deployment: &Value) -> bool {
    let allocations = deployment
        .pointer("/tasks/0/allocations")
        .and_then(Value::as_array);
    let of = |allocation: &Value, key: &str| allocation.get(key).cloned().unwrap_or_default();
    allocations.is_some_and(|all| {
        all.iter()
            .any(|a| of(a, "region") == "west" && of(a, "ready") == 2)
    })
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let mut died = Samples::default();
    for _ in 0..ROUNDS {
        let cloud = cloud()?;
        let daemon = daemon(&cloud)?;
        daemon.put("app", &app("recovery: {failover: 1s},")).await?;
        daemon.running("app").await?;
        let since = Instant::now();
        cloud.region("east", false);
        served_from_the_west(&daemon).await?;
        died.add(since.elapsed());
        cloud.region("east", true);
        finish(daemon).await?;
    }
    let patience = "the silence that the manifest asks for";
    report.time_against(
        "region dies → HTTP answers from another, median",
        Unit::Millis,
        died.median(),
        patience,
        SILENCE,
    );

    let (hedged, sequential) = (
        hung("hedge: {offers: 2, within: 1m},").await?,
        hung("").await?,
    );
    let name = "one region hung, two offers asked at once, submitted → HTTP answers, median";
    report.time_against(
        name,
        Unit::Millis,
        hedged,
        "one after the other",
        sequential,
    );
    Ok(())
}

/// From a deployment's submission until it is served, with its cheaper region hung.
async fn hung(spec: &str) -> Result<Duration> {
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        let cloud = cloud()?;
        cloud.fault(Fault::new(Kind::Hang).on(Operation::Create).within("east"));
        let daemon = daemon(&cloud)?;
        let since = Instant::now();
        daemon.put("app", &app(spec)).await?;
        served_from_the_west(&daemon).await?;
        samples.add(since.elapsed());
        cloud.heal();
        finish(daemon).await?;
    }
    Ok(samples.median())
}

/// Stopping a daemon blocks.
async fn finish(daemon: Daemon) -> Result<()> {
    Ok(tokio::task::spawn_blocking(move || drop(daemon)).await?)
}
