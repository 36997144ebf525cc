//! Places that are closed by hand: nothing new goes there, what runs goes on or moves to another cloud without a gap, and nothing is forgotten
//! when the daemon is killed meanwhile.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tradewind_kit::{Daemon, when};

/// Replicas take a while to become ready: what moves can be seen on its way.
const EAST: &str = r#"
component = "simulated.wasm"
[settings.regions.eu.sizes.s]
cpu = 4
memory = "16Gi"
price = "0.10"
time-to-ready = "2s"
"#;

const WEST: &str = r#"
component = "simulated.wasm"
[settings.regions.us.sizes.s]
cpu = 4
memory = "16Gi"
price = "0.20"
time-to-ready = "2s"
"#;

const FAST: &str = "[controller]\noffers-ttl = \"50ms\"\nobserve-interval = \"200ms\"\nobserve-interval-changing = \"50ms\"\n";

fn start() -> Result<Daemon> {
    Daemon::configured(
        &["cheapest", "simulated"],
        &[("east", EAST), ("west", WEST)],
        FAST,
    )
}

fn app(replicas: u32, more: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: app}}, spec: {{{more} update: {{drain: 0s}}, services: \
         {{web: {{image: web, resources: {{cpu: 1, memory: 1Gi}}, replicas: {replicas}}}}}}}}}"
    )
}

/// Replicas by place, as far as they stay.
fn staying(view: &Value) -> Vec<(String, u64)> {
    let all = view["tasks"][0]["allocations"]
        .as_array()
        .into_iter()
        .flatten();
    let mut places: Vec<(String, u64)> = all
        .filter(|a| a["superseded"] == false)
        .map(|a| {
            let provider = a["provider"].as_str().unwrap_or_default();
            (
                provider.to_owned(),
                a["replicas"].as_u64().unwrap_or_default(),
            )
        })
        .collect();
    places.sort();
    places
}

/// Replicas that are ready, wherever they are.
fn ready(view: &Value) -> u64 {
    let all = view["tasks"][0]["allocations"]
        .as_array()
        .into_iter()
        .flatten();
    all.map(|a| a["ready"].as_u64().unwrap_or_default()).sum()
}

fn of<'a>(regions: &'a Value, provider: &str) -> &'a Value {
    let all = regions["items"].as_array().into_iter().flatten();
    all.into_iter()
        .find(|r| r["provider"] == provider)
        .unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_cordon_keeps_what_is_new_away_and_says_so() -> Result<()> {
    let mut daemon = start()?;
    daemon.put("app", &app(2, "")).await?;
    let first = daemon.running("app").await?;
    ensure!(first["places"] == json!(["east/eu"]), "{first:#}");

    let wrong = daemon.cli(&["cordon", "eats"])?;
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    ensure!(
        wrong.status.code() == Some(3) && said.contains("did you mean \"east\"?"),
        "{said}"
    );
    let said = daemon.run(&["cordon", "east", "--reason", "a new kernel"])?;
    ensure!(said.contains("\"east\" is cordoned"), "{said}");
    let said = daemon.run(&["cordon", "east"])?;
    ensure!(said.contains("was cordoned before"), "{said}");

    // Two go on, the third goes elsewhere; after a restart of the daemon too.
    daemon.kill()?;
    daemon.launch()?;
    daemon.put("app", &app(3, "")).await?;
    let grown = daemon.running("app").await?;
    ensure!(
        staying(&grown) == [("east".to_owned(), 2), ("west".to_owned(), 1)],
        "{grown:#}"
    );
    let cause = "\"east\" is cordoned by token:admin since ";
    let remedy = ": a new kernel (`tradewind uncordon east` lifts it)";
    let manifest = daemon.file("app.yaml", &app(1, ""))?;
    for command in [
        &["assess", "-f", &manifest, "-o", "json"][..],
        &["explain", "app", "-o", "json"],
    ] {
        let said = daemon.run(command)?;
        ensure!(
            said.contains(&cause.replace('"', "\\\"")) && said.contains(remedy),
            "{command:?}: {said}"
        );
    }
    let said = daemon.run(&["describe", "app", "-o", "json"])?;
    ensure!(
        said.contains("(a new kernel): what runs there goes on"),
        "{said}"
    );

    // What was decided under a cordon is decided so again.
    let decision = grown["tasks"][0]["decision"]
        .as_str()
        .context("a decision")?;
    let replayed = daemon.run(&["replay", decision])?;
    ensure!(replayed.contains("identical, bit for bit"), "{replayed}");
    daemon.run(&["uncordon", "east"])?;
    let replayed = daemon.run(&["replay", decision])?;
    ensure!(replayed.contains("identical, bit for bit"), "{replayed}");
    let said = daemon.run(&["uncordon", "east"])?;
    ensure!(said.contains("was not cordoned"), "{said}");

    daemon.put("app", &app(4, "")).await?;
    let open = daemon.running("app").await?;
    ensure!(
        staying(&open)
            .iter()
            .any(|(place, n)| place == "east" && *n >= 3),
        "{open:#}"
    );
    for reason in ["PlaceCordoned", "PlaceUncordoned"] {
        let event = daemon.event(reason, |e| e["plugin"] == "east").await?;
        ensure!(event["actor"] == "token:admin", "{event:#}");
    }
    Ok(())
}

