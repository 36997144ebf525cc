//! One sick region is its own affair: what hangs holds nobody else, what is lost is neither doubled nor left behind, what fails is left alone
//! until it is well, and what nobody knows of is removed.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tradewind_kit::{
    Daemon,
    fixture::{Config, Fault, FixtureCloud, Kind, Operation},
};

fn app(name: &str, replicas: u32, placement: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {{{placement} services: {{web: {{command: [serve], replicas: {replicas}}}}}}}}}"
    )
}

fn within(region: &str) -> String {
    format!("placement: {{regions: [{region}]}},")
}

fn start(cloud: &FixtureCloud, settings: &str) -> Result<Daemon> {
    Daemon::start(
        &["cheapest", "rest"],
        &[("cloud", &cloud.instance_with(settings))],
    )
}

async fn is_told(daemon: &Daemon, reason: &str) -> Result<()> {
    daemon.event(reason, |_| true).await.map(drop)
}

fn region<'a>(view: &'a Value, name: &str) -> &'a Value {
    let regions = view["items"].as_array().into_iter().flatten();
    regions
        .into_iter()
        .find(|r| r["region"] == name)
        .unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_hung_region_holds_nobody_elses_calls() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let patient = format!(
        "{}[limits]\ndeadline = \"15s\"\n",
        cloud.instance_with("timeout = \"60s\"")
    );
    let daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &patient)])?;
    daemon
        .put("before", &app("before", 2, &within("west")))
        .await?;
    daemon.running("before").await?;

    cloud.fault(Fault::new(Kind::Hang).on(Operation::Create).within("east"));
    for i in 0..40 {
        let name = format!("stuck-{i}");
        daemon.put(&name, &app(&name, 1, &within("east"))).await?;
    }
    daemon
        .until_at("/v1/regions", "busy in the east", |v| {
            region(v, "east")["waiting"].as_u64().unwrap_or(0) > 0
        })
        .await?;
    // All of this is done while the first ones hang.
    for i in 0..10 {
        let name = format!("well-{i}");
        daemon.put(&name, &app(&name, 1, &within("west"))).await?;
        daemon.running(&name).await?;
    }
    daemon.delete("before").await?;
    daemon.gone("before").await?;
    let regions = daemon.get("/v1/regions").await?;
    ensure!(
        region(&regions, "east")["circuit"] == "closed",
        "the first calls still hang: {regions:#}"
    );
    ensure!(
        region(&regions, "east")["calls"].as_u64().unwrap_or(0) > 0,
        "{regions:#}"
    );
    cloud.heal();
    Ok(())
}

#[tokio::test]
async fn a_service_does_not_wait_for_its_region_that_hangs() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let daemon = start(&cloud, "timeout = \"300ms\"\n")?;
    cloud.fault(Fault::new(Kind::Hang).on(Operation::Create).within("east"));
    daemon.put("app", &app("app", 3, "")).await?;
    let running = daemon.running("app").await?;
    assert_eq!(running["places"], json!(["cloud/west"]));
    is_told(&daemon, "AllocationGivenUp").await?;
    cloud.heal();
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_makes_neither_a_double_nor_an_orphan() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let daemon = start(&cloud, "")?;
    for kind in [Kind::LostAfter, Kind::LostBefore] {
        cloud.fault(Fault::new(kind).on(Operation::Create).times(2));
        daemon.put("app", &app("app", 3, "")).await?;
        daemon.running("app").await?;
        assert_eq!(cloud.live().len(), 3, "{kind:?}: {:#?}", cloud.live());
        cloud.fault(Fault::new(Kind::LostAfter).on(Operation::Delete).times(2));
        daemon.delete("app").await?;
        daemon.gone("app").await?;
        assert_eq!(cloud.live().len(), 0, "{kind:?}: {:#?}", cloud.live());
    }
    Ok(())
}

#[tokio::test]
async fn what_is_wanted_while_a_call_is_under_way_is_done_when_it_ends() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let daemon = start(&cloud, "")?;
    cloud.fault(
        Fault::new(Kind::Slow)
            .on(Operation::Create)
            .ms(700)
            .times(2),
    );
    daemon.put("app", &app("app", 2, "")).await?;
    daemon
        .until_at("/v1/regions", "calling", |v| {
            v["items"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|r| r["calls"] != 0)
        })
        .await?;
    daemon.put("app", &app("app", 4, "")).await?;
    daemon
        .until("app", "grown", |d| {
            d["ready"] == 4 && d["status"] == "running"
        })
        .await?;
    assert_eq!(cloud.live().len(), 4, "{:#?}", cloud.live());
    Ok(())
}

