//! Hot reload, seen from outside: policies swapped, bad files refused, providers taken away and given back, roll-back.

use anyhow::Result;
use serde_json::Value;
use tradewind_kit::{Daemon, component};

/// A cheap and slow cloud, and a dear and fast one.
const CHEAP: &str = r#"
component = "simulated.wasm"
[settings.regions.east.sizes.small]
cpu = 4
memory = "16Gi"
price = "0.10"
performance = 0.5
"#;
const FAST: &str = r#"
component = "simulated.wasm"
[settings.regions.west.sizes.large]
cpu = 4
memory = "16Gi"
price = "0.90"
performance = 2.0
"#;

fn manifest(name: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {{services: {{web: {{command: [serve]}}}}}}}}"
    )
}

fn place(deployment: &Value) -> String {
    deployment["places"][0]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

async fn digest(daemon: &Daemon, plugin: &str) -> Result<String> {
    let view = daemon.get(&format!("/v1/plugins/{plugin}")).await?;
    Ok(view["identity"]["component"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

/// Puts a file in place as a careful tool does: whole, then renamed.
fn replace(daemon: &Daemon, name: &str, bytes: &[u8]) -> Result<()> {
    let temporary = daemon.plugins().join(format!(".{name}.part"));
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, daemon.plugins().join(name))?;
    Ok(())
}

#[tokio::test]
async fn the_next_decision_uses_the_new_policy_and_a_bad_file_never_does() -> Result<()> {
    let daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[("cheap", CHEAP), ("fast", FAST)],
    )?;
    daemon.put("first", &manifest("first")).await?;
    assert_eq!(place(&daemon.running("first").await?), "cheap/east");
    let original = digest(&daemon, "cheapest").await?;

    replace(
        &daemon,
        "cheapest.wasm",
        &std::fs::read(component("fastest"))?,
    )?;
    let swapped = |v: &Value| v["identity"]["component"] != *original;
    daemon
        .until_at("/v1/plugins/cheapest", "swapped", swapped)
        .await?;
    daemon.put("second", &manifest("second")).await?;
    assert_eq!(place(&daemon.running("second").await?), "fast/west");
    assert_eq!(
        place(&daemon.running("first").await?),
        "cheap/east",
        "what runs stays where it is"
    );
    let second = digest(&daemon, "cheapest").await?;

    replace(&daemon, "cheapest.wasm", b"not a component")?;
    let rejected = daemon
        .until_at("/v1/plugins/cheapest", "rejected", |v| {
            v["lastRejection"]["current"] == true
        })
        .await?;
    assert_eq!(
        rejected["identity"]["component"], *second,
        "the good one stays: {rejected:#}"
    );
    daemon.put("third", &manifest("third")).await?;
    assert_eq!(place(&daemon.running("third").await?), "fast/west");

    daemon.run(&["plugin", "rollback", "cheapest"])?;
    assert_eq!(digest(&daemon, "cheapest").await?, original);
    daemon.put("fourth", &manifest("fourth")).await?;
    assert_eq!(place(&daemon.running("fourth").await?), "cheap/east");
    // Who follows the plugin host writes them.
    daemon.event("PluginRejected", |_| true).await?;
    let events = daemon.run(&["events"])?;
    assert!(
        events.contains("PluginLoaded") && events.contains("PluginRejected"),
        "{events}"
    );
    let listed = daemon.run(&["plugin", "list", "-o", "wide"])?;
    assert!(
        listed.contains("cheapest") && listed.contains("simulated"),
        "{listed}"
    );
    Ok(())
}

#[tokio::test]
async fn a_roll_back_survives_a_restart() -> Result<()> {
    let mut daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[("cheap", CHEAP), ("fast", FAST)],
    )?;
    let original = digest(&daemon, "cheapest").await?;
    replace(
        &daemon,
        "cheapest.wasm",
        &std::fs::read(component("fastest"))?,
    )?;
    daemon
        .until_at("/v1/plugins/cheapest", "swapped", |v| {
            v["identity"]["component"] != *original
        })
        .await?;
    daemon.run(&["plugin", "rollback", "cheapest"])?;
    daemon.kill()?;
    daemon.launch()?;
    assert_eq!(digest(&daemon, "cheapest").await?, original);
    Ok(())
}

#[tokio::test]
async fn a_provider_that_is_taken_away_is_missed_and_its_deployments_go_on_when_it_returns()
-> Result<()> {
    let mut daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[("cheap", CHEAP), ("fast", FAST)],
    )?;
    daemon.put("app", &manifest("app")).await?;
    daemon.running("app").await?;
    let regions = daemon.get("/v1/regions").await?.to_string();
    assert!(regions.contains("\"cheap\""), "{regions}");
    let instance = daemon.plugins().join("cheap.toml");
    std::fs::remove_file(&instance)?;
    let missing = daemon
        .until("app", "missing its provider", |d| d["status"] != "running")
        .await?;
    assert!(
        missing["message"]
            .as_str()
            .unwrap_or_default()
            .contains("\"cheap\" is missing"),
        "{missing:#}"
    );
    assert_eq!(
        place(&missing),
        "cheap/east",
        "silence is no reason to move"
    );
    for restarted in [false, true] {
        if restarted {
            daemon.stop()?;
            daemon.launch()?;
        }
        daemon
            .until_at("/v1/plugins/cheap", "removed", |p| p["state"] == "removed")
            .await?;
        for path in ["/v1/regions", "/metrics"] {
            let answer = daemon.http.get(daemon.url(path)).send().await?;
            let text = answer.text().await?;
            assert!(!text.contains("\"cheap\""), "{path}: {text}");
        }
    }
    std::fs::write(&instance, CHEAP)?;
    daemon.running("app").await?;
    Ok(())
}

#[tokio::test]
async fn settings_are_reloaded_like_code() -> Result<()> {
    let daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[("cheap", CHEAP), ("fast", FAST)],
    )?;
    daemon.put("before", &manifest("before")).await?;
    assert_eq!(place(&daemon.running("before").await?), "cheap/east");
    replace(
        &daemon,
        "cheap.toml",
        CHEAP.replace("0.10", "9.00").as_bytes(),
    )?;
    let dear = |o: &Value| {
        o["items"]
            .as_array()
            .is_some_and(|offers| offers.iter().any(|o| o["price"] == "9.00"))
    };
    daemon
        .until_at("/v1/offers", "at the new price", dear)
        .await?;
    daemon.put("after", &manifest("after")).await?;
    assert_eq!(place(&daemon.running("after").await?), "fast/west");

    replace(
        &daemon,
        "cheap.toml",
        CHEAP
            .replace("price = \"0.10\"", "prize = \"0.10\"")
            .as_bytes(),
    )?;
    let rejected = daemon
        .until_at("/v1/plugins/cheap", "rejected", |v| {
            v["lastRejection"]["current"] == true
        })
        .await?;
    assert!(
        rejected["lastRejection"]["reason"]
            .to_string()
            .contains("prize"),
        "{rejected:#}"
    );
    assert!(
        dear(&daemon.get("/v1/offers").await?),
        "the good settings stay"
    );
    Ok(())
}
