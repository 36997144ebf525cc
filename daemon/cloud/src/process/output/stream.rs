//! One output of one process: finds its last lines and reads on from a position. It must not know of other streams.

use std::{fs::File, ops::Range, os::unix::fs::FileExt};

use tradewind_core::{
    output::{UNFINISHED, whole_characters},
    units::Instant,
    workload::Output,
};

use super::cursor::Position;

/// What is read at once while line ends are looked for.
const STEP: u64 = 64 << 10;

pub(super) struct Stream {
    pub(super) replica: u32,
    pub(super) output: Output,
    /// More may be written.
    pub(super) open: bool,
    pub(super) position: Position,
    file: File,
    /// Where what is kept begins.
    start: u64,
    /// There was more before it.
    cut: bool,
    length: u64,
    /// The position lies behind a hole, probably inside a line.
    torn: bool,
}

/// A line, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// It goes on from the piece before.
    pub(super) continues: bool,
    /// It does not end here.
    pub(super) partial: bool,
    /// Where it begins.
    pub(super) offset: u64,
}

impl Stream {
    /// What of the file lies within the range, which begins and ends with lines, open for more.
    pub(super) fn open(
        replica: u32,
        output: Output,
        (file, within): (File, Range<u64>),
        position: Position,
    ) -> Self {
        let length = file.metadata().map_or(0, |m| m.len()).min(within.end);
        let kept = beginning(&file);
        let (start, cut) = (kept.max(within.start).min(length), kept > within.start);
        // Beyond the end: the file began anew.
        let position = if position.offset > length {
            Position::default()
        } else {
            position
        };
        let before = position.offset < start;
        let position = if before {
            Position {
                offset: start,
                ..Position::default()
            }
        } else {
            position
        };
        Self {
            replica,
            output,
            open: true,
            position,
            file,
            start,
            cut,
            length,
            torn: before && cut,
        }
    }

    /// Where the last lines begin, an unfinished one included: at most so many, in order.
    pub(super) fn last_lines(&self, most: usize) -> Vec<u64> {
        let mut starts = Vec::new();
        let mut end = self.length;
        while end > self.start && starts.len() < most {
            let from = end.saturating_sub(STEP).max(self.start);
            let bytes = self.bytes(from, end);
            let ends = (from..)
                .zip(&bytes)
                .filter(|(_, byte)| **byte == b'\n')
                .map(|(at, _)| at + 1)
                .filter(|at| *at < self.length);
            let found: Vec<u64> = ends.collect();
            starts.extend(found.into_iter().rev().take(most - starts.len()));
            end = from;
        }
        // The first line begins without an end before it. Behind a hole it is the rest of one: shown if there is nothing else.
        if starts.len() < most && self.length > self.start && (!self.cut || starts.is_empty()) {
            starts.push(self.start);
        }
        starts.reverse();
        starts
    }

    /// Puts the position before the last so many of these lines.
    pub(super) fn begin(&mut self, starts: &[u64], most: usize) {
        let first = starts.len().saturating_sub(most);
        let offset = starts.get(first).copied().unwrap_or(self.length);
        self.torn = offset == self.start && self.cut && offset < self.length;
        let before = offset.saturating_sub(1);
        let inside =
            offset == self.length && offset > self.start && self.bytes(before, offset) != b"\n";
        self.position = Position {
            offset,
            inside,
            waits: None,
        };
    }

    pub(super) fn unread(&self) -> u64 {
        self.length.saturating_sub(self.position.offset)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.position.offset >= self.length
    }

