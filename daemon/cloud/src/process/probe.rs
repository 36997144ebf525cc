//! Checks a running process again and again and reports when the verdict changes. What follows from a verdict is not its business.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::mpsc};
use tokio_util::sync::CancellationToken;
use tradewind_core::{
    health::{SLOW_START, Tally, liveness_counts},
    workload::{Check, Probe},
};

use super::{
    Shared,
    census::{MARK, Who},
    confine::{self, Plan},
    launch::Surroundings,
    reserve, sockets,
};
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
    ports: std::collections::BTreeMap<String, u16>,
    around: Surroundings,
    /// The `PATH` in which the program of a command check is found.
    search: String,
    /// What a command check may reach: what its process may.
    plan: Plan,
    shared: Arc<Shared>,
    /// Whose answers count.
    who: Who,
    /// The mark of the run; every command check has one of its own.
    mark: String,
    commands: AtomicU64,
    /// The descriptors with which the replica was seen to listen, by port number.
    seen: Mutex<HashMap<u16, (String, u64)>>,
    life: Life,
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
        Self {
            begun,
            seen: AtomicBool::new(false),
        }
    }
}

impl Target {
    pub(super) fn new(
        ports: std::collections::BTreeMap<String, u16>,
        around: Surroundings,
        search: String,
        life: Life,
        plan: Plan,
        (shared, who, mark): (Arc<Shared>, Who, String),
    ) -> Self {
        Self {
            ports,
            around,
            search,
            plan,
            shared,
            who,
            mark,
            commands: AtomicU64::new(0),
            seen: Mutex::default(),
            life,
        }
    }

    fn next_mark(&self) -> String {
        format!(
            "{}.{}",
            self.mark,
            self.commands.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// Whether it is the replica that answers on this port. Blocks.
    fn listens(&self, number: u16) -> Result<(), String> {
        let mut seen = self.seen.lock();
        if seen
            .get(&number)
            .is_some_and(|(descriptor, socket)| sockets::is_still(descriptor, *socket))
        {
            return Ok(());
        }
        let Ok(census) = self.shared.census(Instant::now()) else {
            return Ok(());
        };
        let pids = census
            .members(&self.who)
            .into_iter()
            .chain([self.who.leader]);
        seen.extend(
            sockets::answers(pids, (Ipv4Addr::LOCALHOST, number).into())?
                .map(|held| (number, held)),
        );
        Ok(())
    }
}

/// Runs until nobody listens to the verdicts.
pub(super) async fn watch(
    kind: Kind,
    probe: Probe,
    target: Arc<Target>,
    verdicts: mpsc::UnboundedSender<Verdict>,
) {
    let interval = probe.interval.std().max(SHORTEST_INTERVAL);
    let limit = if probe.timeout.0 == 0 {
        DEFAULT_TIMEOUT
    } else {
        probe.timeout.std()
    };
    if kind != Kind::Startup {
        target.life.begun.cancelled().await;
    }
    tokio::time::sleep(probe.initial_delay.std()).await;
    let began = Instant::now();
    let mut tally = Tally::of(&probe);
    let mut pause = FIRST_PAUSE;
    let mut counted = Instant::now();
    while !verdicts.is_closed() {
        let mark = target.next_mark();
        let made = tokio::time::timeout(limit, check(&probe.check, &target, &mark)).await;
        if matches!(probe.check, Check::Command { .. }) {
            let of = target.clone();
            // What the command has started and left goes with it.
            let _ = tokio::task::spawn_blocking(move || of.shared.end_marked(&mark)).await;
        }
        let outcome = match made {
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
            // A daemon without descriptors can't check anything: that says nothing about the process.
            Err(_) if !reserve::has_room() => {
                target.shared.exhausted("checks can't be made");
                false
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
                Err(reason) if kind == Kind::Liveness && !started => {
                    Verdict::Bad(kind, format!("{reason}; {SLOW_START}"))
                }
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

async fn check(check: &Check, target: &Arc<Target>, mark: &str) -> Result<(), String> {
    let number = match check {
        Check::Tcp { port } => {
            let address = address(port, target)?;
            probe::tcp(address).await?;
            address.port()
        }
        Check::Http {
            port,
            path,
            headers,
            status_min,
            status_max,
        } => {
            let address = address(port, target)?;
            probe::http(
                address,
                "127.0.0.1",
                path,
                headers,
                (*status_min, *status_max),
            )
            .await?;
            address.port()
        }
        Check::Command { command } => return run(command, target, mark).await,
    };
    // An answer counts only when it is the replica's own.
    let of = target.clone();
    tokio::task::spawn_blocking(move || of.listens(number))
        .await
        .unwrap_or(Ok(()))
}

fn address(port: &str, target: &Target) -> Result<SocketAddr, String> {
    let number = target
        .ports
        .get(port)
        .copied()
        .ok_or_else(|| format!("there is no port \"{port}\""))?;
    Ok((Ipv4Addr::LOCALHOST, number).into())
}

async fn run(command: &[String], target: &Arc<Target>, mark: &str) -> Result<(), String> {
    let Some((name, arguments)) = command.split_first() else {
        return Err("the command is empty".to_owned());
    };
    // A path stays what it is.
    let program = std::env::split_paths(&target.search)
        .map(|d| d.join(name))
        .find(|p| p.is_file());
    let Some(program) = program else {
        return Err(format!(
            "the program \"{}\" is not there",
            name.escape_debug()
        ));
    };
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(target.around.env.iter().map(|(k, v)| (k, v)))
        .env(MARK, mark)
        .current_dir(&target.around.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    if let Some(ids) = target.plan.ids {
        command.gid(ids.gid).uid(ids.uid);
    }
    let (runtime, of) = (Handle::current(), target.clone());
    let spawned = tokio::task::spawn_blocking(move || {
        confine::run(&of.plan, || {
            let _inside = runtime.enter();
            command.spawn()
        })
    });
    // When nobody waits any more, the check ends with the handle that this answers.
    let spawned = spawned
        .await
        .unwrap_or_else(|e| Err(std::io::Error::other(e)));
    let mut child = spawned.map_err(|e| format!("the check can't be started: {e}"))?;
    let status = child
        .wait()
        .await
        .map_err(|e| format!("the check can't be waited for: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the check ended with {status}"))
    }
}
