//! What consoles tell, as a stream. EC2 shows the last 64 KiB of a console and no number of bytes before them, so a place is known by what
//! stands before it: it is looked for in the next answer, and where it is not there any more, output is missing and a line says so.

use std::fmt;

use tradewind_plugin_sdk::{
    Error, ErrorKind,
    fleet::{LogPiece, gap, part, read_pieces},
    host::{Clock, aws::Aws},
    types::{LogChunk, LogQuery},
};

use crate::{
    Ec2,
    state::{Member, State},
};

/// A console of so many bytes may have lost its beginning. EC2 keeps 64 KiB; bytes that are no text make it no shorter.
const FULL: usize = 60 << 10;
/// Of so many bytes before a place a hash is kept. A shorter one is for when less of them is left.
const ANCHORS: [usize; 3] = [4096, 512, 64];
/// Milliseconds between two looks at one console while somebody follows: EC2 bounds how often it is asked.
const PAUSE: u64 = 1_000;
/// How long an unfinished line is waited for, in milliseconds.
const UNFINISHED: u64 = 1_000;
/// What stands for bytes that are no text: at the end, a character that is being written.
const NO_TEXT: char = '\u{fffd}';

/// Where to go on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Place {
    /// Bytes before it in the answer that it was made of. In a later one it can only be nearer to the beginning.
    offset: usize,
    /// It lies inside a line, whose beginning was given.
    inside: bool,
    /// When an unfinished line was first seen here, in milliseconds since the epoch; 0: there is none.
    waits: u64,
    /// When the console was looked at, in milliseconds since the epoch.
    looked: u64,
    /// Of what stands before it, as far back as [`ANCHORS`] says or as there is something.
    hashes: [u64; ANCHORS.len()],
}

impl<H: Aws + Clock> Ec2<H> {
    /// What consoles have written. EC2 tells no times.
    pub(crate) fn consoles(&self, state: &State, query: &LogQuery) -> Result<LogChunk, Error> {
        let instances = state
            .members
            .iter()
            .map(|member| (member.index, member.id.as_str(), member));
        read_pieces(instances, query, |member, after| {
            self.console(&state.region, member, after)
        })
    }

    fn console(
        &self,
        region: &str,
        member: &Member,
        after: Option<&str>,
    ) -> Result<LogPiece, Error> {
        let invalid = |text: &str| {
            Error::invalid(format!("{text:?} is not a cursor of this provider")).field("after")
        };
        let after = after
            .map(|text| Place::parse(text).ok_or_else(|| invalid(text)))
            .transpose()?;
        let now = self.host.now();
        if let Some(place) = after.filter(|place| now.abs_diff(place.looked) < PAUSE) {
            return Ok(LogPiece {
                lines: Vec::new(),
                next: place.to_string(),
            });
        }
        match self.host.console(region, &member.id) {
            Ok(console) => Ok(read(&console, after, now)),
            // It is gone: nothing more can be read, which is no failure.
            Err(error) if error.kind == ErrorKind::NotFound => Ok(LogPiece {
                lines: Vec::new(),
                next: Place {
                    looked: now,
                    ..after.unwrap_or_default()
                }
                .to_string(),
            }),
            Err(error) => Err(error),
        }
    }
}

