//! Through the provider `containers` on dockerd: what podman can't show, which runs no checks without systemd here and has no registry.

use anyhow::{Result, ensure};
use tradewind_tests::{
    Daemon,
    docker::{Docker, REGISTRY_LOGIN},
    podman::IMAGE,
};

use crate::pids;

fn service(name: &str, image: &str, more: &str) -> String {
    format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}}}\nspec:\n  services:\n    web:\n      image: {image}\n      \
         command: [sh, -c, 'echo up; echo > /tmp/well; exec sleep 600']\n      resources: {{cpu: 10m, memory: 32Mi}}\n      \
         stop: {{signal: KILL, grace: 1s}}\n{more}"
    )
}

#[tokio::test]
async fn a_service_is_checked_by_its_command_replaced_when_it_is_ill_and_removed() -> Result<()> {
    let Some(engine) = Docker::start()? else { return Ok(()) };
    let daemon = Daemon::start(&["cheapest", "containers"], &[("box", &engine.instance("", ""))])?;
    let check = "      liveness: {command: [test, -f, /tmp/well], interval: 300ms, unhealthyAfter: 2}\n";
    daemon.put("shop", &service("shop", IMAGE, &format!("{check}      replicas: 2\n"))).await?;
    // Its death counts from the first time that it was found alive.
    let healthy = |d: &serde_json::Value| {
        let all = d["tasks"][0]["allocations"][0]["replicaStatus"].as_array().cloned().unwrap_or_default();
        all.len() == 2 && all.iter().all(|r| r["health"] == "healthy")
    };
    let running = daemon.until("shop", "found alive", |d| d["status"] == "running" && healthy(d)).await?;
    let before = pids(&running);
    ensure!(before.len() == 2 && daemon.run(&["logs", "shop"])?.contains("up"), "{running:#}");

    engine.docker(&["exec", &before[0], "busybox", "rm", "/tmp/well"])?;
    daemon.until("shop", "whole again", |d| d["status"] == "running" && !pids(d).contains(&before[0]) && d["ready"] == 2).await?;

    daemon.delete("shop").await?;
    daemon.gone("shop").await?;
    ensure!(engine.docker(&["ps", "--all", "--quiet"])?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_image_is_pulled_by_the_credential_of_its_registry_and_who_has_none_is_told() -> Result<()> {
    let Some(engine) = Docker::start()? else { return Ok(()) };
    let registry = engine.registry("team/web:1")?;
    let image = format!("{}/team/web:1", registry.address);
    let login = engine.file("login", "puller:not-this-one")?;
    let source = format!("{{ host = \"{}\", source = {{ file = \"{login}\" }} }}", registry.address);
    let instance = engine.instance(&format!("pull = true\nregistries = [{source}]\n"), "");
    let daemon = Daemon::start(&["cheapest", "containers"], &[("box", &instance)])?;
    daemon.put("pulled", &service("pulled", &image, "")).await?;
    daemon
        .until("pulled", "refused with its remedy", |d| {
            let told = d.to_string();
            told.contains("can't be pulled") && told.contains("registries in [grants.containers]")
        })
        .await?;
    daemon.put("local", &service("local", IMAGE, "")).await?;
    daemon.running("local").await?;

    // Looked at anew when the instance file changes; else only after a while.
    engine.file("login", REGISTRY_LOGIN)?;
    std::fs::write(daemon.plugins().join("box.toml"), format!("# another login\n{instance}"))?;
    daemon.running("pulled").await?;
    ensure!(engine.docker(&["images", "--quiet", &image])?.lines().count() == 1);
    for secret in ["not-this-one", "let-me-pull"] {
        ensure!(
            !daemon.log().contains(secret) && !daemon.get("/v1/events?limit=1000").await?.to_string().contains(secret),
            "{secret} shows"
        );
    }

    daemon.put("typo", &service("typo", &image.replace("web:1", "web:2"), "")).await?;
    daemon.until("typo", "told", |d| d.to_string().contains("correct the image's name or tag")).await?;
    Ok(())
}
