//! Namespaces: limits are kept, who is held back is told why, and what is spent is counted across a crash.

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tradewind_kit::Daemon;

const CLOUD: &str = r#"
component = "simulated.wasm"
[settings.regions.r.sizes.s]
cpu = 1
memory = "4Gi"
price = "0.10"
"#;

fn service(name: &str, priority: i32, replicas: u32) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, \
         spec: {{priority: {priority}, services: {{web: {{command: [serve], replicas: {replicas}}}}}}}}}"
    )
}

fn limits(spec: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: Namespace, metadata: {{name: default}}, spec: {spec}}}"
    )
}

async fn set(daemon: &Daemon, spec: &str) -> Result<Value> {
    let (status, answer) =
        send(daemon, Method::PUT, "/v1/namespaces/default", limits(spec)).await?;
    ensure!(status.is_success(), "{status}: {answer:#}");
    Ok(answer)
}

async fn send(
    daemon: &Daemon,
    method: Method,
    path: &str,
    body: String,
) -> Result<(StatusCode, Value)> {
    let request = daemon
        .http
        .request(method, daemon.url(path))
        .header("content-type", "application/yaml");
    let response = request.body(body).send().await?;
    let status = response.status();
    Ok((status, serde_json::from_str(&response.text().await?)?))
}

async fn is_told(daemon: &Daemon, name: &str, reason: &str) -> Result<()> {
    let of_it = |e: &Value| e["deployment"] == name;
    daemon.event(reason, of_it).await.map(drop)
}

/// Waits until so many replicas of a deployment are ready, and no others exist.
async fn ready(daemon: &Daemon, name: &str, replicas: u64) -> Result<Value> {
    let exact = |d: &Value| {
        let allocations = d["tasks"][0]["allocations"]
            .as_array()
            .into_iter()
            .flatten();
        let there: u64 = allocations.filter_map(|a| a["replicas"].as_u64()).sum();
        d["ready"] == replicas && there == replicas && d["observedGeneration"] == d["generation"]
    };
    daemon
        .until(name, &format!("at {replicas} replicas"), exact)
        .await
}

#[tokio::test]
async fn what_passes_a_budget_waits_and_goes_on_when_there_is_room() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "simulated"], &[("cloud", CLOUD)])?;
    set(&daemon, "{budget: {hourly: 0.60}}").await?;
    daemon.put("first", &service("first", 0, 4)).await?;
    daemon.running("first").await?;

    // A plan says so before anything is stored.
    let (_, plan) = send(
        &daemon,
        Method::POST,
        "/v1/deployments/second/plan",
        service("second", 5, 3),
    )
    .await?;
    let told = "budget.hourly of namespace \"default\" is $0.60: $0.40 is being spent, $0.30 more needed, $0.10 missing";
    assert!(
        plan["unplaced"][0]["reason"]
            .as_str()
            .is_some_and(|r| r.contains(told)),
        "{plan:#}"
    );
    assert_eq!(plan["changes"], json!([]));

    daemon.put("second", &service("second", 5, 3)).await?;
    let waiting = daemon
        .until("second", "waiting", |d| {
            d["message"].as_str().is_some_and(|m| m.contains(told))
        })
        .await?;
    assert_eq!(
        (&waiting["status"], &waiting["ready"]),
        (&json!("pending"), &json!(0))
    );
    is_told(&daemon, "second", "BudgetQueued").await?;
    let shown = daemon.run(&["namespace", "show", "default"])?;
    assert!(
        shown.contains("queued") && shown.contains("$0.60"),
        "{shown}"
    );
    assert_eq!(
        daemon.get("/v1/namespaces/default").await?["heldBack"][0]["deployment"],
        "second"
    );

    daemon.put("first", &service("first", 0, 3)).await?;
    ready(&daemon, "second", 3).await?;
    let namespace = daemon.get("/v1/namespaces/default").await?;
    assert_eq!(
        (&namespace["heldBack"], &namespace["spend"]["hourly"]),
        (&json!([]), &json!("0.60")),
        "{namespace:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_higher_priority_evicts_a_lower_one_which_comes_back() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "simulated"], &[("cloud", CLOUD)])?;
    set(&daemon, "{budget: {hourly: 0.60, onExceeded: [evict]}}").await?;
    daemon.put("low", &service("low", 0, 6)).await?;
    daemon.running("low").await?;
    daemon.put("high", &service("high", 10, 4)).await?;
    ready(&daemon, "high", 4).await?;
    let low = ready(&daemon, "low", 2).await?;
    assert!(
        low["message"]
            .as_str()
            .is_some_and(|m| m.contains("web of \"high\" (priority 10)")),
        "{low:#}"
    );
    is_told(&daemon, "low", "Evicted").await?;
    daemon.delete("high").await?;
    daemon.gone("high").await?;
    ready(&daemon, "low", 6).await?;
    is_told(&daemon, "low", "Released").await?;
    Ok(())
}

