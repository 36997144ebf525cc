//! What an operator may fill is bounded: the state, what is kept of the past, and the output of replicas, at every moment.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use tradewind_kit::{Daemon, LOCAL, Signal, signal, when};

fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

/// What a file takes on the disk.
fn on_disk(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.blocks() * 512)
}

fn state(daemon: &Daemon) -> u64 {
    ["state.db", "state.db-wal"]
        .iter()
        .map(|name| on_disk(&daemon.data().join(name)))
        .sum()
}

/// 25 writes of one manifest of 400 KB are no 25 manifests in the state, let alone 75; and what is deleted is given back.
#[tokio::test]
async fn what_is_written_over_and_over_does_not_make_the_state_grow() -> Result<()> {
    let daemon = Daemon::configured(
        &["cheapest", "process"],
        &[("local", LOCAL)],
        "[keep]\nrevisions = 2\n",
    )?;
    let write = async |i: u32| {
        let filler = format!("{i:03}{}", "a".repeat(400_000));
        let files = format!("files: [{{path: large, content: {filler}}}]");
        daemon
            .put(
                "big",
                &manifest(
                    "big",
                    &format!("services: {{w: {{command: [sleep, '9'], replicas: 0, {files}}}}}"),
                ),
            )
            .await
    };
    for i in 0..25 {
        write(i).await?;
    }
    // Live are the record and two revisions; some pages are free, and the log of the database's own has its bound.
    let filled = state(&daemon);
    ensure!(filled < 14 << 20, "{} MiB", filled >> 20);
    for i in 0..20 {
        let files = format!(
            "files: [{{path: large, content: {i}{}}}]",
            "b".repeat(400_000)
        );
        daemon
            .put(
                &format!("n{i}"),
                &manifest(
                    &format!("n{i}"),
                    &format!("services: {{w: {{command: [sleep, '9'], replicas: 0, {files}}}}}"),
                ),
            )
            .await?;
    }
    let file = daemon.data().join("state.db");
    daemon
        .eventually("all of them are in the file", async || {
            Ok(on_disk(&file) > 12 << 20)
        })
        .await?;
    for name in (0..20).map(|i| format!("n{i}")).chain(["big".to_owned()]) {
        daemon.delete(&name).await?;
        daemon.gone(&name).await?;
    }
    daemon
        .eventually("what is deleted goes back to the file system", async || {
            Ok(on_disk(&file) < 7 << 20)
        })
        .await
}

