//! What becomes of replicas that fail, and of regions that do not answer: seen from outside, on a cloud that misbehaves by script.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradewind_kit::{
    Daemon,
    fixture::{Config, FixtureCloud, Operation},
    when,
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

/// Waits until the cloud has exactly these many instances in a region.
async fn until_live(
    cloud: &FixtureCloud,
    daemon: &Daemon,
    region: &str,
    wanted: usize,
) -> Result<()> {
    let what = format!("{wanted} instances are in {region}");
    let live = daemon.eventually(what, async || {
        let live = cloud.live();
        let live = live.iter().filter(|i| i.region == region).count();
        Ok(when(live == wanted, live))
    });
    live.await.map(drop)
}

/// Waits until the cloud was looked at so many times more.
async fn looked_at(cloud: &FixtureCloud, daemon: &Daemon, times: u64) -> Result<()> {
    let before = cloud.calls(Operation::List);
    let looked = daemon.eventually(format!("{times} more looks at the cloud"), async || {
        let looks = cloud.calls(Operation::List) - before;
        Ok(when(looks >= times, looks))
    });
    looked.await.map(drop)
}

/// Waits until an instance is gone.
async fn instance_gone(cloud: &FixtureCloud, daemon: &Daemon, id: &str) -> Result<()> {
    let gone = daemon.eventually(format!("{id} is gone"), async || {
        Ok(cloud.live().iter().all(|i| i.id != id))
    });
    gone.await
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

    cloud.region("east", false);
    let moved = daemon
        .until("app", "served elsewhere", |d| {
            places(d, "west").iter().any(|a| a["ready"] == 2)
        })
        .await?;
    let lost = places(&moved, "east");
    ensure!(
        lost.iter()
            .all(|a| a["ready"] == 0 && a["endpoints"] == serde_json::json!([])),
        "a dead endpoint is shown: {moved:#}"
    );
    for url in tradewind_kit::endpoints(&moved) {
        daemon
            .http
            .get(&url)
            .send()
            .await
            .context("an endpoint that is shown answers")?;
    }
    daemon.event("AllocationLost", |_| true).await?;

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
    daemon.event("RegionLost", |_| true).await?;
    daemon.event("RegionBack", |_| true).await?;
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
    looked_at(&cloud, &daemon, 4).await?;
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
    daemon.event("AllocationFailing", |_| true).await?;
    daemon.event("CrashLoop", |_| true).await?;
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
    instance_gone(&cloud, &daemon, &victim.id).await?;
    let healed = daemon.running("app").await?;
    ensure!(
        healed["ready"] == 2 && cloud.live().len() == 2,
        "{healed:#}"
    );
    daemon.event("AllocationReplaced", |_| true).await?;
    Ok(())
}

/// Waits until there are so many instances, and answers their ids.
async fn until_made(cloud: &FixtureCloud, daemon: &Daemon, wanted: usize) -> Result<Vec<String>> {
    let made = daemon.eventually(format!("{wanted} instances are made"), async || {
        let ids: Vec<String> = cloud.live().into_iter().map(|i| i.id).collect();
        let count = ids.len();
        Ok(if count == wanted { Ok(ids) } else { Err(count) })
    });
    made.await
}

#[tokio::test]
async fn the_daemons_own_checks_give_a_slow_start_its_time() -> Result<()> {
    for startup in ["", ", startup: {http: /, interval: 100ms}"] {
        let cloud = FixtureCloud::start(Config {
            boot_ms: 400,
            status: 503,
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
        let first = until_made(&cloud, &daemon, 2).await?;
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
        looked_at(&cloud, &daemon, 8).await?;
        for id in &first {
            cloud.status(id, 200);
        }
        cloud.with(|cloud| cloud.set_first_status(200));
        daemon.running("app").await?;
        ensure!(
            cloud.ledger().len() == 2,
            "a slow start was ended: {:?}",
            cloud.ledger()
        );

        cloud.status(&first[0], 500);
        instance_gone(&cloud, &daemon, &first[0]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_never_starts_is_replaced_and_told_how_to_get_more_time() -> Result<()> {
    let cloud = FixtureCloud::start(Config {
        boot_ms: 400,
        status: 503,
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
    let first = until_made(&cloud, &daemon, 2).await?;
    // What is made in their stead starts.
    cloud.with(|cloud| cloud.set_first_status(200));
    let gone = daemon.eventually("one that does not start is gone", async || {
        let live = cloud.live();
        let left = |id: &String| live.iter().any(|i| i.id == *id);
        Ok(!first.iter().all(left))
    });
    gone.await?;
    let told = |e: &Value| e.to_string().contains("startup.unhealthyAfter");
    daemon.event("AllocationReplaced", told).await?;
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