#[tokio::test]
async fn stepping_down_means_cheaper_places_and_then_fewer_replicas() -> Result<()> {
    // The policy prefers what is fast, which costs five times as much.
    let fast = CLOUD.replace("\"0.10\"", "\"0.50\"\nperformance = 4");
    let daemon = Daemon::start(&["simulated"], &[("slow", CLOUD), ("fast", &fast)])?;
    std::fs::copy(
        tradewind_kit::component("fastest"),
        daemon.plugins().join("cheapest.wasm"),
    )?;
    set(&daemon, "{budget: {hourly: 0.60, onExceeded: [stepDown]}}").await?;
    daemon.put("app", &service("app", 0, 4)).await?;
    let app = ready(&daemon, "app", 4).await?;
    assert_eq!(app["places"], json!(["slow/r"]), "{app:#}");
    daemon.put("app", &service("app", 0, 9)).await?;
    let app = ready(&daemon, "app", 6).await?;
    assert_eq!(app["places"], json!(["slow/r"]), "{app:#}");
    assert!(
        app["message"]
            .as_str()
            .is_some_and(|m| m.contains("stepped down")),
        "{app:#}"
    );
    is_told(&daemon, "app", "SteppedDown").await?;
    Ok(())
}

#[tokio::test]
async fn quotas_hold_and_bad_limits_are_refused_with_their_path() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "simulated"], &[("cloud", CLOUD)])?;
    let (status, problem) = send(
        &daemon,
        Method::PUT,
        "/v1/namespaces/default",
        limits("{budget: {hourly: cheap}, quota: {cpus: 1}}"),
    )
    .await?;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem:#}");
    let paths: Vec<&str> = problem["problems"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|p| p["path"].as_str())
        .collect();
    assert_eq!(
        paths,
        ["spec.budget.hourly", "spec.quota.cpus"],
        "{problem:#}"
    );

    let file = daemon.file(
        "limits.yaml",
        &limits("{quota: {deployments: 1, replicas: 4}}"),
    )?;
    daemon.run(&["namespace", "set", "-f", &file])?;
    daemon.put("one", &service("one", 0, 2)).await?;
    daemon.running("one").await?;
    daemon.put("two", &service("two", 0, 1)).await?;
    let told = "quota.deployments of namespace \"default\" is 1";
    daemon
        .until("two", "waiting", |d| {
            d["message"].as_str().is_some_and(|m| m.contains(told))
        })
        .await?;
    let (status, _) = send(
        &daemon,
        Method::DELETE,
        "/v1/namespaces/default",
        String::new(),
    )
    .await?;
    assert_eq!(status, StatusCode::CONFLICT);
    set(&daemon, "{quota: {deployments: 2, replicas: 4}}").await?;
    ready(&daemon, "two", 1).await?;
    let list = daemon.run(&["namespace", "list"])?;
    assert!(list.contains("default"), "{list}");
    Ok(())
}

