//! Revisions, and where an update stands.

use tradewind_api::{DeploymentView, RevisionMark};
use tradewind_core::units::Instant;

use super::{place, rollout};
use crate::output::{Column, Mood::Plain, Output, Table};

pub(crate) fn table(out: &Output, marks: &[RevisionMark]) -> Table {
    let rows = marks.iter().map(|m| {
        let cause = serde_json::to_value(m.cause)
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap_or_default();
        let cause = m.of.map_or(cause.clone(), |of| format!("{cause} to {of}"));
        [
            out.count(m.generation),
            out.ago(m.at),
            out.cell(&m.actor, Plain),
            out.cell(cause, Plain),
            out.cell(m.outcome.as_str(), Plain),
            out.cell(&m.reason, Plain),
        ]
    });
    let columns = [
        Column::new("REVISION").right().key(),
        Column::new("MADE"),
        Column::new("ACTOR").spare(),
        Column::new("CAUSE"),
        Column::new("OUTCOME").key(),
        Column::new("REASON").sentence().filled(),
    ];
    Table::new(columns, rows)
        .named(marks.iter().map(|m| m.generation.to_string()))
        .or("no revisions")
}

pub(crate) fn status(out: &Output, view: &DeploymentView, now: Instant) -> String {
    if view.rollout.is_none() {
        return "nothing has been rolled out".to_owned();
    }
    let text = rollout::headline(view, now);
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
        out.table(
            [
                Column::new("TASK"),
                Column::new("REVISION").right(),
                Column::new("PLACE"),
                Column::new("READY").right(),
                Column::new("TRAFFIC").right(),
                Column::new("NOTE").filled(),
            ],
            rows
        )
    )
}
