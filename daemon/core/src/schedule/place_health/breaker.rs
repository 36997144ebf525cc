//! A circuit breaker: closed while a place answers, open for a while after it has not, then one call tries. Knows calls only by their ends.

use crate::base::{list::Choice, units::Millis};

/// Calls in a row without an answer that open it.
pub(super) const OPENS_AFTER: u32 = 5;
/// How long it stays open the first time; each time a try fails, twice as long, up to the longest.
pub(super) const COOL_DOWN: Millis = Millis(5_000);
pub(super) const COOL_DOWN_LONGEST: Millis = Millis(40_000);
/// How soon to ask again while another call tries.
const WHILE_TRYING: Millis = Millis(500);
/// A try of which nothing was heard for so long does not keep others from trying.
const TRY_LONGEST: Millis = Millis(120_000);

/// Whether a call may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may go now.
    Go,
    /// Not before this.
    Wait(Millis),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Millis,
    },
    /// One call is under way.
    Trying {
        since: Millis,
    },
}

/// How a breaker is, for people.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Circuit {
    /// Calls go.
    Closed,
    /// No call goes.
    Open,
    /// The next call, or the one under way, decides.
    HalfOpen,
}

impl Choice for Circuit {
    const WHAT: &'static str = "a circuit's status";
    const ALL: &'static [Self] = &[Self::Closed, Self::Open, Self::HalfOpen];

    fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// The circuit breaker of one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    state: State,
    /// Calls in a row without an answer.
    failures: u32,
    cool_down: Millis,
    /// When it opened, from closed.
    opened: Option<Millis>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed,
            failures: 0,
            cool_down: COOL_DOWN,
            opened: None,
        }
    }
}

impl Breaker {
    /// Asks for a call. Every call that goes must be followed by `answered`, `failed` or `unused`.
    pub fn admit(&mut self, now: Millis) -> Admission {
        match self.state {
            State::Closed => Admission::Go,
            State::Open { until } if now < until => Admission::Wait(until),
            State::Trying { since } if now < Millis(since.0.saturating_add(TRY_LONGEST.0)) => {
                Admission::Wait(Millis(now.0.saturating_add(WHILE_TRYING.0)))
            }
            State::Open { .. } | State::Trying { .. } => {
                self.state = State::Trying { since: now };
                Admission::Go
            }
        }
    }

    /// The place has answered, whatever it said. True when that closes it.
    pub fn answered(&mut self) -> bool {
        let was_closed = self.state == State::Closed;
        *self = Self::default();
        !was_closed
    }

    /// No answer. True when that opens it from closed.
    pub fn failed(&mut self, now: Millis) -> bool {
        self.failures = self.failures.saturating_add(1);
        match self.state {
            State::Closed if self.failures < OPENS_AFTER => false,
            State::Closed => {
                self.state = State::Open {
                    until: Millis(now.0.saturating_add(self.cool_down.0)),
                };
                self.opened = Some(now);
                true
            }
            State::Trying { .. } => {
                self.cool_down =
                    Millis(self.cool_down.0.saturating_mul(2).min(COOL_DOWN_LONGEST.0));
                self.state = State::Open {
                    until: Millis(now.0.saturating_add(self.cool_down.0)),
                };
                false
            }
            // A call that began before it opened.
            State::Open { .. } => false,
        }
    }

    /// The call that was admitted has not been made: another may try at once.
    pub fn unused(&mut self, now: Millis) {
        if let State::Trying { .. } = self.state {
            self.state = State::Open { until: now };
        }
    }

    /// Whether calls go at this time.
    pub fn circuit(&self, now: Millis) -> Circuit {
        match self.state {
            State::Closed => Circuit::Closed,
            State::Open { until } if now < until => Circuit::Open,
            State::Open { .. } | State::Trying { .. } => Circuit::HalfOpen,
        }
    }

    /// When calls may go again, while none may.
    pub fn until(&self, now: Millis) -> Option<Millis> {
        match self.state {
            State::Open { until } if now < until => Some(until),
            _ => None,
        }
    }

    /// Whether somebody tries already, so that nobody else shall.
    pub fn is_trying(&self) -> bool {
        matches!(self.state, State::Trying { .. })
    }

    /// When it opened. `None`: it is closed.
    pub fn opened(&self) -> Option<Millis> {
        self.opened
    }

    /// Calls in a row without an answer.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for n in 1..=OPENS_AFTER {
            assert_eq!(breaker.admit(Millis(0)), Admission::Go);
            assert_eq!(breaker.failed(Millis(0)), n == OPENS_AFTER, "after {n}");
        }
        breaker
    }

    #[test]
    fn it_opens_tries_once_and_closes() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(Millis(4_999)), Admission::Wait(Millis(5_000)));
        assert_eq!(breaker.circuit(Millis(5_000)), Circuit::HalfOpen);
        assert_eq!(breaker.admit(Millis(5_000)), Admission::Go, "one tries");
        assert_eq!(
            breaker.admit(Millis(5_001)),
            Admission::Wait(Millis(5_501)),
            "the others wait for it"
        );
        assert!(!breaker.failed(Millis(6_000)), "it was open before");
        assert_eq!(
            breaker.admit(Millis(6_000)),
            Admission::Wait(Millis(16_000)),
            "twice as long"
        );
        assert_eq!(breaker.admit(Millis(16_000)), Admission::Go);
        assert!(breaker.answered());
        assert_eq!(
            (breaker.circuit(Millis(16_000)), breaker.failures()),
            (Circuit::Closed, 0)
        );
        assert_eq!(breaker, Breaker::default(), "what was is forgotten");
    }

    #[test]
    fn a_try_that_was_not_made_or_never_ended_blocks_nobody() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(Millis(5_000)), Admission::Go);
        breaker.unused(Millis(5_010));
        assert_eq!(breaker.admit(Millis(5_010)), Admission::Go);
        assert_eq!(breaker.admit(Millis(5_010 + TRY_LONGEST.0)), Admission::Go);
    }

    #[test]
    fn an_answer_between_failures_keeps_it_closed() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            (1..OPENS_AFTER).for_each(|_| assert!(!breaker.failed(Millis(0))));
            assert!(!breaker.answered());
        }
        assert_eq!(breaker.circuit(Millis(0)), Circuit::Closed);
    }

    proptest! {
        /// Whatever happens: while not closed at most one call is under way that was admitted since, and nobody is told to wait longer than
        /// the longest cool-down.
        #[test]
        fn one_tries_and_every_wait_ends(steps in proptest::collection::vec((0u8..4, 0u64..20_000), 1..200)) {
            let (mut breaker, mut now, mut trying) = (Breaker::default(), 0, 0u32);
            for (what, later) in steps {
                now += later;
                let closed = breaker.circuit(Millis(now)) == Circuit::Closed;
                match what {
                    0 => match breaker.admit(Millis(now)) {
                        Admission::Go if closed => {}
                        Admission::Go => trying += 1,
                        Admission::Wait(until) => {
                            prop_assert!(until.0 > now && until.0 - now <= COOL_DOWN_LONGEST.0);
                        }
                    },
                    1 => { breaker.answered(); trying = 0; }
                    2 => { breaker.failed(Millis(now)); trying = 0; }
                    _ => { breaker.unused(Millis(now)); trying = 0; }
                }
                prop_assert!(trying <= 1 + u32::try_from(now / TRY_LONGEST.0).unwrap());
            }
        }
    }
}
