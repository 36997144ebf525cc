//! The canary of a plugin instance.

use tradewind_api::{Canary, CanaryState};
use tradewind_core::canary::Count;

use super::{micros, span};
use crate::output::{Column, Mood::Plain, Output, counted};

pub(crate) fn one(out: &Output, c: &Canary) -> String {
    let mut parts = Vec::new();
    match &c.canary {
        None => parts.push(format!("\"{}\" has no canary", c.instance)),
        Some(canary) => {
            let (terms, digest) = (&canary.terms, canary.component.short());
            parts.push(match canary.state {
                CanaryState::Running => format!(
                    "version {} ({digest}) gets {} of the calls of \"{}\" since {}, for {} and at least {}",
                    canary.version, terms.share, c.instance, out.at(canary.since), span(terms.lasts), counted(terms.min_calls, "call", "calls")
                ),
                CanaryState::Returning => format!("version {} ({digest}) of \"{}\" gets no calls any more", canary.version, c.instance),
            });
            if canary.holds > 0 {
                parts.push(format!(
                    "it has made the state of {}",
                    counted(canary.holds as u64, "allocation", "allocations")
                ));
            }
            let operations = canary.old.0.keys().chain(
                canary
                    .new
                    .0
                    .keys()
                    .filter(|o| !canary.old.0.contains_key(*o)),
            );
            let cells = |count: Option<&Count>| {
                let count = count.copied().unwrap_or_default();
                let mean = count
                    .total_micros
                    .checked_div(count.calls.saturating_sub(count.failures));
                [
                    count.calls.to_string(),
                    count.failures.to_string(),
                    mean.map_or_else(|| "-".to_owned(), micros),
                ]
            };
            let rows = operations.map(|operation| {
                let [calls, failures, mean] = cells(canary.old.0.get(operation));
                let [new_calls, new_failures, new_mean] = cells(canary.new.0.get(operation));
                [
                    out.cell(operation, Plain),
                    out.cell(calls, Plain),
                    out.cell(failures, Plain),
                    out.cell(mean, Plain),
                    out.cell(new_calls, Plain),
                    out.cell(new_failures, Plain),
                    out.cell(new_mean, Plain),
                ]
            });
            parts.push(out.table(
                [
                    Column::new("OPERATION"),
                    Column::new("OLD CALLS").right(),
                    Column::new("FAILURES").right(),
                    Column::new("AVERAGE").right(),
                    Column::new("NEW CALLS").right(),
                    Column::new("FAILURES").right(),
                    Column::new("AVERAGE").right(),
                ],
                rows,
            ));
        }
    }
    if let Some(end) = &c.last {
        let what = if end.promoted {
            "was promoted"
        } else {
            "returned"
        };
        let by = end.by.as_ref().map_or_else(
            || "by itself".to_owned(),
            |actor| format!("by {}", actor.as_str()),
        );
        parts.push(format!(
            "{} {what} {by} at {}: {}",
            end.component.short(),
            out.at(end.at),
            end.reason
        ));
    }
    parts.join("\n")
}
