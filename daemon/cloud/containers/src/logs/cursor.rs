//! Places in the output of containers, and the text in which they travel.

use std::collections::BTreeMap;

use tradewind_core::{failure::Failure, units::Instant};

/// Positions of standard output and standard error by replica.
pub(super) type Cursor = BTreeMap<u32, [Position; 2]>;

/// A place in one stream, in front of an entry or inside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// The entry's time, in nanoseconds since the epoch.
    pub(super) at: u64,
    /// Entries of the same stream and time before it. Engines tell times in seconds or finer, so many may share one.
    pub(super) count: usize,
    /// Bytes of the entry before it.
    pub(super) offset: usize,
    /// It lies inside a line, whose beginning was given.
    pub(super) inside: bool,
}

pub(super) fn write(cursor: &Cursor) -> String {
    let place = |p: &Position| {
        format!(
            "{}+{}+{}{}",
            p.at,
            p.count,
            p.offset,
            if p.inside { "i" } else { "" }
        )
    };
    let parts = cursor
        .iter()
        .map(|(replica, [out, err])| format!("{replica}@{}@{}", place(out), place(err)));
    parts.collect::<Vec<_>>().join(",")
}

pub(super) fn parse(text: &str) -> Result<Cursor, Failure> {
    let place = |text: &str| {
        let (text, inside) = text
            .strip_suffix('i')
            .map_or((text, false), |rest| (rest, true));
        let mut numbers = text.split('+');
        let (at, count, offset) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let end = numbers.next().is_none();
        end.then_some(Position {
            at: at.parse().ok()?,
            count: count.parse().ok()?,
            offset: offset.parse().ok()?,
            inside,
        })
    };
    let one = |part: &str| {
        let (replica, places) = part.split_once('@')?;
        let (out, err) = places.split_once('@')?;
        Some((replica.parse().ok()?, [place(out)?, place(err)?]))
    };
    let parts = text.split(',').filter(|p| !p.is_empty());
    parts
        .map(one)
        .collect::<Option<Cursor>>()
        .ok_or_else(|| Failure::invalid("the cursor is none of this engine's").field("after"))
}

/// A time as engines write it before an entry (RFC 3339, with or without a fraction, in any zone), in nanoseconds since the epoch.
pub(super) fn nanoseconds(time: &str) -> Option<u64> {
    if time.as_bytes().get(10) != Some(&b'T') {
        return None;
    }
    let (local, zone) = match time.strip_suffix('Z') {
        Some(local) => (local, 0),
        None => {
            let (local, zone) = time.split_at_checked(time.len().checked_sub(6)?)?;
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let seconds = hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60;
            match zone.get(..1)? {
                "+" => (local, seconds),
                "-" => (local, -seconds),
                _ => return None,
            }
        }
    };
    let (whole, fraction) = local.split_once('.').unwrap_or((local, "0"));
    let fraction = format!("{fraction:0<9}").get(..9)?.parse::<u64>().ok()?;
    let seconds = i64::try_from(format!("{whole}Z").parse::<Instant>().ok()?.0 / 1000).ok()? - zone;
    u64::try_from(seconds)
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_and_one_of_somebody_else_is_refused() {
        let out = Position {
            at: 1_767_323_045_250_000_000,
            count: 3,
            offset: 17,
            inside: true,
        };
        let cursor = Cursor::from([(0, [out, Position::default()]), (7, Default::default())]);
        assert_eq!(parse(&write(&cursor)).unwrap(), cursor);
        for text in [
            "x",
            "1@1+2+3",
            "a@1+2+3@1+2+3",
            "1@1+2@1+2+3",
            "1@1+2+3+4@1+2+3",
            "1@2026-11-26T11:52:23Z+1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse("").unwrap(), Cursor::new());
    }

    #[test]
    fn times_are_compared_whatever_their_form() {
        let second = 1_795_693_943_000_000_000;
        for (text, nanos) in [
            ("2026-11-26T11:52:23Z", Some(second)),
            ("2026-11-26T11:52:23.1Z", Some(second + 100_000_000)),
            ("2026-11-26T11:52:23.000000015Z", Some(second + 15)),
            ("2026-11-26T13:52:23.5+02:00", Some(second + 500_000_000)),
            ("2026-11-26T06:22:23-05:30", Some(second)),
            ("2026-11-26", None),
            ("listening", None),
            ("2026-11-26Tétérot", None),
        ] {
            assert_eq!(nanoseconds(text), nanos, "{text}");
        }
    }
}