#[tokio::test]
async fn spending_is_counted_across_a_crash_and_never_twice() -> Result<()> {
    let dear = CLOUD.replace("\"0.10\"", "\"360\"");
    let mut daemon = Daemon::start(&["cheapest", "simulated"], &[("cloud", &dear)])?;
    // Ten cents per second.
    let began = std::time::Instant::now();
    daemon.put("app", &service("app", 0, 1)).await?;
    daemon.running("app").await?;
    let spent = |n: &Value| {
        n["spend"]["thisMonth"]
            .as_str()
            .and_then(|s| s.parse::<f64>().ok())
            .context("an amount")
    };
    let path = "/v1/namespaces/default";
    let grown = daemon
        .until_at(path, "spending", |n| spent(n).is_ok_and(|s| s > 0.05))
        .await?;
    daemon.put("app", &service("app", 0, 2)).await?;
    ready(&daemon, "app", 2).await?;
    let before = spent(&daemon.get(path).await?)?;
    assert!(before >= spent(&grown)?);
    daemon.kill()?;
    daemon.launch()?;
    let after = spent(&daemon.get(path).await?)?;
    assert!(after >= before, "nothing is lost: {before} → {after}");
    daemon.delete("app").await?;
    daemon.gone("app").await?;
    // Two replicas for all of the time would be the most there can be.
    let most = began.elapsed().as_secs_f64() * 0.2;
    let (status, end) = send(&daemon, Method::PUT, path, limits("{quota: {replicas: 9}}")).await?;
    ensure!(status.is_success(), "{end:#}");
    let end = spent(&daemon.get(path).await?)?;
    assert!(
        end >= after && end <= most,
        "nothing is doubled: {after} ≤ {end} ≤ {most}"
    );
    assert_eq!(daemon.get(path).await?["spend"]["hourly"], "0.00");
    Ok(())
}

#[tokio::test]
async fn a_higher_priority_takes_the_place_of_a_lower_one_when_the_cloud_is_full() -> Result<()> {
    let daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[("cloud", &format!("{CLOUD}capacity = 4\n"))],
    )?;
    daemon.put("low", &service("low", 0, 3)).await?;
    daemon.put("equal", &service("equal", 5, 1)).await?;
    daemon.running("low").await?;
    daemon.running("equal").await?;
    daemon.put("high", &service("high", 5, 2)).await?;
    ready(&daemon, "high", 2).await?;
    let low = ready(&daemon, "low", 1).await?;
    assert_eq!(low["status"], "degraded", "{low:#}");
    ready(&daemon, "equal", 1).await?;
    is_told(&daemon, "low", "Preempted").await?;
    let held = daemon.get("/v1/namespaces/default").await?["heldBack"][0].clone();
    assert_eq!(
        (&held["deployment"], &held["kind"], &held["replicas"]),
        (&json!("low"), &json!("preempted"), &json!(1)),
        "{held:#}"
    );
    assert!(
        held["reason"]
            .as_str()
            .is_some_and(|r| r.contains("web of \"default/high\" (priority 5)")),
        "{held:#}"
    );
    daemon.delete("high").await?;
    daemon.gone("high").await?;
    ready(&daemon, "low", 3).await?;
    assert_eq!(
        daemon.get("/v1/namespaces/default").await?["heldBack"],
        json!([])
    );
    Ok(())
}

#[tokio::test]
async fn who_takes_a_place_from_another_namespace_is_not_named_there() -> Result<()> {
    let mut daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[("cloud", &format!("{CLOUD}capacity = 1\n"))],
    )?;
    daemon.stop()?;
    std::fs::write(
        daemon.folder.path().join("config.toml"),
        "[controller]\npreempt-across-namespaces = true\n",
    )?;
    daemon.launch()?;
    daemon.put("low", &service("low", 0, 1)).await?;
    daemon.running("low").await?;
    let high = service("hidden", 5, 1);
    let other = high.replace("{name: hidden}", "{name: hidden, namespace: rivals}");
    ensure!(high != other, "{high}");
    daemon.put("hidden?namespace=rivals", &other).await?;
    let held = |n: &Value| n["heldBack"][0]["kind"] == "preempted";
    let held = daemon
        .until_at("/v1/namespaces/default", "making room", held)
        .await?;
    let told = format!("{held}{}", daemon.run(&["describe", "low"])?);
    assert!(
        told.contains("another namespace (priority 5)")
            && !told.contains("hidden")
            && !told.contains("rivals"),
        "{told}"
    );
    Ok(())
}
