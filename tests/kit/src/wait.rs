//! The one way to wait: an attempt is repeated until it has an answer. When none comes, what was waited for, for how long, and what was seen last
//! are told.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

/// The longest a test waits for something that should happen at once. It is no measure of how long that takes: on a busy machine much takes long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The pauses between two attempts: a twentieth of the time waited so far, within these bounds.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(20);

/// What an attempt comes to: an answer (`true`, `Some`, `Ok`), or what it saw instead.
pub trait Attempt {
    type Answer;

    /// # Errors
    /// What was seen instead of the answer.
    fn answer(self) -> Result<Self::Answer, String>;
}

impl Attempt for bool {
    type Answer = ();

    fn answer(self) -> Result<(), String> {
        self.then_some(()).answer()
    }
}

impl<T> Attempt for Option<T> {
    type Answer = T;

    fn answer(self) -> Result<T, String> {
        self.ok_or_else(|| "not yet".to_owned())
    }
}

impl<T, S: Display> Attempt for Result<T, S> {
    type Answer = T;

    fn answer(self) -> Result<T, String> {
        self.map_err(|seen| format!("{seen:#}"))
    }
}

/// An attempt whose answer is what was seen, if that is as wanted.
///
/// # Errors
/// What was seen, if it is not.
pub fn when<T>(wanted: bool, seen: T) -> Result<T, T> {
    if wanted { Ok(seen) } else { Err(seen) }
}

/// Waits until an attempt has an answer. An error of the attempt itself ends the wait at once.
///
/// # Errors
/// That of an attempt; or that no answer has come within [`PATIENCE`].
pub async fn eventually<A: Attempt>(
    what: impl Into<String>,
    mut attempt: impl AsyncFnMut() -> Result<A>,
) -> Result<A::Answer> {
    let mut wait = Wait::begin(what);
    loop {
        match tokio::time::timeout(wait.left(), attempt()).await {
            Ok(result) => {
                if let Some(answer) = wait.take(result?) {
                    return Ok(answer);
                }
                // An attempt that waits for nothing ends before its timeout is looked at.
                if wait.left().is_zero() {
                    return Err(wait.failed());
                }
            }
            Err(_) => return Err(wait.failed()),
        }
        tokio::time::sleep(wait.pause()).await;
    }
}

/// The same where nothing else needs this thread.
///
/// # Errors
/// As [`eventually`].
pub fn eventually_blocking<A: Attempt>(
    what: impl Into<String>,
    mut attempt: impl FnMut() -> Result<A>,
) -> Result<A::Answer> {
    let mut wait = Wait::begin(what);
    loop {
        if let Some(answer) = wait.take(attempt()?) {
            return Ok(answer);
        }
        if wait.left().is_zero() {
            return Err(wait.failed());
        }
        std::thread::sleep(wait.pause());
    }
}

/// A wait that goes on.
struct Wait {
    what: String,
    since: Instant,
    seen: String,
}

impl Wait {
    fn begin(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            since: Instant::now(),
            seen: "no attempt has ended".to_owned(),
        }
    }

    fn left(&self) -> Duration {
        PATIENCE.saturating_sub(self.since.elapsed())
    }

    /// The answer; else what was seen is kept.
    fn take<A: Attempt>(&mut self, attempt: A) -> Option<A::Answer> {
        match attempt.answer() {
            Ok(answer) => Some(answer),
            Err(seen) => {
                self.seen = seen;
                None
            }
        }
    }

    fn pause(&self) -> Duration {
        (self.since.elapsed() / 20).clamp(SHORTEST, LONGEST)
    }

    fn failed(&self) -> anyhow::Error {
        anyhow!(
            "waited {:.1?} for \"{}\"; seen last: {}",
            self.since.elapsed(),
            self.what,
            self.seen
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_ends_the_wait_and_a_failure_tells_what_was_seen() {
        let mut attempts = 0;
        let answer = eventually("the third", async || {
            attempts += 1;
            Ok(when(attempts == 3, attempts))
        });
        assert_eq!(answer.await.unwrap(), 3);

        let broken = eventually::<bool>("it", async || anyhow::bail!("broken"));
        assert_eq!(broken.await.unwrap_err().to_string(), "broken");
    }

    #[test]
    fn what_was_waited_for_and_seen_is_told() {
        let mut wait = Wait::begin("two replicas");
        assert_eq!(wait.take(Err::<(), _>("one replica")), None);
        let told = wait.failed().to_string();
        assert!(
            told.contains("for \"two replicas\"; seen last: one replica"),
            "{told}"
        );
        assert_eq!((wait.take(Some(7)), wait.take(true)), (Some(7), Some(())));
    }
}
