//! What containers wrote: the second serial port, which the start script gives to nothing else. Its cursor is a number of bytes.

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Error, ErrorKind,
    fleet::{Cloud, LogPiece, Member, State, gap, part, read_logs},
    host::{Clock, Http},
    types::{LogChunk, LogQuery},
};

use crate::Gcp;

/// How long an unfinished line is waited for, in milliseconds.
const UNFINISHED: u64 = 1_000;

/// Where to go on.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Bytes.
    offset: u64,
    /// It lies inside a line, whose beginning was given.
    inside: bool,
    /// When an unfinished line was first seen here, in milliseconds since the epoch.
    waits: Option<u64>,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    contents: String,
    /// A number, as a text: where the contents begin, which is later than was asked for where the cloud has not kept it.
    #[serde(default)]
    start: String,
    /// A number, as a text.
    #[serde(default)]
    next: String,
}

impl<H: Http + Clock> Gcp<H> {
    pub(crate) fn written(&self, state: &State, query: &LogQuery) -> Result<LogChunk, Error> {
        read_logs(state, query, |member, after| self.piece(member, after))
    }

    fn piece(&self, member: &Member, after: Option<&str>) -> Result<LogPiece, Error> {
        let place = match after {
            Some(text) => Place::parse(text).ok_or_else(|| {
                Error::invalid(format!("{text:?} is not a cursor of this provider")).field("after")
            })?,
            None => Place::default(),
        };
        let path = format!(
            "{}/serialPort?port=2&start={}",
            self.path(&member.id)?,
            place.offset
        );
        match self.get::<Written>(&path) {
            Ok(written) => Ok(place.read(&written, after.is_some(), Cloud::now(self))),
            // It has not begun, or is gone: nothing can be read, which is no failure.
            Err(error)
                if matches!(error.kind, ErrorKind::NotFound)
                    || error.code.as_deref() == Some("resourceNotReady") =>
            {
                Ok(LogPiece {
                    lines: Vec::new(),
                    next: place.to_string(),
                })
            }
            Err(error) => Err(error),
        }
    }
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (text, waits) = match text.split_once('w') {
            Some((text, waits)) => (text, Some(waits.parse().ok()?)),
            None => (text, None),
        };
        let (offset, inside) = text
            .strip_suffix('i')
            .map_or((text, false), |offset| (offset, true));
        Some(Self {
            offset: offset.parse().ok()?,
            inside,
            waits,
        })
    }

    /// The lines behind this place. An unfinished one is given at once to who does not follow, and else when it has stayed so for a while.
    fn read(self, written: &Written, follows: bool, now: u64) -> LogPiece {
        let Self {
            offset,
            mut inside,
            waits,
        } = self;
        let end = written.next.parse().unwrap_or(offset);
        let start = written.start.parse().unwrap_or(offset);
        let mut lines: Vec<(Option<u64>, String)> = Vec::new();
        if end < offset {
            // It has begun anew, and is read from its beginning the next time.
            return LogPiece {
                lines: vec![(None, gap())],
                next: Self::default().to_string(),
            };
        }
        if start > offset {
            inside = true;
            lines.extend(follows.then(|| (None, gap())));
        }
        let (whole, rest) = written
            .contents
            .split_at(written.contents.rfind('\n').map_or(0, |at| at + 1));
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
        if rest.is_empty() {
            return LogPiece {
                lines,
                next: Self {
                    offset: end,
                    inside,
                    waits: None,
                }
                .to_string(),
            };
        }
        let since = waits.filter(|_| whole.is_empty()).unwrap_or(now);
        // What stands for bytes that are no text has another length than they: then the place before it is not known.
        if !follows || now.abs_diff(since) >= UNFINISHED || rest.contains('\u{fffd}') {
            lines.push((None, part(rest, inside, true)));
            return LogPiece {
                lines,
                next: Self {
                    offset: end,
                    inside: true,
                    waits: None,
                }
                .to_string(),
            };
        }
        let before = end.saturating_sub(rest.len() as u64);
        LogPiece {
            lines,
            next: Self {
                offset: before,
                inside,
                waits: Some(since),
            }
            .to_string(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.offset, if self.inside { "i" } else { "" })?;
        self.waits
            .iter()
            .try_for_each(|since| write!(f, "w{since}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_line_comes_after_a_while_and_its_rest_then() {
        let read = |cursor: &str, contents: &str, follows, now| {
            let place = Place::parse(cursor).unwrap();
            let next = (place.offset + contents.len() as u64).to_string();
            let piece = place.read(
                &Written {
                    contents: contents.to_owned(),
                    start: String::new(),
                    next,
                },
                follows,
                now,
            );
            (
                piece
                    .lines
                    .into_iter()
                    .map(|(_, text)| text)
                    .collect::<Vec<_>>(),
                piece.next,
            )
        };
        let (seen, next) = read("0", "one\r\npassword: ", true, 1_000);
        assert_eq!((seen, next.as_str()), (vec!["one".to_owned()], "5w1000"));
        let (seen, next) = read(&next, "password: ", true, 1_999);
        assert_eq!((seen, next.as_str()), (vec![], "5w1000"));
        let (seen, next) = read(&next, "password: ", true, 2_000);
        assert_eq!(
            (seen, next.as_str()),
            (vec![part("password: ", false, true)], "15i")
        );
        assert_eq!(
            read(&next, "x\ntwo\n", true, 2_001),
            (
                vec![part("x", true, false), "two".to_owned()],
                "21".to_owned()
            )
        );
        assert_eq!(
            read("0", "half", false, 0),
            (vec![part("half", false, true)], "4i".to_owned()),
            "who does not follow gets it at once"
        );
        assert!(Place::parse("x").is_none());
    }

    #[test]
    fn what_the_port_has_not_kept_is_marked() {
        let read = |cursor: &str, start: &str, contents: &str, next: &str, follows| {
            let written = Written {
                contents: contents.to_owned(),
                start: start.to_owned(),
                next: next.to_owned(),
            };
            let piece = Place::parse(cursor).unwrap().read(&written, follows, 1_000);
            (
                piece
                    .lines
                    .into_iter()
                    .map(|(_, text)| text)
                    .collect::<Vec<_>>(),
                piece.next,
            )
        };
        let cut = part("f a line", true, false);
        assert_eq!(
            read("5", "9", "f a line\nnext\n", "23", true),
            (vec![gap(), cut.clone(), "next".to_owned()], "23".to_owned())
        );
        assert_eq!(
            read("0", "9", "f a line\nnext\n", "23", false).0,
            [cut, "next".to_owned()],
            "a first look misses nothing"
        );
        assert_eq!(read("5", "5", "next\n", "10", true).0, ["next"]);
        assert_eq!(
            read("50", "0", "", "10", true),
            (vec![gap()], "0".to_owned()),
            "another machine's port"
        );
    }
}
