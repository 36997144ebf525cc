//! Revisions, and where an update stands.

use tradewind_api::{DeploymentView, RevisionMark};

use super::place;
use crate::output::{Mood::Plain, Output};

pub(crate) fn list(out: &Output, marks: &[RevisionMark]) -> String {
    if marks.is_empty() {
        return "no revisions".to_owned();
    }
    let rows = marks.iter().map(|m| {
        let cause = serde_json::to_value(m.cause)
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default();
        let cause = m.of.map_or(cause.clone(), |of| format!("{cause} to {of}"));
        [
            out.cell(m.generation, Plain),
            out.cell(m.at, Plain),
            out.cell(&m.actor, Plain),
            out.cell(cause, Plain),
            out.cell(m.outcome.as_str(), Plain),
            out.cell(&m.reason, Plain),
        ]
    });
    out.table(
        ["REVISION", "AT", "ACTOR", "CAUSE", "OUTCOME", "REASON"],
        rows,
    )
}

pub(crate) fn status(out: &Output, view: &DeploymentView) -> String {
    let Some(rollout) = &view.rollout else {
        return "nothing has been rolled out".to_owned();
    };
    let from = rollout
        .from
        .map(|n| format!(" from {n}"))
        .unwrap_or_default();
    let mut text = format!(
        "generation {}{from}: {}",
        rollout.generation,
        rollout.status.as_str()
    );
    if !view.summary.message.is_empty() {
        text = format!("{text} ({})", view.summary.message);
    }
    let rows = view.tasks.iter().flat_map(|t| {
        t.allocations.iter().map(move |a| {
            [
                out.cell(&t.name, Plain),
                out.cell(a.revision, Plain),
                out.cell(place(&a.provider, &a.region), Plain),
                out.cell(format!("{}/{}", a.ready, a.replicas), Plain),
                out.cell(
                    a.traffic
                        .map_or_else(|| "-".to_owned(), |t| format!("{}%", f64::from(t) / 10.0)),
                    Plain,
                ),
                out.cell(if a.superseded { "gives way" } else { "" }, Plain),
            ]
        })
    });
    let rows: Vec<_> = rows.collect();
    format!(
        "{text}\n{}",
        out.table(["TASK", "REVISION", "PLACE", "READY", "TRAFFIC", ""], rows)
    )
}
