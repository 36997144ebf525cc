//! Stored plans: somebody makes one, somebody else approves it, and it is carried out as it is or not at all. And how good it is, proven.

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tradewind_kit::{
    Daemon, client, component,
    fixture::{Config, FixtureCloud},
};

fn app(replicas: u32) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: app}}, spec: {{services: {{web: {{image: web, \
         ports: {{http: {{protocol: http}}}}, resources: {{cpu: 1, memory: 1Gi}}, replicas: {replicas}}}}}}}}}"
    )
}

async fn send(
    daemon: &Daemon,
    http: &Client,
    method: Method,
    path: &str,
    body: String,
) -> Result<(StatusCode, Value)> {
    let request = http
        .request(method, daemon.url(path))
        .header("content-type", "application/yaml");
    let response = request.body(body).send().await?;
    let status = response.status();
    Ok((status, serde_json::from_str(&response.text().await?)?))
}

async fn token(daemon: &Daemon, name: &str, role: &str) -> Result<Client> {
    let response = daemon
        .http
        .post(daemon.url("/v1/tokens"))
        .json(&json!({"name": name, "role": role, "namespaces": ["*"]}))
        .send()
        .await?;
    let answer: Value = response.error_for_status()?.json().await?;
    client(Some(answer["secret"].as_str().context("no secret")?))
}

async fn act(
    daemon: &Daemon,
    http: &Client,
    plan: &str,
    action: &str,
) -> Result<(StatusCode, Value)> {
    send(
        daemon,
        http,
        Method::POST,
        &format!("/v1/plans/{plan}/{action}"),
        String::new(),
    )
    .await
}