#[tokio::test]
async fn a_drain_moves_a_service_to_another_cloud_without_a_gap() -> Result<()> {
    let mut daemon = start()?;
    daemon.put("app", &app(3, "")).await?;
    daemon.running("app").await?;
    let metrics = async |daemon: &Daemon, state: &str| -> Result<bool> {
        let text = daemon.http.get(daemon.url("/metrics")).send().await?;
        let line = format!("tradewind_places_cordoned{{state=\"{state}\"}} 1");
        Ok(text.text().await?.contains(&line))
    };
    let begun = daemon.run(&["drain", "east/eu", "--reason", "it moves", "--no-wait"])?;
    ensure!(begun.contains("\"east/eu\" is drained"), "{begun}");
    let regions = daemon.get("/v1/regions").await?;
    ensure!(
        of(&regions, "east")["cordons"][0]["reason"] == "it moves"
            && of(&regions, "west")["cordons"].is_null(),
        "{regions:#}"
    );
    daemon
        .until("app", "on its way", |d| {
            d["tasks"][0]["allocations"]
                .as_array()
                .is_some_and(|a| a.len() == 2)
        })
        .await?;
    daemon.kill()?;
    daemon.launch()?;
    // After the restart everything is looked at anew; from then on it is whole.
    let mut whole = false;
    let moved = daemon.eventually("it has moved, and is whole meanwhile", async || {
        let view = daemon.get("/v1/deployments/app").await?;
        let ready = ready(&view);
        whole |= ready >= 3;
        ensure!(ready >= 3 || !whole, "it has a gap: {view:#}");
        let done = view["places"] == json!(["west/us"]) && view["ready"] == 3;
        Ok(when(done, view))
    });
    moved.await?;
    let waited = daemon.run(&["drain", "east/eu"])?;
    ensure!(
        waited.contains("nothing is left at \"east/eu\""),
        "{waited}"
    );
    let table = daemon.run(&["regions"])?;
    ensure!(
        table.contains("drained") && table.contains("`tradewind uncordon east/eu` opens it"),
        "{table}"
    );
    ensure!(metrics(&daemon, "drained").await?);
    for reason in ["PlaceDraining", "PlaceDrained"] {
        daemon.event(reason, |e| e["plugin"] == "east").await?;
    }

    // The other way there is nowhere to go: nothing is stopped, and it is said.
    let stuck = daemon.cli(&["drain", "west", "--deadline", "1s"])?;
    let said = String::from_utf8_lossy(&stuck.stderr).into_owned();
    ensure!(
        stuck.status.code() == Some(7)
            && said.contains("there is no room elsewhere for 3 of them")
            && said.contains("tradewind uncordon west"),
        "{said}"
    );
    let view = daemon.running("app").await?;
    ensure!(
        staying(&view) == [("west".to_owned(), 3)] && view["ready"] == 3,
        "{view:#}"
    );
    daemon.event("PlaceDrainOverdue", |_| true).await?;

    // Opened, the first one takes what the second is rid of; one drain goes on by itself.
    daemon.run(&["uncordon", "east/eu"])?;
    daemon
        .until("app", "back", |d| {
            d["places"] == json!(["east/eu"]) && d["ready"] == 3
        })
        .await?;
    daemon.run(&["drain", "west"])?;
    daemon.run(&["uncordon", "west"])?;
    let regions = daemon.get("/v1/regions").await?;
    ensure!(of(&regions, "west")["cordons"].is_null(), "{regions:#}");
    Ok(())
}

#[tokio::test]
async fn only_an_admin_of_all_namespaces_closes_a_place_that_is_everybodys() -> Result<()> {
    let daemon = start()?;
    let token = daemon.run(&["token", "create", "op", "--role", "operator", "-o", "json"])?;
    let token: Value = serde_json::from_str(&token)?;
    let text = token["secret"].as_str().context("a token")?;
    let client = tradewind_kit::client(Some(text))?;
    for (method, path) in [
        (reqwest::Method::PUT, "/v1/places/east/cordon"),
        (reqwest::Method::DELETE, "/v1/places/east/cordon"),
        (reqwest::Method::PUT, "/v1/places/east/drain?deadline=1s"),
        (reqwest::Method::GET, "/v1/places/east"),
    ] {
        let answer = client.request(method, daemon.url(path)).send().await?;
        ensure!(answer.status() == reqwest::StatusCode::FORBIDDEN, "{path}");
    }
    let regions = daemon.get("/v1/regions").await?;
    ensure!(of(&regions, "east")["cordons"].is_null(), "{regions:#}");
    Ok(())
}
