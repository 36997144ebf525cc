//! Decisions looked at again: replayed by the version that made them, tried on another policy, explained, and made without a policy that fails.

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::Value;
use tradewind_core::placement::recorded;
use tradewind_kit::{Daemon, component, guest};

fn cloud(price: &str, more: &str) -> String {
    format!(
        "component = \"simulated.wasm\"\n[settings.regions.r.sizes.s]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"{price}\"\n{more}"
    )
}

/// A cheap and slow cloud, and a dear and fast one.
fn two() -> Result<Daemon> {
    let (cheap, dear) = (
        cloud("0.10", "performance = 0.5\n"),
        cloud("0.90", "performance = 2.0\n"),
    );
    Daemon::start(
        &["cheapest", "simulated"],
        &[("cheap", &cheap), ("dear", &dear)],
    )
}

fn app(name: &str, more: &str) -> String {
    format!(
        "{{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {{name: {name}}}, spec: {{{more} services: {{web: {{command: [serve], replicas: 2}}}}}}}}"
    )
}

/// Starts it anew with these settings.
fn configure(daemon: &mut Daemon, settings: &str) -> Result<()> {
    daemon.kill()?;
    std::fs::write(daemon.folder.path().join("config.toml"), settings)?;
    daemon.launch()
}

async fn decision(daemon: &Daemon, deployment: &str) -> Result<Value> {
    let mut all = daemon
        .list(&format!("/v1/decisions?deployment={deployment}"))
        .await?;
    Ok(all[0].take())
}

