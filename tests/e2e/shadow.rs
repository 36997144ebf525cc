//! Shadow policies: what they would have done is told exactly, what is decided never waits for them, and one becomes the real one.

use anyhow::{Context, Result};
use serde_json::Value;
use tradewind_kit::{Daemon, component, guest};

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

fn clouds() -> Result<Daemon> {
    Daemon::start(
        &["cheapest", "simulated"],
        &[("cheap", CHEAP), ("fast", FAST)],
    )
}

fn manifest(namespace: &str, name: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{namespace: {namespace}, name: {name}}}, \
         spec: {{services: {{web: {{command: [serve], duration: 1h}}}}}}}}"
    )
}

fn place(deployment: &Value) -> &str {
    deployment["places"][0].as_str().unwrap_or_default()
}

/// Deploys it and answers where it runs.
async fn deploy(daemon: &Daemon, namespace: &str, name: &str) -> Result<String> {
    let url = daemon.url(&format!("/v1/deployments/{name}?namespace={namespace}"));
    let sent = daemon
        .http
        .put(url)
        .header("content-type", "application/yaml")
        .body(manifest(namespace, name))
        .send()
        .await?;
    sent.error_for_status().context("PUT")?;
    let path = format!("/v1/deployments/{name}?namespace={namespace}");
    let running = daemon
        .until_at(&path, "running", |d| d["status"] == "running")
        .await?;
    Ok(place(&running).to_owned())
}

fn start(daemon: &Daemon, file: &str, arguments: &[&str]) -> Result<Value> {
    let all: Vec<&str> = ["-o", "json", "policy", "shadow", "start", file]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    Ok(serde_json::from_str(&daemon.run(&all)?)?)
}

async fn heard(daemon: &Daemon, path: &str, decisions: u64) -> Result<Value> {
    let seen = |s: &Value| s["report"]["seen"].as_u64().is_some_and(|n| n >= decisions);
    daemon.until_at(path, "heard", seen).await
}

