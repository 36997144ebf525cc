//! What containers wrote, read in pieces and put together to lines. Engines keep output as entries with a time each: a line, or a part of one
//! where the line is long or was written bit by bit. A cursor tells for each stream of each replica how many entries were given.
//!
//! Engines are never asked for a number of last lines: dockerd counts entries, and podman glues lines together then.

mod cursor;
mod reader;

use std::collections::BTreeMap;

use bollard::{Docker, errors::Error, query_parameters::LogsOptions};
use futures::StreamExt;
use tradewind_core::{
    failure::Failure,
    units::Instant,
    workload::{LogChunk, LogLine, LogQuery},
};

use self::{
    cursor::{Cursor, Position},
    reader::{Finder, Reader},
};

/// The most that one answer holds.
const MOST_LINES: usize = 5_000;
const MOST_BYTES: usize = 1 << 20;
/// The least of an answer that a container gets.
const LEAST_LINES: usize = 50;
const LEAST_BYTES: usize = 16 << 10;

/// One container to read from.
pub(crate) struct Source {
    pub(crate) replica: u32,
    pub(crate) id: String,
    /// Whether more may come.
    pub(crate) open: bool,
}

/// The lines behind the cursor, or from the last ones on, of all replicas in the order of time.
///
/// # Errors
/// `invalid` for a cursor that is none.
pub(crate) async fn read(
    engine: &Docker,
    sources: &[Source],
    query: &LogQuery,
    now: Instant,
) -> Result<Result<LogChunk, Error>, Failure> {
    let (mut cursor, follows) = match &query.after {
        Some(text) => (cursor::parse(text)?, true),
        None => match last_lines(engine, sources, query.tail as usize).await {
            Ok(cursor) => (cursor, false),
            Err(error) => return Ok(Err(error)),
        },
    };
    let (mut lines, mut bytes, mut cut): (Vec<LogLine>, usize, bool) = (Vec::new(), 0, false);
    for (source, left) in sources.iter().zip((1..=sources.len()).rev()) {
        let most_lines = (MOST_LINES.saturating_sub(lines.len()) / left).max(LEAST_LINES);
        let most_bytes = (MOST_BYTES.saturating_sub(bytes) / left).max(LEAST_BYTES);
        let seen = cursor.entry(source.replica).or_default();
        let mut reader = Reader::new(seen.clone(), most_bytes);
        let since = seen
            .iter()
            .map(|position| position.at)
            .min()
            .unwrap_or_default();
        let is_full = |r: &Reader| r.lines.len() >= most_lines || r.bytes >= most_bytes;
        let mut chunks = engine.logs(&source.id, Some(options(since)));
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => reader.take(chunk),
                Err(error) if is_gone(&error) => break,
                Err(error) => return Ok(Err(error)),
            }
            if is_full(&reader) {
                break;
            }
        }
        let full = is_full(&reader);
        cut |= full;
        bytes += reader.bytes;
        if !full {
            reader.end(source.open, follows, now);
        }
        let (read, places) = reader.give();
        *seen = places;
        lines.extend(read.into_iter().map(|line| LogLine {
            replica: source.replica,
            ..line
        }));
    }
    // A stable order: lines of one replica stay as they came.
    lines.sort_by_key(|line| line.time);
    let next = (cut || sources.iter().any(|s| s.open)).then(|| cursor::write(&cursor));
    Ok(Ok(LogChunk { lines, next }))
}

/// Where the last so many lines of all replicas begin.
async fn last_lines(engine: &Docker, sources: &[Source], tail: usize) -> Result<Cursor, Error> {
    let (mut begins, mut cursor) = (Vec::new(), BTreeMap::new());
    for source in sources {
        let (mut chunks, mut finder) =
            (engine.logs(&source.id, Some(options(0))), Finder::new(tail));
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => finder.take(chunk),
                Err(error) if is_gone(&error) => break,
                Err(error) => return Err(error),
            }
        }
        let (found, ends) = finder.end();
        begins.extend(
            found
                .into_iter()
                .map(|(stream, position)| (source.replica, stream, position)),
        );
        cursor.insert(source.replica, ends);
    }
    begins.sort_by_key(|(_, _, position): &(_, _, Position)| position.at);
    let last = begins.len().saturating_sub(tail);
    // The earliest of a stream comes last and stays.
    for (replica, stream, position) in begins.into_iter().skip(last).rev() {
        if let Some(place) = cursor
            .get_mut(&replica)
            .and_then(|streams: &mut [Position; 2]| streams.get_mut(stream))
        {
            *place = position;
        }
    }
    Ok(cursor)
}

/// Everything that is not older than the second of this time.
fn options(since: u64) -> LogsOptions {
    let since = i32::try_from(since / 1_000_000_000).unwrap_or_default();
    LogsOptions {
        stdout: true,
        stderr: true,
        timestamps: true,
        since,
        tail: "all".to_owned(),
        ..Default::default()
    }
}

/// The container has gone meanwhile.
fn is_gone(error: &Error) -> bool {
    matches!(
        error,
        Error::DockerResponseServerError {
            status_code: 404 | 409,
            ..
        }
    )
}
