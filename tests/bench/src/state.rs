//! The state: writes that are acknowledged only when they are on disk, and a daemon whose state is large.

use std::{
    fs::{self, File},
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Client;
use rusqlite::{Connection, params};
use tradewind_kit::Daemon;

use crate::{
    client::{self, client, put},
    load::ROOMY,
    report::{Baseline, Report, Unit},
    samples::Samples,
};

const WRITES: usize = 2_000;
const DEPLOYMENTS: usize = 10_000;
const FEW: usize = 10;
/// How long a settled daemon is watched.
const WATCHED: Duration = Duration::from_secs(20);
const CHANGES: usize = 20;
/// Pages of a list that are read.
const PAGES: usize = 100;

fn manifest(name: &str, services: &[&str]) -> String {
    let service = |s: &&str| {
        format!(
            "\"{s}\":{{\"command\":[\"serve\"],\"resources\":{{\"cpu\":\"100m\",\"memory\":\"64Mi\"}}}}"
        )
    };
    let services = services.iter().map(service).collect::<Vec<_>>().join(",");
    format!(
        "{{\"apiVersion\":\"tradewind.dev/v1\",\"kind\":\"CloudDeployment\",\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"services\":{{{services}}}}}}}"
    )
}

pub(crate) async fn writes(report: &mut Report) -> Result<()> {
    let (rate, synced) = raw(&tempfile::tempdir()?)?;
    for clients in [1, 16, 64] {
        // With a policy: without one every deployment is one that nobody can decide about, and that costs more than the write.
        let daemon = Daemon::start(&["cheapest"], &[])?;
        let client = client(&daemon)?;
        let count = if clients == 1 { WRITES / 4 } else { WRITES };
        let since = Instant::now();
        let mut samples = Samples::default();
        let times: Vec<Duration> = stream::iter(0..count)
            .map(|n| {
                let name = format!("w-{n}");
                let (body, client, daemon) = (manifest(&name, &["web"]), &client, &daemon);
                async move {
                    let at = Instant::now();
                    put(client, daemon, &name, body).await?;
                    anyhow::Ok(at.elapsed())
                }
            })
            .buffer_unordered(clients)
            .try_collect()
            .await?;
        let whole = since.elapsed();
        times.into_iter().for_each(|time| samples.add(time));
        let raw = Baseline {
            name: "write and sync of 4 KiB in a loop".to_owned(),
            value: rate,
        };
        let per_second = count as f64 / whole.as_secs_f64();
        report.value(
            format!("deployments stored durably through the API, {clients} clients"),
            per_second,
            "1/s",
            Some(raw),
        );
        report.time_against(
            format!("… p99, {clients} clients"),
            Unit::Millis,
            samples.p99(),
            "p99 of one sync",
            synced,
        );
    }
    Ok(())
}

/// What the disk does by itself.
fn raw(folder: &tempfile::TempDir) -> Result<(f64, Duration)> {
    let mut file = File::create(folder.path().join("raw"))?;
    let mut samples = Samples::default();
    let since = Instant::now();
    for _ in 0..500 {
        samples.time(|| file.write_all(&[7; 4096]).and_then(|()| file.sync_data()))?;
    }
    Ok((500.0 / since.elapsed().as_secs_f64(), samples.p99()))
}

pub(crate) async fn large(report: &mut Report) -> Result<()> {
    let mut few = grown(FEW).await?;
    few.launch()?;
    let of_few = change(&few, "one").await?;
    drop(few);

    let mut daemon = grown(DEPLOYMENTS).await?;
    let what = format!(
        "{DEPLOYMENTS} deployments with {} allocations",
        3 * DEPLOYMENTS
    );
    let mut started = Samples::default();
    for _ in 0..5 {
        daemon.kill()?;
        started.time(|| daemon.launch())?;
    }
    report.time(
        format!("{what}: daemon start → ready, median"),
        Unit::Millis,
        started.median(),
    );
    // It looks at everything once before it has nothing to do.
    tokio::time::sleep(WATCHED).await;
    let before = busy(&daemon)?;
    tokio::time::sleep(WATCHED).await;
    let share = (busy(&daemon)? - before) / WATCHED.as_secs_f64() * 100.0;
    report.value(
        format!("{what}: steady state, of one core"),
        share,
        "%",
        None,
    );
    let of_many = change(&daemon, "one").await?;
    report.time_against(
        format!("{what}: one deployment submitted → running, median"),
        Unit::Millis,
        of_many,
        "with ten deployments",
        of_few,
    );
    lists(report, &daemon, &what, of_many).await?;
    daemon.kill()?;
    // Nothing runs that would have to be cleaned up, and deleting everything would take a while.
    fs::remove_dir_all(daemon.data())?;
    Ok(())
}

/// Pages of the list of all deployments, and what reading them does to everything else.
async fn lists(
    report: &mut Report,
    daemon: &Daemon,
    what: &str,
    undisturbed: Duration,
) -> Result<()> {
    let client = client(daemon)?;
    let mut whole = Samples::default();
    for _ in 0..PAGES / 10 {
        let at = Instant::now();
        let (mut next, mut pages) = (Some("/v1/deployments?limit=1000".to_owned()), 0);
        while let Some(path) = next {
            next = page(&client, daemon, &path).await?;
            pages += 1;
        }
        ensure!(
            pages >= DEPLOYMENTS / 1_000,
            "all deployments are on {pages} pages"
        );
        whole.add(at.elapsed());
    }
    let mut first = Samples::default();
    for _ in 0..PAGES {
        let at = Instant::now();
        ensure!(
            page(&client, daemon, "/v1/deployments").await?.is_some(),
            "the first page is the last one"
        );
        first.add(at.elapsed());
    }
    report.time_against(
        format!("{what}: first page of the list, median"),
        Unit::Millis,
        first.median(),
        "all of its pages",
        whole.median(),
    );
    report.time(
        format!("{what}: first page of the list, p99"),
        Unit::Millis,
        first.p99(),
    );
    let mut none = Samples::default();
    for _ in 0..PAGES / 10 {
        let at = Instant::now();
        page(&client, daemon, "/v1/deployments?status=failed").await?;
        none.add(at.elapsed());
    }
    report.time(
        format!("{what}: those of a status that none has, median"),
        Unit::Millis,
        none.median(),
    );

    let reading = async {
        loop {
            if let Err(error) = page(&client, daemon, "/v1/deployments").await {
                return error;
            }
        }
    };
    let disturbed = tokio::select! {
        changed = change(daemon, "other") => changed?,
        error = reading => return Err(error),
    };
    report.time_against(
        format!("{what}: one deployment submitted → running while pages are read without a pause, median"),
        Unit::Millis,
        disturbed,
        "while nobody reads",
        undisturbed,
    );
    Ok(())
}

/// Reads a page whole. Answers the address of the next one.
async fn page(client: &Client, daemon: &Daemon, path: &str) -> Result<Option<String>> {
    let response = client
        .get(daemon.url(path))
        .send()
        .await?
        .error_for_status()?;
    let next = client::next(&response);
    response.bytes().await?;
    Ok(next)
}

/// A stopped daemon with so many deployments of three services each: one was deployed, the others are copies of its records.
async fn grown(count: usize) -> Result<Daemon> {
    let mut daemon = Daemon::start(&["cheapest", "simulated"], &[("cloud", ROOMY)])?;
    daemon
        .put("seed-00000", &manifest("seed-00000", &["a", "b", "c"]))
        .await?;
    daemon.running("seed-00000").await?;
    daemon.kill()?;
    let mut connection = Connection::open(daemon.data().join("state.db"))?;
    let transaction = connection.transaction()?;
    let rows: Vec<(String, Vec<u8>)> = transaction
        .prepare("SELECT key, value FROM kv WHERE key LIKE '%seed-00000%'")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let ids: Vec<String> = rows
        .iter()
        .filter(|(key, _)| key.starts_with("allocations/"))
        .filter_map(|(key, _)| key.rsplit('/').next().map(str::to_owned))
        .collect();
    ensure!(
        ids.len() == 3,
        "the first deployment has the allocations {ids:?}"
    );
    {
        let mut insert =
            transaction.prepare("INSERT INTO kv (key, value, revision) VALUES (?1, ?2, 1)")?;
        for n in 1..count {
            let renamed = |text: &str| {
                let text = text.replace("seed-00000", &format!("seed-{n:05}"));
                // The last digits tell the three of one deployment apart; those before them tell the deployments apart.
                ids.iter().fold(text, |text, id| {
                    let (head, last) = id.split_at(id.len() - 4);
                    text.replace(
                        id,
                        &format!(
                            "{}{n:05}{last}",
                            head.get(..head.len() - 5).unwrap_or_default()
                        ),
                    )
                })
            };
            for (key, value) in &rows {
                insert.execute(params![
                    renamed(key),
                    renamed(std::str::from_utf8(value)?).into_bytes()
                ])?;
            }
        }
    }
    transaction.commit()?;
    Ok(daemon)
}

/// Seconds of processor time that the daemon has used.
fn busy(daemon: &Daemon) -> Result<f64> {
    let pid = daemon.pid().context("the daemon does not run")?;
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text
        .rsplit_once(')')
        .context("no fields")?
        .1
        .split_whitespace()
        .collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or_default()
    };
    // User and system time, in hundredths of a second on every Linux that is in use.
    Ok((ticks(11) + ticks(12)) / 100.0)
}

/// New deployments, whose names begin so, one after the other.
async fn change(daemon: &Daemon, prefix: &str) -> Result<Duration> {
    let mut samples = Samples::default();
    for n in 0..CHANGES {
        let name = format!("{prefix}-{n}");
        let at = Instant::now();
        daemon.put(&name, &manifest(&name, &["web"])).await?;
        daemon.running(&name).await?;
        samples.add(at.elapsed());
    }
    Ok(samples.median())
}
