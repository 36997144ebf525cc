//! Who gets which place: a refusal keeps away nobody but the task it was told to, waiting goes by age, what can never fit is said at once, and
//! what was decided while a provider was late is looked at once more.

use std::net::TcpListener;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tradewind_kit::{
    Daemon,
    fixture::{Config, Fault, FixtureCloud, Kind, Operation},
    hello,
};

/// Processes on a machine of one core, with one port that may be fixed.
fn machine(port: u16) -> String {
    format!(
        "component = \"process.wasm\"\n[grants.process]\ncommands = [\"*\"]\ncpu = \"1000m\"\nports = [{{from = {port}, to = {port}}}]\n"
    )
}

fn cloud(price: &str, more: &str) -> String {
    format!(
        "component = \"simulated.wasm\"\n[settings.regions.r.sizes.s]\ncpu = 2\nmemory = \"4Gi\"\nprice = \"{price}\"\n{more}"
    )
}

fn app(name: &str, web: &str) -> String {
    let hello = hello().display().to_string();
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {{services: {{web: {{command: [{hello}], \
         resources: {{cpu: 100m, memory: 32Mi}}, {web}}}}}}}}}"
    )
}

fn fixed(port: u16) -> String {
    format!(
        "ports: {{http: {{port: {port}, protocol: http}}}}, health: {{http: /health, interval: 200ms}}"
    )
}

/// A number that nobody listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn message(deployment: &Value) -> &str {
    deployment["message"].as_str().unwrap_or_default()
}

fn cooling(regions: &Value) -> Vec<&Value> {
    regions["items"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|r| r["cooling"].as_array().into_iter().flatten())
        .collect()
}

#[tokio::test]
async fn a_port_that_is_taken_keeps_its_task_waiting_and_nobody_else() -> Result<()> {
    let port = free_port()?;
    // Two instances on one machine: what one has given out the other can't know before it asks.
    let daemon = Daemon::start(
        &["cheapest", "process"],
        &[("one", &machine(port)), ("two", &machine(port))],
    )?;
    let on = |provider: &str, more: &str| format!("placement: {{providers: [{provider}]}}, {more}");
    daemon
        .put("holder", &app("holder", &on("one", &fixed(port))))
        .await?;
    daemon.running("holder").await?;

    daemon
        .put("rival", &app("rival", &on("one", &fixed(port))))
        .await?;
    let told = format!("the port \"{port}\" is taken on the machine of \"one\"");
    let waiting = daemon
        .until("rival", "waiting", |d| message(d).contains(&told))
        .await?;
    ensure!(
        waiting["status"] == "pending" && !waiting.to_string().contains("holder"),
        "{waiting:#}"
    );
    daemon
        .put("stranger", &app("stranger", &on("two", &fixed(port))))
        .await?;
    let refused = "provider \"two\" refuses it";
    daemon
        .until("stranger", "refused", |d| {
            message(d).contains(refused) && d["status"] == "pending"
        })
        .await?;

    for (name, provider) in [("bystander", "one"), ("passer", "two")] {
        daemon.put(name, &app(name, &on(provider, ""))).await?;
        daemon.running(name).await?;
    }
    let regions = daemon.get("/v1/regions").await?;
    ensure!(cooling(&regions).is_empty(), "{regions:#}");
    // Who waited for it has it as soon as it is free.
    daemon.delete("holder").await?;
    daemon.running("rival").await?;
    Ok(())
}

#[tokio::test]
async fn limits_are_no_claim_on_the_machine() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", &machine(1))])?;
    for name in ["one", "two", "three"] {
        daemon.put(name, &app(name, "limits: {cpu: 4}")).await?;
        daemon.running(name).await?;
    }
    let free = |offers: &Value| offers["items"][0]["freeCpu"].as_u64();
    daemon
        .until_at("/v1/offers", "asked again", |offers| {
            free(offers) == Some(700)
        })
        .await?;
    // What is left is what the placement sees: more than that waits, less goes.
    daemon
        .put("large", &app("large", "").replace("cpu: 100m", "cpu: 800m"))
        .await?;
    daemon
        .until("large", "waiting", |d| {
            message(d).contains("no capacity left")
        })
        .await?;
    daemon.put("small", &app("small", "")).await?;
    daemon.running("small").await?;
    Ok(())
}

