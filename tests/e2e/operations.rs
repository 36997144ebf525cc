//! What an operator does and reads every day: restarts, pauses of updates, events by kind, lines of output, metrics, the log of requests.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradewind_kit::{Daemon, endpoints, hello, web, when};

fn allocations(deployment: &Value) -> Vec<String> {
    let tasks = deployment["tasks"].as_array().into_iter().flatten();
    tasks
        .flat_map(|task| task["allocations"].as_array().into_iter().flatten())
        .filter_map(|allocation| allocation["id"].as_str().map(str::to_owned))
        .collect()
}

fn whole(generation: u64) -> impl Fn(&Value) -> bool {
    move |d| {
        d["status"] == "running"
            && d["generation"] == generation
            && d["rollout"]["status"] == "done"
    }
}

#[tokio::test]
async fn a_restart_replaces_replicas_and_tells_why() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon.put("web", &web("web", 2, "hello")).await?;
    let before = daemon.until("web", "whole", whole(1)).await?;
    let told = daemon.run(&["restart", "web", "web", "--reason", "new certificate"])?;
    assert!(told.contains("is running: 2/2 ready"), "{told}");
    let after = daemon.until("web", "whole", whole(2)).await?;
    let (before, after) = (allocations(&before), allocations(&after));
    assert!(
        !after.is_empty() && after.iter().all(|id| !before.contains(id)),
        "{before:?} {after:?}"
    );
    let revisions = daemon.run(&["revisions", "web"])?;
    assert!(
        revisions.contains("restart") && revisions.contains("\"web\": new certificate"),
        "{revisions}"
    );
    daemon
        .event("DeploymentRestarted", |e| e["deployment"] == "web")
        .await?;
    // An equal manifest restarts nothing.
    daemon.put("web", &web("web", 2, "hello")).await?;
    assert_eq!(allocations(&daemon.running("web").await?), after);

    let job = "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: once}\nspec:\n  jobs:\n    one: {command: [\"true\"]}\n";
    daemon.put("once", job).await?;
    let refused = daemon.cli(&["restart", "once"])?;
    let told = String::from_utf8(refused.stderr)?;
    assert!(
        !refused.status.success() && told.contains("tradewind run once"),
        "{told}"
    );
    Ok(())
}

#[tokio::test]
async fn a_paused_update_waits_over_a_restart_of_the_daemon() -> Result<()> {
    let mut daemon = Daemon::local()?;
    let manifest = |greeting: &str| {
        format!(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: bird}}\nspec:\n  update: {{strategy: canary, drain: 100ms, \
             steps: [{{weight: 25%}}]}}\n  services:\n    web:\n      command: [{:?}]\n      env: {{GREETING: {greeting}}}\n      \
             ports: {{http: {{protocol: http}}}}\n      health: {{http: /health, interval: 200ms}}\n      replicas: 4\n      \
             resources: {{cpu: 10m, memory: 64Mi}}\n",
            hello().display().to_string()
        )
    };
    daemon.put("bird", &manifest("first")).await?;
    daemon.until("bird", "whole", whole(1)).await?;
    let nothing = daemon.cli(&["rollout", "pause", "bird"])?;
    assert_eq!(nothing.status.code(), Some(5), "nothing is under way");
    daemon.put("bird", &manifest("second")).await?;
    let waits = |d: &Value| d["rollout"]["status"] == "waiting" && endpoints(d).len() == 4;
    daemon.until("bird", "waiting", waits).await?;
    daemon.run(&["rollout", "pause", "bird"])?;
    let again = daemon.run(&["rollout", "pause", "bird"])?;
    assert!(again.contains("was paused before"), "{again}");
    let refused = daemon.cli(&["promote", "bird"])?;
    let told = String::from_utf8(refused.stderr)?;
    assert!(
        refused.status.code() == Some(5) && told.contains(" rollout resume bird`"),
        "{told}"
    );
    daemon.stop()?;
    daemon.launch()?;
    let status = daemon.run(&["rollout", "status", "bird", "--no-wait"])?;
    assert!(
        status.contains("paused") && status.contains("token:admin has paused the update"),
        "{status}"
    );
    let seen = daemon.get("/v1/deployments/bird").await?;
    assert_eq!(seen["rollout"]["paused"]["by"], "token:admin", "{seen:#}");
    daemon.run(&["rollout", "resume", "bird"])?;
    daemon.until("bird", "waiting", waits).await?;
    daemon.run(&["promote", "bird"])?;
    daemon.until("bird", "whole", whole(2)).await?;
    let reasons = daemon.reasons("/v1/deployments/bird/events").await?;
    for reason in ["RolloutPaused", "RolloutResumed", "RolloutDone"] {
        assert!(reasons.iter().any(|r| r == reason), "{reasons:?}");
    }
    Ok(())
}

