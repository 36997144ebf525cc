//! From an engine's chunks to entries, and from entries to lines. It must not know of engines or of other containers.

use std::collections::VecDeque;

use bollard::container::LogOutput;
use tradewind_core::{
    output::{UNFINISHED, whole_characters},
    units::Instant,
    workload::{LogLine, Output},
};

use super::cursor::{Position, nanoseconds};

/// How far behind the newest entry a stream that is silent may be put: entries of two streams need not come in the order of their times.
const DISORDER: u64 = 5_000_000_000;

/// What an engine kept of one stream under one time.
struct Entry {
    /// In front of it.
    position: Position,
    text: Vec<u8>,
}

impl Entry {
    fn ends_its_line(&self) -> bool {
        self.text.last() == Some(&b'\n')
    }

    fn end(&self) -> Position {
        Position {
            count: self.position.count + 1,
            offset: 0,
            inside: !self.ends_its_line(),
            ..self.position
        }
    }
}

/// Puts chunks together to entries, which are counted.
#[derive(Default)]
struct Entries {
    raw: Vec<u8>,
    next: Position,
}

impl Entries {
    fn take(&mut self, chunk: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for part in chunk.split_inclusive(|b| *b == b'\n') {
            // An entry without a line's end ends where the next one begins.
            if !self.raw.is_empty() && stamped(part).is_some() {
                entries.extend(self.end());
            }
            self.raw.extend_from_slice(part);
            if self.raw.ends_with(b"\n") {
                entries.extend(self.end());
            }
        }
        entries
    }

    fn end(&mut self) -> Option<Entry> {
        let raw = std::mem::take(&mut self.raw);
        if raw.is_empty() {
            return None;
        }
        let (at, text) = match stamped(&raw) {
            Some((at, text)) => (at, text.to_vec()),
            None => (self.next.at, raw),
        };
        if at != self.next.at {
            self.next = Position {
                at,
                ..Position::default()
            };
        }
        let entry = Entry {
            position: self.next.clone(),
            text,
        };
        self.next.count += 1;
        Some(entry)
    }
}

/// The time before an entry's text, and the text.
fn stamped(entry: &[u8]) -> Option<(u64, &[u8])> {
    let end = entry.iter().position(|b| matches!(b, b' ' | b'\n'))?;
    let at = nanoseconds(std::str::from_utf8(entry.get(..end)?).ok()?)?;
    let text = entry.get(end..)?;
    Some((at, text.strip_prefix(b" ").unwrap_or(text)))
}

fn stream_of(chunk: &LogOutput) -> usize {
    usize::from(matches!(chunk, LogOutput::StdErr { .. }))
}

/// Finds the beginnings of the last lines.
pub(super) struct Finder {
    most: usize,
    streams: [Entries; 2],
    ends: [Position; 2],
    begins: VecDeque<(usize, Position)>,
}

impl Finder {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            streams: Default::default(),
            ends: Default::default(),
            begins: VecDeque::new(),
        }
    }

    pub(super) fn take(&mut self, chunk: LogOutput) {
        let stream = stream_of(&chunk);
        let entries = self
            .streams
            .get_mut(stream)
            .map(|s| s.take(&chunk.into_bytes()))
            .unwrap_or_default();
        entries
            .into_iter()
            .for_each(|entry| self.note(stream, &entry));
    }

    fn note(&mut self, stream: usize, entry: &Entry) {
        let Some(end) = self.ends.get_mut(stream) else {
            return;
        };
        if !end.inside {
            self.begins.push_back((stream, entry.position.clone()));
        }
        *end = entry.end();
        if self.begins.len() > self.most {
            self.begins.pop_front();
        }
    }

    /// The beginnings by stream, in order, and where the streams end.
    pub(super) fn end(mut self) -> (Vec<(usize, Position)>, [Position; 2]) {
        for stream in 0..2 {
            if let Some(entry) = self.streams.get_mut(stream).and_then(Entries::end) {
                self.note(stream, &entry);
            }
        }
        (self.begins.into(), self.ends)
    }
}

