//! Several places asked at once: the first that is ready stays, the others go, whatever happens to whom.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use tradewind_kit::{
    Daemon,
    fixture::{Config, Fault, FixtureCloud, Kind, Operation},
    when,
};

fn app(hedge: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: app}}, spec: {{{hedge} services: {{web: {{image: web, \
         ports: {{http: {{protocol: http}}}}, resources: {{cpu: 1, memory: 1Gi}}, replicas: 2}}}}}}}}"
    )
}

/// Waits until exactly two instances are left, all in one region, and answers the region.
async fn one_survivor(cloud: &FixtureCloud, daemon: &Daemon) -> Result<String> {
    let survivor = daemon.eventually("two instances in one region", async || {
        let live = cloud.live();
        let regions: BTreeSet<String> = live.iter().map(|i| i.region.clone()).collect();
        match Vec::from_iter(regions).as_slice() {
            [region] if live.len() == 2 => Ok(Ok(region.clone())),
            _ => Ok(Err(format!("{live:?}"))),
        }
    });
    survivor.await
}

/// Waits until exactly two instances are left, both in this region, when whatever else was asked for is on its way out.
async fn left_alone(cloud: &FixtureCloud, daemon: &Daemon, region: &str) -> Result<()> {
    let left = daemon.eventually(format!("two instances, both in {region}"), async || {
        let live = cloud.live();
        let alone = live.len() == 2 && live.iter().all(|i| i.region == region);
        Ok(when(alone, format!("{live:?}")))
    });
    left.await.map(drop)
}

#[tokio::test]
async fn with_one_region_hung_the_other_serves_at_once_and_nothing_is_left_behind() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default().with_regions(&["east", "west"]))?;
    cloud.fault(Fault::new(Kind::Hang).on(Operation::Create).within("east"));
    let daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
    daemon
        .put("app", &app("hedge: {offers: 2, within: 1m},"))
        .await?;
    daemon.until("app", "ready", |d| d["ready"] == 2).await?;
    cloud.heal();
    ensure!(one_survivor(&cloud, &daemon).await? == "west");
    let running = daemon.running("app").await?;
    ensure!(
        running["tasks"][0]["allocations"]
            .as_array()
            .is_some_and(|a| a.len() == 1),
        "{running:#}"
    );
    daemon.event("HedgeWon", |_| true).await.map(drop)
}

#[tokio::test]
async fn a_daemon_killed_in_the_middle_ends_the_group_after_its_restart() -> Result<()> {
    let cloud = FixtureCloud::start(Config {
        boot_ms: 1_500,
        ..Config::default().with_regions(&["east", "west"])
    })?;
    let mut daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
    daemon
        .put("app", &app("hedge: {offers: 2, within: 1m},"))
        .await?;
    let asked = daemon.eventually("both places are asked", async || {
        let live = cloud.live();
        Ok(when(live.len() == 4, format!("{live:?}")))
    });
    asked.await?;
    daemon.kill()?;
    daemon.launch()?;
    one_survivor(&cloud, &daemon).await?;
    daemon.running("app").await?;
    ensure!(
        cloud.ledger().len() == 4,
        "nothing was asked for again: {:?}",
        cloud.ledger()
    );
    Ok(())
}

#[tokio::test]
async fn the_spend_cap_leaves_out_what_is_too_dear_and_says_so() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default().with_regions(&["east", "west"]))?;
    let daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
    daemon
        .put(
            "app",
            &app("hedge: {offers: 2, within: 1h, spendCap: 0.01},"),
        )
        .await?;
    daemon.running("app").await?;
    ensure!(
        cloud.ledger().len() == 2,
        "one place was asked: {:?}",
        cloud.ledger()
    );
    daemon.event("HedgeLimited", |_| true).await.map(drop)
}

#[tokio::test]
async fn a_group_of_which_none_gets_ready_is_given_up_and_decided_anew() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default().with_regions(&["east", "north", "west"]))?;
    for region in ["east", "north"] {
        cloud.fault(Fault::new(Kind::Stuck).on(Operation::Create).within(region));
    }
    let daemon = Daemon::start(
        &["cheapest", "rest"],
        &[("cloud", &cloud.instance_with("create-timeout = \"1h\""))],
    )?;
    daemon
        // Long enough for a busy machine: a group in the good place that is given up as well leaves one place alone.
        .put("app", &app("hedge: {offers: 2, within: 6s},"))
        .await?;
    // Only there does anything get ready. While the others are being made or removed, one of them may be the only place for a moment.
    let running = daemon.running("app").await?;
    let allocations = running["tasks"][0]["allocations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let regions: Vec<&str> = allocations
        .iter()
        .filter(|a| a["ready"] == 2)
        .filter_map(|a| a["region"].as_str())
        .collect();
    ensure!(regions == ["west"], "{running:#}");
    daemon.event("HedgeGivenUp", |_| true).await?;
    left_alone(&cloud, &daemon, "west").await
}
