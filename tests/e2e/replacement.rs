//! Continuous re-placement: what is worth it moves while it serves, and nothing else does.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tradewind_kit::{
    Daemon, endpoints, fetch,
    fixture::{Config, FixtureCloud},
    when,
};

fn app(name: &str, replacement: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {{{replacement} update: {{drain: 500ms}}, \
         services: {{web: {{image: web, ports: {{http: {{protocol: http}}}}, resources: {{cpu: 1, memory: 1Gi}}, replicas: 2}}}}}}}}"
    )
}

/// Looks at prices all the time, and allows a namespace so many moves.
fn watchful(daemon: &mut Daemon, most: u32) -> Result<()> {
    daemon.kill()?;
    let settings = format!(
        "[controller]\noffers-ttl = \"50ms\"\nobserve-interval = \"200ms\"\nobserve-interval-changing = \"50ms\"\n\
         [replacement]\ninterval = \"100ms\"\nmax-moves = {most}\n"
    );
    daemon.file("config.toml", &settings)?;
    daemon.launch()
}

/// Waits until the report says so of a deployment.
async fn report(
    daemon: &Daemon,
    name: &str,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let of = |view: &Value| {
        view["items"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|s| s["deployment"] == name)
            .cloned()
    };
    let view = daemon
        .until_at("/v1/replacements", what, |view| {
            of(view).is_some_and(|s| wanted(&s))
        })
        .await?;
    Ok(of(&view).unwrap_or_default())
}

fn stays(text: &str) -> impl Fn(&Value) -> bool {
    move |s| s["stays"].as_str().is_some_and(|why| why.contains(text))
}

#[tokio::test]
async fn a_price_drop_beyond_the_hysteresis_moves_what_serves_without_a_failed_request()
-> Result<()> {
    // East costs 0.05 an hour, west 0.06.
    let cloud = FixtureCloud::start(Config::default())?;
    let mut daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
    watchful(&mut daemon, 20)?;
    daemon
        .put(
            "app",
            &app(
                "app",
                "replacement: {minShare: 10%, cooldown: 0s, migrationCost: 0.001},",
            ),
        )
        .await?;
    daemon.put("fixed", &app("fixed", "")).await?;
    let first = daemon.running("app").await?;
    daemon.running("fixed").await?;
    ensure!(first["places"] == json!(["cloud/east"]), "{first:#}");
    report(
        &daemon,
        "app",
        "where it is best",
        stays("where the policy would place it"),
    )
    .await?;

    // Four percent are not worth it, however often the price is looked at.
    cloud.price("west", "small", 48_000);
    let small = report(&daemon, "app", "too little", stays("less than the")).await?;
    ensure!(
        small["savingPerHour"] == "0.004" && small["migrationCost"] == "0.002",
        "{small:#}"
    );
    ensure!(
        cloud.ledger().len() == 4,
        "nothing has moved: {:?}",
        cloud.ledger()
    );

    cloud.price("west", "small", 20_000);
    let moved = daemon.eventually("it has moved, and is served meanwhile", async || {
        let seen = daemon.get("/v1/deployments/app").await?;
        let serving = endpoints(&seen);
        ensure!(serving.len() >= 2, "{seen:#}");
        for endpoint in serving {
            fetch(&daemon.http, &endpoint).await?;
        }
        let moved = seen["places"] == json!(["cloud/west"]) && seen["status"] == "running";
        Ok(when(moved, seen))
    });
    let after = moved.await?;
    ensure!(
        after["generation"] == 1 && after["hourlyCost"] == "0.04",
        "{after:#}"
    );
    let fixed = report(&daemon, "fixed", "not asked", stays("has not opted in")).await?;
    ensure!(
        fixed["moving"] == 2 && fixed["savingPerHour"] == "0.06",
        "{fixed:#}"
    );
    ensure!(cloud.live_of("fixed").iter().all(|i| i.region == "east"));

    let events = daemon.list("/v1/deployments/app/events?limit=200").await?;
    let begun: Vec<&Value> = events
        .as_array()
        .into_iter()
        .flatten()
        .filter(|e| e["reason"] == "ReplacementBegun")
        .collect();
    ensure!(
        begun.len() == 1 && begun[0]["cause"]["kind"] == "decision",
        "{events:#}"
    );
    let decision = daemon
        .get(&format!(
            "/v1/decisions/{}",
            begun[0]["cause"]["id"].as_str().unwrap_or_default()
        ))
        .await?;
    ensure!(
        decision["tasks"][0]["chosen"][0]["region"] == "west",
        "{decision:#}"
    );
    ensure!(
        daemon
            .run(&["replay", decision["id"].as_str().unwrap_or_default()])?
            .contains("identical, bit for bit")
    );
    ensure!(
        daemon
            .run(&["replacement", "report"])?
            .contains("it is where the policy would place it")
    );
    Ok(())
}