/// What a namespace may take of the state is its own affair and its own limit; plans have one besides.
#[tokio::test]
async fn a_namespace_has_its_share_of_the_state() -> Result<()> {
    let daemon = Daemon::configured(
        &["cheapest", "process"],
        &[("local", LOCAL)],
        "[plans]\nmost = 2\n",
    )?;
    let limits = daemon
        .file("team.yaml", "apiVersion: tradewind.dev/v1\nkind: Namespace\nmetadata: {name: team}\nspec: {quota: {state: 100Ki}}\n")?;
    daemon.run(&["namespace", "set", "-f", &limits])?;
    let send = async |namespace: &str, name: &str, filler: usize| -> Result<(StatusCode, String)> {
        let files = format!("files: [{{path: large, content: {}}}]", "a".repeat(filler));
        let text = manifest(
            name,
            &format!("services: {{w: {{command: [sleep, '9'], replicas: 0, {files}}}}}"),
        );
        let url = daemon.url(&format!("/v1/deployments/{name}?namespace={namespace}"));
        let sent = daemon
            .http
            .put(url)
            .header("content-type", "application/yaml")
            .body(text)
            .send()
            .await?;
        Ok((sent.status(), sent.text().await?))
    };
    let (status, told) = send("team", "first", 30_000).await?;
    ensure!(status.is_success(), "{told}");
    let (status, told) = send("team", "second", 30_000).await?;
    assert_eq!(status, StatusCode::CONFLICT, "{told}");
    ensure!(
        told.contains("quota.state of namespace \\\"team\\\" is 100Ki")
            && told.contains("more needed"),
        "{told}"
    );
    ensure!(
        send("other", "second", 30_000).await?.0.is_success(),
        "another namespace has no such limit"
    );
    ensure!(
        send("team", "first", 1_000).await?.0.is_success(),
        "less is no more"
    );
    daemon.run(&["-n", "team", "delete", "first"])?;
    ensure!(
        send("team", "second", 30_000).await?.0.is_success(),
        "what was deleted counts no more"
    );

    let planned = daemon.file(
        "planned.yaml",
        &manifest("planned", "services: {w: {command: [sleep, '9']}}"),
    )?;
    for name in ["one", "two"] {
        daemon.run(&["plan", "-f", &planned, "--out", name])?;
    }
    let refused = daemon.cli(&["plan", "-f", &planned, "--out", "three"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        !refused.status.success() && said.contains("plans.most"),
        "{said}"
    );
    daemon.run(&["plan", "delete", "one"])?;
    daemon.run(&["plan", "-f", &planned, "--out", "three"])?;
    Ok(())
}

#[tokio::test]
async fn a_manifest_has_a_size_that_may_be_raised() -> Result<()> {
    let mut daemon = Daemon::configured(
        &["cheapest", "process"],
        &[("local", LOCAL)],
        "[api]\nmax-manifest = \"1Mi\"\n",
    )?;
    let with = |files: &str| {
        manifest(
            "large",
            &format!("services: {{w: {{command: [sleep, '9'], replicas: 0, files: [{files}]}}}}"),
        )
    };
    let large = |letter: &str| with(&format!("{{path: a, content: {}}}", letter.repeat(600_000)));
    daemon.put("large", &large("a")).await?;
    daemon.stop()?;
    std::fs::write(daemon.folder.path().join("config.toml"), "")?;
    daemon.launch()?;
    let send = async |text: String| -> Result<(StatusCode, String)> {
        let sent = daemon
            .http
            .put(daemon.url("/v1/deployments/large"))
            .header("content-type", "application/yaml")
            .body(text)
            .send()
            .await?;
        Ok((sent.status(), sent.text().await?))
    };
    let (status, told) = send(large("b")).await?;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    ensure!(
        told.contains("api.max-manifest") && told.contains("512Ki"),
        "{told}"
    );
    // A few bytes that stand for many.
    let first = format!("{{path: a, content: &w {}}}", "c".repeat(60_000));
    let rest: String = (0..10)
        .map(|i| format!(", {{path: b{i}, content: *w}}"))
        .collect();
    let (status, told) = send(with(&(first + &rest))).await?;
    ensure!(
        status == StatusCode::PAYLOAD_TOO_LARGE && told.contains("api.max-manifest"),
        "{status}: {told}"
    );
    // What is there already is read, scaled and deleted.
    ensure!(daemon.get("/v1/deployments/large").await?["generation"] == 1);
    daemon.run(&["scale", "large", "w", "--replicas", "1"])?;
    daemon.running("large").await?;
    daemon.delete("large").await?;
    daemon.gone("large").await
}

/// However much is done, nobody pushes out what others did lately; only the disk has a say.
#[tokio::test]
async fn young_entries_of_the_audit_log_go_for_want_of_room_alone() -> Result<()> {
    let mut daemon = Daemon::configured(&["cheapest", "process"], &[("local", LOCAL)], "")?;
    let anchor = async |daemon: &Daemon| -> Result<u64> {
        daemon.get("/v1/audit?limit=1").await?["bounds"]["anchor"]["seq"]
            .as_u64()
            .context("no anchor")
    };
    let mut before = 0;
    for (round, keep) in [
        "audit = 5",
        "audit = 5\naudit-age = \"1ms\"",
        "audit-size = \"4Ki\"",
    ]
    .into_iter()
    .enumerate()
    {
        for i in 0..30 {
            let spec = format!(
                "services: {{w: {{command: [sleep, '9'], replicas: 0, resources: {{cpu: {}m}}}}}}",
                100 * round + i + 1
            );
            daemon.put("busy", &manifest("busy", &spec)).await?;
        }
        daemon.stop()?;
        std::fs::write(
            daemon.folder.path().join("config.toml"),
            format!("[keep]\n{keep}\n"),
        )?;
        daemon.launch()?;
        let wanted = if round > 0 { before + 20 } else { 0 };
        let cut = daemon.eventually(format!("much is cut off with {keep:?}"), async || {
            let seq = anchor(&daemon).await?;
            Ok(when(seq >= wanted, seq))
        });
        cut.await?;
        daemon.run(&["audit", "verify"])?;
        before = anchor(&daemon).await?;
        ensure!(round > 0 || before == 0, "young entries were cut off");
    }
    Ok(())
}

/// The folder of the only replica.
fn replica(daemon: &Daemon) -> Result<PathBuf> {
    let local = daemon.data().join("processes/local");
    let allocation = std::fs::read_dir(local)?
        .flatten()
        .find(|e| !e.file_name().to_string_lossy().starts_with('.'));
    Ok(allocation.context("no allocation")?.path().join("0"))
}

const GRANT: &str =
    "component = \"process.wasm\"\n[grants.process]\ncommands = [\"*\"]\nlog-size = \"1Mi\"\n";
/// Writes until the file is there, then its last words.
const FLOOD: &str = "yes $(printf %0200d 7) & f=$!; while ! [ -e stop ]; do sleep 0.05; done; kill $f; wait $f; echo last words; exec sleep 600";

/// The most that the output takes within this time, looked at again and again: however long one looks, it never is more.
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
    daemon
        .put(
            "loud",
            &manifest(
                "loud",
                &format!("services: {{w: {{command: [sh, -c, \"{FLOOD}\"]}}}}"),
            ),
        )
        .await?;
    daemon.running("loud").await?;
    let folder = replica(&daemon)?;
    let stdout = folder.join("stdout");
    let written = || std::fs::metadata(&stdout).map_or(0, |m| m.len());
    daemon
        .eventually("more is written than may be kept", async || {
            Ok(written() > 4 << 20)
        })
        .await?;
    let most = peak(&folder, Duration::from_millis(700)).await;
    ensure!(most < MOST, "{most} bytes on disk");

    daemon.kill()?;
    let before = written();
    let most = peak(&folder, Duration::from_millis(500)).await;
    ensure!(most < MOST, "{most} bytes on disk without a daemon");
    daemon
        .eventually("it writes on without a daemon", async || {
            Ok(written() > before + (4 << 20))
        })
        .await?;
    daemon.launch()?;
    let before = written();
    let most = peak(&folder, Duration::from_millis(500)).await;
    ensure!(most < MOST, "{most} bytes on disk with the next daemon");
    daemon
        .eventually("it writes on", async || Ok(written() > before + (4 << 20)))
        .await?;

    std::fs::write(folder.join("work/stop"), "")?;
    let last = daemon.eventually("its last words are there", async || {
        let seen = daemon.run(&["logs", "loud", "--tail", "9"])?;
        Ok(when(seen.contains("last words"), seen))
    });
    last.await.map(drop)
}

