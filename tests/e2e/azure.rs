//! Through the provider `azure` on a resource manager in the test's process: what becomes of container groups, and what a plugin, a log or
//! the state never holds.

use anyhow::{Context, Result};
use axum::http::Method;
use serde_json::{Value, json};
use tradewind_kit::{
    Daemon,
    clouds::{
        Reply, Trouble,
        azure::{Azure, SECRET},
        files_with,
    },
};

use crate::shop::{self, PASSWORD, manifest, replicas};

fn start(cloud: &Azure) -> Result<Daemon> {
    shop::start("azure", &cloud.instance(&["db"]))
}

/// Which replicas of which version exist, in order. Doubles would show.
fn held(cloud: &Azure) -> Vec<(String, String)> {
    let version = |body: &Value| {
        let variables = body["properties"]["containers"][0]["properties"]["environmentVariables"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        variables
            .iter()
            .find(|v| v["name"] == "VERSION")
            .and_then(|v| v["value"].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let told = |body: &Value| {
        (
            body["tags"]["tradewind-replica"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            version(body),
        )
    };
    let mut held: Vec<_> = cloud
        .live()
        .values()
        .map(|group| told(&group.body))
        .collect();
    held.sort();
    held
}

#[tokio::test]
async fn a_deployment_runs_grows_changes_and_goes_and_its_secrets_stay_with_the_host() -> Result<()>
{
    let cloud = Azure::start()?;
    let daemon = start(&cloud)?;
    daemon.put("shop", &manifest(2, 1)).await?;
    let running = daemon.running("shop").await?;
    assert_eq!(
        running["places"],
        json!(["cloud/eastus"]),
        "the cheaper location"
    );
    let endpoint = &running["tasks"][0]["allocations"][0]["replicaStatus"][0]["endpoints"][0];
    assert_eq!(
        (&endpoint["host"], &endpoint["number"]),
        (&json!("127.0.0.1"), &json!(8080)),
        "{running:#}"
    );
    let first = cloud.live();
    for group in first.values() {
        let container = &group.body["properties"]["containers"][0]["properties"];
        let password = container["environmentVariables"]
            .as_array()
            .and_then(|all| all.iter().find(|v| v["name"] == "PASSWORD"))
            .cloned();
        assert_eq!(
            password,
            Some(json!({"name": "PASSWORD", "secureValue": PASSWORD})),
            "the host puts the value in"
        );
        assert_eq!(
            container["resources"]["requests"],
            json!({"cpu": 0.5, "memoryInGB": 1.0})
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

    let name = cloud.live().keys().next().context("a group")?.clone();
    cloud.served.with(|arm| {
        let logs = vec![(
            "2026-01-01T00:00:01.5Z".to_owned(),
            "shop is open".to_owned(),
        )];
        arm.groups.get_mut(&name).map(|group| group.logs = logs)
    });
    let logs = daemon.run(&["logs", "shop"])?;
    assert!(logs.contains("shop is open"), "{logs}");

    daemon.delete("shop").await?;
    daemon.gone("shop").await?;
    assert!(cloud.live().is_empty());
    let created: u32 = cloud.served.with(|arm| arm.created.values().sum());
    assert_eq!(created, 6, "three of each version, none twice");

    // No value went anywhere but to the cloud.
    let tokens = cloud.served.with(|arm| arm.tokens.all());
    assert_eq!(tokens.len(), 1, "one token serves all requests");
    for value in [SECRET, &tokens[0]] {
        let found = files_with(daemon.folder.path(), value)?;
        assert!(found.is_empty(), "{found:?}");
    }
    // The secret's own file alone has it: not the state, not the log.
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
async fn a_wrong_client_secret_degrades_the_provider_and_a_rotated_one_heals_it_without_a_restart()
-> Result<()> {
    let cloud = Azure::start()?;
    cloud.secret("canary-wrong-secret")?;
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
        (&json!("denied"), &json!("invalid_client")),
        "{view:#}"
    );
    let message = cause["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("AADSTS7000215") && message.contains("\"azure\""),
        "{message}"
    );
    assert!(
        cause["remedy"]
            .as_str()
            .is_some_and(|remedy| remedy.contains("expired")),
        "{cause:#}"
    );
    daemon
        .until_at("/v1/deployments/shop", "told why it waits", |v| {
            v.to_string().contains("gets no token")
        })
        .await?;
    let described = daemon.run(&["describe", "shop"])?;
    assert!(described.contains("gets no token"), "{described}");

    cloud.secret(SECRET)?;
    daemon.running("shop").await?;
    daemon
        .until_at("/v1/plugins/cloud", "well", |v| v["degraded"].is_null())
        .await?;
    for value in ["canary-wrong-secret", SECRET] {
        let found = files_with(daemon.folder.path(), value)?;
        assert!(found.is_empty(), "{found:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_one_location_can_not_supply_comes_from_another_and_a_quota_is_told() -> Result<()> {
    let cloud = Azure::start()?;
    cloud.served.with(|arm| arm.full.push("eastus".to_owned()));
    let daemon = start(&cloud)?;
    daemon.put("shop", &manifest(2, 1)).await?;
    assert_eq!(
        daemon.running("shop").await?["places"],
        json!(["cloud/westeurope"])
    );

    cloud.served.with(|arm| arm.quota = Some(2));
    daemon.put("shop", &manifest(3, 1)).await?;
    let told = |e: &serde_json::Value| e.to_string().contains("quota exceeded");
    daemon.event("ApplyFailed", told).await?;
    assert_eq!(held(&cloud).len(), 2, "what ran goes on");
    Ok(())
}

#[tokio::test]
async fn lost_answers_throttling_and_refused_tokens_make_no_doubles() -> Result<()> {
    let throttled = Reply {
        headers: vec![("Retry-After", "1".to_owned())],
        ..Reply::json(
            429,
            json!({"error": {"code": "TooManyRequests", "message": "The request is being throttled."}}),
        )
    };
    for trouble in [
        Trouble::LostAfter,
        Trouble::LostBefore,
        Trouble::Instead(throttled),
    ] {
        let cloud = Azure::start()?;
        cloud
            .served
            .fault(Method::PUT, "/containerGroups/", 2, trouble.clone());
        let daemon = start(&cloud)?;
        daemon.put("shop", &manifest(3, 1)).await?;
        daemon.running("shop").await?;
        let created: u32 = cloud.served.with(|arm| arm.created.values().sum());
        assert_eq!((held(&cloud), created), (replicas(3, 1), 3), "{trouble:?}");

        // The provider's next look gets a new token by itself.
        cloud.served.with(|arm| arm.tokens.revoke());
        daemon.put("shop", &manifest(4, 1)).await?;
        daemon.until("shop", "grown", |d| d["ready"] == 4).await?;
        assert_eq!(cloud.served.with(|arm| arm.tokens.all().len()), 2);
    }
    Ok(())
}

#[tokio::test]
async fn jobs_end_with_their_status() -> Result<()> {
    let cloud = Azure::start()?;
    let daemon = start(&cloud)?;
    let job = r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {name: nightly}
spec:
  jobs:
    report: {image: registry.example.com/report:1, resources: {cpu: 1, memory: 1Gi}}
"#;
    daemon.put("nightly", job).await?;
    daemon
        .until("nightly", "at work", |d| {
            d["tasks"][0]["allocations"][0]["replicaStatus"][0]["phase"] == "running"
        })
        .await?;
    cloud.served.with(|arm| {
        arm.groups
            .values_mut()
            .for_each(|group| group.exit_code = Some(0))
    });
    daemon
        .until("nightly", "done", |d| d["status"] == "completed")
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_credential_of_the_daemons_settings_serves_and_its_value_shows_nowhere() -> Result<()> {
    let cloud = Azure::start()?;
    let instance = cloud.instance_from("{ credential = \"azure-prod\" }", &["db"]);
    let mut daemon = Daemon::start(&["cheapest", "azure"], &[("cloud", &instance)])?;
    // Nothing of that name yet: the message says so, and what to write where.
    daemon
        .put(
            "shop",
            &manifest(1, 1).replace(", PASSWORD: {secret: db, key: password}", ""),
        )
        .await?;
    let view = daemon
        .until_at("/v1/plugins/cloud", "degraded", |v| {
            !v["degraded"].is_null()
        })
        .await?;
    let cause = view["degraded"]["cause"].to_string();
    assert!(
        cause.contains("no credential \\\"azure-prod\\\"") && cause.contains("[credentials]"),
        "{cause}"
    );
    // The provider's check may have told it before the deployment's own call did.
    daemon
        .until_at("/v1/deployments/shop", "told why it waits", |v| {
            v.to_string().contains("no credential \\\"azure-prod\\\"")
        })
        .await?;
    let described = daemon.run(&["describe", "shop"])?;
    assert!(
        described.contains("no credential \"azure-prod\""),
        "{described}"
    );
    let inspected = daemon.run(&["plugin", "inspect", "cloud"])?;
    assert!(
        inspected.contains("azure-prod") && inspected.contains("[credentials]"),
        "{inspected}"
    );
    daemon.stop()?;
    let file = daemon.file("client-secret", SECRET)?;
    daemon.file(
        "config.toml",
        &format!("[credentials]\nazure-prod = {{ file = \"{file}\" }}\n"),
    )?;
    daemon.launch()?;
    daemon.running("shop").await?;
    let shown = daemon.run(&["config"])?;
    assert!(
        shown.contains("azure-prod") && shown.contains(&file) && !shown.contains(SECRET),
        "{shown}"
    );
    let found = files_with(daemon.folder.path(), SECRET)?;
    assert_eq!(found, [file], "in its own file alone");
    Ok(())
}
