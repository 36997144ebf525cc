//! Times and durations as people read them: how long ago, in the zone of who reads, in few units. Pure but for the zone of this machine.

use jiff::{Timestamp, tz::TimeZone};
use tradewind_core::units::{Instant, Millis};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// What time it is, and where.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    /// Asked anew each time: a watch goes on for long.
    now: fn() -> Instant,
    zone: TimeZone,
}

fn now() -> Instant {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Instant(since.map_or(0, |since| Millis::from(since).0))
}

// === impl Clock ===

impl Clock {
    /// Of this machine: the variable `TZ`, else the system's zone.
    pub(super) fn new(utc: bool) -> Self {
        let zone = if utc {
            TimeZone::UTC
        } else {
            // No zone is set up: the one that needs none.
            TimeZone::try_system().unwrap_or(TimeZone::UTC)
        };
        Self { now, zone }
    }

    /// To the second, with the zone's offset, as RFC 3339 has it.
    pub(super) fn at(&self, instant: Instant) -> String {
        let seconds = i64::try_from(instant.0 / SECOND).unwrap_or(i64::MAX);
        let Ok(time) = Timestamp::from_second(seconds) else {
            return instant.to_string();
        };
        let zoned = time.to_zoned(self.zone.clone());
        if zoned.offset().is_zero() {
            zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
        } else {
            zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        }
    }

    /// How long ago. A clock that is behind the daemon's makes it `0s`.
    pub(super) fn age(&self, instant: Instant) -> Millis {
        (self.now)().since(instant)
    }

    /// `5m ago`.
    pub(super) fn ago(&self, instant: Instant) -> String {
        format!("{} ago", short(self.age(instant)))
    }

    /// `in 2h`; once it has come, how long ago.
    pub(super) fn due(&self, instant: Instant) -> String {
        match instant.since((self.now)()) {
            Millis(0) => self.ago(instant),
            left => format!("in {}", short(left)),
        }
    }
}

/// In one unit, or in two where one says too little: `48s`, `7m`, `5h30m`, `3d4h`, `40d`.
pub(crate) fn short(span: Millis) -> String {
    let ms = span.0;
    let two = |unit: u64, name: &str, next: u64, next_name: &str| match ms % unit / next {
        0 => format!("{}{name}", ms / unit),
        rest => format!("{}{name}{rest}{next_name}", ms / unit),
    };
    match ms {
        0..120_000 => format!("{}s", ms / SECOND),
        120_000..600_000 => two(MINUTE, "m", SECOND, "s"),
        600_000..7_200_000 => format!("{}m", ms / MINUTE),
        7_200_000..86_400_000 => two(HOUR, "h", MINUTE, "m"),
        86_400_000..864_000_000 => two(DAY, "d", HOUR, "h"),
        _ => format!("{}d", ms / DAY),
    }
}

/// A duration with all that it has, down to its second, or below that where it is shorter than ten: `30d 10h`, `1h 30m`, `1.5s`, `250ms`.
pub(crate) fn span(span: Millis) -> String {
    let mut ms = span.0;
    if ms < 10 * SECOND {
        return match (ms / SECOND, ms % SECOND) {
            (0, ms @ 1..) => format!("{ms}ms"),
            (s, 0) => format!("{s}s"),
            (_, _) => format!("{}s", super::number(ms as f64 / 1e3)),
        };
    }
    let mut parts = Vec::new();
    for (unit, name) in [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")] {
        if ms / unit > 0 {
            parts.push(format!("{}{name}", ms / unit));
        }
        ms %= unit;
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_few_units() {
        for (millis, in_a_table, in_full) in [
            (0, "0s", "0s"),
            (900, "0s", "900ms"),
            (1_500, "1s", "1.5s"),
            (90_000, "90s", "1m 30s"),
            (125_000, "2m5s", "2m 5s"),
            (3_725_000, "62m", "1h 2m 5s"),
            (19_800_000, "5h30m", "5h 30m"),
            (200_000_000, "2d7h", "2d 7h 33m 20s"),
            (2_628_000_000, "30d", "30d 10h"),
        ] {
            assert_eq!(short(Millis(millis)), in_a_table);
            assert_eq!(span(Millis(millis)), in_full);
        }
    }

    #[test]
    fn a_time_is_told_where_it_is_read() {
        let at = Instant(1_796_039_189_123);
        let now = || Instant(1_796_039_189_123);
        let clock = |zone| Clock { now, zone };
        let india = TimeZone::posix("IST-5:30").unwrap();
        assert_eq!(clock(TimeZone::UTC).at(at), "2026-11-30T11:46:29Z");
        assert_eq!(clock(india).at(at), "2026-11-30T17:16:29+05:30");
        let clock = clock(TimeZone::UTC);
        let (before, after) = (Instant(at.0 - 660_000), Instant(at.0 + 7_200_000));
        assert_eq!(
            [clock.ago(before), clock.due(before)],
            ["11m ago", "11m ago"]
        );
        assert_eq!(clock.due(after), "in 2h");
        assert_eq!(clock.ago(after), "0s ago", "the daemon's clock is ahead");
    }
}
