//! Recovery and hedging.

use super::Found;
use tradewind_core::{
    field::Path,
    health::Portion,
    manifest::{HedgeSpec, RecoverySpec},
    units::Millis,
};

/// 100 years of 365.25 days.
const LONGEST: Millis = Millis(100 * 31_557_600_000);

pub(super) fn recovery(found: &mut Found, spec: &RecoverySpec, at: &Path) {
    let spans = [
        ("firstPause", spec.first_pause, Millis(1)),
        ("longestPause", spec.longest_pause, Millis(1)),
        ("resetAfter", spec.reset_after, Millis(1)),
        ("failover", spec.failover, Millis(1)),
    ];
    for (field, value, least) in spans {
        span(found, value, least, || at.clone().key(field));
    }
    if let (Some(first), Some(longest)) = (spec.first_pause, spec.longest_pause) {
        found.require(
            first <= longest,
            || at.clone().key("firstPause"),
            || format!("{first} is longer than the longest pause of {longest}: lower it, or raise \"longestPause\""),
        );
    }
    found.require(
        spec.replace_after.is_none_or(|n| n <= 1_000),
        || at.clone().key("replaceAfter"),
        || {
            format!(
                "{} failures are out of range: write 0 to 1000",
                spec.replace_after.unwrap_or(0)
            )
        },
    );
    if let Some(portion) = spec.max_concurrent {
        let good = match portion.0 {
            Portion::Count(n) => n > 0,
            Portion::Percent(p) => (1..=100).contains(&p),
        };
        found.require(
            good,
            || at.clone().key("maxConcurrent"),
            || format!("{portion} would replace none, or more than there are: write at least 1, or \"1%\" to \"100%\""),
        );
    }
}

pub(super) fn hedge(found: &mut Found, spec: &HedgeSpec, at: &Path) {
    found.require(
        (1..=5).contains(&spec.offers),
        || at.clone().key("offers"),
        || {
            format!(
                "{} places are out of range: write 2 to 5, or 1 to ask in one place only",
                spec.offers
            )
        },
    );
    span(found, spec.within, Millis(1), || at.clone().key("within"));
}

fn span(found: &mut Found, value: Option<Millis>, least: Millis, at: impl FnOnce() -> Path) {
    found.require(
        value.is_none_or(|v| (least..=LONGEST).contains(&v)),
        at,
        || {
            format!(
                "{} is out of range: write more than 0 and at most 100 years, such as 2m",
                value.unwrap_or_default()
            )
        },
    );
}
