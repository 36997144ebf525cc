//! What a connection waits for, and for how long already. It knows nothing of sockets.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use tradewind_config::Api;

use crate::guard::Share;

/// How long a client may let its connection wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the whole head of a request, and for the handshake before the first one.
    pub(super) head: Duration,
    /// For the next request.
    pub(super) idle: Duration,
    /// For the client to take something of what is written.
    pub(super) write: Duration,
}

impl Patience {
    /// As the settings say.
    pub(super) fn of(api: &Api) -> Self {
        Self {
            head: api.header_timeout.std(),
            idle: api.idle_timeout.std(),
            write: api.write_timeout.std(),
        }
    }
}

/// One connection's state. Shared by the connection, its requests and the crowd.
pub(crate) struct Pulse {
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When the client stopped taking what is written.
    stalled: Option<Instant>,
    /// The share of the request in flight.
    share: Option<Share>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A head arrives, or a handshake is under way.
    Head,
    /// A request is worked on, or its answer is written.
    Busy,
    /// Nothing has come since the last answer.
    Idle,
}

/// Two looks at a connection are at most this far apart.
const LOOK: Duration = Duration::from_secs(1);
const SHORTEST_LOOK: Duration = Duration::from_millis(10);

impl Pulse {
    pub(super) fn new() -> Self {
        let state = State {
            phase: Phase::Head,
            since: Instant::now(),
            stalled: None,
            share: None,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// The handshake is done: the first head may take as long as any other.
    pub(super) fn opened(&self) {
        self.state().begin(Phase::Head);
    }

    /// Bytes came from the client.
    pub(super) fn received(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            state.begin(Phase::Head);
        }
    }

    /// A request's head is complete.
    pub(super) fn asked(&self) {
        self.state().begin(Phase::Busy);
    }

    /// Whether a handshake or a head is under way.
    pub(super) fn expects_head(&self) -> bool {
        self.state().phase == Phase::Head
    }

    /// The share of the request in flight, until its answer has been written.
    pub(crate) fn hold(&self, share: Share) {
        self.state().share = Some(share);
    }

    /// The answer was handed over whole, or given up.
    pub(super) fn answered(&self) {
        let share = {
            let mut state = self.state();
            state.begin(Phase::Idle);
            state.share.take()
        };
        drop(share);
    }

    /// The client takes nothing of what is written.
    pub(super) fn stalled(&self) {
        self.state().stalled.get_or_insert_with(Instant::now);
    }

    /// The client took something.
    pub(super) fn moved(&self) {
        let mut state = self.state();
        state.stalled = None;
        if state.phase == Phase::Idle {
            state.since = Instant::now();
        }
    }

    /// Since when nothing of a known sender has been in flight. None: something is.
    pub(super) fn waiting(&self) -> Option<Instant> {
        let state = self.state();
        if state.share.is_some() {
            None
        } else {
            Some(state.since)
        }
    }

    /// Resolves when the client has let the connection wait for too long, with what for.
    pub(super) async fn overdue(&self, patience: &Patience) -> &'static str {
        let shortest = patience.head.min(patience.idle).min(patience.write);
        let look = (shortest / 4).clamp(SHORTEST_LOOK, LOOK);
        loop {
            let next = Instant::now() + look;
            let wake = match self.due(patience) {
                Some((at, late)) if at <= Instant::now() => return late,
                Some((at, _)) => at.min(next),
                None => next,
            };
            tokio::time::sleep_until(wake).await;
        }
    }

    fn due(&self, patience: &Patience) -> Option<(Instant, &'static str)> {
        let state = self.state();
        if let Some(since) = state.stalled {
            return Some((since + patience.write, "api.write-timeout"));
        }
        match state.phase {
            Phase::Head => Some((state.since + patience.head, "api.header-timeout")),
            Phase::Idle => Some((state.since + patience.idle, "api.idle-timeout")),
            Phase::Busy => None,
        }
    }

    // Plain data: what a panicking holder left is a state that a connection can be in.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn begin(&mut self, phase: Phase) {
        (self.phase, self.since) = (phase, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(60),
        write: Duration::from_secs(30),
    };

    /// Seconds until the connection is overdue, rounded, and what for.
    async fn late(pulse: &Pulse) -> (u64, &'static str) {
        let since = Instant::now();
        let setting = pulse.overdue(&PATIENCE).await;
        ((since.elapsed().as_millis() as u64 + 500) / 1000, setting)
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_a_time_of_its_own() {
        let pulse = Pulse::new();
        assert_eq!(late(&pulse).await, (10, "api.header-timeout"));
        pulse.asked();
        let busy = tokio::time::timeout(Duration::from_secs(3600), pulse.overdue(&PATIENCE)).await;
        assert!(
            busy.is_err(),
            "a request that is worked on is not the client's delay"
        );
        pulse.stalled();
        tokio::time::sleep(Duration::from_secs(20)).await;
        pulse.stalled();
        assert_eq!(
            late(&pulse).await,
            (10, "api.write-timeout"),
            "a second refusal to take something begins no new time"
        );
        pulse.moved();
        pulse.answered();
        assert_eq!(late(&pulse).await, (60, "api.idle-timeout"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_comes_in_drops_gets_no_more_time() {
        let pulse = Pulse::new();
        pulse.asked();
        pulse.answered();
        tokio::time::sleep(Duration::from_secs(50)).await;
        pulse.received();
        tokio::time::sleep(Duration::from_secs(9)).await;
        pulse.received();
        assert_eq!(late(&pulse).await, (1, "api.header-timeout"));
    }
}
