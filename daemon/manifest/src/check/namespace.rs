//! The rules of a namespace's document.

use super::{Found, Path, labels, replacement::replacement};
use tradewind_core::manifest::namespace::{Action, Document};

/// Every rule that the document breaks, with the field at fault.
pub(crate) fn check(document: &Document) -> Vec<(Path, String)> {
    let mut found = Found::default();
    labels(
        &mut found,
        &document.metadata.labels,
        &Path::default().key("metadata").key("labels"),
    );
    if let Some(spec) = &document.spec.replacement {
        replacement(
            &mut found,
            spec,
            &Path::default().key("spec").key("replacement"),
        );
    }
    let Some(budget) = &document.spec.budget else {
        return found.0;
    };
    let at = || Path::default().key("spec").key("budget");
    found.require(budget.hourly.is_some() || budget.monthly.is_some(), at, || {
        "a budget without a limit: give \"hourly\", \"monthly\" or both, or leave the budget out".to_owned()
    });
    let actions = &budget.on_exceeded.0;
    let at = || at().key("onExceeded");
    found.require(!actions.is_empty(), at, || {
        "the list is empty: give at least one of queue, stepDown, evict".to_owned()
    });
    let repeated = actions
        .iter()
        .enumerate()
        .any(|(i, a)| actions.iter().take(i).any(|b| a == b));
    found.require(!repeated, at, || {
        "an action is listed twice: list each once".to_owned()
    });
    let queue = actions.iter().position(|a| *a == Action::Queue);
    found.require(queue.is_none_or(|i| i + 1 == actions.len()), at, || {
        "what is queued waits, so nothing can follow: put \"queue\" last, or leave it out"
            .to_owned()
    });
    found.0
}