#[tokio::test]
async fn two_replicas_with_one_port_share_no_machine() -> Result<()> {
    let port = free_port()?;
    let daemon = Daemon::start(
        &["cheapest", "process", "simulated"],
        &[("local", &machine(port))],
    )?;
    let twins = app("twins", &format!("replicas: 2, {}", fixed(port)));
    let file = daemon.file("twins.yaml", &twins)?;
    let planned = daemon.cli(&["plan", "-f", &file])?;
    let text = String::from_utf8_lossy(&planned.stdout).into_owned();
    let why = format!(
        "the machine of \"local\" has the port \"{port}\" once, and another replica of the task has it"
    );
    ensure!(planned.status.code() == Some(4), "{text}");
    ensure!(
        text.contains("1 to create, 1 without a place")
            && text.contains("can never be placed: 1 of web")
            && text.contains(&why),
        "{text}"
    );

    // It ends at once with what would have to change; the one that fits runs.
    let applied = daemon.cli(&["apply", "-f", &file, "--timeout", "60s"])?;
    let told = String::from_utf8_lossy(&applied.stderr).into_owned();
    ensure!(
        applied.status.code() == Some(1) && told.contains(&why),
        "{told}"
    );
    daemon
        .until("twins", "partly there", |d| d["ready"] == 1)
        .await?;
    daemon.put("bystander", &app("bystander", "")).await?;
    daemon.running("bystander").await?;

    // Another place takes the other one.
    std::fs::write(daemon.plugins().join("sim.toml"), cloud("0.04", ""))?;
    let whole = daemon.running("twins").await?;
    ensure!(
        whole["places"] == json!(["local/local", "sim/r"]) && whole["ready"] == 2,
        "{whole:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_size_that_no_offer_has_is_said_to_never_fit() -> Result<()> {
    let daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[("sim", &cloud("0.04", "capacity = 1\n"))],
    )?;
    let manifest =
        |name: &str, cpu: &str| app(name, "").replace("cpu: 100m", &format!("cpu: {cpu}"));
    let file = daemon.file("huge.yaml", &manifest("huge", "64"))?;
    let planned = daemon.cli(&["-o", "json", "plan", "-f", &file])?;
    let plan: Value = serde_json::from_slice(&planned.stdout)?;
    ensure!(
        planned.status.code() == Some(4) && plan["unplaced"][0]["never"] == true,
        "{plan:#}"
    );
    daemon.put("huge", &manifest("huge", "64")).await?;
    daemon
        .until("huge", "failed", |d| {
            d["status"] == "failed" && message(d).contains("fewer cores than 64")
        })
        .await?;

    // What only has no room now may have some later.
    daemon.put("first", &manifest("first", "1")).await?;
    daemon.running("first").await?;
    let file = daemon.file("later.yaml", &manifest("later", "1"))?;
    let planned = daemon.cli(&["plan", "-f", &file])?;
    let text = String::from_utf8_lossy(&planned.stdout).into_owned();
    ensure!(
        planned.status.success()
            && text.contains("1 without a place")
            && text.contains("not placed: 1 of web"),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn who_has_waited_longest_goes_first_also_after_a_restart() -> Result<()> {
    let mut daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[("sim", &cloud("0.04", "capacity = 1\n"))],
    )?;
    daemon.put("first", &app("first", "")).await?;
    daemon.running("first").await?;
    for name in ["zz", "mm", "aa"] {
        daemon.put(name, &app(name, "")).await?;
        daemon
            .until(name, "waiting", |d| message(d).contains("no capacity left"))
            .await?;
    }
    daemon.delete("first").await?;
    daemon.running("zz").await?;
    daemon.kill()?;
    daemon.launch()?;
    daemon.running("zz").await?;
    daemon.delete("zz").await?;
    daemon.running("mm").await?;
    let last = daemon.get("/v1/deployments/aa").await?;
    ensure!(last["status"] == "pending", "{last:#}");
    Ok(())
}

#[tokio::test]
async fn two_policies_do_not_give_one_place_to_both() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "fastest", "simulated"], &[])?;
    // The older one's policy comes later in the alphabet.
    for (name, policy) in [("older", "fastest"), ("newer", "cheapest")] {
        daemon
            .put(
                name,
                &app(name, "").replace("spec: {", &format!("spec: {{policy: {policy}, ")),
            )
            .await?;
        daemon
            .until(name, "waiting", |d| {
                message(d).contains("there are no offers")
            })
            .await?;
    }
    // Both are decided at once.
    std::fs::write(
        daemon.plugins().join("sim.toml"),
        cloud("0.04", "capacity = 1\n"),
    )?;
    daemon.running("older").await?;
    let left = daemon
        .until("newer", "without room", |d| {
            message(d).contains("no capacity left")
        })
        .await?;
    ensure!(
        left["status"] == "pending" && left["places"] == json!([]),
        "{left:#}"
    );
    Ok(())
}