/// Regions and replicas of what runs of `app`.
fn places(deployment: &Value) -> Vec<(String, u64)> {
    let allocations = deployment["tasks"][0]["allocations"]
        .as_array()
        .into_iter()
        .flatten();
    let mut all: Vec<_> = allocations
        .map(|a| {
            (
                a["region"].as_str().unwrap_or_default().to_owned(),
                a["replicas"].as_u64().unwrap_or(0),
            )
        })
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn a_plan_is_approved_by_somebody_else_and_refused_when_a_price_moved() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
    let limits = "{apiVersion: tradewind.dev/v1, kind: Namespace, metadata: {name: default}, spec: {approval: required}}".to_owned();
    let (status, answer) = send(
        &daemon,
        &daemon.http,
        Method::PUT,
        "/v1/namespaces/default",
        limits,
    )
    .await?;
    ensure!(status.is_success(), "{answer:#}");
    let (author, approver) = (
        token(&daemon, "ann", "operator").await?,
        token(&daemon, "bob", "approver").await?,
    );

    // Nobody goes past it.
    let (status, refused) = send(
        &daemon,
        &daemon.http,
        Method::PUT,
        "/v1/deployments/app",
        app(2),
    )
    .await?;
    assert_eq!(status, StatusCode::CONFLICT, "{refused:#}");
    assert!(
        refused["remedy"]
            .as_str()
            .is_some_and(|r| r.contains("plan approve") && r.contains("plan apply")),
        "{refused:#}"
    );

    let (status, plan) = send(
        &daemon,
        &author,
        Method::POST,
        "/v1/plans?name=first",
        app(2),
    )
    .await?;
    assert_eq!(
        (status, &plan["status"], &plan["author"]),
        (StatusCode::CREATED, &json!("pending"), &json!("token:ann")),
        "{plan:#}"
    );
    assert_eq!(plan["basis"]["quotes"][0]["region"], "east", "{plan:#}");
    let (status, taken) = send(
        &daemon,
        &author,
        Method::POST,
        "/v1/plans?name=first",
        app(2),
    )
    .await?;
    assert_eq!(status, StatusCode::CONFLICT, "{taken:#}");
    let (status, early) = act(&daemon, &author, "first", "apply").await?;
    assert_eq!(status, StatusCode::CONFLICT, "{early:#}");
    assert_eq!(
        act(&daemon, &author, "first", "approve").await?.0,
        StatusCode::FORBIDDEN,
        "an operator approves nothing"
    );
    let (status, approved) = act(&daemon, &approver, "first", "approve").await?;
    assert_eq!(
        (status, &approved["status"], &approved["review"]["by"]),
        (StatusCode::OK, &json!("approved"), &json!("token:bob"))
    );

    // An admin could approve, but not what is the admin's own.
    let (_, own) = send(
        &daemon,
        &daemon.http,
        Method::POST,
        "/v1/plans?name=own",
        app(2),
    )
    .await?;
    assert_eq!(own["status"], "pending", "{own:#}");
    let (status, refused) = act(&daemon, &daemon.http, "own", "approve").await?;
    assert_eq!(status, StatusCode::FORBIDDEN, "{refused:#}");
    assert!(
        refused["detail"]
            .as_str()
            .is_some_and(|d| d.contains("nobody approves a plan of their own")),
        "{refused:#}"
    );

    cloud.price("east", "small", 55_000);
    let (status, moved) = act(&daemon, &author, "first", "apply").await?;
    assert_eq!(status, StatusCode::CONFLICT, "{moved:#}");
    let told = "price of cloud/east/small moved from $0.05 to $0.055";
    assert!(
        moved["detail"].as_str().is_some_and(|d| d.contains(told)),
        "{moved:#}"
    );
    cloud.price("east", "small", 50_000);
    cloud.capacity("east", "small", Some(1));
    let (_, moved) = act(&daemon, &author, "first", "apply").await?;
    let told = "capacity of cloud/east/small moved from unlimited to 1: the plan adds 2";
    assert!(
        moved["detail"].as_str().is_some_and(|d| d.contains(told)),
        "{moved:#}"
    );
    cloud.capacity("east", "small", None);
    ensure!(cloud.ledger().is_empty(), "a refused plan changes nothing");

    // What is not of the plan may move: it is carried out as it is, though the policy would choose otherwise by now.
    cloud.price("west", "small", 1_000);
    let (status, accepted) = act(&daemon, &author, "first", "apply").await?;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted:#}");
    let running = daemon.running("app").await?;
    assert_eq!(places(&running), [("east".to_owned(), 2)], "{running:#}");
    let decision = plan["plan"]["reasons"][0]["chosen"][0]["region"].clone();
    assert_eq!(decision, "east");
    // The decision of then is the decision of now, and can be replayed.
    let decisions = daemon.list("/v1/decisions?deployment=app").await?;
    let id = decisions[0]["id"].as_str().context("no decision")?;
    ensure!(
        decisions.as_array().is_some_and(|all| all.len() == 1),
        "{decisions:#}"
    );
    assert!(
        daemon
            .run(&["replay", id])?
            .contains("identical, bit for bit")
    );
    let (_, again) = act(&daemon, &author, "first", "apply").await?;
    assert!(
        again["detail"]
            .as_str()
            .is_some_and(|d| d.contains("is applied")),
        "{again:#}"
    );

    // The other plan was made for a deployment that did not exist.
    let (_, refused) = act(&daemon, &daemon.http, "own", "apply").await?;
    assert!(
        refused["detail"]
            .as_str()
            .is_some_and(|d| d.contains("needs an approval")),
        "{refused:#}"
    );
    act(&daemon, &approver, "own", "approve").await?;
    let (_, moved) = act(&daemon, &daemon.http, "own", "apply").await?;
    assert!(
        moved["detail"]
            .as_str()
            .is_some_and(|d| d.contains("the deployment exists by now, at generation 1")),
        "{moved:#}"
    );

    // Nothing else goes past it either: neither a number, nor an earlier revision, nor the end.
    let by_hand = [
        (
            Method::POST,
            "/v1/deployments/app/scale",
            json!({"task": "web", "replicas": 3}),
            "with the number changed",
        ),
        (
            Method::POST,
            "/v1/deployments/app/rollback",
            json!({"to": 1}),
            "with the earlier manifest",
        ),
        (
            Method::DELETE,
            "/v1/deployments/app",
            json!({}),
            "--delete --out",
        ),
    ];
    for (method, path, body, way) in by_hand {
        let response = daemon
            .http
            .request(method, daemon.url(path))
            .json(&body)
            .send()
            .await?;
        let (status, refused) = (response.status(), response.json::<Value>().await?);
        assert_eq!(status, StatusCode::CONFLICT, "{path}: {refused:#}");
        assert!(
            refused["remedy"]
                .as_str()
                .is_some_and(|r| r.contains(way) && r.contains("plan approve")),
            "{path}: {refused:#}"
        );
    }
    let (status, end) = send(
        &daemon,
        &author,
        Method::POST,
        "/v1/plans?name=end&delete=true",
        app(2),
    )
    .await?;
    assert_eq!(
        (status, &end["deletes"], &end["plan"]["hourlyAfter"]),
        (StatusCode::CREATED, &json!(true), &json!("0.00")),
        "{end:#}"
    );
    assert_eq!(
        end["plan"]["changes"][0]["why"],
        "its deployment is deleted"
    );
    act(&daemon, &approver, "end", "approve").await?;
    let (status, going) = act(&daemon, &author, "end", "apply").await?;
    assert_eq!(
        (status, &going["outcome"]),
        (StatusCode::ACCEPTED, &json!("deleting")),
        "{going:#}"
    );
    daemon.gone("app").await?;
    ensure!(cloud.live_of("app").is_empty(), "{:?}", cloud.ledger());

    let events = daemon.list("/v1/events?limit=500").await?;
    let by = |reason: &str| {
        events
            .as_array()
            .into_iter()
            .flatten()
            .find(|e| e["reason"] == reason)
            .map(|e| e["actor"].clone())
    };
    for (reason, actor) in [
        ("PlanCreated", "token:ann"),
        ("PlanApproved", "token:bob"),
        ("PlanRefused", "token:ann"),
        ("PlanApplied", "token:ann"),
    ] {
        assert_eq!(by(reason), Some(json!(actor)), "{reason}: {events:#}");
    }
    daemon.run(&["audit", "verify"])?;
    Ok(())
}