    /// The lines in the next `share` bytes. An unfinished line is given at once to who does not follow, and else when it has stayed so for a
    /// while; a line that would leave most of the share unused comes in pieces.
    pub(super) fn read(&mut self, share: u64, follows: bool, now: Instant) -> Vec<Piece> {
        let from = self.position.offset;
        let bytes = self.bytes(from, self.length.min(from.saturating_add(share)));
        let reached_end = from + bytes.len() as u64 >= self.length;
        let mut rest = bytes.as_slice();
        let Position {
            mut inside,
            mut waits,
            ..
        } = self.position;
        if self.torn {
            match rest.iter().position(|b| *b == b'\n') {
                Some(end) => (rest, inside) = (rest.get(end + 1..).unwrap_or_default(), false),
                None => inside = true,
            }
        }
        let mut pieces = Vec::new();
        let mut at = from + (bytes.len() - rest.len()) as u64;
        let whole = rest
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |end| end + 1);
        let (lines, mut rest) = rest.split_at(whole);
        for line in lines.split_inclusive(|b| *b == b'\n') {
            let offset = at;
            at += line.len() as u64;
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            pieces.push(Piece {
                text: text(line.strip_suffix(b"\r").unwrap_or(line)),
                continues: std::mem::take(&mut inside),
                partial: false,
                offset,
            });
            waits = None;
        }
        let last_words = reached_end && !self.open;
        let waited = || !follows || waits.is_some_and(|since| now.0.abs_diff(since) >= UNFINISHED);
        if rest.is_empty() {
            waits = None;
        } else if last_words
            || (!reached_end && rest.len() > bytes.len() / 2)
            || (reached_end && waited())
        {
            let (given, left) = rest.split_at(if last_words {
                rest.len()
            } else {
                whole_characters(rest)
            });
            if !given.is_empty() {
                pieces.push(Piece {
                    text: text(given),
                    continues: inside,
                    partial: !last_words,
                    offset: at,
                });
                inside = !last_words;
            }
            (rest, waits) = (left, None);
        } else if reached_end {
            waits = waits.or(Some(now.0));
        }
        let offset = from + (bytes.len() - rest.len()) as u64;
        self.position = Position {
            offset,
            inside,
            waits,
        };
        pieces
    }

    fn bytes(&self, from: u64, to: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
        let read = read_full(&self.file, &mut bytes, from);
        bytes.truncate(read);
        bytes
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where what is kept begins.
fn beginning(file: &File) -> u64 {
    #[cfg(target_os = "linux")]
    if let Ok(offset) = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(0)) {
        return offset;
    }
    let _ = file;
    0
}