#[tokio::test]
async fn what_one_provider_can_not_run_goes_to_another() -> Result<()> {
    let daemon = Daemon::start(
        &["cheapest", "process", "simulated"],
        &[("local", &machine(1))],
    )?;
    // Processes have no other user: only that provider knows it.
    daemon.put("other", &app("other", "user: \"1000\"")).await?;
    let why = "provider \"local\" refuses it: processes run as the daemon's own user";
    daemon
        .until("other", "refused everywhere", |d| {
            d["status"] == "failed" && message(d).contains(why)
        })
        .await?;
    // A program that this machine does not have may be on another.
    let absent = app("absent", "").replace(&hello().display().to_string(), "no-such-program");
    daemon.put("absent", &absent).await?;
    daemon
        .until("absent", "refused", |d| {
            d["status"] == "failed" && message(d).contains("is not in the daemon's PATH")
        })
        .await?;
    daemon.put("plain", &app("plain", "")).await?;
    daemon.running("plain").await?;
    // An update to what can run nowhere ends at once, and what was healthy stays.
    daemon.put("plain", &app("plain", "user: \"1000\"")).await?;
    let back = |d: &Value| {
        d["status"] == "running" && d["generation"] == 3 && message(d).contains("rolled back")
    };
    daemon.until("plain", "as it was", back).await?;

    std::fs::write(daemon.plugins().join("sim.toml"), cloud("0.04", ""))?;
    ensure!(daemon.running("absent").await?["places"] == json!(["sim/r"]));
    ensure!(daemon.running("other").await?["places"] == json!(["sim/r"]));
    // Anew, with both of them there.
    daemon.put("again", &app("again", "user: \"1000\"")).await?;
    ensure!(daemon.running("again").await?["places"] == json!(["sim/r"]));
    let decisions = daemon.list("/v1/decisions?deployment=again").await?;
    ensure!(
        decisions[0]["tasks"][0]["excluded"][0]["reason"] == why,
        "{decisions:#}"
    );
    Ok(())
}

