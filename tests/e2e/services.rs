//! Services: started, spread, resized, updated in place, deleted.

use anyhow::Result;
use tradewind_kit::{Daemon, endpoints, fetch, pids, web};

#[tokio::test]
async fn a_service_answers_grows_shrinks_changes_and_goes() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon.put("hello", &web("hello", 2, "first")).await?;
    let running = daemon.running("hello").await?;
    let before = pids(&running);
    assert_eq!(before.len(), 2, "{running:#}");
    for endpoint in endpoints(&running) {
        assert_eq!(fetch(&daemon.http, &endpoint).await?, "hello, first\n");
    }

    daemon.put("hello", &web("hello", 4, "first")).await?;
    let grown = daemon
        .until("hello", "four replicas", |d| {
            d["status"] == "running" && d["ready"] == 4
        })
        .await?;
    assert!(
        before.iter().all(|pid| pids(&grown).contains(pid)),
        "growing leaves what runs alone"
    );

    daemon.put("hello", &web("hello", 1, "first")).await?;
    let shrunk = daemon
        .until("hello", "one replica", |d| {
            d["status"] == "running" && d["ready"] == 1 && pids(d).len() == 1
        })
        .await?;
    assert!(
        before.contains(&pids(&shrunk)[0]),
        "the first replicas stay"
    );

    daemon.put("hello", &web("hello", 1, "second")).await?;
    let changed = daemon
        .until("hello", "changed", |d| {
            d["status"] == "running" && d["observedGeneration"] == 4
        })
        .await?;
    assert_ne!(pids(&changed), pids(&shrunk));
    let endpoint = endpoints(&changed).remove(0);
    assert_eq!(fetch(&daemon.http, &endpoint).await?, "hello, second\n");

    daemon.delete("hello").await?;
    daemon.gone("hello").await?;
    assert!(
        fetch(&daemon.http, &endpoint).await.is_err(),
        "nothing listens any more"
    );
    Ok(())
}

#[tokio::test]
async fn health_decides_what_is_ready() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon.put("sick", &web("sick", 1, "x")).await?;
    let running = daemon.running("sick").await?;
    let endpoint = endpoints(&running).remove(0);
    fetch(&daemon.http, &format!("{endpoint}/sick")).await?;
    let sick = daemon
        .until("sick", "unhealthy", |d| d["ready"] == 0)
        .await?;
    assert_eq!(
        sick["tasks"][0]["allocations"][0]["replicaStatus"][0]["health"], "unhealthy",
        "{sick:#}"
    );
    assert_ne!(sick["status"], "running");
    Ok(())
}

#[tokio::test]
async fn a_replica_that_dies_comes_back_and_its_output_is_kept() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon.put("phoenix", &web("phoenix", 1, "x")).await?;
    let running = daemon.running("phoenix").await?;
    let _ = fetch(&daemon.http, &format!("{}/exit/3", endpoints(&running)[0])).await;
    let back = daemon
        .until("phoenix", "back", |d| {
            d["status"] == "running" && pids(d) != pids(&running) && !pids(d).is_empty()
        })
        .await?;
    assert!(
        back["tasks"][0]["allocations"][0]["replicaStatus"][0]["restarts"].as_u64() >= Some(1),
        "{back:#}"
    );
    let logs = daemon.run(&["logs", "phoenix"])?;
    assert!(logs.contains("ends with 3"), "{logs}");
    assert!(logs.matches("listening on port").count() >= 2, "{logs}");
    Ok(())
}

#[tokio::test]
async fn what_does_not_fit_waits_and_says_why() -> Result<()> {
    let daemon = Daemon::start(
        &["cheapest", "process"],
        &[(
            "local",
            "component = \"process.wasm\"\n[grants.process]\ncommands = [\"*\"]\ncpu = \"50m\"\n",
        )],
    )?;
    daemon.put("big", &web("big", 8, "x")).await?;
    let waiting = daemon
        .until("big", "partly placed", |d| d["ready"] == 5)
        .await?;
    assert_eq!(waiting["status"], "degraded", "{waiting:#}");
    assert!(
        waiting["message"]
            .as_str()
            .unwrap_or_default()
            .contains("3 replicas have no place"),
        "{waiting:#}"
    );
    daemon.put("big", &web("big", 5, "x")).await?;
    daemon.running("big").await?;
    Ok(())
}

