//! What containers wrote, read in pieces. A cursor tells for each replica the time of the last line that was given, and how many lines of that
//! time were: engines tell times in seconds or finer, so many lines may share one.

use std::collections::BTreeMap;

use bollard::{Docker, container::LogOutput, errors::Error, query_parameters::LogsOptions};
use futures::StreamExt;
use tradewind_core::{
    failure::Failure,
    units::Instant,
    workload::{LogChunk, LogLine, LogQuery, Output},
};

/// The most that one answer holds.
const MOST_LINES: usize = 5_000;
const MOST_BYTES: usize = 1 << 20;
const LONGEST_LINE: usize = 8 << 10;

/// One container to read from.
pub(crate) struct Source {
    pub(crate) replica: u32,
    pub(crate) id: String,
    /// Whether more may come.
    pub(crate) open: bool,
}

/// Where to go on: a replica's last time, as the engine wrote it, and the number of its lines of that time.
type Cursor = BTreeMap<u32, (String, usize)>;

/// The lines behind the cursor, or the last ones, of all replicas in the order of time.
///
/// # Errors
/// `invalid` for a cursor that is none.
pub(crate) async fn read(engine: &Docker, sources: &[Source], query: &LogQuery) -> Result<Result<LogChunk, Error>, Failure> {
    let mut cursor = query.after.as_deref().map(parse).transpose()?.unwrap_or_default();
    let tail = query.after.is_none().then_some(query.tail as usize);
    let (mut lines, mut bytes, mut cut) = (Vec::new(), 0, false);
    for source in sources {
        let seen = cursor.get(&source.replica).cloned().unwrap_or_default();
        let options = LogsOptions {
            stdout: true,
            stderr: true,
            timestamps: true,
            since: seen.0.parse::<Instant>().map_or(0, |t| i32::try_from(t.0 / 1000).unwrap_or_default()),
            tail: tail.map_or_else(|| "all".to_owned(), |n| n.min(MOST_LINES).to_string()),
            ..Default::default()
        };
        let (mut chunks, mut reader) = (engine.logs(&source.id, Some(options)), Reader::new(seen));
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => reader.take(chunk),
                // It has gone meanwhile.
                Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => break,
                Err(error) => return Ok(Err(error)),
            }
            let full = |r: &Reader| lines.len() + r.lines.len() >= MOST_LINES || bytes + r.bytes >= MOST_BYTES;
            if full(&reader) {
                cut = true;
                break;
            }
        }
        bytes += reader.bytes;
        lines.extend(reader.lines.into_iter().map(|(output, time, text)| LogLine { replica: source.replica, output, time, text }));
        if !reader.last.0.is_empty() {
            cursor.insert(source.replica, reader.last);
        }
        if cut {
            break;
        }
    }
    // A stable order: lines of one replica stay as they came.
    lines.sort_by_key(|line| line.time);
    if let Some(tail) = tail {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    let next = (cut || sources.iter().any(|s| s.open)).then(|| write(&cursor));
    Ok(Ok(LogChunk { lines, next }))
}

/// Puts chunks together to lines, and passes over those that were given before.
struct Reader {
    seen: (String, usize),
    last: (String, usize),
    rest: [Vec<u8>; 2],
    lines: Vec<(Output, Option<Instant>, String)>,
    bytes: usize,
}

impl Reader {
    fn new(seen: (String, usize)) -> Self {
        Self { seen, last: (String::new(), 0), rest: [Vec::new(), Vec::new()], lines: Vec::new(), bytes: 0 }
    }

