//! The signals that stop the daemon: the first one politely, a second one at once.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// Resolves with the first signal's name.
pub struct Stop(watch::Receiver<Option<&'static str>>);

/// The exit code of a stop that was not waited for.
const AT_ONCE: i32 = 130;

/// # Errors
/// When the system does not let signals be received.
pub fn listen() -> io::Result<Stop> {
    let mut signals = Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let first = signals.next().await;
        // Nobody waits any more when the daemon has ended by itself.
        let _ = sender.send(Some(first));
        let second = signals.next().await;
        tracing::warn!(signal = second, "stopping at once");
        std::process::exit(AT_ONCE);
    });
    Ok(Stop(receiver))
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
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
