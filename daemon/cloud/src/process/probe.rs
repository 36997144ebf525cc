//! Checks a running process again and again and reports when the verdict changes. What follows from a verdict is not its business.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    health::{SLOW_START, Tally, liveness_counts},
    workload::{Check, Probe},
};

use super::launch::Surroundings;
use crate::probe;

/// The first checks follow each other quickly, so that a process that is ready soon is known to be so soon.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Keeps an interval of 0 from becoming a busy loop.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Startup,
    Readiness,
    Liveness,
}

#[derive(Debug)]
pub(super) enum Verdict {
    Good(Kind),
    /// With the reason of the last failure.
    Bad(Kind, String),
}

/// What the checks of one run need.
pub(super) struct Target {
    /// Port numbers by name.
    pub(super) ports: std::collections::BTreeMap<String, u16>,
    pub(super) around: Surroundings,
    /// The program of a command check, found beforehand.
    pub(super) search: String,
    pub(super) life: Life,
}

/// How far the start of a run is, as its checks tell one another.
pub(super) struct Life {
    /// Cancelled once the other checks need not wait for the startup check any more.
    begun: CancellationToken,
    /// A check has succeeded.
    seen: AtomicBool,
}

impl Life {
    pub(super) fn new(waits_for_startup: bool) -> Self {
        let begun = CancellationToken::new();
        if !waits_for_startup {
            begun.cancel();
        }
        Self { begun, seen: AtomicBool::new(false) }
    }
}

/// Runs until nobody listens to the verdicts.
pub(super) async fn watch(kind: Kind, probe: Probe, target: Arc<Target>, verdicts: mpsc::UnboundedSender<Verdict>) {
    let interval = probe.interval.std().max(SHORTEST_INTERVAL);
    let limit = if probe.timeout.0 == 0 { DEFAULT_TIMEOUT } else { probe.timeout.std() };
    if kind != Kind::Startup {
        target.life.begun.cancelled().await;
    }
    tokio::time::sleep(probe.initial_delay.std()).await;
    let began = Instant::now();
    let mut tally = Tally::of(&probe);
    let mut pause = FIRST_PAUSE;
    let mut counted = Instant::now();
    while !verdicts.is_closed() {
        let outcome = match tokio::time::timeout(limit, check(&probe.check, &target)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
        };
        let started = target.life.seen.load(Ordering::Acquire);
        let counts = kind != Kind::Liveness || liveness_counts(started, began.elapsed().into());
        let changed = match &outcome {
            Ok(()) => {
                target.life.seen.store(true, Ordering::Release);
                tally.success()
            }
            Err(_) if !counts => false,
            // Of the quick checks at the start only one per interval counts, or a slow start would look like a failure.
            Err(_) if tally.seen_good() || counted.elapsed() >= interval => {
                counted = Instant::now();
                tally.failure()
            }
            Err(_) => false,
        };
        if changed {
            let verdict = match outcome {
                Ok(()) => Verdict::Good(kind),
                Err(reason) if kind == Kind::Liveness && !started => Verdict::Bad(kind, format!("{reason}; {SLOW_START}")),
                Err(reason) => Verdict::Bad(kind, reason),
            };
            let begun = kind == Kind::Startup && matches!(verdict, Verdict::Good(_));
            if verdicts.send(verdict).is_err() {
                return;
            }
            if begun {
                target.life.begun.cancel();
                return;
            }
        }
        tokio::time::sleep(if tally.seen_good() { interval } else { pause }).await;
        pause = (pause * 3 / 2).min(interval);
    }
}

async fn check(check: &Check, target: &Target) -> Result<(), String> {
    match check {
        Check::Tcp { port } => probe::tcp(address(port, target)?).await,
        Check::Http { port, path, headers, status_min, status_max } => {
            probe::http(address(port, target)?, "127.0.0.1", path, headers, (*status_min, *status_max)).await
        }
        Check::Command { command } => run(command, target).await,
    }
}

fn address(port: &str, target: &Target) -> Result<SocketAddr, String> {
    let number = target.ports.get(port).copied().ok_or_else(|| format!("there is no port \"{port}\""))?;
    Ok((Ipv4Addr::LOCALHOST, number).into())
}

async fn run(command: &[String], target: &Target) -> Result<(), String> {
    let Some((name, arguments)) = command.split_first() else { return Err("the command is empty".to_owned()) };
    let program = std::env::split_paths(&target.search).map(|d| d.join(name)).find(|p| p.is_file());
    let mut child = tokio::process::Command::new(program.unwrap_or_else(|| name.into()))
        .args(arguments)
        .env_clear()
        .envs(target.around.env.iter().map(|(k, v)| (k, v)))
        .current_dir(&target.around.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("the check can't be started: {e}"))?;
    let status = child.wait().await.map_err(|e| format!("the check can't be waited for: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("the check ended with {status}")) }
}