/// Puts entries together to lines, and passes over those that were given before.
pub(super) struct Reader {
    streams: [Lane; 2],
    most_bytes: usize,
    pub(super) lines: Vec<LogLine>,
    pub(super) bytes: usize,
}

/// One stream.
struct Lane {
    output: Output,
    entries: Entries,
    /// Everything before it was given.
    given: Position,
    /// Entries before `given` may come.
    behind: bool,
    /// The end of what was read.
    end: Position,
    /// The unfinished line, and where its parts come from.
    line: Vec<u8>,
    parts: Vec<(usize, Position)>,
}

impl Reader {
    pub(super) fn new(seen: [Position; 2], most_bytes: usize) -> Self {
        let [out, err] = seen;
        let lane = |output, given: Position| Lane {
            output,
            entries: Entries::default(),
            end: given.clone(),
            given,
            behind: true,
            line: Vec::new(),
            parts: Vec::new(),
        };
        Self {
            streams: [lane(Output::Stdout, out), lane(Output::Stderr, err)],
            most_bytes,
            lines: Vec::new(),
            bytes: 0,
        }
    }

    pub(super) fn take(&mut self, chunk: LogOutput) {
        let stream = stream_of(&chunk);
        let Some(lane) = self.streams.get_mut(stream) else {
            return;
        };
        for entry in lane.entries.take(&chunk.into_bytes()) {
            let room = self.most_bytes.saturating_sub(self.bytes);
            if let Some(line) = lane.read(entry, room) {
                self.bytes += line.text.len();
                self.lines.push(line);
            }
        }
    }

    /// Nothing more can be read now. What is unfinished is given if its end does not come, nobody follows, or it has been so for a while.
    pub(super) fn end(&mut self, open: bool, follows: bool, now: Instant) {
        for lane in &mut self.streams {
            let last = lane
                .entries
                .end()
                .map(|entry| lane.read(entry, usize::MAX))
                .unwrap_or_default();
            let age = lane
                .parts
                .first()
                .map_or(0, |(_, begin)| (begin.at / 1_000_000).abs_diff(now.0));
            let rest = match (open, lane.line.is_empty()) {
                (_, true) => None,
                (false, false) => lane.finish(),
                (true, false) => (!follows || age >= UNFINISHED)
                    .then(|| lane.cut())
                    .flatten(),
            };
            self.lines.extend(last.into_iter().chain(rest));
        }
        // What is silent need not be read again from where it fell silent.
        let newest = self
            .streams
            .iter()
            .map(|lane| lane.end.at)
            .max()
            .unwrap_or_default();
        let floor = newest.saturating_sub(DISORDER);
        for lane in self
            .streams
            .iter_mut()
            .filter(|lane| lane.line.is_empty() && lane.given.at < floor)
        {
            lane.given = Position {
                at: floor,
                count: 0,
                offset: 0,
                inside: lane.given.inside,
            };
        }
    }

    /// The lines, and where to go on in each stream.
    pub(super) fn give(self) -> (Vec<LogLine>, [Position; 2]) {
        (self.lines, self.streams.map(|lane| lane.given))
    }
}

impl Lane {
    /// What of its line, or of one before it, can be given. A line that is longer than the room is cut.
    fn read(&mut self, mut entry: Entry, room: usize) -> Option<LogLine> {
        if self.behind {
            let (here, there) = (
                (entry.position.at, entry.position.count),
                (self.given.at, self.given.count),
            );
            if here < there {
                return None;
            }
            self.behind = false;
            if here == there {
                entry.text.drain(..self.given.offset.min(entry.text.len()));
                entry.position.offset = self.given.offset;
            }
        }
        self.end = entry.end();
        self.parts.push((self.line.len(), entry.position.clone()));
        if entry.ends_its_line() {
            self.line
                .extend_from_slice(entry.text.strip_suffix(b"\n").unwrap_or(&entry.text));
            if self.line.ends_with(b"\r") {
                self.line.pop();
            }
            return self.finish();
        }
        self.line.extend_from_slice(&entry.text);
        if self.line.len() >= room {
            self.cut()
        } else {
            None
        }
    }