#[tokio::test]
async fn a_plan_holds_neither_with_another_policy_nor_after_another_change() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
    let file = daemon.file("app.yaml", &app(1))?;
    let shown = daemon.run(&["plan", "-f", &file, "--out", "one"])?;
    assert!(
        shown.contains("is the least possible") && shown.contains("cloud/east/small"),
        "{shown}"
    );
    let original = std::fs::read(daemon.plugins().join("cheapest.wasm"))?;
    std::fs::copy(component("fastest"), daemon.plugins().join("cheapest.wasm"))?;
    daemon.run(&["plugin", "reload"])?;
    let refused = daemon.cli(&["plan", "apply", "one"])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(5) && told.contains("policy \"cheapest\" moved from digest"),
        "{told}"
    );
    std::fs::write(daemon.plugins().join("cheapest.wasm"), original)?;
    daemon.run(&["plugin", "reload"])?;

    let two = daemon.file("two.yaml", &app(2))?;
    daemon.run(&["plan", "-f", &two, "--out", "two", "--expires", "1h"])?;
    let diff = daemon.run(&["plan", "diff", "one", "two"])?;
    assert!(
        diff.contains("-        \"replicas\": 1") && diff.contains("+        \"replicas\": 2"),
        "{diff}"
    );
    daemon.run(&["apply", "--plan", "one"])?;
    let refused = daemon.cli(&["plan", "apply", "two"])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("the deployment exists by now, at generation 1"),
        "{told}"
    );
    assert!(daemon.run(&["plans"])?.contains("applied"));
    daemon.run(&["plan", "delete", "two"])?;
    assert_eq!(daemon.cli(&["plan", "show", "two"])?.status.code(), Some(3));

    // A rejected plan stays so, and one that has expired is of no use.
    let three = daemon.file("three.yaml", &app(3))?;
    daemon.run(&["plan", "-f", &three, "--out", "three"])?;
    daemon.run(&["plan", "reject", "three", "-m", "too many"])?;
    daemon.run(&["plan", "-f", &three, "--out", "brief", "--expires", "1ms"])?;
    for (plan, word) in [("three", "rejected"), ("brief", "expired")] {
        let refused = daemon.cli(&["plan", "apply", plan])?;
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains(word), "{plan}: {told}");
    }
    Ok(())
}

/// Two nodes: 0.1 with room for 10, 0.2 with room for 20.
fn node(price: &str, capacity: u32) -> String {
    format!(
        "component = \"simulated.wasm\"\n[settings.regions.r.sizes.s]\ncpu = 1\nmemory = \"4Gi\"\nprice = \"{price}\"\ncapacity = {capacity}\n"
    )
}

#[tokio::test]
async fn the_worked_example_of_two_nodes_is_certified_as_optimal() -> Result<()> {
    let (one, two) = (node("0.1", 10), node("0.2", 20));
    let daemon = Daemon::start(&["cheapest", "simulated"], &[("one", &one), ("two", &two)])?;
    let manifest = "{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {name: units}, spec: {services: {u: \
                    {command: [serve], replicas: 20, duration: 1h, resources: {cpu: 1, memory: 1Gi}}}}}";
    let (_, plan) = send(
        &daemon,
        &daemon.http,
        Method::POST,
        "/v1/deployments/units/plan",
        manifest.to_owned(),
    )
    .await?;
    let exact =
        json!({"cost": "3.00", "lowerBound": "3.00", "gap": "0.00", "source": "transportation"});
    assert_eq!(plan["certificate"], exact, "{plan:#}");

    // A policy that prefers something else pays more than it must, and the plan says how much.
    std::fs::copy(component("fastest"), daemon.plugins().join("fastest.wasm"))?;
    let two = two
        .replace("price", "performance = 4\nprice")
        .replace("\"0.2\"", "\"0.8\"");
    std::fs::write(daemon.plugins().join("two.toml"), two)?;
    daemon.run(&["plugin", "reload"])?;
    let manifest = manifest.replace("spec: {", "spec: {policy: fastest, ");
    let (_, plan) = send(
        &daemon,
        &daemon.http,
        Method::POST,
        "/v1/deployments/units/plan",
        manifest,
    )
    .await?;
    let money = |field: &str| {
        plan["certificate"][field]
            .as_str()
            .and_then(|t| t.parse::<f64>().ok())
            .unwrap_or(f64::NAN)
    };
    assert!(
        money("gap") > 0.0 && (money("cost") - money("lowerBound") - money("gap")).abs() < 1e-9,
        "{plan:#}"
    );
    Ok(())
}
