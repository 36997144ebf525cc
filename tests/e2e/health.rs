//! What becomes of replicas that fail, and of regions that do not answer: seen from outside, on a cloud that misbehaves by script.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradewind_tests::{
    Daemon, PATIENCE,
    fixture::{Config, FixtureCloud},
};

/// Two replicas on the fixture cloud, with these additions to the spec and to the service.
fn app(spec: &str, service: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: app}}, spec: {{{spec} services: {{web: {{image: web, \
         ports: {{http: {{protocol: http}}}}, resources: {{cpu: 1, memory: 1Gi}}, replicas: 2 {service}}}}}}}}}"
    )
}

fn quick(daemon: &mut Daemon) -> Result<()> {
    daemon.kill()?;
    std::fs::write(
        daemon.folder.path().join("config.toml"),
        "[controller]\nobserve-interval = \"200ms\"\nobserve-interval-changing = \"50ms\"\n",
    )?;
    daemon.launch()
}

async fn reasons(daemon: &Daemon, path: &str) -> Result<Vec<String>> {
    let events = daemon.get(path).await?;
    Ok(events
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|e| e["reason"].as_str().map(str::to_owned))
        .collect())
}

/// Waits until the cloud has exactly these many instances in a region.
async fn until_live(
    cloud: &FixtureCloud,
    daemon: &Daemon,
    region: &str,
    wanted: usize,
) -> Result<()> {
    let since = Instant::now();
    loop {
        let live = cloud
            .live()
            .into_iter()
            .filter(|i| i.region == region)
            .count();
        if live == wanted {
            return Ok(());
        }
        ensure!(
            since.elapsed() < PATIENCE,
            "{live} instances in {region} instead of {wanted}:\n{}",
            daemon.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn places(deployment: &Value, region: &str) -> Vec<Value> {
    let allocations = deployment["tasks"][0]["allocations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    allocations
        .into_iter()
        .filter(|a| a["region"] == region)
        .collect()
}

#[tokio::test]
async fn a_lost_region_is_replaced_elsewhere_and_what_comes_back_is_not_doubled() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default().with_regions(&["east", "west"]))?;
    let mut daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
    quick(&mut daemon)?;
    daemon
        .put("app", &app("recovery: {failover: 1s},", ""))
        .await?;
    daemon.running("app").await?;
    until_live(&cloud, &daemon, "east", 2).await?;

    let died = Instant::now();
    cloud.region("east", false);
    let moved = daemon
        .until("app", "served elsewhere", |d| {
            places(d, "west").iter().any(|a| a["ready"] == 2)
        })
        .await?;
    println!(
        "from the death of a region to ready elsewhere: {:?} (failover after 1 s of silence)",
        died.elapsed()
    );
    let lost = places(&moved, "east");
    ensure!(
        lost.iter()
            .all(|a| a["ready"] == 0 && a["endpoints"] == serde_json::json!([])),
        "a dead endpoint is shown: {moved:#}"
    );
    for url in tradewind_tests::endpoints(&moved) {
        daemon
            .http
            .get(&url)
            .send()
            .await
            .context("an endpoint that is shown answers")?;
    }
    let told = reasons(&daemon, "/v1/deployments/app/events").await?;
    ensure!(told.contains(&"AllocationLost".to_owned()), "{told:?}");

    // A restart forgets nothing of it.
    daemon.kill()?;
    daemon.launch()?;
    cloud.region("east", true);
    until_live(&cloud, &daemon, "east", 0).await?;
    until_live(&cloud, &daemon, "west", 2).await?;
    let settled = daemon.running("app").await?;
    ensure!(
        places(&settled, "east").is_empty() && settled["replicas"] == 2,
        "{settled:#}"
    );
    let all = reasons(&daemon, "/v1/events?limit=500").await?;
    ensure!(
        all.contains(&"RegionLost".to_owned()) && all.contains(&"RegionBack".to_owned()),
        "{all:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_silent_region_keeps_what_it_has_until_its_time_is_up() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default().with_regions(&["east", "west"]))?;
    let mut daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
    quick(&mut daemon)?;
    daemon
        .put("app", &app("recovery: {failover: 1h},", ""))
        .await?;
    daemon.running("app").await?;
    cloud.region("east", false);
    // Long enough for many looks: each is counted by the cloud.
    let before = cloud.calls(tradewind_tests::fixture::Operation::List);
    let since = Instant::now();
    while cloud.calls(tradewind_tests::fixture::Operation::List) < before + 4 {
        ensure!(
            since.elapsed() < PATIENCE,
            "the region is not looked at:\n{}",
            daemon.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    cloud.region("east", true);
    let kept = daemon.running("app").await?;
    ensure!(places(&kept, "west").is_empty(), "{kept:#}");
    ensure!(cloud.ledger().len() == 2, "nothing was made anew");
    Ok(())
}

#[tokio::test]
async fn a_replica_that_disappears_is_made_again_with_growing_pauses() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default().with_regions(&["east"]))?;
    let mut daemon = Daemon::start(
        &["cheapest", "rest"],
        &[("cloud", &cloud.instance_with("settle = \"1ms\""))],
    )?;
    quick(&mut daemon)?;
    daemon
        .put(
            "app",
            &app(
                "recovery: {firstPause: 100ms, longestPause: 1h, replaceAfter: 0},",
                "",
            ),
        )
        .await?;
    daemon.running("app").await?;
    for failures in 1..=2u64 {
        let victim = cloud.live().into_iter().next().context("an instance")?;
        cloud.disappear(&victim.id);
        daemon
            .until("app", "failed and counted", |d| {
                d["tasks"][0]["allocations"][0]["recovery"]["failures"] == failures
            })
            .await?;
        daemon
            .until("app", "whole again", |d| {
                d["ready"] == 2 && d["tasks"][0]["allocations"][0]["recovery"]["next"].is_null()
            })
            .await?;
        until_live(&cloud, &daemon, "east", 2).await?;
    }
    ensure!(
        cloud.ledger().len() == 4,
        "two replicas and two in their stead: {:?}",
        cloud.ledger()
    );
    let told = reasons(&daemon, "/v1/deployments/app/events").await?;
    ensure!(
        told.contains(&"AllocationFailing".to_owned()) && told.contains(&"CrashLoop".to_owned()),
        "{told:?}"
    );
    // The count outlives the daemon.
    daemon.kill()?;
    daemon.launch()?;
    let after = daemon.running("app").await?;
    ensure!(
        after["tasks"][0]["allocations"][0]["recovery"]["failures"] == 2,
        "{after:#}"
    );
    Ok(())
}

#[tokio::test]
async fn the_daemon_checks_what_the_cloud_does_not_know_and_replaces_what_is_dead() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default().with_regions(&["east", "west"]))?;
    let granted = format!(
        "{}[grants.probe]\nhosts = [\"127.0.0.1\"]\n",
        cloud.instance()
    );
    let mut daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &granted)])?;
    quick(&mut daemon)?;
    let checks = ", health: {http: /, interval: 100ms}, liveness: {http: /, interval: 100ms, unhealthyAfter: 2}";
    daemon.put("app", &app("", checks)).await?;
    let running = daemon.running("app").await?;
    let health = &running["tasks"][0]["allocations"][0]["replicaStatus"][0]["health"];
    ensure!(
        health == "healthy",
        "the daemon's own check says so: {running:#}"
    );

    let victim = cloud.live().into_iter().next().context("an instance")?;
    cloud.status(&victim.id, 500);
    let since = Instant::now();
    while cloud.live().iter().any(|i| i.id == victim.id) {
        ensure!(
            since.elapsed() < PATIENCE,
            "what does not live is still there:\n{}",
            daemon.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let healed = daemon.running("app").await?;
    ensure!(
        healed["ready"] == 2 && cloud.live().len() == 2,
        "{healed:#}"
    );
    let told = reasons(&daemon, "/v1/deployments/app/events").await?;
    ensure!(told.contains(&"AllocationReplaced".to_owned()), "{told:?}");
    Ok(())
}

/// While an instance boots its answers are set, so that it answers badly from its first moment on.
async fn until_booting(cloud: &FixtureCloud, wanted: usize, status: u16) -> Result<Vec<String>> {
    let since = Instant::now();
    loop {
        let ids: Vec<String> = cloud.live().into_iter().map(|i| i.id).collect();
        if ids.len() == wanted {
            for id in &ids {
                cloud.status(id, status);
            }
            return Ok(ids);
        }
        ensure!(
            since.elapsed() < PATIENCE,
            "{} instances instead of {wanted}",
            ids.len()
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_daemons_own_checks_give_a_slow_start_its_time() -> Result<()> {
    for startup in ["", ", startup: {http: /, interval: 100ms}"] {
        let cloud = FixtureCloud::start(Config {
            boot_ms: 400,
            ..Config::default().with_regions(&["east", "west"])
        })?;
        let granted = format!(
            "{}[grants.probe]\nhosts = [\"127.0.0.1\"]\n",
            cloud.instance()
        );
        let mut daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &granted)])?;
        quick(&mut daemon)?;
        let checks = ", liveness: {http: /, interval: 100ms, unhealthyAfter: 2}, health: {http: /, interval: 100ms, unhealthyAfter: 2}";
        daemon
            .put("app", &app("", &format!("{checks}{startup}")))
            .await?;
        let first = until_booting(&cloud, 2, 503).await?;
        // It has been looked at for long enough to be called unwell, and lives on.
        let unwell = |d: &Value| {
            let replicas = places(d, "east")
                .iter()
                .flat_map(|a| a["replicaStatus"].as_array().cloned().unwrap_or_default())
                .collect::<Vec<_>>();
            replicas.len() == 2
                && replicas
                    .iter()
                    .all(|r| r["phase"] == "running" && r["health"] != "healthy")
        };
        daemon.until("app", "running and not well", unwell).await?;
        let looked = cloud.calls(tradewind_tests::fixture::Operation::List);
        let since = Instant::now();
        while cloud.calls(tradewind_tests::fixture::Operation::List) < looked + 8 {
            ensure!(since.elapsed() < PATIENCE, "{}", daemon.log());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        for id in &first {
            cloud.status(id, 200);
        }
        daemon.running("app").await?;
        ensure!(
            cloud.ledger().len() == 2,
            "a slow start was ended: {:?}",
            cloud.ledger()
        );

        cloud.status(&first[0], 500);
        let since = Instant::now();
        while cloud.live().iter().any(|i| i.id == first[0]) {
            ensure!(
                since.elapsed() < PATIENCE,
                "what does not live any more is still there:\n{}",
                daemon.log()
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_never_starts_is_replaced_and_told_how_to_get_more_time() -> Result<()> {
    let cloud = FixtureCloud::start(Config {
        boot_ms: 400,
        ..Config::default().with_regions(&["east", "west"])
    })?;
    let granted = format!(
        "{}[grants.probe]\nhosts = [\"127.0.0.1\"]\n",
        cloud.instance()
    );
    let mut daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &granted)])?;
    quick(&mut daemon)?;
    daemon
        .put(
            "app",
            &app(
                "",
                ", startup: {http: /, interval: 100ms, unhealthyAfter: 2}",
            ),
        )
        .await?;
    let first = until_booting(&cloud, 2, 503).await?;
    let since = Instant::now();
    while first
        .iter()
        .all(|id| cloud.live().iter().any(|i| i.id == *id))
    {
        ensure!(
            since.elapsed() < PATIENCE,
            "what does not start is still there:\n{}",
            daemon.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let events = daemon.get("/v1/deployments/app/events").await?.to_string();
    ensure!(
        events.contains("AllocationReplaced") && events.contains("startup.unhealthyAfter"),
        "{events}"
    );
    daemon.running("app").await?;
    Ok(())
}

#[tokio::test]
async fn a_check_without_its_grant_says_what_to_write() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
    daemon
        .put("app", &app("", ", health: {http: /, interval: 100ms}"))
        .await?;
    let message = |d: &Value| {
        d["tasks"][0]["allocations"][0]["replicaStatus"][0]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let waiting = daemon
        .until("app", "told", |d| message(d).contains("[grants.probe]"))
        .await?;
    ensure!(waiting["ready"] == 0, "{waiting:#}");
    Ok(())
}

#[tokio::test]
async fn a_command_check_needs_a_provider_that_can_run_it() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
    daemon
        .put("app", &app("", ", health: {command: [check]}"))
        .await?;
    let reason = |d: &Value| {
        d["message"]
            .as_str()
            .unwrap_or_default()
            .contains("no place")
    };
    daemon.until("app", "without a place", reason).await?;
    let planned = daemon.cli(&[
        "-o",
        "json",
        "plan",
        "-f",
        &daemon.file("app.yaml", &app("", ", health: {command: [check]}"))?,
    ])?;
    let plan = String::from_utf8_lossy(&planned.stdout).into_owned();
    ensure!(
        planned.status.code() == Some(4) && plan.contains("health checks that are commands"),
        "{plan}"
    );
    Ok(())
}
