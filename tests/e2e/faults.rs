//! Clouds that fail and policies that misbehave: the rest goes on, and what happened is told.

use anyhow::Result;
use serde_json::{Value, json};
use tradewind_kit::Daemon;

fn cloud(price: &str, more: &str) -> String {
    format!(
        "component = \"simulated.wasm\"\n[settings.regions.r.sizes.s]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"{price}\"\n{more}"
    )
}

fn fault(operation: &str, kind: &str) -> String {
    format!("[[settings.faults]]\noperation = \"{operation}\"\nkind = \"{kind}\"\n")
}

const WEB: &str = "{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {name: app}, spec: {services: {web: {command: [serve], replicas: 2}}}}";

#[tokio::test]
async fn what_the_cheapest_cloud_can_not_supply_the_next_one_does() -> Result<()> {
    let full = cloud("0.01", &fault("apply", "out-of-capacity"));
    let daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[("cheap", &full), ("dear", &cloud("0.90", ""))],
    )?;
    daemon.put("app", WEB).await?;
    assert_eq!(daemon.running("app").await?["places"], json!(["dear/r"]));
    daemon.event("OutOfCapacity", |_| true).await.map(drop)
}

#[tokio::test]
async fn a_cloud_that_gives_no_offers_is_passed_over_and_named() -> Result<()> {
    for kind in ["unavailable", "denied", "trap", "hang"] {
        let sick = format!(
            "{}[limits]\ndeadline = \"300ms\"\n",
            cloud("0.01", &fault("offers", kind))
        );
        let daemon = Daemon::start(
            &["cheapest", "simulated"],
            &[("sick", &sick), ("well", &cloud("0.90", ""))],
        )?;
        daemon.put("app", WEB).await?;
        assert_eq!(
            daemon.running("app").await?["places"],
            json!(["well/r"]),
            "{kind}"
        );
        let offers = daemon.get("/v1/offers").await?;
        let failure = &offers["failures"][0];
        assert_eq!(failure["provider"], "sick", "{kind}: {offers:#}");
        let digest = failure["failure"]["plugin"]["component"]
            .as_str()
            .unwrap_or_default();
        assert!(
            digest.starts_with("sha256:"),
            "{kind}: the failure names the plugin's digest: {failure:#}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_failing_apply_is_told_and_ends_well_once_the_cloud_is_well() -> Result<()> {
    let sick = cloud("0.01", &fault("apply", "unavailable"));
    let daemon = Daemon::start(&["cheapest", "simulated"], &[("only", &sick)])?;
    daemon.put("app", WEB).await?;
    let failing = daemon
        .until("app", "failing", |d| !d["tasks"][0]["failure"].is_null())
        .await?;
    assert_eq!(
        failing["tasks"][0]["failure"]["kind"], "unavailable",
        "{failing:#}"
    );
    assert!(!failing["message"].as_str().unwrap_or_default().is_empty());
    std::fs::write(daemon.plugins().join("only.toml"), cloud("0.01", ""))?;
    daemon.running("app").await?;
    Ok(())
}

#[tokio::test]
async fn a_resize_beyond_the_capacity_keeps_what_runs() -> Result<()> {
    let daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[("small", &cloud("0.01", "capacity = 3\n"))],
    )?;
    daemon.put("app", WEB).await?;
    daemon.running("app").await?;
    daemon
        .put("app", &WEB.replace("replicas: 2", "replicas: 5"))
        .await?;
    let partly = daemon
        .until("app", "partly grown", |d| d["ready"] == 3)
        .await?;
    assert_eq!(partly["status"], "degraded", "{partly:#}");
    assert_eq!(
        partly["tasks"][0]["allocations"].as_array().map(Vec::len),
        Some(1),
        "{partly:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_deployment_without_its_policy_waits_for_it() -> Result<()> {
    let daemon = Daemon::start(&["simulated"], &[("only", &cloud("0.01", ""))])?;
    daemon.put("app", WEB).await?;
    let waiting = daemon
        .until("app", "waiting", |d| {
            !d["message"].as_str().unwrap_or_default().is_empty()
        })
        .await?;
    assert_eq!(
        (&waiting["status"], &waiting["places"]),
        (&json!("pending"), &json!([]))
    );
    assert!(
        waiting["message"]
            .as_str()
            .unwrap_or_default()
            .contains("no policy \"cheapest\""),
        "{waiting:#}"
    );
    std::fs::copy(
        tradewind_kit::component("cheapest"),
        daemon.plugins().join("cheapest.wasm"),
    )?;
    let running: Value = daemon.running("app").await?;
    assert_eq!(running["places"], json!(["only/r"]));
    Ok(())
}
