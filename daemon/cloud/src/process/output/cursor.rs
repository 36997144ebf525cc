//! Where a reader goes on, as text: for each replica the positions in its standard output and its standard error.

use std::collections::BTreeMap;

use tradewind_core::failure::Failure;

/// A place in one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: u64,
    /// It lies inside a line, whose beginning was given.
    pub(super) inside: bool,
    /// When an unfinished line was first seen here, in milliseconds since the epoch.
    pub(super) waits: Option<u64>,
}

/// Positions of standard output and standard error by replica.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor(pub(super) BTreeMap<u32, [Position; 2]>);

impl Cursor {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let bad = || {
            Failure::invalid(format!(
                "\"{}\" is not a cursor of an earlier answer",
                text.escape_debug()
            ))
            .field("after")
        };
        let mut positions = BTreeMap::new();
        for part in text.strip_prefix("v1").ok_or_else(bad)?.split('.').skip(1) {
            let (replica, places) = part.split_once('-').ok_or_else(bad)?;
            let (out, err) = places.split_once('-').ok_or_else(bad)?;
            let place = |text: &str| Position::parse(text).ok_or_else(bad);
            positions.insert(
                replica.parse().map_err(|_| bad())?,
                [place(out)?, place(err)?],
            );
        }
        Ok(Self(positions))
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("v1")?;
        self.0
            .iter()
            .try_for_each(|(replica, [out, err])| write!(f, ".{replica}-{out}-{err}"))
    }
}

impl Position {
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
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inside = if self.inside { "i" } else { "" };
        write!(f, "{}{inside}", self.offset)?;
        self.waits
            .iter()
            .try_for_each(|since| write!(f, "w{since}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_and_nonsense_is_refused() {
        let at = |offset, inside, waits| Position {
            offset,
            inside,
            waits,
        };
        let cursor = Cursor(BTreeMap::from([
            (0, [at(1, false, None), at(2, true, None)]),
            (
                7,
                [at(u64::MAX, true, Some(17)), at(0, false, Some(u64::MAX))],
            ),
        ]));
        assert_eq!(Cursor::parse(&cursor.to_string()).unwrap(), cursor);
        assert_eq!(
            Cursor::parse("v1.3-10-0").unwrap(),
            Cursor(BTreeMap::from([(
                3,
                [at(10, false, None), at(0, false, None)]
            )]))
        );
        for bad in [
            "",
            "v2.0-1-2",
            "v1.0-1",
            "v1.0-1-2-3",
            "v1.x-1-2",
            "v1.0--1-2",
            "v1.0-1w-2",
            "v1.0-i-2",
        ] {
            assert!(Cursor::parse(bad).is_err(), "{bad}");
        }
    }
}
