//! Output of several replicas as one: each has a cursor of its own, and they travel together.

use std::collections::BTreeMap;

use super::{Member, State};
use crate::{
    Error,
    types::{LogChunk, LogLine, LogQuery, Output},
};

/// The text of a part of a line. `continues`: it goes on from the part before. `partial`: it does not end here. The daemon shows people an
/// ellipsis there, and programs a field.
pub fn part(text: &str, continues: bool, partial: bool) -> String {
    let (begin, end) = (
        if continues { "\u{2060}…" } else { "" },
        if partial { "…\u{2060}" } else { "" },
    );
    format!("{begin}{text}{end}")
}

/// What one instance has written.
pub struct LogPiece {
    /// With the time of each where it is known, in milliseconds since the epoch.
    pub lines: Vec<(Option<u64>, String)>,
    /// Where to go on.
    pub next: String,
}

/// What stands where output is missing: the cloud has not kept it until it was asked for. It is a piece that neither begins nor ends a line.
pub fn gap() -> String {
    part("output is missing here", true, true)
}

/// Reads what the replicas of an allocation wrote. `read` is given an instance and where to go on, or none for the beginning.
///
/// # Errors
/// Those of `read`; `invalid` for a cursor that is none.
pub fn read_logs(
    state: &State,
    query: &LogQuery,
    read: impl Fn(&Member, Option<&str>) -> Result<LogPiece, Error>,
) -> Result<LogChunk, Error> {
    read_pieces(
        state
            .members
            .iter()
            .map(|member| (member.index, member.id.as_str(), member)),
        query,
        read,
    )
}

/// The same for a provider with a state of its own: each instance with the number of its replica, its id, and what `read` is given of it.
///
/// # Errors
/// As [`read_logs`].
pub fn read_pieces<'a, M>(
    instances: impl Iterator<Item = (u32, &'a str, M)>,
    query: &LogQuery,
    read: impl Fn(M, Option<&str>) -> Result<LogPiece, Error>,
) -> Result<LogChunk, Error> {
    let mut cursors: BTreeMap<String, String> = match &query.after {
        Some(text) => serde_json::from_str(text).map_err(|_| {
            Error::invalid(format!("{text:?} is not a cursor of this provider")).field("after")
        })?,
        None => BTreeMap::new(),
    };
    let mut lines = Vec::new();
    for (index, id, instance) in
        instances.filter(|(index, ..)| query.replica.is_none_or(|replica| replica == *index))
    {
        let piece = read(instance, cursors.get(id).map(String::as_str))?;
        let tail = if cursors.contains_key(id) {
            piece.lines.len()
        } else {
            query.tail as usize
        };
        let skipped = piece.lines.len().saturating_sub(tail);
        let line = |(time, text)| LogLine {
            replica: index,
            output: Output::Combined,
            time,
            text,
        };
        lines.extend(piece.lines.into_iter().skip(skipped).map(line));
        cursors.insert(id.to_owned(), piece.next);
    }
    lines.sort_by_key(|line| line.time);
    let next = serde_json::to_string(&cursors)
        .map_err(|error| Error::internal(format!("the cursor can't be written: {error}")))?;
    Ok(LogChunk {
        lines,
        next: Some(next),
    })
}
