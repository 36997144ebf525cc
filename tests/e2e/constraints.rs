//! Hard constraints between tasks, deadlines, and whose policy decides.

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tradewind_kit::Daemon;

fn cloud(price: &str, performance: f64) -> String {
    format!(
        "component = \"simulated.wasm\"\n[settings.regions.r.sizes.s]\ncpu = 2\nmemory = \"4Gi\"\nprice = \"{price}\"\nperformance = {performance}\n"
    )
}

/// The north is cheaper, the south is faster.
fn daemon() -> Result<Daemon> {
    let (north, south) = (cloud("0.10", 1.0), cloud("0.30", 2.0));
    Daemon::start(
        &["cheapest", "fastest", "simulated"],
        &[("north", &north), ("south", &south)],
    )
}

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {spec}}}"
    )
}

async fn ask(daemon: &Daemon, method: Method, path: &str, body: String) -> Result<Value> {
    let request = daemon
        .http
        .request(method, daemon.url(path))
        .header("content-type", "application/yaml");
    let response = request.body(body).send().await?;
    let (status, text) = (response.status(), response.text().await?);
    ensure!(status.is_success(), "{path}: {status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

async fn plan(daemon: &Daemon, name: &str, spec: &str) -> Result<Value> {
    ask(
        daemon,
        Method::POST,
        &format!("/v1/deployments/{name}/plan"),
        manifest(name, spec),
    )
    .await
}

/// Where each task goes: task and provider, in the order of the plan.
fn goes(plan: &Value) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    plan["changes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| (text(&c["task"]), text(&c["provider"])))
        .collect()
}

#[tokio::test]
async fn what_belongs_together_shares_a_region_with_what_runs_already() -> Result<()> {
    let daemon = daemon()?;
    let near = "affinity: {with: shop, domain: region}";
    daemon
        .put("db", &manifest("db", &format!("{{services: {{db: {{command: [db], placement: {{providers: [south], {near}}}}}}}}}")))
        .await?;
    daemon.running("db").await?;

    let app = format!(
        "{{services: {{app: {{command: [app], replicas: 2, placement: {{{near}}}}}, free: {{command: [free]}}}}}}"
    );
    let planned = plan(&daemon, "app", &app).await?;
    assert_eq!(
        goes(&planned),
        [
            ("app".to_owned(), "south".to_owned()),
            ("free".to_owned(), "north".to_owned())
        ],
        "{planned:#}"
    );
    let excluded = &planned["reasons"][0]["excluded"][0]["reason"];
    assert_eq!(
        excluded,
        "not in the region where the other tasks with affinity \"shop\" are (placement.affinity)",
        "{planned:#}"
    );
    daemon.put("app", &manifest("app", &app)).await?;
    let running = daemon.running("app").await?;
    assert_eq!(
        running["tasks"][0]["allocations"][0]["provider"], "south",
        "{running:#}"
    );

    // Where it must not be and where it must be can't both hold: nobody is placed against a hard constraint.
    let torn = format!(
        "{{services: {{torn: {{command: [torn], placement: {{providers: [north], {near}}}}}}}}}"
    );
    let planned = plan(&daemon, "torn", &torn).await?;
    let reason = planned["unplaced"][0]["reason"]
        .as_str()
        .unwrap_or_default();
    assert!(
        planned["changes"] == json!([]) && reason.contains("no offer satisfies every constraint"),
        "{planned:#}"
    );
    Ok(())
}

#[tokio::test]
async fn what_must_be_apart_shares_no_provider_in_a_batch_and_with_what_runs() -> Result<()> {
    let daemon = daemon()?;
    let apart = "placement: {antiAffinity: {with: twin, domain: provider}}";
    let twins = format!(
        "{{services: {{one: {{command: [one], replicas: 2, {apart}}}, two: {{command: [two], {apart}}}}}}}"
    );
    let planned = plan(&daemon, "twins", &twins).await?;
    assert_eq!(
        goes(&planned),
        [
            ("one".to_owned(), "north".to_owned()),
            ("two".to_owned(), "south".to_owned())
        ],
        "{planned:#}"
    );
    daemon.put("twins", &manifest("twins", &twins)).await?;
    daemon.running("twins").await?;

    let planned = plan(
        &daemon,
        "third",
        &format!("{{services: {{three: {{command: [three], {apart}}}}}}}"),
    )
    .await?;
    assert_eq!(planned["changes"], json!([]), "{planned:#}");
    let excluded = planned["reasons"][0]["excluded"][0]["reason"]
        .as_str()
        .unwrap_or_default();
    assert!(
        excluded.contains("another task with the anti-affinity \"twin\" is in the provider"),
        "{planned:#}"
    );

    // The twins themselves may grow where they are.
    let more = twins.replace("replicas: 2", "replicas: 3");
    let planned = plan(&daemon, "twins", &more).await?;
    assert_eq!(
        goes(&planned),
        [
            ("one".to_owned(), "north".to_owned()),
            ("two".to_owned(), "south".to_owned())
        ],
        "{planned:#}"
    );
    // Who is gone makes room.
    daemon.delete("twins").await?;
    daemon.gone("twins").await?;
    let planned = plan(
        &daemon,
        "third",
        &format!("{{services: {{three: {{command: [three], {apart}}}}}}}"),
    )
    .await?;
    assert_eq!(
        goes(&planned),
        [("three".to_owned(), "north".to_owned())],
        "{planned:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_job_goes_where_it_ends_before_its_deadline() -> Result<()> {
    let daemon = daemon()?;
    let job = |deadline: &str| {
        format!("{{jobs: {{sum: {{command: [sum], duration: 2h, deadline: {deadline}}}}}}}")
    };
    let planned = plan(&daemon, "sum", &job("90m")).await?;
    assert_eq!(
        goes(&planned),
        [("sum".to_owned(), "south".to_owned())],
        "{planned:#}"
    );
    assert_eq!(
        planned["reasons"][0]["excluded"][0]["reason"], "takes longer than 1h 30m there (deadline)",
        "{planned:#}"
    );
    assert_eq!(
        goes(&plan(&daemon, "sum", &job("3h")).await?),
        [("sum".to_owned(), "north".to_owned())]
    );
    Ok(())
}

#[tokio::test]
async fn the_deployment_s_policy_goes_before_the_namespace_s_and_that_before_the_default()
-> Result<()> {
    let daemon = daemon()?;
    let web = "{services: {web: {command: [web]}}}";
    let decides = |plan: &Value| {
        plan["policy"]["instance"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(decides(&plan(&daemon, "web", web).await?), "cheapest");

    let namespace = |policy: &str| {
        format!(
            "{{apiVersion: tradewind.dev/v1, kind: Namespace, metadata: {{name: default}}, spec: {{policy: {policy}}}}}"
        )
    };
    ask(
        &daemon,
        Method::PUT,
        "/v1/namespaces/default",
        namespace("fastest"),
    )
    .await?;
    let planned = plan(&daemon, "web", web).await?;
    assert_eq!(
        (decides(&planned).as_str(), goes(&planned)),
        ("fastest", vec![("web".to_owned(), "south".to_owned())]),
        "{planned:#}"
    );
    let own = plan(
        &daemon,
        "web",
        "{policy: cheapest, services: {web: {command: [web]}}}",
    )
    .await?;
    assert_eq!(
        (decides(&own).as_str(), goes(&own)),
        ("cheapest", vec![("web".to_owned(), "north".to_owned())]),
        "{own:#}"
    );

    // A policy that is not there is named with where it is asked for, and nothing is placed by another in its stead.
    ask(
        &daemon,
        Method::PUT,
        "/v1/namespaces/default",
        namespace("missing"),
    )
    .await?;
    let refused = plan(&daemon, "web", web)
        .await
        .expect_err("there is no such policy")
        .to_string();
    assert!(
        refused
            .contains("there is no policy \\\"missing\\\", which namespace \\\"default\\\" names"),
        "{refused}"
    );
    Ok(())
}
