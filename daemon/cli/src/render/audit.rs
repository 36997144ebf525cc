//! The audit log for people: an entry is a row, a verdict a sentence.

use tradewind_api::EventView;
use tradewind_core::{
    audit::{Line, Verdict},
    event::Event,
};

use super::{dash, stream};
use crate::output::{Column, Mood::Plain, Output, Table, counted};

pub(crate) fn table(out: &Output, entries: &[Line]) -> Table {
    let rows = entries.iter().map(|entry| {
        // As it was recorded, not as the API shows events: its hash is of these bytes.
        let event = entry
            .event
            .as_ref()
            .and_then(|e| serde_json::from_str::<Event>(e.get()).ok())
            .map(EventView::from);
        let [at, severity, reason, about, message] = match &event {
            Some(event) => stream::cells(out, event),
            None => [
                dash(out),
                dash(out),
                dash(out),
                dash(out),
                out.cell("an entry that can't be read as an event", Plain),
            ],
        };
        let actor = event.as_ref().map_or("-", |event| event.actor.as_str());
        [
            out.count(entry.seq),
            at,
            out.cell(actor, Plain),
            severity,
            reason,
            about,
            message,
        ]
    });
    let columns = [
        Column::new("ENTRY").right().key(),
        Column::new("TIME"),
        Column::new("ACTOR").key(),
        Column::new("SEVERITY").wide(),
        Column::new("REASON").key(),
        Column::new("ABOUT"),
        Column::new("MESSAGE").sentence(),
    ];
    Table::new(columns, rows)
        .named(entries.iter().map(|entry| entry.seq.to_string()))
        .or("no entries")
}

pub(crate) fn verdict(verdict: &Verdict) -> String {
    let Verdict {
        verified,
        head,
        expected,
        fault,
    } = verdict;
    match fault {
        Some(fault) => format!(
            "the audit log is not what was recorded: {fault}; the {} before are in order",
            counted(*verified, "entry", "entries")
        ),
        None => {
            let expected = expected
                .map(|seq| format!("; the expected hash is that of entry {seq}"))
                .unwrap_or_default();
            format!(
                "{verified} entries are as they were recorded, up to {} with {}{expected}",
                head.seq, head.hash
            )
        }
    }
}
