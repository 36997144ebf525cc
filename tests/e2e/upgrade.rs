//! Data folders that released versions have left: this version opens them, keeps all that is in them, and goes on with the work.
//! `tests/state/make.sh` has made them.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::Value;
use tradewind_kit::Daemon;

/// Every folder of one version is of one installation, which no two daemons of a machine take up at once.
static INSTALLATION: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A folder as it was packed: `data`, `plugins`, `config.toml`, and in `shown` what the API of then answered.
fn unpack(version: &str) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let packed = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("state")
        .join(version)
        .join("state.tar.gz");
    let status = Command::new("tar")
        .arg("-xzf")
        .arg(&packed)
        .arg("-C")
        .arg(folder.path())
        .status()?;
    ensure!(status.success(), "{} can't be unpacked", packed.display());
    Ok(folder)
}

fn shown(daemon: &Daemon, what: &str) -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(
        daemon
            .folder
            .path()
            .join("shown")
            .join(format!("{what}.json")),
    )?)?)
}

/// Each element of a list by its name, or by its id: the list may stand in a field of its own.
fn by_name(list: &Value) -> BTreeMap<String, Value> {
    let list = list.as_array().or_else(|| {
        list.as_object()
            .and_then(|o| o.values().find_map(Value::as_array))
    });
    let name = |v: &Value| {
        ["name", "id"]
            .iter()
            .find_map(|key| Some(v[*key].as_str()?.to_owned()))
            .unwrap_or_default()
    };
    list.into_iter()
        .flatten()
        .map(|v| {
            (
                format!(
                    "{}/{}",
                    v["namespace"].as_str().unwrap_or_default(),
                    name(v)
                ),
                v.clone(),
            )
        })
        .collect()
}

