//! Checks a running process again and again and reports when the verdict changes. What follows from a verdict is not its business.

use std::{
    net::Ipv4Addr,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tradewind_core::workload::{Check, Probe};

use super::launch::Surroundings;

/// The first checks follow each other quickly, so that a process that is ready soon is known to be so soon.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Keeps an interval of 0 from becoming a busy loop.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
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
}

/// Runs until nobody listens to the verdicts.
pub(super) async fn watch(kind: Kind, probe: Probe, target: Arc<Target>, verdicts: mpsc::UnboundedSender<Verdict>) {
    let interval = probe.interval.std().max(SHORTEST_INTERVAL);
    let limit = if probe.timeout.0 == 0 { DEFAULT_TIMEOUT } else { probe.timeout.std() };
    tokio::time::sleep(probe.initial_delay.std()).await;
    let mut tally = Tally { healthy_after: probe.healthy_after.max(1), unhealthy_after: probe.unhealthy_after.max(1), ..Tally::default() };
    let mut pause = FIRST_PAUSE;
    let mut counted = Instant::now();
    while !verdicts.is_closed() {
        let outcome = match tokio::time::timeout(limit, check(&probe.check, &target)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
        };
        let changed = match &outcome {
            Ok(()) => tally.success(),
            // Of the quick checks at the start only one per interval counts, or a slow start would look like a failure.
            Err(_) if tally.seen_good || counted.elapsed() >= interval => {
                counted = Instant::now();
                tally.failure()
            }
            Err(_) => false,
        };
        if changed {
            let verdict = match outcome {
                Ok(()) => Verdict::Good(kind),
                Err(reason) => Verdict::Bad(kind, reason),
            };
            if verdicts.send(verdict).is_err() {
                return;
            }
        }
        tokio::time::sleep(if tally.seen_good { interval } else { pause }).await;
        pause = (pause * 3 / 2).min(interval);
    }
}

/// Consecutive outcomes against the thresholds.
#[derive(Debug, Default)]
struct Tally {
    healthy_after: u32,
    unhealthy_after: u32,
    successes: u32,
    failures: u32,
    /// The verdict given last.
    good: Option<bool>,
    seen_good: bool,
}

impl Tally {
    /// Whether the verdict changes.
    fn success(&mut self) -> bool {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        let changed = self.successes >= self.healthy_after && self.good != Some(true);
        if changed {
            self.good = Some(true);
            self.seen_good = true;
        }
        changed
    }

    fn failure(&mut self) -> bool {
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        let changed = self.failures >= self.unhealthy_after && self.good != Some(false);
        if changed {
            self.good = Some(false);
        }
        changed
    }
}

async fn check(check: &Check, target: &Target) -> Result<(), String> {
    match check {
        Check::Tcp { port } => connect(port, target).await.map(|_| ()),
        Check::Http { port, path, headers, status_min, status_max } => {
            let mut stream = connect(port, target).await?;
            let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\nUser-Agent: tradewind-probe\r\n");
            if !headers.keys().any(|k| k.eq_ignore_ascii_case("host")) {
                request.push_str("Host: 127.0.0.1\r\n");
            }
            for (name, value) in headers {
                request.push_str(&format!("{name}: {value}\r\n"));
            }
            request.push_str("\r\n");
            stream.write_all(request.as_bytes()).await.map_err(|e| format!("the request failed: {e}"))?;
            let status = status(&mut stream).await?;
            if (*status_min..=*status_max).contains(&status) { Ok(()) } else { Err(format!("the answer has status {status}")) }
        }
        Check::Command { command } => run(command, target).await,
    }
}

async fn connect(port: &str, target: &Target) -> Result<TcpStream, String> {
    let number = target.ports.get(port).copied().ok_or_else(|| format!("there is no port \"{port}\""))?;
    TcpStream::connect((Ipv4Addr::LOCALHOST, number)).await.map_err(|e| format!("port {number} does not accept connections: {e}"))
}

async fn status(stream: &mut TcpStream) -> Result<u16, String> {
    let mut head = [0u8; 12];
    stream.read_exact(&mut head).await.map_err(|e| format!("the answer breaks off: {e}"))?;
    let text = std::str::from_utf8(&head).unwrap_or_default();
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|s| s.parse().ok());
    status.ok_or_else(|| "the answer is not HTTP".to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_change_at_the_thresholds_only() {
        let mut tally = Tally { healthy_after: 2, unhealthy_after: 3, ..Tally::default() };
        let outcomes =
            [(true, false), (false, false), (true, false), (true, true), (true, false), (false, false), (false, false), (false, true)];
        for (i, (good, changes)) in outcomes.into_iter().enumerate() {
            assert_eq!(if good { tally.success() } else { tally.failure() }, changes, "outcome {i}");
        }
    }
}