    /// The whole line, which has ended.
    fn finish(&mut self) -> Option<LogLine> {
        let line = self.piece(self.line.len(), false);
        self.line.clear();
        self.parts.clear();
        self.given = Position {
            inside: false,
            ..self.end.clone()
        };
        Some(line)
    }

    /// What there is of the line, up to the end of a character.
    fn cut(&mut self) -> Option<LogLine> {
        let whole = whole_characters(&self.line);
        if whole == 0 {
            return None;
        }
        let piece = self.piece(whole, true);
        let place = match self.parts.iter().rev().find(|(start, _)| *start <= whole) {
            Some((start, part)) if whole < self.line.len() => Position {
                offset: part.offset + whole - start,
                ..part.clone()
            },
            _ => self.end.clone(),
        };
        self.line.drain(..whole);
        self.parts = self
            .parts
            .drain(..)
            .filter(|(start, _)| *start > whole)
            .map(|(start, part)| (start - whole, part))
            .collect();
        if !self.line.is_empty() {
            self.parts.insert(0, (0, place.clone()));
        }
        self.given = Position {
            inside: true,
            ..place
        };
        Some(piece)
    }

    fn piece(&self, length: usize, partial: bool) -> LogLine {
        let text =
            String::from_utf8_lossy(self.line.get(..length).unwrap_or_default()).into_owned();
        let time = self
            .parts
            .first()
            .map(|(_, begin)| Instant(begin.at / 1_000_000));
        LogLine {
            replica: 0,
            output: self.output,
            time,
            text,
            continues: self.given.inside,
            partial,
            restart: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seen = Vec<(String, bool, bool)>;

    /// What a follower is given, at once when `wait` has passed since the first entry.
    fn follow(
        seen: [Position; 2],
        chunks: &[&[u8]],
        room: usize,
        wait: u64,
    ) -> (Seen, [Position; 2]) {
        let mut reader = Reader::new(seen, room);
        for chunk in chunks {
            reader.take(LogOutput::StdOut {
                message: chunk.to_vec().into(),
            });
            if reader.bytes >= room {
                break;
            }
        }
        if reader.bytes < room {
            let begin = nanoseconds("2026-11-26T11:52:23Z").unwrap() / 1_000_000;
            reader.end(true, true, Instant(begin + wait));
        }
        let (lines, places) = reader.give();
        (
            lines
                .into_iter()
                .map(|l| (l.text, l.continues, l.partial))
                .collect(),
            places,
        )
    }

    fn line(text: &str) -> (String, bool, bool) {
        (text.to_owned(), false, false)
    }

    #[test]
    fn lines_are_given_once_though_they_share_their_time() {
        let chunks: [&[u8]; 2] = [
            b"2026-11-26T11:52:23Z one\n2026-11-26T11:5",
            b"2:23Z two\n2026-11-26T11:52:24Z three\n",
        ];
        let (seen, at) = follow(
            Default::default(),
            &[b"2026-11-26T11:52:23Z one\n"],
            1000,
            0,
        );
        assert_eq!(seen, [line("one")]);
        let (seen, at) = follow(at, &chunks, 1000, 0);
        assert_eq!(seen, [line("two"), line("three")]);
        assert!(follow(at, &chunks, 1000, 0).0.is_empty());
    }

    #[test]
    fn a_line_that_was_written_in_pieces_is_one() {
        let chunks: [&[u8]; 3] = [
            b"2026-11-26T11:52:23Z half a",
            b"2026-11-26T11:52:24Z  line\r\n",
            b"2026-11-26T11:52:25Z another\n",
        ];
        assert_eq!(
            follow(Default::default(), &chunks, 1000, 0).0,
            [line("half a line"), line("another")]
        );
    }

    #[test]
    fn an_unfinished_line_comes_after_a_while_and_its_rest_then() {
        let mut chunks: Vec<&[u8]> = vec![
            b"2026-11-26T11:52:23.0Z one\n",
            b"2026-11-26T11:52:23.1Z pass",
            b"2026-11-26T11:52:23.2Z word: \xc3",
        ];
        let (seen, at) = follow(Default::default(), &chunks, 1000, 500);
        assert_eq!(seen, [line("one")]);
        let (seen, at) = follow(at, &chunks, 1000, 1_200);
        assert_eq!(
            seen,
            [("password: ".to_owned(), false, true)],
            "cut between characters"
        );
        assert!(
            follow(at.clone(), &chunks, 1000, 5_000).0.is_empty(),
            "what is inside a character waits"
        );
        chunks.extend([
            &b"2026-11-26T11:52:24Z \xa9t\xc3\xa9\n"[..],
            b"2026-11-26T11:52:25Z two\n",
        ]);
        let (seen, at) = follow(at, &chunks, 1000, 2_000);
        assert_eq!(seen, [("été".to_owned(), true, false), line("two")]);
        assert!(follow(at, &chunks, 1000, 2_000).0.is_empty());
    }

    #[test]
    fn last_words_without_a_line_end_are_given_when_nothing_more_comes() {
        let mut reader = Reader::new(Default::default(), 1000);
        reader.take(LogOutput::StdErr {
            message: b"2026-11-26T11:52:23Z FATAL: no newline".to_vec().into(),
        });
        reader.end(false, true, Instant(0));
        let (lines, _) = reader.give();
        assert_eq!(
            (lines[0].text.as_str(), lines[0].output, lines[0].partial),
            ("FATAL: no newline", Output::Stderr, false)
        );
    }

    #[test]
    fn a_line_longer_than_an_answer_comes_in_pieces_that_make_it_up() {
        let text = format!("x{}", "é".repeat(5_000));
        let mut chunks: Vec<Vec<u8>> = vec![b"2026-11-26T11:52:23Z before\n".to_vec()];
        for part in text.as_bytes().chunks(700) {
            chunks.push([b"2026-11-26T11:52:23Z ", part].concat());
        }
        chunks.push(b"2026-11-26T11:52:23Z \n2026-11-26T11:52:24Z after\n".to_vec());
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let (mut at, mut seen) = (Default::default(), Seen::new());
        while seen.last() != Some(&line("after")) {
            let (more, next) = follow(at, &chunks, 1_000, 0);
            assert!(!more.is_empty());
            seen.extend(more);
            at = next;
        }
        assert_eq!(seen.first(), Some(&line("before")));
        let cut = &seen[1..seen.len() - 1];
        assert!(
            cut.len() > 4 && !cut.iter().any(|(text, ..)| text.contains('\u{fffd}')),
            "{cut:?}"
        );
        assert_eq!(
            cut.iter()
                .map(|(text, ..)| text.as_str())
                .collect::<String>(),
            text
        );
        assert!(
            cut[1..].iter().all(|(_, continues, _)| *continues)
                && !cut[0].1
                && !cut[cut.len() - 1].2
        );
    }

    #[test]
    fn the_last_lines_are_counted_as_lines_not_as_entries() {
        let mut finder = Finder::new(2);
        for chunk in [
            &b"2026-11-26T11:52:23Z one\n"[..],
            b"2026-11-26T11:52:23Z lo",
            b"2026-11-26T11:52:23Z ng\n",
            b"2026-11-26T11:52:24Z last",
        ] {
            finder.take(LogOutput::StdOut {
                message: chunk.to_vec().into(),
            });
        }
        let (begins, ends) = finder.end();
        let places: Vec<usize> = begins.iter().map(|(_, position)| position.count).collect();
        assert_eq!(
            (places, ends[0].inside, ends[0].count),
            (vec![1, 0], true, 1)
        );
    }
}