#[tokio::test]
async fn moves_keep_to_the_disruption_budget_and_outlive_a_restart() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let mut daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
    watchful(&mut daemon, 3)?;
    for name in ["one", "two"] {
        daemon
            .put(name, &app(name, "replacement: {cooldown: 0s},"))
            .await?;
        daemon.running(name).await?;
    }
    cloud.price("west", "small", 20_000);
    // Three replicas may move within the hour: one deployment of two, and not the other.
    let west = |view: &Value| {
        view.as_array()
            .into_iter()
            .flatten()
            .filter(|d| d["places"] == json!(["cloud/west"]))
            .count()
    };
    let seen = daemon
        .until_list("/v1/deployments", "half moved", |view| west(view) == 1)
        .await?;
    let (moved, left) = if seen[0]["places"] == json!(["cloud/west"]) {
        ("one", "two")
    } else {
        ("two", "one")
    };
    daemon
        .until(moved, "settled", |d| {
            d["tasks"][0]["allocations"]
                .as_array()
                .is_some_and(|a| a.len() == 1)
        })
        .await?;
    let budget =
        "2 replicas have moved within the last hour and 2 would: replacement.max-moves allows 3";
    report(&daemon, left, "out of budget", stays(budget)).await?;
    daemon.kill()?;
    daemon.launch()?;
    report(
        &daemon,
        left,
        "out of budget after a restart",
        stays(budget),
    )
    .await?;
    ensure!(cloud.live_of(left).iter().all(|i| i.region == "east"));
    Ok(())
}

#[tokio::test]
async fn a_namespace_lets_its_services_move_unless_they_say_no() -> Result<()> {
    let cloud = FixtureCloud::start(Config::default())?;
    let mut daemon = Daemon::start(&["cheapest", "rest"], &[("cloud", &cloud.instance())])?;
    watchful(&mut daemon, 20)?;
    let namespace = "apiVersion: tradewind.dev/v1\nkind: Namespace\nmetadata: {name: default}\nspec: {replacement: {cooldown: 0s}}\n";
    let request = daemon
        .http
        .put(daemon.url("/v1/namespaces/default"))
        .header("content-type", "application/yaml");
    request.body(namespace).send().await?.error_for_status()?;
    daemon.put("free", &app("free", "")).await?;
    daemon
        .put("bound", &app("bound", "replacement: {maxMoves: 0},"))
        .await?;
    for name in ["free", "bound"] {
        daemon.running(name).await?;
    }
    cloud.price("west", "small", 20_000);
    daemon
        .until("free", "moved", |d| {
            d["places"] == json!(["cloud/west"]) && d["status"] == "running"
        })
        .await?;
    let bound = report(&daemon, "bound", "opted out", stays("maxMoves: 0")).await?;
    ensure!(bound["savingPerHour"] == "0.06", "{bound:#}");
    ensure!(cloud.live_of("bound").iter().all(|i| i.region == "east"));
    Ok(())
}
