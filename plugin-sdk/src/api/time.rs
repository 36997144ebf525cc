//! Points in time as clouds write them.

/// The same point in nanoseconds, of which a cloud may tell more than [`instant`] keeps: two lines of one millisecond have an order.
pub fn nanoseconds(text: &str) -> Option<u64> {
    let digits: String = text
        .get(19..)?
        .strip_prefix('.')
        .unwrap_or_default()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let fraction: u64 = format!("{digits:0<9}").get(..9)?.parse().ok()?;
    (instant(text)? / 1000)
        .checked_mul(1_000_000_000)?
        .checked_add(fraction)
}

/// Milliseconds since the Unix epoch of a time such as `2026-03-01T12:30:00.5Z` or `2026-03-01T04:30:00-08:00` (RFC 3339); none for what is
/// no such text or lies before 1970.
pub fn instant(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| {
        text.get(from..to)
            .filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?
            .parse::<i64>()
            .ok()
    };
    let mark = |at: usize, marks: &str| text.get(at..=at).is_some_and(|c| marks.contains(c));
    let marked = mark(4, "-") && mark(7, "-") && mark(10, "Tt ") && mark(13, ":") && mark(16, ":");
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !marked || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
        None => ("", rest),
    };
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let (sign, zone) = zone
                .strip_prefix('+')
                .map(|zone| (1, zone))
                .or_else(|| zone.strip_prefix('-').map(|zone| (-1, zone)))?;
            let (hours, minutes) = zone.split_once(':')?;
            sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?)
        }
    };
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + (minute - offset) * 60 + second;
    u64::try_from(seconds * 1000 + millis).ok()
}

/// Days since the epoch of a date of the Gregorian calendar, counting years from March so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_every_zone_and_precision_are_read() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:00Z", Some(951_825_600_000)),
            ("2026-11-26T11:49:42.125Z", Some(1_795_693_782_125)),
            ("2026-11-26T03:49:42.1254567-08:00", Some(1_795_693_782_125)),
            ("2026-11-26T13:49:42+02:00", Some(1_795_693_782_000)),
            ("1969-12-31T23:59:59Z", None),
            ("2026-11-26", None),
            ("2026-13-26T00:00:00Z", None),
            ("2026-11-26T00:00:00", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(instant(text), millis, "{text}");
        }
    }
}
