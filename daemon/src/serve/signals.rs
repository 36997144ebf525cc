//! The signals that a process of ours obeys: the first of those that stop it politely, a second one at once; SIGHUP, which reloads.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use super::logging;

/// Resolves with the first signal's name.
pub struct Stop(watch::Receiver<Option<&'static str>>);

/// Signals of a terminal that belong together.
const SAME: Duration = Duration::from_secs(1);
/// The exit code of a stop that was not waited for.
const AT_ONCE: i32 = 130;

/// For the daemon. A terminal that closes does not stop it: SIGHUP has a meaning of its own.
///
/// # Errors
/// When the system does not let signals be received.
pub fn listen() -> io::Result<Stop> {
    stop_at(Signals::new(&STOPPING)?, Duration::ZERO)
}

/// For a command that cleans up behind itself: SIGHUP stops it, too. Some programs signal a process and its group: that counts once.
///
/// # Errors
/// When the system does not let signals be received.
pub fn listen_in_terminal() -> io::Result<Stop> {
    let [terminate, interrupt, quit] = STOPPING;
    let all = [terminate, interrupt, quit, (HANGUP, "SIGHUP")];
    stop_at(Signals::new(&all)?, SAME)
}

const HANGUP: SignalKind = SignalKind::hangup();
const STOPPING: [(SignalKind, &str); 3] = [
    (SignalKind::terminate(), "SIGTERM"),
    (SignalKind::interrupt(), "SIGINT"),
    (SignalKind::quit(), "SIGQUIT"),
];

/// `same`: signals within this time of the first are one with it.
fn stop_at(mut signals: Signals, same: Duration) -> io::Result<Stop> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let first = signals.next().await;
        // Nobody waits any more when the daemon has ended by itself.
        let _ = sender.send(Some(first));
        let told = Instant::now();
        let second = loop {
            let next = signals.next().await;
            if told.elapsed() >= same {
                break next;
            }
        };
        tracing::warn!(signal = second, "stopping at once");
        logging::flush();
        std::process::exit(AT_ONCE);
    });
    Ok(Stop(receiver))
}

/// SIGHUP, each time that it comes. SIGUSR1 and SIGUSR2, which would end the process, have no effect from now on.
///
/// # Errors
/// When the system does not let signals be received.
pub fn reloads() -> io::Result<Reloads> {
    for user_defined in [SignalKind::user_defined1(), SignalKind::user_defined2()] {
        // What is received by nobody is ignored; the system's way to end the process is off.
        drop(signal(user_defined)?);
    }
    Ok(Reloads(signal(HANGUP)?))
}

pub struct Reloads(Signal);

impl Reloads {
    /// None when no more can come.
    pub async fn next(&mut self) -> Option<()> {
        self.0.recv().await
    }
}

struct Signals(Vec<(Signal, &'static str)>);

impl Signals {
    fn new(kinds: &[(SignalKind, &'static str)]) -> io::Result<Self> {
        kinds
            .iter()
            .map(|(kind, name)| Ok((signal(*kind)?, *name)))
            .collect::<io::Result<_>>()
            .map(Self)
    }

    async fn next(&mut self) -> &'static str {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<&'static str> {
        for (signal, name) in &mut self.0 {
            if let Poll::Ready(Some(())) = signal.poll_recv(context) {
                return Poll::Ready(*name);
            }
        }
        Poll::Pending
    }
}

impl Stop {
    pub async fn wait(mut self) -> &'static str {
        match self.0.wait_for(Option::is_some).await {
            Ok(signal) => signal.unwrap_or("unknown"),
            Err(_) => std::future::pending().await,
        }
    }
}
