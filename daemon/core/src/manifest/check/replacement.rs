//! Re-placement: spans that mean something.

use super::Found;
use crate::{
    manifest::{ReplacementSpec, tree::Path},
    units::Millis,
};

const DAY: Millis = Millis(86_400_000);

pub(super) fn replacement(found: &mut Found, spec: &ReplacementSpec, at: &Path) {
    let year = Millis(DAY.0.saturating_mul(366));
    for (field, value, least) in [("horizon", spec.horizon, Millis::from_secs(60)), ("cooldown", spec.cooldown, Millis(0))] {
        let Some(value) = value else { continue };
        found.require(
            (least..=year).contains(&value),
            || at.clone().key(field),
            || format!("{value} is out of range: write {least} to {year}"),
        );
    }
    found.require(
        spec.min_share.is_none_or(|share| share.0 <= 100),
        || at.clone().key("minShare"),
        || "more than all of it can't be saved: write at most 100%".to_owned(),
    );
    found.require(
        spec.max_moves != Some(0),
        || at.clone().key("maxMoves"),
        || "with 0 nothing would ever move: write at least 1, or leave \"replacement\" out".to_owned(),
    );
}