/// Ids of a deployment's allocations: what would be others if anything had been made anew.
fn allocations(deployment: &Value) -> Vec<String> {
    let tasks = deployment["tasks"].as_array().into_iter().flatten();
    let all = tasks.flat_map(|t| t["allocations"].as_array().into_iter().flatten());
    let mut ids: Vec<String> = all
        .map(|a| a["id"].as_str().unwrap_or_default().to_owned())
        .collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_state_of_0_1_opens_whole_and_goes_on() -> Result<()> {
    let _alone = INSTALLATION.lock().await;
    let mut daemon = Daemon::on(unpack("0.1")?)?;
    for what in [
        "deployments",
        "namespaces",
        "tokens",
        "plans",
        "shadows",
        "decisions",
    ] {
        let (before, after) = (
            by_name(&shown(&daemon, what)?),
            by_name(&daemon.get(&format!("/v1/{what}")).await?),
        );
        ensure!(!before.is_empty(), "nothing was shown of {what}");
        for (name, then) in &before {
            let now = after
                .get(name)
                .with_context(|| format!("{what} \"{name}\" is lost: {after:#?}"))?;
            // What does not go by the clock.
            for field in [
                "generation",
                "manifest",
                "author",
                "role",
                "component",
                "deployment",
                "spec",
            ] {
                ensure!(
                    now[field] == then[field],
                    "{what} \"{name}\": {field} was {} and is {}",
                    then[field],
                    now[field]
                );
            }
        }
    }
    for (name, status) in [
        ("steady", "running"),
        ("done", "completed"),
        ("broken", "failed"),
        ("later", "running"),
        ("hedged", "running"),
        ("sleeper", "running"),
    ] {
        daemon
            .until(name, status, |d| d["status"] == status)
            .await?;
    }
    // Nothing is placed anew: neither what runs nor what has ended.
    for name in [
        "steady", "done", "broken", "long", "later", "hedged", "follower", "moving", "sleeper",
    ] {
        let now = daemon.get(&format!("/v1/deployments/{name}")).await?;
        let then = allocations(&shown(&daemon, name)?);
        assert!(
            !then.is_empty() && allocations(&now) == then,
            "{name} was {then:?}: {now:#}"
        );
    }

    // The chain is whole, up to the entry whose hash was noted elsewhere.
    let head = std::fs::read_to_string(daemon.folder.path().join("audit-head"))?;
    let hash = head
        .split_whitespace()
        .last()
        .context("no head was noted")?;
    let verified = daemon.run(&["audit", "verify", "--expect", hash])?;
    assert!(verified.contains("as they were recorded"), "{verified}");
    // The policies of then answer their requests of then, bit for bit.
    for decision in by_name(&shown(&daemon, "decisions")?).into_values() {
        let id = decision["id"].as_str().context("no id")?;
        let replayed = daemon.run(&["replay", id])?;
        assert!(
            replayed.contains("identical, bit for bit"),
            "{id}: {replayed}"
        );
    }
    let sealed = daemon.run(&["credential", "list"])?;
    assert!(sealed.contains("cloud-key"), "{sealed}");
    let canary = daemon.get("/v1/plugins/north/canary").await?;
    assert!(
        canary["canary"].is_object() || canary["last"].is_object(),
        "{canary:#}"
    );
    let history = daemon.get("/v1/plugins/cheapest").await?;
    assert!(
        history["history"]
            .as_array()
            .is_some_and(|all| all.len() >= 2),
        "{history:#}"
    );

    // It goes on: a change, an update that waited, an end, and all of it over another restart.
    let manifest = "{apiVersion: tradewind.dev/v1, kind: CloudDeployment, metadata: {name: steady}, spec: {services: {web: {command: [serve], replicas: 1}}}}";
    daemon.put("steady", manifest).await?;
    daemon.running("steady").await?;
    daemon.run(&["rollback", "later", "--to", "1", "--detach"])?;
    daemon.delete("hedged").await?;
    daemon.gone("hedged").await?;
    daemon.kill()?;
    daemon.launch()?;
    assert_eq!(daemon.running("steady").await?["replicas"], 1);
    daemon.run(&["audit", "verify", "--expect", hash])?;
    Ok(())
}

/// Every document of the state, as it is in the file.
fn documents(state: &Connection) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut rows = state.prepare("SELECT key, value FROM kv")?;
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A document as a newer daemon would leave it: of another version, with a field that nobody knows here.
fn newer(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(bytes)?;
    let fields = document.as_object_mut().context("no object")?;
    fields.insert("v".to_owned(), 99.into());
    fields.insert("ofTheFuture".to_owned(), true.into());
    Ok(serde_json::to_vec(&document)?)
}

#[tokio::test]
async fn what_a_newer_daemon_has_written_is_refused_and_left_as_it_is() -> Result<()> {
    let _alone = INSTALLATION.lock().await;
    let mut daemon = Daemon::on(unpack("0.1")?)?;
    daemon.kill()?;
    // What is loaded at the start, what is read by request, what is only ever kept.
    for prefix in ["deployments/", "plans/", "decisions/", "events/", "tokens/"] {
        let state = Connection::open(daemon.data().join("state.db"))?;
        let before = documents(&state)?;
        let (key, value) = before
            .iter()
            .find(|(key, _)| key.starts_with(prefix))
            .with_context(|| format!("no {prefix}"))?;
        let set =
            |value: &[u8]| state.execute("UPDATE kv SET value = ?1 WHERE key = ?2", (value, key));
        set(&newer(value)?)?;
        let written = documents(&state)?;
        let error = format!(
            "{:#}",
            daemon
                .launch()
                .err()
                .with_context(|| format!("it started on a newer \"{key}\""))?
        );
        for said in [
            key,
            "of version 99",
            "reads versions up to",
            "newer",
            "tradewind restore",
        ] {
            assert!(error.contains(said), "\"{said}\" is not in: {error}");
        }
        assert!(
            documents(&state)? == written,
            "{key}: something was written"
        );
        set(value)?;
    }

    // Likewise what plugins have left beside the state.
    let history = daemon.data().join("plugin-history/history/cheapest.json");
    let before = std::fs::read(&history)?;
    std::fs::write(&history, newer(&before)?)?;
    let written = std::fs::read(&history)?;
    let error = format!(
        "{:#}",
        daemon
            .launch()
            .err()
            .context("it started on a newer history")?
    );
    assert!(
        error.contains("cheapest.json") && error.contains("of version 99"),
        "{error}"
    );
    assert_eq!(std::fs::read(&history)?, written);

    std::fs::write(&history, before)?;
    daemon.launch()?;
    daemon
        .until("steady", "running", |d| d["status"] == "running")
        .await?;
    Ok(())
}
