//! Through the provider `gcp` on a Compute Engine in the test's process: what becomes of instances, and what a plugin, a log or the state
//! never holds.

use anyhow::{Context, Result};
use axum::http::Method;
use serde_json::json;
use tradewind_kit::{
    Daemon,
    clouds::{Reply, Trouble, files_with, gcp::Gcp},
};

use crate::shop::{self, manifest, replicas};

/// In base64, as a shell takes it.
const ENCODED: &str = "Y2FuYXJ5ICJwYXNzXHdvcmQiIG9mIHRoZSBkYXRhYmFzZQ==";

fn start(cloud: &Gcp) -> Result<Daemon> {
    shop::start("gcp", &cloud.instance(&["db"]))
}

/// Which replicas of which version exist, in order. Doubles would show.
fn held(cloud: &Gcp) -> Vec<(String, String)> {
    let version = |script: &str| {
        script
            .split("VERSION=")
            .nth(1)
            .and_then(|rest| rest.chars().next())
            .map(String::from)
            .unwrap_or_default()
    };
    let label = |m: &tradewind_kit::clouds::gcp::Machine| {
        m.body["labels"]["tradewind-replica"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let mut held: Vec<_> = cloud
        .live()
        .values()
        .map(|m| (label(m), version(m.script())))
        .collect();
    held.sort();
    held
}

#[tokio::test]
async fn a_deployment_runs_grows_changes_and_goes_and_its_secrets_stay_with_the_host() -> Result<()>
{
    let cloud = Gcp::start()?;
    let daemon = start(&cloud)?;
    daemon.put("shop", &manifest(2, 1)).await?;
    let running = daemon.running("shop").await?;
    assert_eq!(
        running["places"],
        json!(["cloud/us-central1"]),
        "the cheaper region"
    );
    let first = cloud.live();
    for machine in first.values() {
        assert!(
            machine
                .script()
                .contains(&format!("base64 -d <<<'{ENCODED}'")),
            "the host puts the value in: {}",
            machine.script()
        );
    }
    daemon.put("shop", &manifest(3, 1)).await?;
    daemon.until("shop", "grown", |d| d["ready"] == 3).await?;
    assert!(
        first.keys().all(|name| cloud.live().contains_key(name)),
        "what ran goes on"
    );
    daemon.put("shop", &manifest(3, 2)).await?;
    daemon
        .until("shop", "changed", |d| {
            d["status"] == "running" && held(&cloud) == replicas(3, 2)
        })
        .await?;

    let name = cloud.live().keys().next().context("an instance")?.clone();
    cloud.served.with(|compute| {
        compute
            .machines
            .get_mut(&name)
            .map(|machine| machine.serial = "shop is open\r\n".to_owned())
    });
    let logs = daemon.run(&["logs", "shop"])?;
    assert!(
        logs.contains("shop is open") && !logs.contains("console"),
        "{logs}"
    );

    daemon.delete("shop").await?;
    daemon.gone("shop").await?;
    assert!(cloud.live().is_empty());
    let created: u32 = cloud.served.with(|compute| compute.created.values().sum());
    assert_eq!(created, 6, "three of each version, none twice");

    // No value went anywhere but to the cloud.
    let tokens = cloud.served.with(|compute| compute.tokens.all());
    assert_eq!(tokens.len(), 1, "one token serves all requests");
    for value in [cloud.canary.as_str(), &tokens[0], ENCODED] {
        let found = files_with(daemon.folder.path(), value)?;
        assert!(found.is_empty(), "{found:?}");
    }
    let found = files_with(daemon.folder.path(), "of the database")?;
    assert!(
        found
            .iter()
            .all(|file| file.ends_with("secrets/db/password")),
        "{found:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_refused_account_degrades_the_provider_and_another_key_heals_it_without_a_restart()
-> Result<()> {
    let cloud = Gcp::start()?;
    cloud.account("stranger@elsewhere.iam.gserviceaccount.com")?;
    let daemon = start(&cloud)?;
    daemon.put("shop", &manifest(1, 1)).await?;
    let view = daemon
        .until_at("/v1/plugins/cloud", "degraded", |v| {
            !v["degraded"].is_null()
        })
        .await?;
    let cause = &view["degraded"]["cause"];
    assert_eq!(
        (&cause["kind"], &cause["code"]),
        (&json!("denied"), &json!("invalid_grant")),
        "{view:#}"
    );
    assert!(cause["remedy"].is_string(), "{cause:#}");
    cloud.account("tradewind@shop-project.iam.gserviceaccount.com")?;
    daemon.running("shop").await?;
    daemon
        .until_at("/v1/plugins/cloud", "well", |v| v["degraded"].is_null())
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_one_zone_can_not_supply_comes_from_another_and_a_quota_is_told() -> Result<()> {
    let cloud = Gcp::start()?;
    cloud
        .served
        .with(|compute| compute.full.push("us-central1-a".to_owned()));
    let daemon = start(&cloud)?;
    daemon.put("shop", &manifest(2, 1)).await?;
    assert_eq!(
        daemon.running("shop").await?["places"],
        json!(["cloud/europe-west1"]),
        "told by the operation"
    );
    assert!(
        daemon
            .list("/v1/events?limit=1000")
            .await?
            .to_string()
            .contains("enough resources")
    );

    cloud.served.with(|compute| compute.quota = Some(2));
    daemon.put("shop", &manifest(3, 1)).await?;
    let told = |e: &serde_json::Value| e.to_string().contains("Quota 'CPUS' exceeded");
    daemon.event("ApplyFailed", told).await?;
    assert_eq!(held(&cloud).len(), 2, "what ran goes on");
    Ok(())
}

#[tokio::test]
async fn lost_answers_throttling_and_refused_tokens_make_no_doubles() -> Result<()> {
    let reason = json!([{"reason": "rateLimitExceeded"}]);
    let throttled = Reply::json(
        403,
        json!({"error": {"code": 403, "message": "Rate Limit Exceeded", "errors": reason}}),
    );
    for trouble in [
        Trouble::LostAfter,
        Trouble::LostBefore,
        Trouble::Instead(throttled),
    ] {
        let cloud = Gcp::start()?;
        cloud
            .served
            .fault(Method::POST, "/instances", 2, trouble.clone());
        let daemon = start(&cloud)?;
        daemon.put("shop", &manifest(3, 1)).await?;
        daemon.running("shop").await?;
        let created: u32 = cloud.served.with(|compute| compute.created.values().sum());
        assert_eq!((held(&cloud), created), (replicas(3, 1), 3), "{trouble:?}");

        cloud.served.with(|compute| compute.tokens.revoke());
        daemon.put("shop", &manifest(4, 1)).await?;
        daemon.until("shop", "grown", |d| d["ready"] == 4).await?;
        assert_eq!(cloud.served.with(|compute| compute.tokens.all().len()), 2);
    }
    Ok(())
}

#[tokio::test]
async fn jobs_end_with_the_status_that_they_leave() -> Result<()> {
    let cloud = Gcp::start()?;
    let daemon = start(&cloud)?;
    let job = r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {name: nightly}
spec:
  jobs:
    report: {image: registry.example.com/report:1, resources: {cpu: 500m, memory: 1Gi}}
"#;
    daemon.put("nightly", job).await?;
    daemon
        .until("nightly", "at work", |d| {
            d["tasks"][0]["allocations"][0]["replicaStatus"][0]["phase"] == "running"
        })
        .await?;
    cloud.served.with(|compute| {
        compute
            .machines
            .values_mut()
            .for_each(|machine| machine.ended = Some(0))
    });
    daemon
        .until("nightly", "done", |d| d["status"] == "completed")
        .await?;
    Ok(())
}
