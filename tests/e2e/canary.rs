//! Canaries of plugins: a broken version returns by itself and little suffers, a good one is promoted, and what the new version of a
//! provider has made is never lost on the way back.

use anyhow::{Result, ensure};
use serde_json::Value;
use tradewind_kit::{Daemon, component, guest};

const CLOUD: &str = r#"
component = "simulated.wasm"
[settings.regions.east.sizes.small]
cpu = 4
memory = "16Gi"
price = "0.10"
capacity = 1000000
"#;

fn cloud() -> Result<Daemon> {
    Daemon::start(&["cheapest", "simulated"], &[("cloud", CLOUD)])
}

fn manifest(name: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {{services: {{web: {{command: [serve]}}}}}}}}"
    )
}

/// The same plugin with other bytes: a custom section at its end.
fn variant(daemon: &Daemon, name: &str) -> Result<String> {
    let mut bytes = std::fs::read(component(name))?;
    bytes.extend([0, 3, 1, b'v', 7]);
    let path = daemon.folder.path().join(format!("{name}-next.wasm"));
    std::fs::write(&path, bytes)?;
    Ok(path.to_string_lossy().into_owned())
}

fn canary(daemon: &Daemon, arguments: &[&str]) -> Result<Value> {
    let all: Vec<&str> = ["-o", "json", "plugin", "canary"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    Ok(serde_json::from_str(&daemon.run(&all)?)?)
}

async fn serving(daemon: &Daemon, plugin: &str) -> Result<String> {
    let view = daemon.get(&format!("/v1/plugins/{plugin}")).await?;
    Ok(view["identity"]["component"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

/// Deploys one after the other until the canary has ended.
async fn deploy_until_ended(daemon: &Daemon, instance: &str) -> Result<(usize, Value)> {
    for n in 0..400 {
        let name = format!("app-{n}");
        daemon.put(&name, &manifest(&name)).await?;
        daemon.running(&name).await?;
        let state = daemon
            .get(&format!("/v1/plugins/{instance}/canary"))
            .await?;
        if state["last"].is_object() {
            return Ok((n + 1, state));
        }
    }
    anyhow::bail!("the canary has not ended:\n{}", daemon.log())
}

#[tokio::test]
async fn a_broken_policy_returns_by_itself_and_no_decision_suffers() -> Result<()> {
    let daemon = cloud()?;
    let before = serving(&daemon, "cheapest").await?;
    let broken = daemon.file(
        "broken.toml",
        "component = \"cheapest.wasm\"\n[settings]\nmode = \"panic\"\n",
    )?;
    let file = guest("hostile-policy")?.to_string_lossy().into_owned();
    let started = canary(
        &daemon,
        &[
            "start",
            "cheapest",
            &file,
            "--share",
            "50%",
            "--instance-file",
            &broken,
        ],
    )?;
    assert_eq!(
        (&started["canary"]["state"], &started["canary"]["share"]),
        (&"running".into(), &"50%".into()),
        "{started:#}"
    );

    let (_, ended) = deploy_until_ended(&daemon, "cheapest").await?;
    assert_eq!(ended["last"]["promoted"], false, "{ended:#}");
    assert!(
        ended["last"]["reason"].to_string().contains("calls failed"),
        "{ended:#}"
    );
    assert_eq!(serving(&daemon, "cheapest").await?, before);
    // Each was decided by the old version where the new one failed, and its record says by whom.
    let decisions = daemon.list("/v1/decisions?limit=500").await?;
    let by_old = decisions
        .as_array()
        .is_some_and(|all| all.iter().all(|d| d["policy"]["component"] == *before));
    assert!(by_old, "{decisions:#}");
    // The event log is written by a follower of the plugin host: the end is shown first.
    let by_host = |e: &Value| e["actor"] == "plugins";
    daemon.event("CanaryReturned", by_host).await.map(drop)
}

#[tokio::test]
async fn a_good_policy_is_promoted_and_stays_over_a_restart() -> Result<()> {
    let mut daemon = cloud()?;
    let next = variant(&daemon, "cheapest")?;
    let arguments = [
        "start",
        "cheapest",
        &next,
        "--share",
        "50%",
        "--for",
        "1ms",
        "--min-calls",
        "3",
        "--max-slowdown",
        "100000%",
    ];
    let started = canary(&daemon, &arguments)?;
    let wanted = started["canary"]["component"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let again = daemon.cli(&[
        "plugin", "canary", "start", "cheapest", &next, "--share", "1%",
    ])?;
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("already"),
        "one at a time"
    );

    let (_, ended) = deploy_until_ended(&daemon, "cheapest").await?;
    assert_eq!(
        (&ended["last"]["promoted"], &ended["canary"]),
        (&true.into(), &Value::Null),
        "{ended:#}"
    );
    assert_eq!(serving(&daemon, "cheapest").await?, wanted);
    daemon.kill()?;
    daemon.launch()?;
    assert_eq!(
        serving(&daemon, "cheapest").await?,
        wanted,
        "the registry's swap, with its history"
    );
    daemon.run(&["plugin", "rollback", "cheapest"])?;
    assert_ne!(serving(&daemon, "cheapest").await?, wanted);
    Ok(())
}

#[tokio::test]
async fn a_broken_provider_returns_by_itself_and_everything_runs_in_the_end() -> Result<()> {
    let daemon = cloud()?;
    for n in 0..20 {
        daemon
            .put(&format!("before-{n}"), &manifest(&format!("before-{n}")))
            .await?;
    }
    for n in 0..20 {
        daemon.running(&format!("before-{n}")).await?;
    }
    let text = format!("{CLOUD}[[settings.faults]]\noperation = \"apply\"\nkind = \"trap\"\n");
    let broken = daemon.file("broken.toml", &text)?;
    let file = component("simulated").to_string_lossy().into_owned();
    let start = [
        "start",
        "cloud",
        &file,
        "--share",
        "30%",
        "--instance-file",
        &broken,
        "--min-calls",
        "5",
    ];
    canary(&daemon, &start)?;
    let mut deployed = 0;
    let ended = loop {
        ensure!(
            deployed < 400,
            "the canary has not ended:\n{}",
            daemon.log()
        );
        daemon
            .put(
                &format!("app-{deployed}"),
                &manifest(&format!("app-{deployed}")),
            )
            .await?;
        deployed += 1;
        let state = daemon.get("/v1/plugins/cloud/canary").await?;
        if state["last"].is_object() {
            break state;
        }
    };
    assert_eq!(ended["last"]["promoted"], false, "{ended:#}");
    for n in 0..deployed {
        daemon.running(&format!("app-{n}")).await?;
    }
    for n in 0..20 {
        daemon.running(&format!("before-{n}")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_new_provider_has_made_goes_back_to_the_old_one() -> Result<()> {
    let mut daemon = Daemon::local()?;
    let next = variant(&daemon, "process")?;
    canary(
        &daemon,
        &["start", "local", &next, "--share", "50%", "--for", "1h"],
    )?;
    let sleeper = |n: usize| manifest(&format!("app-{n}")).replace("[serve]", "[sleep, \"3600\"]");
    // Ids are drawn, and versions by ids: until both have made some.
    let mut deployed = 0;
    let during = loop {
        ensure!(deployed < 64, "one version has made all of them");
        for n in deployed..deployed + 8 {
            daemon.put(&format!("app-{n}"), &sleeper(n)).await?;
        }
        for n in deployed..deployed + 8 {
            daemon.running(&format!("app-{n}")).await?;
        }
        deployed += 8;
        let during = canary(&daemon, &["status", "local"])?;
        let applied = during["canary"]["new"]["apply"]["calls"]
            .as_u64()
            .unwrap_or(0) as usize;
        if (1..deployed).contains(&applied) {
            assert!(during["canary"]["holds"].as_u64() > Some(0), "{during:#}");
            break during;
        }
    };
    // It goes on where it was after a power cut.
    daemon.kill()?;
    daemon.launch()?;
    let after = canary(&daemon, &["status", "local"])?;
    assert_eq!(
        (&after["canary"]["holds"], &after["canary"]["state"]),
        (&during["canary"]["holds"], &"running".into()),
        "{after:#}"
    );

    let aborted = canary(&daemon, &["abort", "local"])?;
    assert_eq!(aborted["last"]["by"], "token:admin", "{aborted:#}");
    // Nothing of it is left once the old version has found all of it.
    daemon
        .until_at("/v1/plugins/local/canary", "gone", |c| {
            c["canary"].is_null()
        })
        .await?;
    for n in 0..deployed {
        let running = daemon.running(&format!("app-{n}")).await?;
        assert!(
            running["tasks"][0]["allocations"]
                .as_array()
                .is_some_and(|all| all.len() == 1),
            "none was made anew: {running:#}"
        );
    }
    let placed = daemon.list("/v1/events?limit=500").await?;
    let placed = placed.as_array().map_or(0, |all| {
        all.iter()
            .filter(|e| e["reason"] == "AllocationPlaced")
            .count()
    });
    assert_eq!(placed, deployed);
    Ok(())
}

#[tokio::test]
async fn what_can_not_take_over_is_refused() -> Result<()> {
    let daemon = cloud()?;
    let (policy, provider) = (component("cheapest"), component("simulated"));
    let (policy, provider) = (policy.to_string_lossy(), provider.to_string_lossy());
    let bad = daemon.file("bad.wasm", "no component")?;
    for (instance, file, share, part) in [
        ("cheapest", policy.as_ref(), "10%", "serves already"),
        ("cheapest", provider.as_ref(), "10%", "it is a provider"),
        ("cloud", policy.as_ref(), "10%", "settings"),
        (
            "cheapest",
            bad.as_str(),
            "10%",
            "not a WebAssembly component",
        ),
        ("cheapest", policy.as_ref(), "100%", "use 1% to 99%"),
        ("nobody", policy.as_ref(), "10%", "no plugin instance"),
    ] {
        let output = daemon.cli(&[
            "plugin", "canary", "start", instance, file, "--share", share,
        ])?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && text.contains(part),
            "{instance} {part}: {text}"
        );
    }
    Ok(())
}