#[tokio::test]
async fn a_command_that_can_not_start_says_so() -> Result<()> {
    let daemon = Daemon::local()?;
    let manifest = "{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {name: nope}, spec: {services: {web: {command: [/no/such/program]}}}}";
    daemon.put("nope", manifest).await?;
    let failed = daemon
        .until("nope", "failed", |d| d["status"] == "failed")
        .await?;
    assert!(
        failed["message"]
            .as_str()
            .unwrap_or_default()
            .contains("/no/such/program"),
        "{failed:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_port_variable_of_the_users_own_agrees_with_its_port_or_is_refused() -> Result<()> {
    let daemon = Daemon::local()?;
    let manifest = |env: &str, ports: &str| {
        format!(
            "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: told}}, spec: {{services: {{web: {{command: [sleep, \"600\"], env: {{{env}}}, ports: {{{ports}}}}}}}}}}}"
        )
    };
    for (env, ports, says) in [
        (
            "PORT: 8080",
            "http: {protocol: http}",
            "the provider chooses the number of the port \\\"http\\\"",
        ),
        (
            "PORT_WEB_UI: 8080",
            "http: 0, web-ui: 0",
            "web-ui: {port: 8080}",
        ),
        ("PORT: {secret: port}", "http: 0", "leave PORT out"),
        ("PORT: 8081", "http: 8080", "which is 8080"),
    ] {
        let refused = daemon
            .put("told", &manifest(env, ports))
            .await
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(
            refused.contains("env.PORT") && refused.contains(says),
            "{env} {ports}: {refused}"
        );
    }
    // What is no port's is the user's.
    daemon
        .put("told", &manifest("PORT: 5432, PORT_RANGE: 1-9", ""))
        .await?;
    daemon.running("told").await?;
    Ok(())
}

#[tokio::test]
async fn a_variable_loses_one_line_end_of_its_secret_and_a_file_none() -> Result<()> {
    let local =
        "component = \"process.wasm\"\n[grants.process]\ncommands = [\"*\"]\nsecrets = [\"db\"]\n";
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", local)])?;
    std::fs::create_dir_all(daemon.data().join("secrets"))?;
    std::fs::write(daemon.data().join("secrets/db"), "s3cret\n\r\n")?;
    let script = "printf %s \\\"$P\\\" | od -An -c; od -An -c <db.txt";
    let manifest = format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: lines}}, spec: {{jobs: {{once: {{command: [sh, -c, \"{script}\"], \
         env: {{P: {{secret: db}}}}, files: [{{path: db.txt, secret: {{secret: db}}}}]}}}}}}}}"
    );
    daemon.put("lines", &manifest).await?;
    daemon
        .until("lines", "completed", |d| d["status"] == "completed")
        .await?;
    let logs = daemon
        .run(&["logs", "lines"])?
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(
        logs.contains("s 3 c r e t \\n") && logs.matches("\\r").count() == 1,
        "{logs}"
    );
    Ok(())
}

#[tokio::test]
async fn a_folder_that_one_task_can_not_write_degrades_nothing() -> Result<()> {
    let local = "component = \"process.wasm\"\n[grants.process]\ncommands = [\"*\"]\ndirectories = [\"/sys/kernel\"]\n";
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", local)])?;
    let manifest = |name: &str, files: &str| {
        format!(
            "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {{services: {{web: {{command: [sleep, \"600\"], files: [{files}]}}}}}}}}"
        )
    };
    // The kernel lets nobody make files there, whoever it is.
    daemon
        .put(
            "barred",
            &manifest("barred", "{path: /sys/kernel/tradewind, content: x}"),
        )
        .await?;
    daemon
        .until("barred", "told why", |d| {
            d.to_string().contains("can't be written")
        })
        .await?;
    assert!(daemon.get("/v1/plugins/local").await?["degraded"].is_null());
    daemon.put("beside", &manifest("beside", "")).await?;
    daemon.running("beside").await?;
    Ok(())
}

/// The program listens after a second and a half: far later than three checks of a tenth of a second.
#[tokio::test]
async fn a_slow_start_becomes_healthy_without_being_ended_for_it() -> Result<()> {
    let daemon = Daemon::local()?;
    let slow = |name: &str, more: &str| {
        let hello = tradewind_kit::hello().display().to_string();
        format!(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}}}\nspec:\n  services:\n    web:\n      \
             command: [sh, -c, \"sleep 1.5; exec {hello}\"]\n      ports: {{http: {{protocol: http}}}}\n      \
             resources: {{cpu: 10m, memory: 64Mi}}\n      health: {{http: /health, interval: 100ms}}\n      \
             liveness: {{http: /health, interval: 100ms, unhealthyAfter: 2}}\n{more}"
        )
    };
    daemon.put("plain", &slow("plain", "")).await?;
    daemon
        .put(
            "asked",
            &slow("asked", "      startup: {tcp: true, interval: 100ms}\n"),
        )
        .await?;
    daemon
        .put(
            "never",
            &slow(
                "never",
                "      startup: {tcp: true, interval: 100ms, unhealthyAfter: 2}\n",
            ),
        )
        .await?;
    for name in ["plain", "asked"] {
        let running = daemon.running(name).await?;
        let replica = &running["tasks"][0]["allocations"][0]["replicaStatus"][0];
        assert_eq!(
            (&replica["restarts"], &replica["health"]),
            (&0.into(), &"healthy".into()),
            "{running:#}"
        );
    }
    let message = |d: &serde_json::Value| {
        d["tasks"][0]["allocations"][0]["replicaStatus"][0]["message"].to_string()
    };
    daemon
        .until("never", "ended with the way out", |d| {
            message(d).contains("startup.unhealthyAfter")
        })
        .await?;

    // What has lived is ended when it does so no more.
    let running = daemon.running("plain").await?;
    fetch(&daemon.http, &format!("{}/sick", endpoints(&running)[0])).await?;
    daemon
        .until("plain", "ended", |d| {
            message(d).contains("liveness probe failed")
        })
        .await?;
    Ok(())
}
