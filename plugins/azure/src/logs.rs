//! What containers wrote. The API knows no cursor, but puts the time before each line when asked: what is behind the
//! last one is new.

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Error, ErrorKind, api,
    fleet::{LogPiece, Member, State, gap, part, read_logs},
    host::{Clock, Http},
    types::{LogChunk, LogQuery},
};

use crate::{Azure, group::CONTAINER};

/// The API gives no more than the last 4 MB.
const TAIL: u32 = 10_000;

/// How long a line without an end is waited for, in milliseconds.
const UNFINISHED: u64 = 1_000;

/// Where to go on: in front of a line, or inside it.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// The line's time, in nanoseconds since the epoch.
    at: u64,
    /// Lines of that time that were told.
    told: usize,
    /// Bytes of the line behind them that were told.
    offset: usize,
}

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    content: Option<String>,
}

impl<H: Http + Clock> Azure<H> {
    pub(crate) fn written(&self, state: &State, query: &LogQuery) -> Result<LogChunk, Error> {
        read_logs(state, query, |member, after| {
            self.piece(member, after, query.tail)
        })
    }

    fn piece(&self, member: &Member, after: Option<&str>, tail: u32) -> Result<LogPiece, Error> {
        let after = match after {
            Some(text) => Some(Place::parse(text).ok_or_else(|| {
                Error::invalid(format!("{text:?} is not a cursor of this provider")).field("after")
            })?),
            None => None,
        };
        let tail = if after.is_none() {
            tail.clamp(1, TAIL)
        } else {
            TAIL
        };
        let path = format!("{}/containers/{CONTAINER}/logs", self.path(&member.id));
        let written = match self.get::<Written>(&path, &format!("&tail={tail}&timestamps=true")) {
            Ok(written) => written.content.unwrap_or_default(),
            // It has not begun, or is gone: nothing can be read, which is no failure.
            Err(error)
                if error.kind == ErrorKind::NotFound
                    || error.code.as_deref() == Some("ContainerGroupDeploymentNotReady") =>
            {
                String::new()
            }
            Err(error) => return Err(error),
        };
        Ok(read(&written, after, self.now()))
    }
}

/// The lines behind this place. One without an end is given at once to who does not follow, and else when it is a while old; what is added
/// to it continues it. Where the last line that was told is not there any more, output is missing.
fn read(written: &str, after: Option<Place>, now: u64) -> LogPiece {
    let (mut lines, mut next, mut here) = (Vec::new(), after.unwrap_or_default(), Place::default());
    let lost = after.is_some_and(|after| !written.is_empty() && !after.is_kept(written));
    lines.extend(lost.then(|| (None, gap())));
    // Whether the line that a text without a time belongs to is given.
    let mut given = after.is_none() || lost;
    for line in written.split_inclusive('\n') {
        let (line, ended) = line
            .strip_suffix('\n')
            .map_or((line, false), |line| (line, true));
        let (stamp, text) = line.split_once(' ').unwrap_or((line, ""));
        let Some(at) = api::nanoseconds(stamp) else {
            if given {
                lines.push((None, line.to_owned()));
            }
            continue;
        };
        here = if at == here.at {
            Place {
                told: here.told + 1,
                ..here
            }
        } else {
            Place {
                at,
                ..Place::default()
            }
        };
        let place = (here.at, here.told);
        given = after.is_none_or(|after| place >= (after.at, after.told));
        if !given {
            continue;
        }
        let offset = after
            .filter(|after| place == (after.at, after.told))
            .map_or(0, |after| after.offset);
        let due = ended || after.is_none() || now.abs_diff(at / 1_000_000) >= UNFINISHED;
        let rest = text.get(offset..).unwrap_or_default();
        given = due && (offset == 0 || !rest.is_empty());
        if given {
            lines.push((Some(at / 1_000_000), part(rest, offset > 0, false)));
        }
        if ended {
            next = Place {
                told: here.told + 1,
                ..here
            };
        } else if due {
            next = Place {
                offset: text.len(),
                ..here
            };
        }
    }
    LogPiece {
        lines,
        next: next.to_string(),
    }
}

impl Place {
    /// Whether this begins no later than the last line that was told. Nothing was told: nothing can be missing that the API has kept.
    fn is_kept(self, written: &str) -> bool {
        let stamps = written
            .lines()
            .filter_map(|line| api::nanoseconds(line.split(' ').next().unwrap_or_default()));
        self.at == 0
            || stamps
                .into_iter()
                .next()
                .is_none_or(|first| first <= self.at)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('+');
        let (at, told, offset) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let end = numbers.next().is_none();
        end.then_some(Self {
            at: at.parse().ok()?,
            told: told.parse().ok()?,
            offset: offset.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}+{}", self.at, self.told, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_two_looks() {
        let seen = |written: &str, after: Option<&str>, now| {
            let piece = read(written, after.map(|text| Place::parse(text).unwrap()), now);
            (
                piece
                    .lines
                    .into_iter()
                    .map(|(_, text)| text)
                    .collect::<Vec<_>>(),
                piece.next,
            )
        };
        let second = 1_767_225_601_000;
        let first = "2026-01-01T00:00:01Z one\n2026-01-01T00:00:01Z two\n";
        let (texts, next) = seen("2026-01-01T00:00:01Z one\n", None, second);
        assert_eq!(texts, ["one"]);
        let (texts, next) = seen(first, Some(&next), second);
        assert_eq!(texts, ["two"], "of the same moment");
        let unfinished = format!("{first}2026-01-01T00:00:02.5Z password:");
        assert!(seen(&unfinished, Some(&next), second + 2_000).0.is_empty());
        let (texts, next) = seen(&unfinished, Some(&next), second + 2_500);
        assert_eq!(texts, ["password:"]);
        let (texts, next) = seen(&format!("{unfinished} x\n"), Some(&next), second);
        assert_eq!(texts, [part(" x", true, false)]);
        assert!(
            seen(&format!("{unfinished} x\n"), Some(&next), second)
                .0
                .is_empty()
        );
    }

    #[test]
    fn what_the_platform_has_not_kept_is_marked() {
        let seen = |written: &str, after: &str| {
            let piece = read(
                written,
                Some(Place::parse(after).unwrap()),
                1_767_225_700_000,
            );
            piece
                .lines
                .into_iter()
                .map(|(_, text)| text)
                .collect::<Vec<_>>()
        };
        let next = read(
            "2026-01-01T00:00:01Z one\nand more\n",
            None,
            1_767_225_601_000,
        )
        .next;
        assert!(
            seen("2026-01-01T00:00:01Z one\nand more\n", &next).is_empty(),
            "what belongs to a line that was told is not told again"
        );
        assert_eq!(
            seen(
                "2026-01-01T00:00:01Z one\nand more\n2026-01-01T00:00:03Z two\nthree\n",
                &next
            ),
            ["two", "three"]
        );
        assert_eq!(
            seen("2026-01-01T00:00:03Z two\n", &next),
            [gap(), "two".to_owned()]
        );
        assert!(
            seen("", &next).is_empty(),
            "a container that is started again has written nothing yet"
        );
        assert_eq!(seen("2026-01-01T00:00:03Z two\n", "0+0+0"), ["two"]);
    }
}
