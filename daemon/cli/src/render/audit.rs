//! The audit log for people: an entry is a line, a verdict a sentence.

use tradewind_api::EventView;
use tradewind_core::{
    audit::{Line, Verdict},
    event::Event,
};

use super::stream;

pub(crate) fn entry(entry: &Line) -> String {
    // As it was recorded, not as the API shows events: its hash is of these bytes.
    let event = entry
        .event
        .as_ref()
        .and_then(|e| serde_json::from_str::<Event>(e.get()).ok())
        .map(EventView::from);
    match event {
        Some(event) => format!(
            "{:>6}  {}  {}",
            entry.seq,
            event.actor,
            stream::event(&event)
        ),
        None => format!("{:>6}  an entry that can't be read as an event", entry.seq),
    }
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
            "the audit log is not what was recorded: {fault}; the {verified} entries before are in order"
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