fn read_full(file: &File, buffer: &mut [u8], mut offset: u64) -> usize {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|r| !r.is_empty()) {
        match file.read_at(rest, offset) {
            Ok(0) => break,
            Ok(n) => {
                filled += n;
                offset += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    struct Bench {
        folder: tempfile::TempDir,
        now: u64,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().unwrap(),
                now: 1_000_000,
            }
        }

        fn write(&self, bytes: &[u8]) {
            File::options()
                .create(true)
                .append(true)
                .open(self.folder.path().join("stdout"))
                .unwrap()
                .write_all(bytes)
                .unwrap();
        }

        fn stream(&self, position: Position, open: bool) -> Stream {
            self.within(0..u64::MAX, position, open)
        }

        fn within(&self, within: Range<u64>, position: Position, open: bool) -> Stream {
            let file = File::open(self.folder.path().join("stdout")).unwrap();
            Stream {
                open,
                ..Stream::open(0, Output::Stdout, (file, within), position)
            }
        }

        /// What a follower sees behind a position, and where it goes on.
        fn after(
            &self,
            position: Position,
            share: u64,
            open: bool,
        ) -> (Vec<(String, bool, bool)>, Position) {
            let mut stream = self.stream(position, open);
            let pieces = stream.read(share, true, Instant(self.now));
            (
                pieces
                    .into_iter()
                    .map(|p| (p.text, p.continues, p.partial))
                    .collect(),
                stream.position,
            )
        }
    }

    fn piece(text: &str, continues: bool, partial: bool) -> (String, bool, bool) {
        (text.to_owned(), continues, partial)
    }

    #[test]
    fn an_unfinished_line_comes_after_a_while_and_its_rest_then() {
        let mut bench = Bench::new();
        bench.write(b"one\npassword: ");
        let (seen, at) = bench.after(Position::default(), 1 << 20, true);
        assert_eq!(
            seen,
            [piece("one", false, false)],
            "the rest may be finished any moment"
        );
        bench.now += UNFINISHED - 1;
        let (seen, at) = bench.after(at, 1 << 20, true);
        assert!(seen.is_empty());
        bench.now += 1;
        // It grows meanwhile, as a progress bar does: the wait is from its beginning.
        bench.write("é".as_bytes().get(..1).unwrap());
        let (seen, at) = bench.after(at, 1 << 20, true);
        assert_eq!(
            seen,
            [piece("password: ", false, true)],
            "cut between characters"
        );
        bench.write("é".as_bytes().get(1..).unwrap());
        bench.write(b"\r\ntwo\nlast words");
        let (seen, at) = bench.after(at, 1 << 20, true);
        assert_eq!(seen, [piece("é", true, false), piece("two", false, false)]);
        let (seen, at) = bench.after(at, 1 << 20, false);
        assert_eq!(
            seen,
            [piece("last words", false, false)],
            "it has ended: nothing follows"
        );
        assert_eq!(at.offset, bench.stream(at, false).length);
    }

    #[test]
    fn a_line_longer_than_an_answer_comes_in_pieces_that_make_it_up() {
        let bench = Bench::new();
        let line = format!("x{}", "é".repeat(5000));
        bench.write(format!("before\n{line}\nafter\n").as_bytes());
        let (mut at, mut seen) = (Position::default(), Vec::new());
        while at.offset < bench.stream(at, true).length {
            let (pieces, next) = bench.after(at, 1000, true);
            assert!(next.offset > at.offset);
            seen.extend(pieces);
            at = next;
        }
        assert_eq!(
            (seen.first(), seen.last()),
            (
                Some(&piece("before", false, false)),
                Some(&piece("after", false, false))
            )
        );
        let cut = &seen[1..seen.len() - 1];
        assert!(cut.len() > 9 && cut.iter().all(|(text, ..)| !text.contains('\u{fffd}')));
        assert_eq!(
            cut.iter()
                .map(|(text, ..)| text.as_str())
                .collect::<String>(),
            line
        );
        let marks: Vec<(bool, bool)> = cut
            .iter()
            .map(|(_, continues, partial)| (*continues, *partial))
            .collect();
        assert!(
            !marks[0].0
                && marks[1..].iter().all(|m| m.0)
                && marks[..marks.len() - 1].iter().all(|m| m.1)
                && !marks[marks.len() - 1].1
        );
    }

    #[test]
    fn a_part_of_the_output_is_read_as_if_it_were_all() {
        let bench = Bench::new();
        bench.write(b"a\nbb\nccc\nd\n");
        let mut stream = bench.within(2..9, Position::default(), false);
        assert_eq!(stream.last_lines(9), [2, 5]);
        stream.begin(&[2, 5], 9);
        let pieces = stream.read(1 << 20, false, Instant(0));
        let seen: Vec<(&str, u64)> = pieces.iter().map(|p| (&*p.text, p.offset)).collect();
        assert_eq!(seen, [("bb", 2), ("ccc", 5)]);
        assert!(stream.is_at_end());
        let stream = bench.within(12..12, Position::default(), false);
        assert!(stream.last_lines(9).is_empty() && stream.is_at_end());
    }

    #[test]
    fn the_last_lines_are_found_whatever_their_length() {
        let bench = Bench::new();
        let long = "z".repeat(5 << 20);
        bench.write(format!("before\n{long}\nafter\nunfinished").as_bytes());
        let stream = bench.stream(Position::default(), true);
        let long_end = 7 + (5 << 20) + 1;
        assert_eq!(stream.last_lines(9), [0, 7, long_end, long_end + 6]);
        assert_eq!(stream.last_lines(2), [long_end, long_end + 6]);
        let mut stream = bench.stream(Position::default(), true);
        stream.begin(&[0, 7, long_end, long_end + 6], 1);
        assert_eq!(
            stream.read(1 << 20, false, Instant(0)),
            [Piece {
                text: "unfinished".into(),
                continues: false,
                partial: true,
                offset: long_end + 6,
            }]
        );
        assert!(stream.position.inside && stream.is_at_end());
        stream.begin(&[], 0);
        assert!(
            stream.position.inside,
            "what follows goes on from what was not asked for"
        );
    }
}