#[tokio::test]
async fn what_was_placed_while_a_provider_was_late_is_looked_at_once_more() -> Result<()> {
    let late = FixtureCloud::start(Config::default())?;
    let instance = late.instance_with("timeout = \"20s\"");
    let mut daemon = Daemon::start(
        &["cheapest", "rest", "simulated"],
        &[("late", &instance), ("dear", &cloud("0.90", ""))],
    )?;
    daemon.kill()?;
    daemon.file(
        "config.toml",
        "[controller]\noffers-patience = \"200ms\"\nobserve-interval-changing = \"50ms\"\n",
    )?;
    late.fault(
        Fault::new(Kind::Slow)
            .on(Operation::Offers)
            .ms(4_000)
            .times(1),
    );
    daemon.launch()?;
    let web = app("shop", "replicas: 2");
    let file = daemon.file("shop.yaml", &web)?;
    let planned = daemon.run(&["plan", "-f", &file])?;
    let told = "decided while provider \"late\" had not answered yet (controller.offers-patience)";
    ensure!(planned.contains(told), "{planned}");
    daemon.put("shop", &web).await?;
    daemon
        .until("shop", "at the dearer cloud", |d| {
            d["places"] == json!(["dear/r"])
        })
        .await?;
    let first = daemon.list("/v1/decisions?deployment=shop").await?[0].take();
    ensure!(first["unanswered"] == json!(["late"]), "{first:#}");
    ensure!(daemon.run(&["describe", "shop"])?.contains(told));

    let moved = daemon
        .until("shop", "moved", |d| {
            d["places"] == json!(["late/east"]) && d["status"] == "running"
        })
        .await?;
    ensure!(moved["generation"] == 1 && moved["ready"] == 2, "{moved:#}");
    let events = daemon.list("/v1/deployments/shop/events?limit=200").await?;
    let begun: Vec<&Value> = events
        .as_array()
        .into_iter()
        .flatten()
        .filter(|e| e["reason"] == "ReplacementBegun")
        .collect();
    let why = "it was placed while a provider had not answered yet";
    ensure!(
        begun.len() == 1
            && begun[0]["message"]
                .as_str()
                .is_some_and(|m| m.contains(why)),
        "{events:#}"
    );
    Ok(())
}

#[tokio::test]
async fn what_was_placed_while_a_provider_was_late_is_looked_at_once_more_after_a_restart()
-> Result<()> {
    let late = FixtureCloud::start(Config::default())?;
    // A request that hangs is never answered: it ends with this, and one soon after it is.
    let instance = late.instance_with("timeout = \"10s\"");
    let mut daemon = Daemon::start(
        &["cheapest", "rest", "simulated"],
        &[("late", &instance), ("dear", &cloud("0.90", ""))],
    )?;
    daemon.kill()?;
    daemon.file(
        "config.toml",
        "[controller]\noffers-patience = \"200ms\"\nobserve-interval-changing = \"50ms\"\n",
    )?;
    // It hangs in the first life and in the second, until it is healed.
    late.fault(Fault::new(Kind::Hang).on(Operation::Offers));
    daemon.launch()?;
    daemon.put("shop", &app("shop", "replicas: 2")).await?;
    let there = |d: &Value| d["places"] == json!(["dear/r"]) && d["status"] == "running";
    daemon.until("shop", "at the dearer cloud", there).await?;
    daemon.kill()?;
    daemon.launch()?;
    daemon.until("shop", "at the dearer cloud", there).await?;
    let told = "decided while provider \"late\" had not answered yet (controller.offers-patience)";
    let described = daemon.run(&["describe", "shop"])?;
    ensure!(described.contains(told), "{described}");
    late.heal();

    let moved = daemon
        .until("shop", "moved", |d| {
            d["places"] == json!(["late/east"]) && d["status"] == "running"
        })
        .await?;
    ensure!(moved["generation"] == 1 && moved["ready"] == 2, "{moved:#}");
    let described = daemon.run(&["describe", "shop"])?;
    ensure!(
        !described.contains(told),
        "it stands on a decision with all providers: {described}"
    );
    let events = daemon.list("/v1/deployments/shop/events?limit=200").await?;
    let begun = events
        .as_array()
        .into_iter()
        .flatten()
        .filter(|e| e["reason"] == "ReplacementBegun")
        .count();
    ensure!(begun == 1, "{events:#}");
    Ok(())
}
