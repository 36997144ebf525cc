//! The machine's wall clock behind the `Clock` port. It must not be used for measuring spans: it may jump.

use std::time::{SystemTime, UNIX_EPOCH};

use tradewind_core::{
    capability::Clock,
    units::{Instant, Millis},
};

/// The system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        instant(SystemTime::now())
    }
}

/// A system time as the domain writes it; times before 1970 become 1970.
pub(crate) fn instant(time: SystemTime) -> Instant {
    Instant(Millis::from(time.duration_since(UNIX_EPOCH).unwrap_or_default()).0)
}
