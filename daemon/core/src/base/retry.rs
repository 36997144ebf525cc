//! When something that failed is tried again: exponential, bounded, and spread so that many that failed together do not come back together.
//! Pure: the spread depends on who asks, so the same question has the same answer. It must not know what is tried.

use crate::base::{
    failure::{Failure, FailureKind},
    units::Millis,
};

/// The first delay, and the longest that is not asked for by the other side.
pub const FIRST: Millis = Millis(500);
/// The longest delay that failures grow to.
pub const LONGEST: Millis = Millis(30_000);
/// The longest that somebody who throttles is waited for at once: a nonsensical answer must not stop anything for days.
pub const LONGEST_TOLD: Millis = Millis(3_600_000);

/// The delay after so many failures in a row: doubles from `FIRST` to `LONGEST`, less up to a half of it by `seed`.
pub fn backoff(failures: u32, seed: &str) -> Millis {
    let full = FIRST.0.saturating_mul(1 << failures.min(16)).min(LONGEST.0);
    Millis(full - scaled(full / 2, lot(seed, failures)))
}

/// The delay after a failed call; none: not before something changes. `failures` counts those in a row, this one not included.
pub fn after(failure: &Failure, failures: u32, seed: &str) -> Option<Millis> {
    match (failure.kind, failure.retry_after) {
        (FailureKind::Invalid, _) => None,
        (_, Some(told)) => Some(Millis(told.0.min(LONGEST_TOLD.0))),
        (FailureKind::Denied, None) => Some(LONGEST),
        _ => Some(backoff(failures, seed)),
    }
}

/// A number below 2^32 that looks random: FNV-1a over the seed and the attempt, well mixed at the end.
fn lot(seed: &str, attempt: u32) -> u64 {
    let bytes = seed.bytes().chain(attempt.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

/// `span` × lot / 2^32.
fn scaled(span: u64, lot: u64) -> u64 {
    span.saturating_mul(lot) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound_and_differ_between_askers() {
        for (failures, longest) in [
            (0, 500),
            (1, 1_000),
            (2, 2_000),
            (5, 16_000),
            (6, 30_000),
            (7, 30_000),
            (60, 30_000),
            (u32::MAX, 30_000),
        ] {
            let delays: Vec<u64> = (0..200)
                .map(|i| backoff(failures, &format!("a-{i}")).0)
                .collect();
            assert!(
                delays.iter().all(|d| (longest / 2..=longest).contains(d)),
                "{failures}: {delays:?}"
            );
            let (least, most) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
            assert!(
                most - least > longest / 4,
                "{failures}: spread from {least} to {most}"
            );
        }
        assert_eq!(backoff(3, "a"), backoff(3, "a"));
    }

    #[test]
    fn the_kind_decides() {
        let failure = |kind| Failure::new(kind, "x");
        let told = |ms| failure(FailureKind::Throttled).retry_after(Some(Millis(ms)));
        assert_eq!(after(&failure(FailureKind::Invalid), 0, "a"), None);
        assert_eq!(after(&failure(FailureKind::Denied), 0, "a"), Some(LONGEST));
        assert_eq!(
            after(&told(45_000), 0, "a"),
            Some(Millis(45_000)),
            "what is told holds exactly"
        );
        assert_eq!(after(&told(u64::MAX), 0, "a"), Some(LONGEST_TOLD));
        assert_eq!(
            after(&failure(FailureKind::Throttled), 2, "a"),
            Some(backoff(2, "a"))
        );
        assert_eq!(
            after(&failure(FailureKind::Unavailable), 2, "a"),
            Some(backoff(2, "a"))
        );
    }
}