#[tokio::test]
async fn a_shadow_tells_what_it_would_have_done_and_becomes_the_policy() -> Result<()> {
    let mut daemon = clouds()?;
    let fastest = component("fastest");
    let started = start(
        &daemon,
        &fastest.to_string_lossy(),
        &["--for", "team", "--name", "quick"],
    )?;
    assert_eq!(
        (&started["namespace"], &started["by"]),
        (&"team".into(), &"token:admin".into()),
        "{started:#}"
    );
    let listed = daemon.get("/v1/plugins").await?;
    assert!(
        !listed.to_string().contains("\"quick\""),
        "a shadow is no plugin: {listed:#}"
    );

    assert_eq!(
        deploy(&daemon, "team", "one").await?,
        "cheap/east",
        "a shadow has no effect"
    );
    assert_eq!(deploy(&daemon, "team", "two").await?, "cheap/east");
    assert_eq!(deploy(&daemon, "other", "three").await?, "cheap/east");
    let path = "/v1/shadows/quick?namespace=team";
    let report = heard(&daemon, path, 2).await?["report"].take();
    // 0.90 instead of 0.10 per hour, and an hour of a service is an hour on both.
    let n = report["compared"].as_i64().unwrap_or_default();
    assert_eq!(
        (&report["seen"], &report["differing"], n >= 2),
        (&n.into(), &n.into(), true),
        "{report:#}"
    );
    assert_eq!(
        report["hourlyDifferenceMicroUsd"],
        800_000 * n,
        "{report:#}"
    );
    assert_eq!(
        report["estimatedDifferenceMicroUsd"],
        800_000 * n,
        "{report:#}"
    );
    let example = &report["examples"][0];
    assert_eq!(
        (
            &example["live"][0]["provider"],
            &example["shadow"][0]["provider"]
        ),
        (&"cheap".into(), &"fast".into()),
        "{report:#}"
    );
    assert_eq!(
        (
            &example["liveCost"]["hourly"],
            &example["shadowCost"]["estimated"]
        ),
        (&"0.10".into(), &"0.90".into()),
        "{report:#}"
    );
    let decision = daemon
        .get(&format!(
            "/v1/decisions/{}",
            example["decision"].as_str().unwrap_or_default()
        ))
        .await?;
    assert_eq!(
        decision["tasks"][0]["deployment"], example["deployment"],
        "{decision:#}"
    );
    assert!(
        report["examples"]
            .as_array()
            .is_some_and(|all| all.iter().all(|e| e["deployment"] != "three")),
        "{report:#}"
    );
    assert!(
        report["shadowLatency"]["p99Micros"].as_u64() > Some(0)
            && report["liveLatency"]["p50Micros"].as_u64() > Some(0)
    );
    let shown = daemon.run(&["policy", "shadow", "report", "quick", "--for", "team"])?;
    assert!(
        shown.contains("+$0.80") || shown.contains(&format!("+${:.2}", 0.8 * n as f64)),
        "{shown}"
    );

    // A stop in order stores what has come of it; the kill of a power cut may lose its last second.
    daemon.stop()?;
    daemon.launch()?;
    let after = daemon.get(path).await?;
    assert_eq!(
        (&after["report"]["compared"], &after["since"]),
        (&n.into(), &started["since"]),
        "{after:#}"
    );

    daemon.run(&["policy", "shadow", "promote", "quick", "--for", "team"])?;
    assert_eq!(
        deploy(&daemon, "team", "four").await?,
        "fast/west",
        "the namespace uses it"
    );
    assert_eq!(
        deploy(&daemon, "other", "five").await?,
        "cheap/east",
        "others don't"
    );
    let plugin = daemon.get("/v1/plugins/quick").await?;
    assert_eq!(
        (&plugin["state"], &plugin["identity"]["component"]),
        (&"active".into(), &started["component"]),
        "{plugin:#}"
    );
    assert_eq!(daemon.list("/v1/shadows").await?, Value::Array(Vec::new()));
    for reason in ["ShadowStarted", "ShadowPromoted", "NamespaceLimitsSet"] {
        daemon.event(reason, |_| true).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_shadow_that_loops_or_traps_is_told_and_in_nobodys_way() -> Result<()> {
    let daemon = clouds()?;
    let hostile = guest("hostile-policy")?;
    for (name, mode, deadline) in [
        ("loops", "loop", "2s"),
        ("hangs", "loop", "10m"),
        ("traps", "panic", "2s"),
        ("lies", "too-many", "2s"),
    ] {
        let settings = daemon.file(
            name,
            &format!("[settings]\nmode = \"{mode}\"\n[limits]\ndeadline = \"{deadline}\"\n"),
        )?;
        start(
            &daemon,
            &hostile.to_string_lossy(),
            &["--name", name, "--settings", &settings],
        )?;
    }
    for n in 0..12 {
        assert_eq!(
            deploy(&daemon, "default", &format!("app-{n}")).await?,
            "cheap/east"
        );
    }
    // All of the twelve were decided while its first answer was still to come.
    let hangs = daemon.get("/v1/shadows/hangs").await?;
    assert!(
        hangs["report"]["faults"] == 0 && hangs["report"]["compared"] == 0,
        "{hangs:#}"
    );
    let suspended = |s: &Value| s["report"]["suspended"] == true;
    let traps = daemon
        .until_at("/v1/shadows/traps", "suspended", suspended)
        .await?;
    assert!(
        traps["report"]["faults"] == 10
            && traps["report"]["lastFault"].to_string().contains("trapped"),
        "{traps:#}"
    );
    let lies = daemon
        .until_at("/v1/shadows/lies", "suspended", suspended)
        .await?;
    assert!(
        lies["report"]["refused"] == 10 && lies["report"]["compared"] == 0,
        "{lies:#}"
    );
    let loops = daemon
        .until_at("/v1/shadows/loops", "late", |s| {
            s["report"]["faults"].as_u64() > Some(0)
        })
        .await?;
    assert!(
        loops["report"]["lastFault"]
            .to_string()
            .contains("deadline"),
        "{loops:#}"
    );
    daemon.run(&["policy", "shadow", "stop", "loops"])?;
    let listed = daemon.run(&["policy", "shadow", "list"])?;
    assert!(
        listed.contains("traps") && !listed.contains("loops"),
        "{listed}"
    );
    Ok(())
}

#[tokio::test]
async fn what_would_be_refused_as_a_plugin_is_no_shadow_either() -> Result<()> {
    let daemon = clouds()?;
    let refused = |file: &str, more: &[&str], part: &str| {
        let all: Vec<&str> = ["policy", "shadow", "start", file]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        let output = daemon.cli(&all)?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && text.contains(part),
            "{file}: {text}"
        );
        anyhow::Ok(())
    };
    let policy = component("fastest").to_string_lossy().into_owned();
    let provider = component("process").to_string_lossy().into_owned();
    refused(
        &daemon.file("bad.wasm", "no component")?,
        &[],
        "not a WebAssembly component",
    )?;
    refused(
        &component("simulated").to_string_lossy(),
        &["--name", "sim"],
        "is a provider",
    )?;
    // It wants more than a policy may: refused before anything of it runs.
    refused(&provider, &[], "process")?;
    let grants = daemon.file("grants.toml", "[grants.process]\ncommands = [\"*\"]\n")?;
    refused(&provider, &["--settings", &grants], "grants")?;
    refused(
        &policy,
        &["--name", "cheapest"],
        "taken by a plugin instance",
    )?;
    let settings = daemon.file("settings.toml", "[settings]\nspeed = 1\n")?;
    refused(&policy, &["--settings", &settings], "settings: ")?;
    assert_eq!(daemon.list("/v1/shadows").await?, Value::Array(Vec::new()));
    Ok(())
}
