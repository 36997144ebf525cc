//! Many small services at once, as processes of this machine and on a simulated cloud: from the request that submits each until it runs.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Client;
use serde::Deserialize;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use tradewind_kit::Daemon;

use crate::{
    client::{self, client, put},
    load::ROOMY,
    report::{Baseline, Report, Unit},
    samples::Samples,
};

const CLIENTS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(90);

/// The best that was measured of it.
const NOMAD: &str = "Nomad 1.1, 50 raw_exec jobs, the best measured on a 2-core machine like this";
const NOMAD_RATE: f64 = 57.0;
const NOMAD_MEDIAN: Duration = Duration::from_millis(1_000);
const C1M: &str = "Nomad's C1M challenge, containers per second";
const C1M_RATE: f64 = 3_750.0;

#[derive(Deserialize)]
struct Event {
    reason: String,
    #[serde(default)]
    deployment: String,
}

/// So many services at once, so many times.
#[derive(Clone, Copy)]
struct Load {
    what: &'static str,
    start: fn() -> Result<Daemon>,
    count: u32,
    replicas: u32,
    rounds: u32,
    /// Of how many replicas per second, and whose figure that is.
    rate: (&'static str, f64),
    median: Option<(&'static str, Duration)>,
}

/// Nothing but the daemon itself is at work there: time alone makes replicas ready.
fn simulated() -> Result<Daemon> {
    Daemon::start(&["cheapest", "simulated"], &[("cloud", ROOMY)])
}

fn manifest(name: &str, replicas: u32) -> String {
    format!(
        "{{\"apiVersion\":\"tradewind.dev/v1\",\"kind\":\"CloudDeployment\",\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"services\":\
         {{\"sleep\":{{\"command\":[\"sleep\",\"600\"],\"replicas\":{replicas},\"resources\":{{\"cpu\":\"1m\",\"memory\":\"1Mi\"}}}}}}}}}}"
    )
}

/// When each of these deployments was seen to run, told by the daemon's events.
async fn listen(
    daemon: &Daemon,
    names: HashSet<String>,
) -> Result<JoinHandle<Result<HashMap<String, Instant>>>> {
    let response = daemon
        .http
        .get(daemon.url("/v1/events?follow=true&limit=1"))
        .send()
        .await?
        .error_for_status()?;
    let mut chunks = response.bytes_stream();
    let (connected, ready) = oneshot::channel();
    let task = tokio::spawn(async move {
        let mut connected = Some(connected);
        let mut running = HashMap::new();
        let mut pending = Vec::new();
        while running.len() < names.len() {
            if let Some(connected) = connected.take() {
                // Nobody waits any more when the bench is being given up.
                let _gone = connected.send(());
            }
            let Some(chunk) = chunks.try_next().await? else {
                bail!("the daemon ended the stream of events")
            };
            let at = Instant::now();
            pending.extend_from_slice(&chunk);
            while let Some(end) = pending.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let Some(data) = line.strip_prefix(b"data:") else {
                    continue;
                };
                let event: Event = serde_json::from_slice(data)?;
                if event.reason == "AllocationRunning" && names.contains(&event.deployment) {
                    running.entry(event.deployment).or_insert(at);
                }
            }
        }
        Ok(running)
    });
    ready.await.context("the stream of events did not begin")?;
    Ok(task)
}

pub(crate) struct Run {
    /// From the first request until the last runs.
    pub(crate) whole: Duration,
    /// From the first request until the last was accepted.
    pub(crate) accepted: Duration,
    pub(crate) each: Vec<Duration>,
}

/// Submits deployments of these names, with the manifests that are made for them, and waits until all run.
pub(crate) async fn submit(
    daemon: &Daemon,
    client: &Client,
    names: &[String],
    manifest: impl Fn(&str) -> String,
) -> Result<Run> {
    let listening = listen(daemon, names.iter().cloned().collect()).await?;
    let first = Instant::now();
    let submitted: HashMap<String, Instant> = stream::iter(names)
        .map(|name| (name, manifest(name)))
        .map(|(name, manifest)| async move {
            let at = Instant::now();
            put(client, daemon, name, manifest).await?;
            anyhow::Ok((name.clone(), at))
        })
        .buffer_unordered(CLIENTS)
        .try_collect()
        .await?;
    let accepted = first.elapsed();
    let running = match timeout(PATIENCE, listening).await {
        Ok(running) => running??,
        Err(_) => bail!(
            "not all of {} services run after {PATIENCE:?}:\n{}",
            names.len(),
            daemon.log()
        ),
    };
    // An update counts as done a moment after its replicas are ready.
    client::running(client, daemon, names.len(), PATIENCE).await?;
    let last = running.values().max().context("no service runs")?;
    let each = names
        .iter()
        .filter_map(|name| Some(running.get(name)?.duration_since(*submitted.get(name)?)))
        .collect();
    Ok(Run {
        whole: last.duration_since(first),
        accepted,
        each,
    })
}

/// Deletes them all and waits until they are gone. How long it took.
pub(crate) async fn delete(daemon: &Daemon, names: &[String]) -> Result<Duration> {
    let since = Instant::now();
    stream::iter(names)
        .map(|name| daemon.delete(name))
        .buffer_unordered(CLIENTS)
        .try_collect::<()>()
        .await?;
    while daemon
        .list("/v1/deployments")
        .await?
        .as_array()
        .is_some_and(|items| !items.is_empty())
    {
        ensure!(
            since.elapsed() < PATIENCE,
            "not all of {} services are gone after {PATIENCE:?}:\n{}",
            names.len(),
            daemon.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(since.elapsed())
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let process = Load {
        what: "process services",
        start: Daemon::local,
        count: 50,
        replicas: 1,
        rounds: 5,
        rate: (NOMAD, NOMAD_RATE),
        median: Some((NOMAD, NOMAD_MEDIAN)),
    };
    let cloud = Load {
        what: "services on a simulated cloud",
        start: simulated,
        count: 5_000,
        rounds: 1,
        rate: (C1M, C1M_RATE),
        median: None,
        ..process
    };
    let wide = Load {
        what: "services of 500 replicas on a simulated cloud",
        count: 200,
        replicas: 500,
        ..cloud
    };
    for load in [
        Load {
            count: 1_000,
            rounds: 1,
            ..process
        },
        process,
        cloud,
        wide,
    ] {
        // Starting and stopping a daemon blocks.
        let daemon = tokio::task::spawn_blocking(load.start).await??;
        let measured = run(&daemon, report, &load).await;
        tokio::task::spawn_blocking(move || drop(daemon)).await?;
        measured?;
    }
    Ok(())
}

/// Each time until all of them are gone again.
async fn run(daemon: &Daemon, report: &mut Report, load: &Load) -> Result<()> {
    let Load {
        what,
        count,
        replicas,
        rounds,
        ..
    } = *load;
    let client = client(daemon)?;
    let (mut each, mut whole, mut accepted, mut deleted) = (
        Samples::default(),
        Samples::default(),
        Samples::default(),
        Samples::default(),
    );
    for round in 0..rounds {
        let names: Vec<String> = (0..count).map(|i| format!("sleep-{round}-{i}")).collect();
        let run = submit(daemon, &client, &names, |name| manifest(name, replicas)).await?;
        run.each.into_iter().for_each(|d| each.add(d));
        whole.add(run.whole);
        accepted.add(run.accepted);
        deleted.add(delete(daemon, &names).await?);
    }
    let rate = |time: Duration| f64::from(count) / time.as_secs_f64();
    let name = format!("{count} {what}");
    let per_replica = rate(whole.median()) * f64::from(replicas);
    let of = if replicas == 1 {
        "rate"
    } else {
        "replicas' rate"
    };
    let baseline = Baseline {
        name: load.rate.0.to_owned(),
        value: load.rate.1,
    };
    report.value(
        format!("{name}, submitted → running, {of}"),
        per_replica,
        "1/s",
        Some(baseline),
    );
    match load.median {
        Some((whose, median)) => report.time_against(
            format!("{name}, submitted → running, p50"),
            Unit::Millis,
            each.median(),
            whose,
            median,
        ),
        None => report.time(
            format!("{name}, submitted → running, p50"),
            Unit::Millis,
            each.median(),
        ),
    }
    report.time(
        format!("{name}, submitted → running, p95"),
        Unit::Millis,
        each.p95(),
    );
    report.value(
        format!("{name}, accepted, rate"),
        rate(accepted.median()),
        "1/s",
        None,
    );
    report.value(
        format!("{name}, deleted → gone, rate"),
        rate(deleted.median()),
        "1/s",
        None,
    );
    Ok(())
}
