//! What an operator may fill is bounded: the state, what is kept of the past, and the output of replicas, at every moment.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tradewind_tests::{Daemon, LOCAL};

/// What must happen at once happens within this time, on a slow machine too.
const SOON: Duration = Duration::from_secs(20);

fn manifest(name: &str, spec: &str) -> String {
    format!("apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

/// What a file takes on the disk.
fn on_disk(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.blocks() * 512)
}

fn state(daemon: &Daemon) -> u64 {
    ["state.db", "state.db-wal"].iter().map(|name| on_disk(&daemon.data().join(name))).sum()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let since = Instant::now();
    while !holds() {
        ensure!(since.elapsed() < SOON, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// 25 writes of one manifest of 400 KB are no 25 manifests in the state, let alone 75; and what is deleted is given back.
#[tokio::test]
async fn what_is_written_over_and_over_does_not_make_the_state_grow() -> Result<()> {
    let daemon = Daemon::configured(&["cheapest", "process"], &[("local", LOCAL)], "[keep]\nrevisions = 2\n")?;
    let write = async |i: u32| {
        let filler = format!("{i:03}{}", "a".repeat(400_000));
        daemon.put("big", &manifest("big", &format!("services: {{w: {{command: [sh, {filler}], replicas: 0}}}}"))).await
    };
    for i in 0..25 {
        write(i).await?;
    }
    // Live are the record, two revisions, and what events tell of both sides of each change.
    let filled = state(&daemon);
    ensure!(filled < 60 << 20, "{} MiB", filled >> 20);
    daemon.delete("big").await?;
    daemon.gone("big").await?;
    Ok(())
}

#[tokio::test]
async fn a_manifest_has_a_size_that_may_be_raised() -> Result<()> {
    let mut daemon = Daemon::configured(&["cheapest", "process"], &[("local", LOCAL)], "[api]\nmax-manifest = \"1Mi\"\n")?;
    let large = |letter: &str| manifest("large", &format!("services: {{w: {{command: [sh, {}], replicas: 0}}}}", letter.repeat(600_000)));
    daemon.put("large", &large("a")).await?;
    daemon.stop()?;
    std::fs::write(daemon.folder.path().join("config.toml"), "")?;
    daemon.launch()?;
    let send = async |text: String| -> Result<(StatusCode, String)> {
        let sent = daemon.http.put(daemon.url("/v1/deployments/large")).header("content-type", "application/yaml").body(text).send().await?;
        Ok((sent.status(), sent.text().await?))
    };
    let (status, told) = send(large("b")).await?;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    ensure!(told.contains("api.max-manifest") && told.contains("512Ki"), "{told}");
    // A few bytes that stand for many.
    let word = "c".repeat(60_000);
    let args = ["*w"; 10].join(", ");
    let aliases = manifest("large", &format!("services: {{w: {{command: [sh, &w {word}, {args}], replicas: 0}}}}"));
    let (status, told) = send(aliases).await?;
    ensure!(status.is_client_error(), "{status}: {told}");
    // What is there already is read, scaled and deleted.
    ensure!(daemon.get("/v1/deployments/large").await?["generation"] == 1);
    daemon.run(&["scale", "large", "w=0"]).ok();
    daemon.delete("large").await?;
    daemon.gone("large").await
}

/// The folder of the only replica.
fn replica(daemon: &Daemon) -> Result<PathBuf> {
    let local = daemon.data().join("processes/local");
    let allocation = std::fs::read_dir(local)?.flatten().find(|e| !e.file_name().to_string_lossy().starts_with('.'));
    Ok(allocation.context("no allocation")?.path().join("0"))
}

const GRANT: &str = "component = \"process.wasm\"\n[grants.process]\ncommands = [\"*\"]\nlog-size = \"1Mi\"\n";
/// Writes for as long as the file is there, then its last words.
const FLOOD: &str = "yes $(printf %0200d 7) & f=$!; while [ -e go ]; do sleep 0.05; done; kill $f; wait $f; echo last words; exec sleep 600";

/// The most that the output takes within this time, looked at again and again.
async fn peak(folder: &Path, time: Duration) -> u64 {
    let (since, mut most) = (Instant::now(), 0);
    while since.elapsed() < time {
        most = most.max(on_disk(&folder.join("stdout")) + on_disk(&folder.join("stderr")));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    most
}

/// With the daemon, without it, and with the next one. Nobody waits for a daemon that is away, and last words are not lost.
#[tokio::test]
async fn kept_output_never_takes_more_than_it_may() -> Result<()> {
    const MOST: u64 = (1 << 20) + (256 << 10);
    let mut daemon = Daemon::start(&["cheapest", "process"], &[("local", GRANT)])?;
    let flood = FLOOD.replace("[ -e go ]", "! [ -e stop ]");
    daemon.put("loud", &manifest("loud", &format!("services: {{w: {{command: [sh, -c, \"{flood}\"]}}}}"))).await?;
    daemon.running("loud").await?;
    let folder = replica(&daemon)?;
    let stdout = folder.join("stdout");
    let written = || std::fs::metadata(&stdout).map_or(0, |m| m.len());
    eventually("more is written than may be kept", || written() > 4 << 20).await?;
    let most = peak(&folder, Duration::from_millis(700)).await;
    ensure!(most < MOST, "{most} bytes on disk");

    daemon.kill()?;
    let before = written();
    let most = peak(&folder, Duration::from_millis(500)).await;
    ensure!(most < MOST, "{most} bytes on disk without a daemon");
    eventually("it writes on without a daemon", || written() > before + (4 << 20)).await?;
    daemon.launch()?;
    let before = written();
    let most = peak(&folder, Duration::from_millis(500)).await;
    ensure!(most < MOST, "{most} bytes on disk with the next daemon");
    eventually("it writes on", || written() > before + (4 << 20)).await?;

    std::fs::write(folder.join("work/stop"), "")?;
    let since = Instant::now();
    while !daemon.run(&["logs", "loud", "--tail", "1"])?.contains("last words") {
        ensure!(since.elapsed() < SOON, "last words are lost: {}", daemon.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Whoever sees that a job has ended finds all that it wrote, and nothing of it twice.
#[tokio::test]
async fn collected_output_is_whole() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", GRANT)])?;
    daemon.put("count", &manifest("count", "jobs: {j: {command: [sh, -c, \"seq 1 30000; printf end\"]}}")).await?;
    daemon.until("count", "completed", |d| d["status"] == "completed").await?;
    let told = daemon.run(&["logs", "count", "--tail", "40000"])?;
    let lines: Vec<&str> = told.lines().filter_map(|line| line.split_once(" | ").map(|(_, text)| text)).collect();
    let wanted: Vec<String> = (1..=30_000).map(|n| n.to_string()).chain(["end".to_owned()]).collect();
    ensure!(lines == wanted, "{} lines, the first {:?}, the last {:?}", lines.len(), lines.first(), lines.last());
    Ok(())
}

/// A collector that is killed is started again; what waits in the pipes comes then.
#[tokio::test]
async fn a_collector_that_is_killed_loses_nothing_that_waits() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", GRANT)])?;
    let script = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo line $i; sleep 0.005; done; exec sleep 600";
    daemon.put("slow", &manifest("slow", &format!("services: {{w: {{command: [sh, -c, \"{script}\"]}}}}"))).await?;
    daemon.running("slow").await?;
    let lock = daemon.data().join("processes/.output-collector");
    for _ in 0..3 {
        let pid = std::fs::read_to_string(&lock)?;
        ensure!(std::process::Command::new("kill").args(["-9", pid.trim()]).status()?.success());
        eventually("another collector", || std::fs::read_to_string(&lock).is_ok_and(|other| !other.is_empty() && other != pid)).await?;
    }
    let since = Instant::now();
    let mut told = String::new();
    while !told.contains("line 400\n") {
        ensure!(since.elapsed() < SOON, "{told}");
        told = daemon.run(&["logs", "slow", "--tail", "1000"])?;
    }
    let lines: Vec<&str> = told.lines().collect();
    let wanted: Vec<String> = (1..=400).map(|n| format!("w/0 | line {n}")).collect();
    // What one of them had read and not yet written is a few lines at most.
    ensure!(lines.len() >= 397 && lines.last() == wanted.last().map(String::as_str).as_ref(), "{} lines", lines.len());
    let all: Value = json!(lines);
    ensure!(lines.windows(2).all(|pair| pair[0] != pair[1]), "{all}");
    Ok(())
}