#[tokio::test]
async fn the_circuit_opens_traffic_goes_elsewhere_and_it_closes_again() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let daemon = start(&cloud, "")?;
    cloud.fault(
        Fault::new(Kind::Unavailable)
            .on(Operation::Create)
            .within("east"),
    );
    for i in 0..6 {
        let name = format!("app-{i}");
        daemon.put(&name, &app(&name, 1, "")).await?;
    }
    for i in 0..6 {
        assert_eq!(
            daemon.running(&format!("app-{i}")).await?["places"],
            json!(["cloud/west"])
        );
    }
    let sick = daemon.get("/v1/regions").await?;
    is_told(&daemon, "CircuitOpened").await?;
    assert!(
        region(&sick, "east")["errorRate"].as_f64().unwrap_or(0.0) > 0.5,
        "{sick:#}"
    );
    assert!(
        daemon.run(&["regions"])?.contains("cloud/east"),
        "the command line shows it"
    );

    daemon
        .put("pinned", &app("pinned", 1, &within("east")))
        .await?;
    daemon
        .until("pinned", "waiting", |d| d["status"] != "running")
        .await?;
    cloud.heal();
    daemon.running("pinned").await?;
    let well = daemon.get("/v1/regions").await?;
    assert_eq!(region(&well, "east")["circuit"], "closed", "{well:#}");
    is_told(&daemon, "CircuitClosed").await
}

#[tokio::test]
async fn a_refused_credential_degrades_the_provider_until_its_check_passes() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let daemon = start(&cloud, "")?;
    cloud.fault(Fault::new(Kind::Denied).on(Operation::Create));
    cloud.fault(Fault::new(Kind::Denied).on(Operation::Regions));
    daemon.put("app", &app("app", 1, "")).await?;
    let view = daemon
        .until_at("/v1/plugins/cloud", "degraded", |v| {
            !v["degraded"].is_null()
        })
        .await?;
    assert_eq!(view["degraded"]["cause"]["kind"], "denied", "{view:#}");
    daemon
        .until("app", "without a place", |d| {
            d["status"] == "pending" && d.to_string().contains("is degraded")
        })
        .await?;
    let told = daemon.run(&["describe", "app"])?;
    let cause = view["degraded"]["cause"]["message"]
        .as_str()
        .unwrap_or_default();
    assert!(
        told.contains("provider \"cloud\" is degraded: ") && told.contains(cause),
        "{told}"
    );
    cloud.heal();
    daemon.running("app").await?;
    daemon
        .until_at("/v1/plugins/cloud", "well", |v| v["degraded"].is_null())
        .await?;
    is_told(&daemon, "ProviderDegraded").await?;
    is_told(&daemon, "ProviderRecovered").await
}

#[tokio::test]
async fn an_orphan_is_removed_and_a_stranger_left_alone() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let mut daemon = start(&cloud, "")?;
    daemon.kill()?;
    std::fs::write(
        daemon.folder.path().join("config.toml"),
        "[controller]\nsweep-interval = \"200ms\"\n",
    )?;
    daemon.launch()?;
    daemon.put("app", &app("app", 1, "")).await?;
    let running = daemon.running("app").await?;
    let id = running["tasks"][0]["allocations"][0]["id"]
        .as_str()
        .context("an id")?
        .to_owned();
    let known = cloud.live().pop().context("an instance")?;

    // One under a name that this daemon might have drawn, one that another daemon has.
    let orphan = format!("{}{}", id.get(..id.len() - 4).context("a long id")?, "0000");
    let stranger = id.replacen("a-", "a-z", 1);
    for (n, name) in [&orphan, &stranger].into_iter().enumerate() {
        let tags: Vec<(String, String)> = known
            .tags
            .iter()
            .map(|(k, v)| (k.clone(), v.replace(&id, name)))
            .collect();
        let body = json!({"token": format!("by-hand-{n}"), "size": known.size, "tags": tags});
        let url = format!("{}/v1/regions/{}/instances", cloud.address(), known.region);
        daemon
            .http
            .post(url)
            .bearer_auth("let-me-in")
            .body(body.to_string())
            .send()
            .await?
            .error_for_status()?;
    }
    let allocations = || -> Vec<String> {
        cloud
            .live()
            .iter()
            .map(|i| i.tag("tradewind.dev/allocation").to_owned())
            .collect()
    };
    let removed = daemon.eventually("the orphan is removed", async || {
        Ok(!allocations().contains(&orphan))
    });
    removed.await?;
    is_told(&daemon, "OrphanFound").await?;
    is_told(&daemon, "OrphanDestroyed").await?;
    let left = allocations();
    assert!(left.contains(&stranger) && left.contains(&id), "{left:?}");
    Ok(())
}