async fn replay(daemon: &Daemon, id: &str) -> Result<Value> {
    let response = daemon
        .http
        .post(daemon.url(&format!("/v1/decisions/{id}/replay")))
        .send()
        .await?;
    let (status, text) = (response.status(), response.text().await?);
    ensure!(status.is_success(), "{status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

#[tokio::test]
async fn a_decision_replays_after_a_restart_and_after_its_policy_was_replaced() -> Result<()> {
    let mut daemon = two()?;
    daemon.put("app", &app("app", "")).await?;
    assert_eq!(daemon.running("app").await?["places"][0], "cheap/r");
    let made = decision(&daemon, "app").await?;
    let id = made["id"].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        made["tasks"][0]["chosen"][0]["quote"]["stale"],
        Value::Null,
        "a fresh quote is told with its age: {made:#}"
    );
    assert!(
        made["tasks"][0]["chosen"][0]["quote"]["age"].is_string(),
        "{made:#}"
    );
    assert!(
        daemon
            .run(&["replay", &id])?
            .contains("identical, bit for bit")
    );

    daemon.kill()?;
    daemon.launch()?;
    assert_eq!(replay(&daemon, &id).await?["identical"], true);

    std::fs::copy(component("fastest"), daemon.plugins().join(".new"))?;
    std::fs::rename(
        daemon.plugins().join(".new"),
        daemon.plugins().join("cheapest.wasm"),
    )?;
    let then = made["policy"]["component"].clone();
    daemon
        .until_at("/v1/plugins/cheapest", "replaced", |p| {
            p["identity"]["component"] != then
        })
        .await?;
    let again = replay(&daemon, &id).await?;
    assert_eq!(
        (
            &again["identical"],
            &again["samePolicy"],
            &again["replayedPolicy"]["component"]
        ),
        (&true.into(), &true.into(), &then)
    );

    // Another policy: no error, but a comparison.
    let fastest = component("fastest").display().to_string();
    let told = daemon.run(&["replay", &id, "--policy", &fastest])?;
    assert!(
        told.contains("2 x cheap/r") && told.contains("2 x dear/r") && told.contains("more"),
        "{told}"
    );
    let other: Value =
        serde_json::from_str(&daemon.run(&["-o", "json", "replay", &id, "--policy", &fastest])?)?;
    assert_eq!(
        (&other["samePolicy"], &other["identical"]),
        (&false.into(), &false.into()),
        "{other:#}"
    );
    assert_eq!(
        (&other["recordedHourly"], &other["replayedHourly"]),
        (&"0.20".into(), &"1.80".into()),
        "{other:#}"
    );
    assert!(
        daemon.get("/v1/plugins").await?["items"]
            .as_array()
            .is_some_and(|all| all.len() == 3),
        "it has not become active"
    );

    // What is no policy is refused, and told apart.
    let provider = daemon.cli(&[
        "replay",
        &id,
        "--policy",
        &component("simulated").display().to_string(),
    ])?;
    assert!(!provider.status.success());
    assert!(String::from_utf8_lossy(&provider.stderr).contains("is a provider, not a policy"));
    Ok(())
}

#[tokio::test]
async fn a_record_that_was_changed_does_not_replay_and_the_difference_is_named() -> Result<()> {
    let mut daemon = two()?;
    daemon.put("app", &app("app", "")).await?;
    daemon.running("app").await?;
    let id = decision(&daemon, "app").await?["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    daemon.kill()?;
    {
        let state = Connection::open(daemon.data().join("state.db"))?;
        let key = format!("inputs/{id}");
        let bytes: Vec<u8> =
            state.query_row("SELECT value FROM kv WHERE key = ?1", [&key], |row| {
                row.get(0)
            })?;
        let mut record = recorded::decode(&bytes)?;
        let replicas = record.answer.replicas.first_mut().context("a choice")?;
        *replicas = 1;
        state.execute(
            "UPDATE kv SET value = ?2 WHERE key = ?1",
            rusqlite::params![key, recorded::encode(&record)?],
        )?;
        let logged: i64 = state.query_row(
            "SELECT count(*) FROM change WHERE key = ?1",
            [&key],
            |row| row.get(0),
        )?;
        assert_eq!(
            logged, 0,
            "inputs are stored once, and not for followers too"
        );
    }
    daemon.launch()?;
    let output = daemon.cli(&["replay", &id])?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains(
            "recorded 1 replicas of \"default/app/web\" on \"cheap/r/s\", replayed 2 replicas"
        ),
        "{told}"
    );
    Ok(())
}

/// What `explain` says is tried at the clouds: a micro-USD decides.
#[tokio::test]
async fn the_answer_flips_at_the_price_that_explain_tells() -> Result<()> {
    let (cheap, dear) = (cloud("0.10", ""), cloud("0.90", ""));
    let tiny = cloud("0.01", "").replace("cpu = 4", "cpu = 0.01");
    let daemon = Daemon::start(
        &["cheapest", "simulated"],
        &[("cheap", &cheap), ("dear", &dear), ("tiny", &tiny)],
    )?;
    daemon.put("app", &app("app", "")).await?;
    daemon.running("app").await?;
    let explained = daemon.get("/v1/deployments/app/explain").await?;
    let task = &explained["tasks"][0];
    assert_eq!(
        (
            &task["candidates"][0]["provider"],
            &task["candidates"][1]["provider"]
        ),
        (&"cheap".into(), &"dear".into()),
        "{task:#}"
    );
    let excluded = &task["excluded"][0];
    assert_eq!(
        (&excluded["provider"], &excluded["value"]),
        (&"tiny".into(), &"10m".into()),
        "{task:#}"
    );
    assert!(
        excluded["reason"]
            .as_str()
            .is_some_and(|r| r.starts_with("fewer cores than")),
        "{excluded:#}"
    );
    let at = |kind: &str, provider: &str| -> Result<u64> {
        let all = task["flips"].as_array().context("flips")?;
        let flip = all
            .iter()
            .find(|f| f["kind"] == kind && f["provider"] == provider)
            .with_context(|| format!("no {kind}: {all:?}"))?;
        let price: tradewind_core::units::MicroUsd =
            serde_json::from_value(flip["flipsAt"].clone())?;
        Ok(price.0)
    };
    let table = daemon.run(&["explain", "app"])?;
    assert!(
        table.contains("dear/r")
            && table.contains("(now $0.90)")
            && table.contains(" below ")
            && table.contains("tiny/r"),
        "{table}"
    );

    let (cheaper, dearer) = (at("cheaper", "dear")?, at("dearer", "cheap")?);
    // The price of one cloud, and where a deployment would go then.
    for (provider, price, expected) in [
        ("dear", cheaper, "dear"),
        ("dear", cheaper + 1, "cheap"),
        ("dear", 900_000, "cheap"),
        ("cheap", dearer, "dear"),
        ("cheap", dearer - 1, "cheap"),
    ] {
        let text = format!("{}.{:06}", price / 1_000_000, price % 1_000_000);
        std::fs::write(
            daemon.plugins().join(format!("{provider}.toml")),
            cloud(&text, ""),
        )?;
        let wanted: tradewind_core::units::MicroUsd = text.parse()?;
        let shown = |o: &Value| {
            let all = o["items"].as_array().into_iter().flatten();
            let mut of = all.filter(|o| o["provider"] == provider);
            of.any(|o| {
                serde_json::from_value(o["price"].clone())
                    .is_ok_and(|p: tradewind_core::units::MicroUsd| p == wanted)
            })
        };
        daemon
            .until_at("/v1/offers", "at the new price", shown)
            .await?;
        let file = daemon.file("other.yaml", &app("other", ""))?;
        let plan: Value = serde_json::from_str(&daemon.run(&["-o", "json", "plan", "-f", &file])?)?;
        assert_eq!(
            plan["changes"][0]["provider"], expected,
            "{provider} at {text}: {plan:#}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_that_breaks_a_rule_is_refused_with_its_row_and_may_have_a_stand_in() -> Result<()>
{
    let mut daemon = two()?;
    std::fs::copy(
        guest("hostile-policy")?,
        daemon.plugins().join("hostile-policy.wasm"),
    )?;
    // The mode, and what is told of it.
    let modes = [
        ("too-many", "row 0: task 0"),
        ("unknown-offer", "row 0: there is no offer"),
        ("nan", "not a number"),
    ];
    for (mode, _) in modes {
        let text = format!("component = \"hostile-policy.wasm\"\n[settings]\nmode = \"{mode}\"\n");
        std::fs::write(daemon.plugins().join(format!("{mode}.toml")), text)?;
    }
    let active = |seen: &Value, mode: &str| {
        let all = seen["items"].as_array();
        all.is_some_and(|all| {
            all.iter()
                .any(|p| p["instance"] == mode && p["state"] == "active")
        })
    };
    daemon
        .until_at("/v1/plugins", "loaded", |seen| {
            modes.iter().all(|(mode, _)| active(seen, mode))
        })
        .await?;
    daemon
        .put("first", &app("first", "policy: too-many,"))
        .await?;
    let waiting = daemon
        .until("first", "refused", |d| {
            !d["message"].as_str().unwrap_or_default().is_empty()
        })
        .await?;
    assert!(
        waiting["message"]
            .as_str()
            .is_some_and(|m| m.contains("row 0")),
        "nobody decides by default: {waiting:#}"
    );
    assert_eq!(waiting["status"], "pending");

    configure(
        &mut daemon,
        "[controller]\npolicy-fallback = \"built-in\"\n",
    )?;
    for (mode, told) in modes {
        let name = format!("by-{mode}");
        daemon
            .put(&name, &app(&name, &format!("policy: {mode},")))
            .await?;
        assert_eq!(
            daemon.running(&name).await?["places"][0],
            "cheap/r",
            "{mode}"
        );
        let made = decision(&daemon, &name).await?;
        assert_eq!(made["policy"]["plugin"], "built-in", "{made:#}");
        assert!(
            made["fallback"]
                .as_str()
                .is_some_and(|f| f.contains(told) && f.contains("hostile-policy")),
            "{made:#}"
        );
        let events = daemon
            .list(&format!("/v1/deployments/{name}/events"))
            .await?;
        let fell =
            events.as_array().into_iter().flatten().any(|e| {
                e["reason"] == "PolicyFellBack" && e["message"].to_string().contains(told)
            });
        assert!(fell, "{events:#}");
        let id = made["id"].as_str().unwrap_or_default();
        assert!(
            daemon.run(&["replay", id])?.contains("identical"),
            "the stand-in's decisions replay too"
        );
        assert!(
            daemon
                .run(&["decision", "show", id])?
                .contains("the built-in order decided")
        );
    }
    assert_eq!(
        daemon.running("first").await?["places"][0],
        "cheap/r",
        "who waited is decided about, too"
    );
    Ok(())
}

#[tokio::test]
async fn old_quotes_are_marked_or_refused() -> Result<()> {
    let (old, new) = (cloud("0.10", "quoted-at = 1000\n"), cloud("0.90", ""));
    let mut daemon = Daemon::start(&["cheapest", "simulated"], &[("old", &old), ("new", &new)])?;
    daemon.put("app", &app("app", "")).await?;
    assert_eq!(daemon.running("app").await?["places"][0], "old/r");
    let made = decision(&daemon, "app").await?;
    assert_eq!(
        made["tasks"][0]["chosen"][0]["quote"]["stale"], true,
        "{made:#}"
    );
    assert!(daemon.run(&["explain", "app"])?.contains("(stale)"));

    configure(
        &mut daemon,
        "[controller]\nstale-quotes = \"refuse\"\nquote-ttl = \"1h\"\n",
    )?;
    daemon.put("other", &app("other", "")).await?;
    assert_eq!(daemon.running("other").await?["places"][0], "new/r");
    let refused = &decision(&daemon, "other").await?["tasks"][0]["excluded"][0]["reason"];
    assert_eq!(
        *refused,
        "the quote is older than 1h (controller.quote-ttl)"
    );
    assert_eq!(
        daemon.running("app").await?["places"][0],
        "old/r",
        "what runs stays"
    );
    Ok(())
}