/// The lines behind a place. An unfinished one is given at once to who does not follow, and else when it has stayed so for a while.
fn read(console: &str, after: Option<Place>, now: u64) -> LogPiece {
    let console = console.trim_end_matches(['\r', NO_TEXT]);
    let cut = console.len() >= FULL;
    let mut lines = Vec::new();
    let (begin, mut inside, waits) = match after.map(|place| (place, place.find(console))) {
        None => (0, cut, 0),
        Some((place, Some(at))) => (at, place.inside, place.waits),
        Some((_, None)) => {
            lines.push((None, gap()));
            (0, cut, 0)
        }
    };
    let new = console.get(begin..).unwrap_or_default();
    let (whole, rest) = new.split_at(new.rfind('\n').map_or(0, |at| at + 1));
    for line in whole.lines() {
        lines.push((
            None,
            part(
                line.trim_end_matches('\r'),
                std::mem::take(&mut inside),
                false,
            ),
        ));
    }
    let since = if waits > 0 && whole.is_empty() {
        waits
    } else {
        now
    };
    let next = if rest.is_empty() {
        Place {
            inside,
            ..Place::at(console, console.len(), now)
        }
    } else if after.is_none() || now.abs_diff(since) >= UNFINISHED {
        lines.push((None, part(rest, inside, true)));
        Place {
            inside: true,
            ..Place::at(console, console.len(), now)
        }
    } else {
        Place {
            inside,
            waits: since,
            ..Place::at(console, console.len() - rest.len(), now)
        }
    };
    LogPiece {
        lines,
        next: next.to_string(),
    }
}

impl Place {
    fn at(console: &str, offset: usize, looked: u64) -> Self {
        let before = console.as_bytes().get(..offset).unwrap_or_default();
        let hash = |length: usize| {
            before
                .get(offset.saturating_sub(length)..)
                .unwrap_or_default()
                .iter()
                .fold(0, |h, b| step(h, *b))
        };
        Self {
            offset,
            inside: false,
            waits: 0,
            looked,
            hashes: ANCHORS.map(hash),
        }
    }

    /// Where it is in a later answer. None: what stood before it is not there any more.
    fn find(&self, console: &str) -> Option<usize> {
        if self.offset == 0 {
            // Nothing had been written.
            return (console.len() < FULL).then_some(0);
        }
        let bytes = console.as_bytes();
        // The hashes of all beginnings: of the bytes between two places they give the hash by one multiplication.
        let mut sums = vec![0_u64];
        sums.extend(bytes.iter().scan(0_u64, |sum, byte| {
            *sum = step(*sum, *byte);
            Some(*sum)
        }));
        let mut furthest = self.offset.min(bytes.len());
        for (length, hash) in ANCHORS.into_iter().zip(self.hashes) {
            let length = length.min(self.offset);
            let power = BASE.wrapping_pow(u32::try_from(length).unwrap_or(u32::MAX));
            let is = |end: &usize| {
                let (upto, before) = (
                    sums.get(*end),
                    end.checked_sub(length).and_then(|begin| sums.get(begin)),
                );
                upto.zip(before).is_some_and(|(upto, before)| {
                    upto.wrapping_sub(before.wrapping_mul(power)) == hash
                })
            };
            if let Some(at) = (length..=furthest).rev().find(is) {
                return console.is_char_boundary(at).then_some(at);
            }
            // Behind that, the longer one would have been found.
            furthest = furthest.min(length.saturating_sub(1));
        }
        None
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('+');
        let offset = parts.next()?.parse().ok()?;
        let inside = parts.next()?.parse::<u8>().ok()? != 0;
        let (waits, looked) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let mut hashes = [0; ANCHORS.len()];
        for hash in &mut hashes {
            *hash = u64::from_str_radix(parts.next()?, 16).ok()?;
        }
        parts.next().is_none().then_some(Self {
            offset,
            inside,
            waits,
            looked,
            hashes,
        })
    }
}

/// Odd, so that no byte is ever forgotten.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

