//! Re-placement: spans that mean something.

use super::Found;
use tradewind_core::{field::Path, manifest::ReplacementSpec, units::Millis};

/// 365.25 days.
const YEAR: Millis = Millis(31_557_600_000);

pub(super) fn replacement(found: &mut Found, spec: &ReplacementSpec, at: &Path) {
    for (field, value, least) in [
        ("horizon", spec.horizon, Millis::from_secs(60)),
        ("cooldown", spec.cooldown, Millis(0)),
    ] {
        let Some(value) = value else { continue };
        found.require(
            (least..=YEAR).contains(&value),
            || at.clone().key(field),
            || format!("{value} is out of range: write {least} to {YEAR}"),
        );
    }
    found.require(
        spec.min_share.is_none_or(|share| share.0 <= 100),
        || at.clone().key("minShare"),
        || "more than all of it can't be saved: write at most 100%".to_owned(),
    );
}