#[tokio::test]
async fn events_are_found_by_kind_and_the_daemon_tells_of_itself() -> Result<()> {
    let mut daemon = Daemon::local()?;
    for name in ["a", "b", "c"] {
        daemon.put(name, &web(name, 1, "x")).await?;
    }
    for name in ["a", "b", "c"] {
        daemon.running(name).await?;
    }
    daemon.stop()?;
    daemon.launch()?;
    let events = daemon.run(&["events", "--reason", "DaemonStarted,DaemonStopped"])?;
    let lines: Vec<&str> = events.lines().skip(1).collect();
    assert_eq!(
        lines
            .iter()
            .map(|line| line.contains("DaemonStarted"))
            .collect::<Vec<_>>(),
        [true, false, true],
        "{events}"
    );
    assert!(!events.contains("without a stop"), "{events}");
    daemon.kill()?;
    daemon.launch()?;
    let events = daemon.run(&["events", "--type", "warning", "--since", "1h"])?;
    assert!(events.contains("ended without a stop"), "{events}");
    let audit = daemon.run(&["audit", "show", "--limit", "1000"])?;
    assert_eq!(audit.matches("DaemonStarted").count(), 3, "{audit}");

    // Pages of what is wanted, not of what there is.
    let path = "/v1/events?reason=DeploymentCreated&severity=info&limit=2";
    let page = daemon.http.get(daemon.url(path)).send().await?;
    let link = page.headers()["link"].to_str()?.to_owned();
    let first: Value = page.json().await?;
    let next = link
        .split(['<', '>'])
        .nth(1)
        .context("there is another page")?;
    let second = daemon.get(next).await?;
    let names: Vec<&Value> = [&second, &first]
        .into_iter()
        .flat_map(|page| page["items"].as_array().into_iter().flatten())
        .map(|event| &event["deployment"])
        .collect();
    assert_eq!(names, ["a", "b", "c"], "{second:#} {first:#}");
    let none = daemon
        .get("/v1/deployments/a/events?severity=error")
        .await?;
    assert_eq!(none["items"], serde_json::json!([]));
    let late = daemon.get("/v1/events?since=2100-01-01T00:00:00Z").await?;
    assert_eq!(late["items"], serde_json::json!([]));
    let bad = daemon.cli(&["events", "--reason", "DaemonStart"])?;
    let told = String::from_utf8(bad.stderr)?;
    assert!(told.contains("DaemonStarted"), "{told}");
    Ok(())
}

#[tokio::test]
async fn lines_and_requests_and_metrics_can_be_read() -> Result<()> {
    let daemon = Daemon::local()?;
    let job = "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: talk}\nspec:\n  jobs:\n    one: \
               {command: [/bin/sh, -c, \"echo red; echo green; echo dark red\"]}\n";
    daemon.put("talk", job).await?;
    daemon
        .until("talk", "completed", |d| d["status"] == "completed")
        .await?;
    let lines = daemon.run(&["logs", "talk", "--grep", "red"])?;
    assert_eq!(lines.trim(), "one/0 | red\none/0 | dark red");

    daemon.put("web", &web("web", 2, "hello")).await?;
    daemon.running("web").await?;
    let log = daemon.logged("/v1/deployments/web").await?;
    let request = log
        .lines()
        .find(|line| line.contains("request answered") && line.contains("/v1/deployments/web"))
        .context("the request is in the log")?;
    for what in ["PUT", "202", "admin", "INFO"] {
        ensure!(request.contains(what), "{what}: {request}");
    }

    let metrics = async |accept: &str| {
        let request = daemon.http.get(daemon.url("/metrics"));
        let answer = request.header("accept", accept).send().await?;
        let kind = answer.headers()["content-type"].to_str()?.to_owned();
        Ok::<_, anyhow::Error>((kind, answer.text().await?))
    };
    let wanted = [
        "tradewind_deployment_replicas_wanted{namespace=\"default\",deployment=\"web\"} 2\n",
        "tradewind_deployment_replicas_ready{namespace=\"default\",deployment=\"web\"} 2\n",
        "tradewind_deployments{namespace=\"default\",status=\"running\"} 1\n",
        "tradewind_build_info{version=",
        "tradewind_offers_age_seconds{provider=\"local\"}",
        "tradewind_queue_depth{queue=\"now\"}",
    ];
    let read = daemon.eventually("the metrics are there", async || {
        let (_, text) = metrics("*/*").await?;
        Ok(when(wanted.iter().all(|line| text.contains(line)), text))
    });
    let text = read.await?;
    let counted = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")))
            .with_context(|| format!("{name} is told: {text}"))?;
        Ok::<f64, anyhow::Error>(line.parse()?)
    };
    for name in [
        "tradewind_decision_seconds_count",
        "tradewind_reconcile_seconds_count",
        "tradewind_store_commit_seconds_count",
        "tradewind_store_size_bytes",
        "process_start_time_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        ensure!(counted(name)? > 0.0, "{name}: {text}");
    }
    let (kind, older) = metrics("*/*").await?;
    ensure!(kind.starts_with("text/plain") && older.contains("# HELP process_cpu_seconds_total "));
    let (kind, open) = metrics("application/openmetrics-text; version=1.0.0").await?;
    ensure!(kind.starts_with("application/openmetrics-text") && open.ends_with("# EOF\n"));
    Ok(())
}
