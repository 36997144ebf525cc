//! Replicas that follow their load: pushed, measured, set by hand; to zero and back, over a restart.

use anyhow::Result;
use serde_json::{Value, json};
use tradewind_kit::{Daemon, hello, pids};

fn follower(name: &str) -> String {
    format!(
        r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {{name: {name}}}
spec:
  services:
    web:
      command: ["{}"]
      ports: {{http: {{protocol: http}}}}
      health: {{http: /health, interval: 200ms}}
      resources: {{cpu: 10m, memory: 64Mi}}
      scale:
        min: 0
        max: 5
        target: {{metric: {{name: queue-depth, value: 5}}}}
        stabilization: {{down: 200ms}}
        idle: 500ms
"#,
        hello().display()
    )
}

async fn push(
    daemon: &Daemon,
    name: &str,
    task: &str,
    metric: &str,
    value: f64,
) -> Result<reqwest::Response> {
    let body = json!({ "samples": [{ "task": task, "metric": metric, "value": value }] });
    Ok(daemon
        .http
        .post(daemon.url(&format!("/v1/deployments/{name}/metrics")))
        .json(&body)
        .send()
        .await?)
}

async fn scalings(daemon: &Daemon, name: &str, reason: &str) -> Result<Vec<Value>> {
    let events = daemon
        .list(&format!("/v1/deployments/{name}/events?limit=500"))
        .await?;
    Ok(events
        .as_array()
        .into_iter()
        .flatten()
        .filter(|e| e["reason"] == reason)
        .cloned()
        .collect())
}

fn with(replicas: u64) -> impl Fn(&Value) -> bool {
    move |d| {
        d["status"] == "running"
            && d["replicas"] == replicas
            && d["ready"] == replicas
            && pids(d).len() as u64 == replicas
    }
}

fn idle(d: &Value) -> bool {
    d["status"] == "idle" && d["replicas"] == 0 && pids(d).is_empty()
}

#[tokio::test]
async fn replicas_follow_a_pushed_measure_to_zero_and_back() -> Result<()> {
    let mut daemon = Daemon::local()?;
    daemon.put("queue", &follower("queue")).await?;
    daemon.until("queue", "as it began", with(1)).await?;

    assert_eq!(
        push(&daemon, "queue", "web", "queue-depth", 20.0)
            .await?
            .status(),
        202
    );
    let grown = daemon.until("queue", "four", with(4)).await?;
    assert_eq!(grown["generation"], 1, "another number is no other spec");
    assert!(
        grown["tasks"][0]["scale"]["why"]
            .as_str()
            .unwrap_or_default()
            .contains("queue-depth is 20"),
        "{grown:#}"
    );
    let told = scalings(&daemon, "queue", "ServiceScaled").await?;
    assert_eq!(
        (
            &told[0]["before"]["replicas"],
            &told[0]["after"]["replicas"]
        ),
        (&json!(1), &json!(4)),
        "{told:#?}"
    );

    daemon.run(&["metric", "push", "queue", "web", "queue-depth=1000"])?;
    daemon.until("queue", "at its bound", with(5)).await?;
    daemon.run(&["metric", "push", "queue", "web", "queue-depth=5"])?;
    daemon.until("queue", "one again", with(1)).await?;
    push(&daemon, "queue", "web", "queue-depth", 0.0).await?;
    daemon.until("queue", "asleep", idle).await?;

    daemon.kill()?;
    daemon.launch()?;
    daemon.until("queue", "still asleep", idle).await?;
    push(&daemon, "queue", "web", "queue-depth", 11.0).await?;
    daemon.until("queue", "awake", with(3)).await?;
    daemon.kill()?;
    daemon.launch()?;
    daemon.until("queue", "as many as before", with(3)).await?;
    Ok(())
}

#[tokio::test]
async fn what_sleeps_can_be_woken_and_a_number_set_within_the_bounds() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon.put("hand", &follower("hand")).await?;
    daemon.run(&["scale", "hand", "web", "--replicas", "3"])?;
    daemon.until("hand", "three", with(3)).await?;
    let refused = daemon.cli(&["scale", "hand", "web", "--replicas", "6"])?;
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("write 0 to 5"),
        "{refused:?}"
    );
    daemon.run(&["scale", "hand", "web", "--replicas", "0"])?;
    daemon.until("hand", "asleep", idle).await?;
    let woken = daemon.run(&["wake", "hand"])?;
    assert!(woken.contains("web: 0 → 1"), "{woken}");
    daemon.until("hand", "awake", with(1)).await?;

    // A task that follows nothing is changed in its spec.
    daemon
        .put("plain", &tradewind_kit::web("plain", 1, "x"))
        .await?;
    daemon.run(&["scale", "plain", "web", "--replicas", "2"])?;
    let plain = daemon.until("plain", "two", with(2)).await?;
    assert_eq!(
        (
            &plain["generation"],
            &plain["manifest"]["spec"]["services"]["web"]["replicas"]
        ),
        (&json!(2), &json!(2))
    );

    for (task, metric, value, field) in [
        ("nope", "queue-depth", 1.0, "task"),
        ("web", "depth", 1.0, "metric"),
        ("web", "queue-depth", -1.0, "value"),
    ] {
        let refused = push(&daemon, "hand", task, metric, value).await?;
        assert_eq!(refused.status(), 422, "{field}");
        let problem: Value = refused.json().await?;
        assert!(
            problem.to_string().contains(&format!("samples[0].{field}")),
            "{problem:#}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_job_runs_while_there_is_work_and_again_when_more_comes() -> Result<()> {
    let daemon = Daemon::local()?;
    let manifest = r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {name: worker}
spec:
  jobs:
    work:
      command: [sh, -c, "echo worked"]
      replicas: 0
      resources: {cpu: 10m, memory: 64Mi}
      scale: {min: 0, max: 4, target: {metric: {name: waiting, value: 10}}}
"#;
    daemon.put("worker", manifest).await?;
    daemon.until("worker", "asleep", idle).await?;
    for round in 1..=2 {
        push(&daemon, "worker", "work", "waiting", 25.0).await?;
        let mut events = daemon.events(None).await?;
        for _ in 0..round {
            let done = |e: &Value| e["reason"] == "JobScaled" && e["after"]["replicas"] == 0;
            events.until("JobScaled to none", done).await?;
        }
        daemon.until("worker", "asleep again", idle).await?;
    }
    let told = scalings(&daemon, "worker", "JobScaled").await?;
    let numbers: Vec<_> = told
        .iter()
        .map(|e| e["after"]["replicas"].as_u64())
        .collect();
    assert_eq!(numbers, [Some(3), Some(0), Some(3), Some(0)], "{told:#?}");
    Ok(())
}

#[tokio::test]
async fn a_busy_process_gets_company() -> Result<()> {
    let daemon = Daemon::local()?;
    let manifest = r#"
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {name: busy}
spec:
  services:
    spin:
      command: [sh, -c, "while :; do :; done"]
      resources: {cpu: 10m, memory: 64Mi}
      scale: {min: 1, max: 2, target: {cpu: 50%}}
"#;
    daemon.put("busy", manifest).await?;
    let grown = daemon.until("busy", "two", with(2)).await?;
    assert!(
        grown["tasks"][0]["scale"]["why"]
            .as_str()
            .unwrap_or_default()
            .starts_with("cpu is "),
        "{grown:#}"
    );
    Ok(())
}
