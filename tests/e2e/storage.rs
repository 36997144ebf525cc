//! The state in trouble, and its way out: backups that are put back, files that others hold, damage.

use std::{
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result};
use reqwest::StatusCode;
use rusqlite::Connection;
use serde_json::Value;
use tradewind_kit::{Daemon, binary, endpoints, fetch, pids, web};

fn restore(daemon: &Daemon, data: &Path, backup: &str, options: &[&str]) -> Result<Output> {
    let mut command = Command::new(binary());
    command
        .arg("--data")
        .arg(data)
        .arg("restore")
        .arg(backup)
        .args(options)
        .stdin(std::process::Stdio::null());
    command
        .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
        .env("TRADEWIND_PLUGINS", daemon.plugins());
    Ok(command.output()?)
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_backup_is_put_back_and_what_runs_is_found_again() -> Result<()> {
    let mut daemon = Daemon::local()?;
    daemon.put("stay", &web("stay", 2, "still here")).await?;
    let before = daemon.running("stay").await?;
    let place = daemon
        .list("/v1/events")
        .await?
        .as_array()
        .and_then(|e| e.last()?["revision"].as_u64())
        .context("no events")?;

    daemon.put("busy", &web("busy", 1, "at first")).await?;
    let path = daemon
        .folder
        .path()
        .join("state.backup")
        .display()
        .to_string();
    let writes = async {
        for i in 0..20 {
            daemon.put("busy", &web("busy", 1, &i.to_string())).await?;
        }
        anyhow::Ok(())
    };
    let backup = async {
        let (url, http) = (daemon.url("/v1/backup"), daemon.http.clone());
        let bytes = http
            .post(url)
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await?;
        anyhow::Ok(std::fs::write(&path, bytes)?)
    };
    let (written, made) = tokio::join!(writes, backup);
    written?;
    made?;
    daemon.running("busy").await?;
    let by_hand = daemon
        .folder
        .path()
        .join("by-hand.backup")
        .display()
        .to_string();
    assert!(
        daemon
            .run(&["backup", &by_hand])?
            .contains("the state at revision")
    );

    let refused = restore(&daemon, &daemon.data(), &path, &["--force", "--yes"])?;
    assert!(
        !refused.status.success() && told(&refused).contains("in use by another daemon"),
        "{refused:?}"
    );
    daemon.kill()?;
    let refused = restore(&daemon, &daemon.data(), &path, &[])?;
    assert!(
        !refused.status.success() && told(&refused).contains("--force"),
        "{refused:?}"
    );
    let mut bytes = std::fs::read(&path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let bad = daemon
        .folder
        .path()
        .join("bad.backup")
        .display()
        .to_string();
    std::fs::write(&bad, &bytes)?;
    let refused = restore(&daemon, &daemon.data(), &bad, &["--force", "--yes"])?;
    assert!(
        !refused.status.success() && told(&refused).contains("damaged"),
        "{refused:?}"
    );
    std::fs::write(&bad, &bytes[..bytes.len() - 100])?;
    assert!(
        !restore(&daemon, &daemon.data(), &bad, &["--force", "--yes"])?
            .status
            .success(),
        "one that was cut off"
    );

    let done = restore(&daemon, &daemon.data(), &path, &["--force", "--yes"])?;
    assert!(done.status.success(), "{done:?}");
    daemon.file(
        "config.toml",
        "[controller]\nsweep-interval = \"100ms\"\nsweep-grace = \"1ms\"\n",
    )?;
    daemon.launch()?;
    let after = daemon.running("stay").await?;
    assert_eq!(
        (pids(&after), endpoints(&after)),
        (pids(&before), endpoints(&before)),
        "found again, not started twice"
    );
    for endpoint in endpoints(&after) {
        assert_eq!(fetch(&daemon.http, &endpoint).await?, "hello, still here\n");
    }
    let busy = daemon.running("busy").await?;
    assert_eq!(pids(&busy).len(), 1, "{busy:#}");
    // What was made after the backup has no record: the sweep removes it.
    daemon.event("OrphanDestroyed", |_| true).await?;
    daemon.event("StateRestored", |_| true).await?;
    let verified = daemon.run(&["audit", "verify"])?;
    assert!(verified.contains("as they were recorded"), "{verified}");
    let resumed = daemon
        .http
        .get(daemon.url("/v1/events?follow=true"))
        .header("last-event-id", place.to_string())
        .send()
        .await?;
    assert_eq!(
        resumed.status(),
        StatusCode::GONE,
        "who followed before reads again"
    );
    Ok(())
}

#[tokio::test]
async fn a_backup_fills_an_empty_folder() -> Result<()> {
    let mut daemon = Daemon::local()?;
    daemon.put("stay", &web("stay", 2, "still here")).await?;
    let before = daemon.running("stay").await?;
    let path = daemon
        .folder
        .path()
        .join("state.backup")
        .display()
        .to_string();
    daemon.run(&["backup", &path])?;
    daemon.kill()?;
    // All of it is lost: the state, the records of processes, the plugins.
    std::fs::remove_dir_all(daemon.data())?;
    std::fs::remove_dir_all(daemon.plugins())?;
    let done = restore(&daemon, &daemon.data(), &path, &["--yes"])?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success() && said.contains("token reset-admin"),
        "{done:?}"
    );
    // Tokens are backed up as hashes only, so the administrator needs a new one.
    let reset = Command::new(binary())
        .arg("--data")
        .arg(daemon.data())
        .args(["token", "reset-admin"])
        .output()?;
    assert!(reset.status.success(), "{reset:?}");
    daemon.launch()?;
    let after = daemon.running("stay").await?;
    assert_eq!(
        (pids(&after), endpoints(&after)),
        (pids(&before), endpoints(&before)),
        "found again, not started twice"
    );
    Ok(())
}

#[tokio::test]
async fn while_the_state_takes_no_writes_reads_go_on_and_it_recovers() -> Result<()> {
    let daemon = Daemon::local()?;
    daemon.put("a", &web("a", 1, "x")).await?;
    daemon.running("a").await?;
    let other = Connection::open(daemon.data().join("state.db"))?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    let request = daemon
        .http
        .put(daemon.url("/v1/deployments/b"))
        .header("content-type", "application/yaml");
    let answer = request.body(web("b", 1, "x")).send().await?;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    let problem: Value = answer.json().await?;
    assert_eq!(problem["type"], "/problems/storage", "{problem:#}");
    assert!(
        problem["causes"]
            .to_string()
            .contains("another program holds the file"),
        "{problem:#}"
    );
    assert_eq!(
        daemon
            .http
            .get(daemon.url("/readyz"))
            .send()
            .await?
            .status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    let waits = daemon.cli(&["wait-ready", "--timeout", "100ms"])?;
    let told = String::from_utf8_lossy(&waits.stderr).into_owned();
    assert!(
        waits.status.code() == Some(7) && told.contains("not ready after 100ms: "),
        "{:?}: {told}",
        waits.status
    );
    assert_eq!(daemon.get("/v1/deployments/a").await?["status"], "running");
    other.execute_batch("ROLLBACK")?;
    daemon.run(&["wait-ready"])?;
    daemon.put("b", &web("b", 1, "x")).await?;
    daemon.running("b").await?;
    Ok(())
}

#[tokio::test]
async fn a_damaged_state_is_refused_and_a_backup_is_the_way_out() -> Result<()> {
    let mut daemon = Daemon::local()?;
    daemon.put("stay", &web("stay", 1, "x")).await?;
    let before = daemon.running("stay").await?;
    let path = daemon
        .folder
        .path()
        .join("state.backup")
        .display()
        .to_string();
    daemon.run(&["backup", &path])?;
    daemon.kill()?;
    let file = daemon.data().join("state.db");
    Connection::open(&file)?.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let mut bytes = std::fs::read(&file)?;
    bytes[4096..].fill(0xff);
    std::fs::write(&file, bytes)?;
    let error = format!(
        "{:#}",
        daemon
            .launch()
            .err()
            .context("it started on a damaged state")?
    );
    assert!(
        error.contains("state.db")
            && error.contains("damaged")
            && error.contains("tradewind restore"),
        "{error}"
    );
    assert!(
        restore(&daemon, &daemon.data(), &path, &["--force", "--yes"])?
            .status
            .success()
    );
    daemon.launch()?;
    assert_eq!(pids(&daemon.running("stay").await?), pids(&before));
    Ok(())
}

const CLOUD: &str = "component = \"simulated.wasm\"\n[settings.regions.r.sizes.s]\ncpu = 4\nmemory = \"16Gi\"\nprice = \"0.10\"\n";

/// A token that was revoked after the backup stays so; a made-up or newer backup is refused; nobody restores without having seen what it brings.
#[tokio::test]
async fn a_restore_gives_nobody_back_what_was_taken_from_them() -> Result<()> {
    let mut daemon = Daemon::local()?;
    let token = |name: &str| {
        let made = daemon.run(&["token", "create", name, "--role", "admin", "-n", "*"])?;
        anyhow::Ok(made.lines().last().unwrap_or_default().to_owned())
    };
    let (leaver, stayer) = (token("leaver")?, token("stayer")?);
    let path = daemon
        .folder
        .path()
        .join("state.backup")
        .display()
        .to_string();
    let said = daemon.run(&["backup", &path])?;
    let digest = said
        .split_whitespace()
        .find(|word| word.starts_with("sha256:"))
        .context("no digest")?
        .trim_end_matches(':')
        .to_owned();
    daemon.run(&["token", "revoke", "leaver"])?;
    let newer = token("newer")?;
    daemon.kill()?;

    let force = |options: &[&str]| {
        restore(
            &daemon,
            &daemon.data(),
            &path,
            &[&["--force"], options].concat(),
        )
    };
    let other = format!("sha256:{}", "0".repeat(64));
    let refused = force(&["--yes", "--expect", &other])?;
    assert!(
        told(&refused).contains(&digest) && told(&refused).contains(&other),
        "{refused:?}"
    );
    let unasked = force(&[])?;
    let list = told(&unasked);
    assert_eq!(unasked.status.code(), Some(64), "{unasked:?}");
    for shown in [
        "plugins/local.toml is granted:",
        "commands = [\"*\"]",
        "token \"stayer\": admin of *",
        "tokens that end: \"leaver\"",
        "read the list, then say it with --yes",
    ] {
        assert!(list.contains(shown), "{shown:?} is not in {list}");
    }
    let done = force(&["--yes", "--expect", &digest])?;
    assert!(done.status.success(), "{done:?}");
    daemon.launch()?;
    let whoami = async |daemon: &Daemon, token: &str| {
        let http = tradewind_kit::client(Some(token))?;
        anyhow::Ok(http.get(daemon.url("/v1/whoami")).send().await?.status())
    };
    assert_eq!(
        whoami(&daemon, &leaver).await?,
        StatusCode::UNAUTHORIZED,
        "revoked is revoked"
    );
    assert_eq!(whoami(&daemon, &stayer).await?, StatusCode::OK);
    assert_eq!(
        whoami(&daemon, &newer).await?,
        StatusCode::OK,
        "what came later was not taken back by anybody"
    );
    let events = daemon.list("/v1/events?limit=1000").await?;
    let restored = events
        .as_array()
        .into_iter()
        .flatten()
        .find(|e| e["reason"] == "StateRestored")
        .context("no StateRestored")?;
    assert!(
        restored["message"]
            .as_str()
            .is_some_and(|m| m.contains("whose audit log ended with entry")),
        "{restored:#}"
    );

    // Into an empty folder nobody knows what was revoked since: all tokens end, and the plugins come with what they may do.
    daemon.kill()?;
    std::fs::remove_dir_all(daemon.data())?;
    std::fs::remove_dir_all(daemon.plugins())?;
    let listed = told(&restore(&daemon, &daemon.data(), &path, &[])?);
    for shown in [
        "plugins/local.toml is granted:",
        "commands = [\"*\"]",
        "tokens that end:",
    ] {
        assert!(listed.contains(shown), "{shown:?} is not in {listed}");
    }
    assert!(
        !daemon.data().join("state.db").exists() && !daemon.plugins().join("local.toml").exists(),
        "nothing was touched"
    );
    assert!(
        restore(&daemon, &daemon.data(), &path, &["--yes"])?
            .status
            .success()
    );
    let reset = Command::new(binary())
        .arg("--data")
        .arg(daemon.data())
        .args(["token", "reset-admin"])
        .output()?;
    assert!(reset.status.success(), "{reset:?}");
    daemon.launch()?;
    for ended in [&leaver, &stayer] {
        assert_eq!(whoami(&daemon, ended).await?, StatusCode::UNAUTHORIZED);
    }
    // Unless somebody says otherwise.
    daemon.kill()?;
    std::fs::remove_dir_all(daemon.data())?;
    assert!(
        restore(&daemon, &daemon.data(), &path, &["--yes", "--keep-tokens"])?
            .status
            .success()
    );
    let reset = Command::new(binary())
        .arg("--data")
        .arg(daemon.data())
        .args(["token", "reset-admin"])
        .output()?;
    assert!(reset.status.success(), "{reset:?}");
    daemon.launch()?;
    assert_eq!(whoami(&daemon, &stayer).await?, StatusCode::OK);
    Ok(())
}

/// Two daemons of one state would undo each other's work: the second one is stopped before it does anything.
#[tokio::test]
async fn a_restored_copy_beside_a_living_original_is_stopped() -> Result<()> {
    let simulated = || Daemon::start(&["cheapest", "simulated"], &[("cloud", CLOUD)]);
    let mut original = simulated()?;
    let manifest = "{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {name: stay}, spec: {services: {w: {command: [serve]}}}}";
    original.put("stay", manifest).await?;
    original.running("stay").await?;
    let path = original
        .folder
        .path()
        .join("state.backup")
        .display()
        .to_string();
    original.run(&["backup", &path])?;

    let mut other = simulated()?;
    other.kill()?;
    std::fs::remove_dir_all(other.data())?;
    let done = restore(&other, &other.data(), &path, &["--yes"])?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success() && said.contains("restore --confirm"),
        "{done:?}"
    );
    let data = other.data();
    let tradewind = |arguments: &[&str]| {
        anyhow::Ok(
            Command::new(binary())
                .arg("--data")
                .arg(&data)
                .args(arguments)
                .output()?,
        )
    };
    let alive = format!(
        "{:#}",
        other
            .launch()
            .err()
            .context("it started beside the original")?
    );
    assert!(
        alive.contains("runs on this machine, on the folder"),
        "{alive}"
    );
    let refused = tradewind(&["restore", "--confirm"])?;
    assert!(
        !refused.status.success() && told(&refused).contains("runs on this machine"),
        "{refused:?}"
    );
    assert_eq!(
        original.get("/v1/deployments/stay").await?["status"],
        "running",
        "nothing has happened to it"
    );

    // It has ended; whether for good, somebody has to say.
    original.kill()?;
    let unconfirmed = format!(
        "{:#}",
        other
            .launch()
            .err()
            .context("it started though nobody has said that the other is gone")?
    );
    assert!(
        unconfirmed.contains("which may still run") && unconfirmed.contains("restore --confirm"),
        "{unconfirmed}"
    );
    let confirmed = tradewind(&["restore", "--confirm"])?;
    assert!(confirmed.status.success(), "{confirmed:?}");
    assert!(
        tradewind(&["restore", "--confirm"])?.status.success(),
        "said twice"
    );
    assert!(tradewind(&["token", "reset-admin"])?.status.success());
    other.launch()?;
    other.running("stay").await?;
    let events = other.list("/v1/events?limit=1000").await?;
    let reasons: Vec<&str> = events
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|e| e["reason"].as_str())
        .collect();
    assert!(
        reasons.contains(&"StateRestored") && reasons.contains(&"RestoreConfirmed"),
        "{reasons:?}"
    );
    let late = format!(
        "{:#}",
        original.launch().err().context("the original came back")?
    );
    assert!(late.contains("was taken over by"), "{late}");

    // Put back into its own folder, the state is the original again.
    other.stop()?;
    assert!(
        restore(&original, &original.data(), &path, &["--force", "--yes"])?
            .status
            .success()
    );
    original.launch()?;
    original.running("stay").await?;
    Ok(())
}