    fn take(&mut self, chunk: LogOutput) {
        let output = if matches!(chunk, LogOutput::StdErr { .. }) { Output::Stderr } else { Output::Stdout };
        let [out, err] = &mut self.rest;
        let rest = if output == Output::Stderr { err } else { out };
        let piece = chunk.into_bytes();
        // What was written in pieces has a time before each of them: a line has the first one's.
        rest.extend_from_slice(if rest.is_empty() { &piece } else { untimed(&piece) });
        let mut whole: Vec<Vec<u8>> = Vec::new();
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            whole.push(rest.drain(..=end).collect());
        }
        whole.into_iter().for_each(|line| self.line(output, &line));
    }

    fn line(&mut self, output: Output, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let (time, text) = text.trim_end_matches(['\n', '\r']).split_once(' ').unwrap_or((text.trim_end(), ""));
        if time == self.last.0 {
            self.last.1 += 1;
        } else {
            self.last = (time.to_owned(), 1);
        }
        // Times of one engine are written alike, so that their order is that of their texts.
        let given = time < self.seen.0.as_str() || (time == self.seen.0 && self.last.1 <= self.seen.1);
        if !given {
            let text: String = text.chars().take(LONGEST_LINE).collect();
            self.bytes += text.len();
            self.lines.push((output, time.parse().ok(), text));
        }
    }
}

/// A piece without the time that the engine put before it.
fn untimed(piece: &[u8]) -> &[u8] {
    let space = piece.iter().position(|b| *b == b' ');
    let timed = space.filter(|at| piece.get(..*at).and_then(|time| std::str::from_utf8(time).ok()?.parse::<Instant>().ok()).is_some());
    timed.and_then(|at| piece.get(at + 1..)).unwrap_or(piece)
}

fn write(cursor: &Cursor) -> String {
    cursor.iter().map(|(replica, (time, count))| format!("{replica}@{time}+{count}")).collect::<Vec<_>>().join(",")
}

fn parse(text: &str) -> Result<Cursor, Failure> {
    let one = |part: &str| {
        let (replica, rest) = part.split_once('@')?;
        let (time, count) = rest.rsplit_once('+')?;
        time.parse::<Instant>().ok()?;
        Some((replica.parse().ok()?, (time.to_owned(), count.parse().ok()?)))
    };
    let parts = text.split(',').filter(|p| !p.is_empty());
    parts.map(one).collect::<Option<Cursor>>().ok_or_else(|| Failure::invalid("the cursor is none of this engine's").field("after"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(seen: (String, usize), chunks: &[&str]) -> Reader {
        let mut reader = Reader::new(seen);
        for chunk in chunks {
            reader.take(LogOutput::StdOut { message: chunk.as_bytes().to_vec().into() });
        }
        reader
    }

    #[test]
    fn lines_are_given_once_though_they_share_their_time() {
        let chunks = ["2026-11-26T11:52:23Z one\n2026-11-26T11:5", "2:23Z two\n2026-11-26T11:52:24Z three\n"];
        let texts = |r: &Reader| r.lines.iter().map(|(_, _, text)| text.clone()).collect::<Vec<_>>();
        let first = read_all(Default::default(), &chunks[..1]);
        assert_eq!((texts(&first), first.last.1), (vec!["one".to_owned()], 1));
        let cursor = write(&Cursor::from([(7, first.last.clone())]));
        assert_eq!(parse(&cursor).unwrap(), Cursor::from([(7, first.last.clone())]));
        let second = read_all(first.last, &chunks);
        assert_eq!(texts(&second), ["two", "three"]);
        let third = read_all(second.last, &chunks);
        assert!(texts(&third).is_empty());
    }

    #[test]
    fn a_line_that_was_written_in_pieces_has_one_time() {
        let chunks = ["2026-11-26T11:52:23Z half a", "2026-11-26T11:52:24Z  line\n", "2026-11-26T11:52:25Z another\n"];
        let reader = read_all(Default::default(), &chunks);
        let texts: Vec<&str> = reader.lines.iter().map(|(_, _, text)| text.as_str()).collect();
        assert_eq!(texts, ["half a line", "another"]);
    }

    #[test]
    fn a_cursor_of_somebody_else_is_refused() {
        for text in ["x", "1@now+2", "a@2026-11-26T11:52:23Z+1", "1@2026-11-26T11:52:23Z"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("").unwrap(), Cursor::new());
    }
}