/// Whoever sees that a job has ended finds all that it wrote, and nothing of it twice.
#[tokio::test]
async fn collected_output_is_whole() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", GRANT)])?;
    daemon
        .put(
            "count",
            &manifest(
                "count",
                "jobs: {j: {command: [sh, -c, \"seq 1 9000; printf end\"]}}",
            ),
        )
        .await?;
    daemon
        .until("count", "completed", |d| d["status"] == "completed")
        .await?;
    let told = daemon.run(&["logs", "count", "--tail", "10000"])?;
    let lines: Vec<&str> = told
        .lines()
        .filter_map(|line| line.split_once(" | ").map(|(_, text)| text))
        .collect();
    let wanted: Vec<String> = (1..=9_000)
        .map(|n| n.to_string())
        .chain(["end".to_owned()])
        .collect();
    ensure!(
        lines == wanted,
        "{} lines, the first {:?}, the last {:?}",
        lines.len(),
        lines.first(),
        lines.last()
    );
    Ok(())
}

/// A collector that is killed is started again; what waits in the pipes comes then.
#[tokio::test]
async fn a_collector_that_is_killed_loses_nothing_that_waits() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "process"], &[("local", GRANT)])?;
    let script =
        "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo line $i; sleep 0.005; done; exec sleep 600";
    daemon
        .put(
            "slow",
            &manifest(
                "slow",
                &format!("services: {{w: {{command: [sh, -c, \"{script}\"]}}}}"),
            ),
        )
        .await?;
    daemon.running("slow").await?;
    let lock = daemon.data().join("processes/.output-collector");
    for _ in 0..3 {
        let pid = std::fs::read_to_string(&lock)?;
        signal(&pid, Signal::KILL)?;
        daemon
            .eventually("another collector", async || {
                Ok(std::fs::read_to_string(&lock)
                    .is_ok_and(|other| !other.is_empty() && other != pid))
            })
            .await?;
    }
    let told = daemon.eventually("its last line is there", async || {
        let told = daemon.run(&["logs", "slow", "--tail", "1000"])?;
        Ok(when(told.contains("line 400\n"), told))
    });
    let told = told.await?;
    let lines: Vec<&str> = told.lines().collect();
    let wanted: Vec<String> = (1..=400).map(|n| format!("w/0 | line {n}")).collect();
    // What one of them had read and not yet written is a few lines at most.
    ensure!(lines.len() >= 397, "{} lines", lines.len());
    ensure!(
        lines.iter().all(|line| wanted.iter().any(|w| w == line)),
        "{told}"
    );
    Ok(())
}
