//! Through the provider `containers` on dockerd: what podman can't show, which runs no checks without systemd here and has no registry.

use anyhow::{Result, ensure};
use tradewind_kit::{
    Daemon,
    docker::{Docker, REGISTRY_LOGIN},
    endpoints, pids,
    podman::IMAGE,
    when,
};

fn service(name: &str, image: &str, more: &str) -> String {
    format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}}}\nspec:\n  services:\n    web:\n      image: {image}\n      \
         command: [sh, -c, 'echo up; echo > /tmp/well; exec sleep 600']\n      resources: {{cpu: 10m, memory: 32Mi}}\n      \
         stop: {{signal: KILL, grace: 1s}}\n{more}"
    )
}

#[tokio::test]
async fn a_service_is_checked_by_its_command_replaced_when_it_is_ill_and_removed() -> Result<()> {
    let Some(engine) = Docker::start()? else {
        return Ok(());
    };
    let daemon = Daemon::start(
        &["cheapest", "containers"],
        &[("box", &engine.instance("", ""))],
    )?;
    let check =
        "      liveness: {command: [test, -f, /tmp/well], interval: 300ms, unhealthyAfter: 2}\n";
    daemon
        .put(
            "shop",
            &service("shop", IMAGE, &format!("{check}      replicas: 2\n")),
        )
        .await?;
    // Its death counts from the first time that it was found alive.
    let healthy = |d: &serde_json::Value| {
        let all = d["tasks"][0]["allocations"][0]["replicaStatus"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        all.len() == 2 && all.iter().all(|r| r["health"] == "healthy")
    };
    let running = daemon
        .until("shop", "found alive", |d| {
            d["status"] == "running" && healthy(d)
        })
        .await?;
    let before = pids(&running);
    ensure!(
        before.len() == 2 && daemon.run(&["logs", "shop"])?.contains("up"),
        "{running:#}"
    );

    engine.docker(&["exec", &before[0], "busybox", "rm", "/tmp/well"])?;
    daemon
        .until("shop", "whole again", |d| {
            d["status"] == "running" && !pids(d).contains(&before[0]) && d["ready"] == 2
        })
        .await?;

    daemon.delete("shop").await?;
    daemon.gone("shop").await?;
    ensure!(engine.docker(&["ps", "--all", "--quiet"])?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_image_is_pulled_by_the_credential_of_its_registry_and_who_has_none_is_told()
-> Result<()> {
    let Some(engine) = Docker::start()? else {
        return Ok(());
    };
    let registry = engine.registry("team/web:1")?;
    let image = format!("{}/team/web:1", registry.address);
    let login = engine.file("login", "puller:not-this-one")?;
    let source = format!(
        "{{ host = \"{}\", source = {{ file = \"{login}\" }} }}",
        registry.address
    );
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
    std::fs::write(
        daemon.plugins().join("box.toml"),
        format!("# another login\n{instance}"),
    )?;
    daemon.running("pulled").await?;
    ensure!(
        engine
            .docker(&["images", "--quiet", &image])?
            .lines()
            .count()
            == 1
    );
    for secret in ["not-this-one", "let-me-pull"] {
        ensure!(
            !daemon.log().contains(secret)
                && !daemon
                    .list("/v1/events?limit=1000")
                    .await?
                    .to_string()
                    .contains(secret),
            "{secret} shows"
        );
    }

    daemon
        .put(
            "typo",
            &service("typo", &image.replace("web:1", "web:2"), ""),
        )
        .await?;
    daemon
        .until("typo", "told", |d| {
            d.to_string().contains("correct the image's name or tag")
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_a_tag_named_first_is_pulled_by_its_digest_once_the_tag_has_moved_on() -> Result<()> {
    let Some(engine) = Docker::start()? else {
        return Ok(());
    };
    let registry = engine.registry("team/web:1")?;
    let image = format!("{}/team/web:1", registry.address);
    let login = engine.file("login", REGISTRY_LOGIN)?;
    let source = format!(
        "{{ host = \"{}\", source = {{ file = \"{login}\" }} }}",
        registry.address
    );
    let instance = engine.instance(&format!("pull = true\nregistries = [{source}]\n"), "");
    let daemon = Daemon::start(&["cheapest", "containers"], &[("box", &instance)])?;
    let replicas = |n: u32| service("moved", &image, &format!("      replicas: {n}\n"));
    daemon.put("moved", &replicas(1)).await?;
    let running = daemon.running("moved").await?;
    let first = engine.docker(&["inspect", "--format", "{{.Image}}", &pids(&running)[0]])?;
    let known = |d: &serde_json::Value| {
        d["tasks"][0]["allocations"][0]["images"][0]
            .as_str()
            .is_some_and(|i| i.contains("@sha256:"))
    };
    daemon.until("moved", "known by its digest", known).await?;

    // The tag moves on, here and in the registry, and nothing is left of what it named.
    engine.docker(&[
        "commit",
        "--change",
        "ENV VERSION=2",
        &pids(&running)[0],
        &image,
    ])?;
    let (user, password) = REGISTRY_LOGIN.split_once(':').unwrap_or_default();
    engine.docker(&[
        "login",
        "--username",
        user,
        "--password",
        password,
        &registry.address,
    ])?;
    engine.docker(&["push", &image])?;
    engine.docker(&["logout", &registry.address])?;
    daemon.put("moved", &replicas(0)).await?;
    daemon
        .until("moved", "without replicas", |d| {
            d["ready"] == 0 && pids(d).is_empty()
        })
        .await?;
    let left = daemon.eventually("no container is left", async || {
        let left = engine.docker(&["ps", "--all", "--quiet"])?;
        Ok(when(left.is_empty(), left))
    });
    left.await?;
    // The second was made of the first, which goes when nothing stands on it any more.
    engine.docker(&["rmi", "--force", &image])?;
    if engine
        .docker(&["images", "--all", "--quiet", "--no-trunc"])?
        .contains(&first)
    {
        engine.docker(&["rmi", "--force", &first])?;
    }
    daemon.put("moved", &replicas(1)).await?;
    let again = daemon
        .until("moved", "running again", |d| {
            d["status"] == "running" && d["ready"] == 1
        })
        .await?;
    ensure!(
        engine.docker(&["inspect", "--format", "{{.Image}}", &pids(&again)[0]])? == first,
        "{again:#}"
    );
    Ok(())
}

/// The engine takes its containers along when it goes: what ran has not failed, and a number that was chosen for it is chosen anew.
#[tokio::test]
async fn what_goes_with_the_engine_has_not_failed_and_a_chosen_port_that_is_gone_is_chosen_anew()
-> Result<()> {
    let Some(mut engine) = Docker::start()? else {
        return Ok(());
    };
    let go = tempfile::tempdir()?;
    let grants = format!("host-paths = [\"{}\"]\n", go.path().display());
    let daemon = Daemon::start(
        &["cheapest", "containers"],
        &[("box", &engine.instance(&grants, ""))],
    )?;
    let common = format!(
        "image: {IMAGE}, resources: {{cpu: 10m, memory: 32Mi}}, stop: {{signal: KILL, grace: 1s}}, volumes: [{{path: /go, hostPath: {}}}]",
        go.path().display()
    );
    let head = |name: &str, kind: &str| {
        format!(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}}}\nspec:\n  {kind}:\n    one: {{{common}"
        )
    };
    let job = head("work", "jobs")
        + ", command: [sh, -c, \"until test -f /go/now; do sleep 0.1; done\"]}\n";
    let serves = ", ports: {http: {protocol: http}}, health: {http: /, interval: 200ms}, ";
    let served = head("shop", "services")
        + serves
        + "command: [sh, -c, \"echo ok >/srv/index.html; exec httpd -f -p $PORT -h /srv\"]}\n";
    daemon.put("work", &job).await?;
    daemon.put("shop", &served).await?;
    let began = daemon
        .until("work", "running", |d| {
            d["tasks"][0]["allocations"][0]["phase"] == "running"
        })
        .await?;
    let endpoint = endpoints(&daemon.running("shop").await?).remove(0);
    let number: u16 = endpoint
        .rsplit(':')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or_default();
    // It is bound as soon as the container lets it go.
    let taking = tokio::spawn(async move {
        loop {
            match tokio::net::TcpListener::bind(("127.0.0.1", number)).await {
                Ok(listener) => return listener,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    let engine = tokio::task::spawn_blocking(move || engine.restart().map(|()| engine)).await??;
    let _stranger = taking.await?;
    let again = |d: &serde_json::Value| {
        d["tasks"][0]["allocations"][0]["phase"] == "running" && pids(d) != pids(&began)
    };
    daemon.until("work", "run again", again).await?;
    std::fs::write(go.path().join("now"), "")?;
    daemon
        .until("work", "completed", |d| d["status"] == "completed")
        .await?;
    let elsewhere = |d: &serde_json::Value| {
        d["status"] == "running" && endpoints(d).first().is_some_and(|e| *e != endpoint)
    };
    let moved = daemon.until("shop", "running elsewhere", elsewhere).await?;
    ensure!(
        tradewind_kit::fetch(&daemon.http, &endpoints(&moved)[0])
            .await?
            .trim()
            == "ok",
        "{moved:#}"
    );
    daemon.event("PortMoved", |_| true).await?;
    let lost = |e: &serde_json::Value| {
        e.to_string()
            .contains("lost: the machine or the engine was restarted")
    };
    daemon.events(None).await?.until("lost", lost).await?;
    drop(daemon);
    engine.docker(&["version"]).map(drop)
}
