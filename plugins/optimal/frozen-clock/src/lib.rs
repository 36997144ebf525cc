//! A clock that stands still, in place of the crate `web-time`, which asks JavaScript for the time.
//!
//! A policy has no clock: the same request must give the same answer. The solver reads one only for limits of time, which nobody sets.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// A point in time: so long after the beginning of the call, in which no time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The beginning of the call.
    pub fn now() -> Self {
        Self(Duration::ZERO)
    }

    /// How long after another point this one is, zero when it is earlier.
    pub fn duration_since(&self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// How long ago it was.
    pub fn elapsed(&self) -> Duration {
        Self::now().duration_since(*self)
    }

    /// Later by so much, if that can be told.
    pub fn checked_add(&self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }
}