fn step(sum: u64, byte: u8) -> u64 {
    sum.wrapping_mul(BASE).wrapping_add(u64::from(byte) + 1)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}+{}+{}+{}",
            self.offset,
            u8::from(self.inside),
            self.waits,
            self.looked
        )?;
        self.hashes
            .iter()
            .try_for_each(|hash| write!(f, "+{hash:x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: usize = 64 << 10;

    /// Follows what is written, of which each look sees the last 64 KiB.
    struct Following {
        written: String,
        cursor: Option<String>,
        now: u64,
    }

    impl Following {
        fn new() -> Self {
            Self {
                written: String::new(),
                cursor: None,
                now: 1_000_000,
            }
        }

        /// What is seen of this and what was not seen before, after a second.
        fn look(&mut self, more: &str) -> Vec<String> {
            self.written.push_str(more);
            self.now += 1_000;
            let bytes = self.written.as_bytes();
            let window =
                String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(WINDOW)..]).into_owned();
            let piece = read(
                &window,
                self.cursor
                    .as_deref()
                    .map(|text| Place::parse(text).unwrap()),
                self.now,
            );
            self.cursor = Some(piece.next);
            piece.lines.into_iter().map(|(_, text)| text).collect()
        }
    }

    fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
        range
            .map(|n| format!("line {n} of a service that writes much"))
            .collect()
    }

    fn text(lines: &[String]) -> String {
        lines.iter().flat_map(|line| [line, "\r\n"]).collect()
    }

    #[test]
    fn what_is_new_is_seen_once_however_far_the_window_has_gone() {
        let mut console = Following::new();
        assert!(console.look("").is_empty());
        let mut seen = Vec::new();
        for (from, to) in [
            (0, 3),
            (3, 4),
            (4, 4),
            (4, 1_500),
            (1_500, 2_900),
            (2_900, 3_000),
            (3_000, 4_400),
        ] {
            seen.extend(console.look(&text(&numbered(from..to))));
        }
        assert_eq!(
            seen,
            numbered(0..4_400),
            "nothing twice, nothing hidden, no mark"
        );
    }

    #[test]
    fn what_the_window_has_lost_is_marked_and_the_cut_line_with_it() {
        let mut console = Following::new();
        console.look(&text(&numbered(0..10)));
        let seen = console.look(&text(&numbered(10..5_000)));
        assert_eq!(seen[0], gap());
        assert!(
            seen[1].starts_with(part("", true, false).as_str()) && seen[1].len() < 60,
            "{}",
            seen[1]
        );
        assert_eq!(seen.last(), numbered(4_999..5_000).first());
        assert!(console.look("").is_empty());
        assert_eq!(console.look("next\n"), ["next"]);
        // Another console in its place: an instance that was stopped and started.
        console.written.clear();
        assert_eq!(console.look("booting\n"), [gap(), "booting".to_owned()]);
        let mut late = Following::new();
        late.look("");
        assert_eq!(
            late.look(&text(&numbered(0..5_000)))[0],
            gap(),
            "more than there is room for came between"
        );
    }

    #[test]
    fn the_same_line_again_and_again_is_told_as_often_as_it_was_written() {
        let mut console = Following::new();
        for _ in 0..20 {
            assert_eq!(console.look("tick\ntick\n"), ["tick", "tick"]);
        }
    }

    #[test]
    fn an_unfinished_line_comes_after_a_while_and_its_rest_then() {
        let place = |piece: &LogPiece| Some(Place::parse(&piece.next).unwrap());
        let texts = |piece: &LogPiece| {
            piece
                .lines
                .iter()
                .map(|(_, text)| text.clone())
                .collect::<Vec<_>>()
        };
        let first = read("one\n", None, 1_000);
        let second = read("one\npassword: ", place(&first), 2_000);
        assert!(texts(&second).is_empty());
        let third = read("one\npassword: ", place(&second), 3_000);
        assert_eq!(texts(&third), [part("password: ", false, true)]);
        let fourth = read("one\npassword: é\u{fffd}", place(&third), 4_000);
        assert!(texts(&fourth).is_empty());
        let fifth = read("one\npassword: éé\r\n", place(&fourth), 5_000);
        assert_eq!(
            texts(&fifth),
            [part("éé", true, false)],
            "no character is taken apart"
        );
        assert_eq!(
            texts(&read("half", None, 0)),
            [part("half", false, true)],
            "who does not follow gets it at once"
        );
        assert!(Place::parse("1+0+0").is_none() && Place::parse("x").is_none());
    }
}
