//! What goes wrong at the boundary, and when: the n-th call of a capability fails, loses its answer, or hangs.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tradewind_core::{
    failure::{Failure, FailureKind},
    units::Millis,
};

/// What a throttled call asks to wait.
pub(crate) const RETRY_AFTER: Millis = Millis(1_234);

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// It fails like this, without effect.
    Fails(FailureKind),
    /// It has its effect, and the answer never comes.
    LosesTheAnswer,
    /// It has no effect, and takes so long.
    Hangs(Duration),
}

/// Counts the calls, and lets one of them go wrong.
#[derive(Debug, Default)]
pub(crate) struct Script(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since the last look.
    calls: u32,
    /// The number of the call, from 1, and what becomes of it.
    armed: Option<(u32, Mishap)>,
    struck: Option<&'static str>,
}

impl Script {
    /// From now on: the n-th call goes wrong.
    pub(crate) fn arm(&self, nth: u32, mishap: Mishap) {
        *self.state() = State {
            calls: 0,
            armed: Some((nth, mishap)),
            struck: None,
        };
    }

    /// Nothing goes wrong any more. Answers which call it was, if one did, and forgets the count.
    pub(crate) fn disarm(&self) -> Option<&'static str> {
        std::mem::take(&mut *self.state()).struck
    }

    /// How many calls there were since the last `arm`, `disarm` or `count`.
    pub(crate) fn count(&self) -> u32 {
        std::mem::take(&mut self.state().calls)
    }

    /// Lets a call through, or not.
    pub(crate) async fn pass<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match self.due(name) {
            None => call.await,
            Some(Mishap::Fails(kind)) => Err(injected(kind)),
            Some(Mishap::LosesTheAnswer) => {
                // Whatever it is, nobody hears of it.
                let _lost = call.await;
                Err(Failure::unavailable("the answer was lost").code("injected"))
            }
            Some(Mishap::Hangs(time)) => {
                tokio::time::sleep(time).await;
                Err(Failure::unavailable("no answer came").code("injected"))
            }
        }
    }

    fn due(&self, name: &'static str) -> Option<Mishap> {
        let mut state = self.state();
        state.calls = state.calls.saturating_add(1);
        let (_, mishap) = state.armed.filter(|(nth, _)| *nth == state.calls)?;
        state.struck = Some(name);
        Some(mishap)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

fn injected(kind: FailureKind) -> Failure {
    let failure = Failure::new(kind, format!("made to fail as \"{kind}\"")).code("injected");
    failure.retry_after((kind == FailureKind::Throttled).then_some(RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_nth_call_goes_wrong_and_no_other() {
        let script = Script::default();
        let effects = std::cell::Cell::new(0);
        let call = || {
            script.pass("call", async {
                effects.set(effects.get() + 1);
                Ok::<_, Failure>(())
            })
        };
        for (mishap, effect) in [
            (Mishap::Fails(FailureKind::Throttled), 0),
            (Mishap::LosesTheAnswer, 1),
            (Mishap::Hangs(Duration::ZERO), 0),
        ] {
            effects.set(0);
            script.arm(2, mishap);
            assert!(call().await.is_ok());
            let failure = call().await.unwrap_err();
            assert_eq!(
                failure.retry_after,
                (failure.kind == FailureKind::Throttled).then_some(RETRY_AFTER)
            );
            assert_eq!(
                (effects.get(), script.count()),
                (1 + effect, 2),
                "{mishap:?}"
            );
            assert!(call().await.is_ok());
            assert_eq!(script.disarm(), Some("call"));
        }
    }
}
