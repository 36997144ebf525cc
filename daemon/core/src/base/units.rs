//! Quantities with their units: money, memory, processor shares, durations. Each parses from what people write and prints the same way.

use std::{fmt, str::FromStr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A text that is not a quantity of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not {what}: write {hint}")]
pub struct UnitError {
    /// What the text should have been: "a duration".
    pub what: &'static str,
    /// The text.
    pub value: String,
    /// What is to be written.
    pub hint: &'static str,
}

/// Micro-USD: millionths of a US dollar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MicroUsd(pub u64);

/// Thousandths of a processor core.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MilliCpu(pub u32);

/// A size in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A length of time in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Millis(pub u64);

/// A point in time: milliseconds since the Unix epoch, UTC. Written as RFC 3339.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instant(pub u64);

/// Bytes of a gibibyte.
pub const GIB: u64 = 1 << 30;
const HOUR_MS: f64 = 3_600_000.0;
const DAY_MS: u64 = 86_400_000;

// === impl MicroUsd ===

impl MicroUsd {
    /// The largest amount, which stands for "no limit".
    pub const MAX: MicroUsd = MicroUsd(u64::MAX);

    /// The sum, at most [`Self::MAX`].
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// So many times the amount, at most [`Self::MAX`].
    pub fn saturating_mul(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// This amount times a non-negative factor, rounded half up; saturates.
    pub fn scaled(self, factor: f64) -> Self {
        // `as` saturates at the ends and turns NaN into 0.
        Self((self.0 as f64 * factor).round() as u64)
    }

    /// As people read it: two decimals, up to four where the amount is small. `$0.08`, `$0.0125`, `$131.40`, `<$0.0001`.
    pub fn brief(self) -> String {
        // From a hundred dollars on, parts of a cent say nothing.
        let step = if self.0 >= 100_000_000 { 10_000 } else { 100 };
        match self.0 {
            1..100 => "<$0.0001".to_owned(),
            micros => Self(micros.saturating_add(step / 2) / step * step).to_string(),
        }
    }

    /// In US dollars, for display and for weighing only.
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl fmt::Display for MicroUsd {
    /// `$1.25`, at least two and at most six decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, frac) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let digits = format!("{frac:06}");
        let kept = digits.trim_end_matches('0').len().max(2);
        f.pad(&format!("${whole}.{}", digits.get(..kept).unwrap_or("00")))
    }
}

impl FromStr for MicroUsd {
    type Err = UnitError;
    /// `0.5`, `$0.5`, `0.5 USD`: at most six decimals besides zeros, so that nothing is rounded away.
    fn from_str(s: &str) -> Result<Self, UnitError> {
        let bad = || UnitError {
            what: "an amount of money",
            value: s.to_owned(),
            hint: "US dollars with up to six decimals, such as 0.25",
        };
        let t = s
            .trim()
            .trim_start_matches('$')
            .trim_end_matches("USD")
            .trim_end_matches("usd")
            .trim();
        let (whole, frac) = t.split_once('.').unwrap_or((t, ""));
        let all_digits = |p: &str| p.bytes().all(|c| c.is_ascii_digit());
        if t.contains(['e', 'E']) && t.parse::<f64>().is_ok() {
            return Err(UnitError {
                hint: "US dollars as a plain number such as 0.25, not in scientific notation",
                ..bad()
            });
        }
        if (whole.is_empty() && frac.is_empty()) || !all_digits(whole) || !all_digits(frac) {
            return Err(bad());
        }
        let frac = frac.trim_end_matches('0');
        if frac.len() > 6 {
            return Err(UnitError {
                hint: "no more than six decimals, since 0.000001 US dollars is the least that is counted",
                ..bad()
            });
        }
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| bad())?
        };
        let frac: u64 = format!("{frac:0<6}").parse().map_err(|_| bad())?;
        whole
            .checked_mul(1_000_000)
            .and_then(|w| w.checked_add(frac))
            .map(Self)
            .ok_or_else(bad)
    }
}

// === impl MilliCpu ===

impl MilliCpu {
    /// In whole cores.
    pub fn cores(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            f.pad(&(self.0 / 1000).to_string())
        } else {
            f.pad(&format!("{}m", self.0))
        }
    }
}

impl FromStr for MilliCpu {
    type Err = UnitError;
    /// `2`, `0.5`, `500m`.
    fn from_str(s: &str) -> Result<Self, UnitError> {
        let bad = || UnitError {
            what: "a processor share",
            value: s.to_owned(),
            hint: "cores such as 2 or 0.5, or thousandths such as 500m",
        };
        let t = s.trim();
        let number = t.strip_suffix('m').unwrap_or(t);
        unpadded(number).map_err(|hint| UnitError { hint, ..bad() })?;
        if number.len() < t.len() {
            return number
                .parse()
                .ok()
                .filter(|_| is_decimal(number))
                .map(Self)
                .ok_or_else(bad);
        }
        let cores: f64 = Some(t)
            .filter(|t| is_decimal(t))
            .and_then(|t| t.parse().ok())
            .ok_or_else(bad)?;
        let milli = (cores * 1000.0).round();
        if !(0.0..=f64::from(u32::MAX)).contains(&milli) || (milli - cores * 1000.0).abs() > 1e-6 {
            return Err(bad());
        }
        Ok(Self(milli as u32))
    }
}

// === impl Bytes ===

impl Bytes {
    /// In gibibytes.
    pub fn gib(self) -> f64 {
        self.0 as f64 / GIB as f64
    }
}

const SIZE_UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("K", 1_000),
];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZE_UNITS
            .iter()
            .find(|(_, n)| self.0 >= *n && self.0.is_multiple_of(*n));
        match exact {
            Some((unit, n)) => f.pad(&format!("{}{unit}", self.0 / n)),
            None => f.pad(&self.0.to_string()),
        }
    }
}

impl FromStr for Bytes {
    type Err = UnitError;
    /// `512Mi`, `4Gi`, `1.5G`, `4GiB`, or plain bytes.
    fn from_str(s: &str) -> Result<Self, UnitError> {
        let bad = || UnitError {
            what: "a size",
            value: s.to_owned(),
            hint: "a number with a unit, such as 512Mi or 4Gi",
        };
        let t = s.trim();
        let t = t.strip_suffix('B').unwrap_or(t).trim();
        let t = t
            .strip_suffix('k')
            .map_or_else(|| t.to_owned(), |n| format!("{n}K"));
        let (number, factor) = SIZE_UNITS
            .iter()
            .find_map(|(unit, n)| t.strip_suffix(unit).map(|rest| (rest, *n)))
            .unwrap_or((t.as_str(), 1));
        let number = number.trim();
        unpadded(number).map_err(|hint| UnitError { hint, ..bad() })?;
        if !is_decimal(number) {
            return Err(bad());
        }
        if let Ok(n) = number.parse::<u64>() {
            return n.checked_mul(factor).map(Self).ok_or_else(bad);
        }
        let value: f64 = number.parse().map_err(|_| bad())?;
        let bytes = value * factor as f64;
        if !bytes.is_finite() || bytes < 0.0 || bytes >= u64::MAX as f64 {
            Err(bad())
        } else {
            Ok(Self(bytes.round() as u64))
        }
    }
}

// === impl Millis ===

impl Millis {
    /// So many seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1000)
    }

    /// In hours.
    pub fn hours(self) -> f64 {
        self.0 as f64 / HOUR_MS
    }

    /// As the standard library has it.
    pub fn std(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl From<Duration> for Millis {
    fn from(d: Duration) -> Self {
        Self(u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Millis {
    /// Days are the largest unit: months and years have no fixed length, and are not read back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / DAY_MS, Duration::from_millis(self.0 % DAY_MS));
        let rest =
            (days == 0 || !rest.is_zero()).then(|| humantime::format_duration(rest).to_string());
        let days = (days > 0).then(|| format!("{days}day{}", if days == 1 { "" } else { "s" }));
        f.pad(
            &[days, rest]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" "),
        )
    }
}

impl FromStr for Millis {
    type Err = UnitError;
    /// `90s`, `1h 30m`, `1.5h`, `250ms`: units up to weeks. Months and years are refused: `30M` is hardly ever meant for thirty months.
    fn from_str(s: &str) -> Result<Self, UnitError> {
        let bad = |hint| UnitError {
            what: "a duration",
            value: s.to_owned(),
            hint,
        };
        for unit in s.split(|c: char| !c.is_alphabetic()) {
            match unit {
                "M" => {
                    return Err(bad(
                        "m for minutes, such as 30m (M is months, which have no fixed length)",
                    ));
                }
                "month" | "months" | "y" | "yr" | "yrs" | "year" | "years" => {
                    return Err(bad(
                        "days, such as 90d (months and years have no fixed length)",
                    ));
                }
                _ => {}
            }
        }
        let read = Some(s)
            .filter(|s| is_spaced(s))
            .and_then(|s| humantime::parse_duration(s.trim()).ok());
        read.map(Self::from)
            .ok_or_else(|| bad("a number with a unit, such as 30s or 1h 30m"))
    }
}

/// The text of a plain decimal number: digits, and a fraction or none.
fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
    digits(whole)
        && fraction.is_none_or(|f| !f.is_empty() && digits(f))
        && !(whole.is_empty() && fraction.is_none())
}

/// The integer that a number is, written with a fraction of zeros or not: `3.0` is one, as JSON Schema has it. None for what a float does not
/// hold exactly.
pub fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_991.0;
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

/// `010` is ten to some and eight to others.
fn unpadded(number: &str) -> Result<(), &'static str> {
    if is_padded(number) {
        Err("it without leading zeros")
    } else {
        Ok(())
    }
}

/// Whether a number is written with leading zeros: `010`, `-007`, but not `0` and `0.5`.
pub fn is_padded(number: &str) -> bool {
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    digits
        .strip_prefix('0')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether the spaces of a duration part its numbers and units, and no number from itself.
fn is_spaced(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).all(|pair| match pair {
        [before, after] => !(before.ends_with(is_of_number) && after.starts_with(is_of_number)),
        _ => true,
    })
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || c == '.'
}

// === impl Instant ===

impl Instant {
    /// How long after the earlier one it is; 0 if it is not later.
    pub fn since(self, earlier: Instant) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }

    /// The instant so much later.
    pub fn plus(self, span: Millis) -> Instant {
        Instant(self.0.saturating_add(span.0))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::time::UNIX_EPOCH
            .checked_add(Duration::from_millis(self.0))
            .filter(|_| self.0 < 253_402_300_799_000)
        {
            Some(t) => f.pad(&humantime::format_rfc3339_millis(t).to_string()),
            None => f.pad("after the year 9999"),
        }
    }
}

impl FromStr for Instant {
    type Err = UnitError;
    fn from_str(s: &str) -> Result<Self, UnitError> {
        let bad = || UnitError {
            what: "a point in time",
            value: s.to_owned(),
            hint: "RFC 3339, such as 2026-11-21T08:00:00Z",
        };
        let t = humantime::parse_rfc3339_weak(s.trim()).map_err(|_| bad())?;
        let since = t.duration_since(std::time::UNIX_EPOCH).map_err(|_| bad())?;
        Ok(Self(Millis::from(since).0))
    }
}

// === serde ===

/// Numbers keep their natural unit (dollars, cores, bytes); text carries its own.
struct Visit<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = UnitError>> de::Visitor<'_> for Visit<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity, as a number or as text with its unit")
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<T, E> {
        v.parse().map_err(E::custom)
    }
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<T, E> {
        v.to_string().parse().map_err(E::custom)
    }
    fn visit_i64<E: de::Error>(self, v: i64) -> Result<T, E> {
        v.to_string().parse().map_err(E::custom)
    }
    fn visit_f64<E: de::Error>(self, v: f64) -> Result<T, E> {
        v.to_string().parse().map_err(E::custom)
    }
}

/// Asks a manifest's tree for a duration as a person writes it; other deserializers answer as they always do.
pub const DURATION: &str = "tradewind::Duration";

/// Durations, from a person's text or from a stored one.
struct VisitMillis;

impl<'de> de::Visitor<'de> for VisitMillis {
    type Value = Millis;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration as text with its unit, such as 30s or 1h 30m")
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Millis, D::Error> {
        d.deserialize_any(self)
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<Millis, E> {
        v.parse()
            .or_else(|e| stored_duration(v).ok_or_else(|| E::custom(e)))
    }
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Millis, E> {
        v.to_string().parse().map_err(E::custom)
    }
    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Millis, E> {
        v.to_string().parse().map_err(E::custom)
    }
    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Millis, E> {
        v.to_string().parse().map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_newtype_struct(DURATION, VisitMillis)
    }
}

/// A duration in months and years, exactly as version 0.1 of the daemon printed it into the documents that it stored.
fn stored_duration(text: &str) -> Option<Millis> {
    let read = humantime::parse_duration(text).ok()?;
    (humantime::format_duration(read).to_string() == text).then(|| read.into())
}

/// For what is hashed: the form of version 0.1, so that what was hashed then has its hash now.
pub(crate) mod hashed {
    use serde::Serializer;

    use super::Millis;

    pub(crate) fn duration<S: Serializer>(span: &Millis, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&humantime::format_duration(span.std()))
    }

    pub(crate) fn optional<S: Serializer>(span: &Option<Millis>, s: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => duration(span, s),
            None => s.serialize_none(),
        }
    }
}

macro_rules! readable {
    ($($name:ident),+) => { $(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_any(Visit(std::marker::PhantomData))
            }
        }
    )+ };
}

readable!(MicroUsd, MilliCpu, Bytes, Instant);

macro_rules! quantity {
    ($name:ident, $title:literal, $types:tt, $pattern:literal, $example:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(&self.plain())
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                // `minimum` is for those that are written as numbers, too.
                schemars::json_schema!({
                    "type": $types, "pattern": $pattern, "minimum": 0, "description": $title, "examples": [$example]
                })
            }
        }
    };
}

mod percent;

pub use percent::Percent;

impl MicroUsd {
    /// The form for programs: dollars without a sign, exact.
    fn plain(self) -> String {
        self.to_string().trim_start_matches('$').to_owned()
    }
}
impl MilliCpu {
    fn plain(self) -> String {
        self.to_string()
    }
}
impl Bytes {
    fn plain(self) -> String {
        self.to_string()
    }
}
impl Millis {
    fn plain(self) -> String {
        self.to_string()
    }
}
impl Instant {
    fn plain(self) -> String {
        self.to_string()
    }
}

quantity!(
    MicroUsd,
    "US dollars, exact to six decimals.",
    ["string", "number"],
    r"^\s*\$?\s*([0-9]+(\.[0-9]{0,6})?|\.[0-9]{1,6})\s*(USD|usd)?\s*$",
    "0.25"
);
quantity!(
    MilliCpu,
    "Processor cores, or thousandths with the suffix m.",
    ["string", "number"],
    r"^\s*((0|[1-9][0-9]*)?\.[0-9]{1,3}0*|(0|[1-9][0-9]*)m?)\s*$",
    "500m"
);
quantity!(
    Bytes,
    "Bytes, or a size with a unit: Ki, Mi, Gi, Ti (powers of 1024), K, M, G, T (powers of 1000).",
    ["string", "integer"],
    r"^\s*((0|[1-9][0-9]*)?\.[0-9]+|0|[1-9][0-9]*)\s*([KMGT]i?|k)?\s*B?\s*$",
    "512Mi"
);
quantity!(
    Millis,
    "A duration with its unit: ms, s, m (minutes), h, d, w.",
    ["string"],
    r"^\s*([0-9]+(\.[0-9]+)?\s*(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|wks?|w)\s*)+$",
    "1h 30m"
);

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.plain())
    }
}

impl JsonSchema for Instant {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Instant".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "format": "date-time", "description": "A point in time from 1970 on, UTC, RFC 3339.",
            "pattern": r"^(19[7-9][0-9]|[2-9][0-9]{3})-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$",
            "examples": ["2026-11-21T08:00:00Z"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_parses_back() {
        for n in [0, 1, 999_999, 1_000_000, 500_000, 12_345_678] {
            assert_eq!(MicroUsd(n).to_string().parse(), Ok(MicroUsd(n)));
        }
        for n in [0, 1, 1024, 1 << 30, 1_000_000, 3 << 29] {
            assert_eq!(Bytes(n).to_string().parse(), Ok(Bytes(n)));
        }
        for n in [0, 1, 500, 1000, 2500] {
            assert_eq!(MilliCpu(n).to_string().parse(), Ok(MilliCpu(n)));
        }
        for n in [0, 1, 1000, 5_400_000] {
            assert_eq!(Millis(n).to_string().parse(), Ok(Millis(n)));
        }
        assert_eq!(
            Instant(1_790_000_000_123).to_string().parse(),
            Ok(Instant(1_790_000_000_123))
        );
    }

    #[test]
    fn months_are_not_minutes_and_what_was_stored_in_months_is_still_read() {
        for (text, says) in [
            ("30M", "m for minutes, such as 30m"),
            ("1h 30M", "M is months"),
            ("1.5M", "M is months"),
            ("2months", "days, such as 90d"),
            ("1y", "days, such as 90d"),
            ("2years 6months", "days, such as 90d"),
            ("5S", "a number with a unit"),
            ("1 0s", "a number with a unit"),
            ("1. 5h", "a number with a unit"),
            ("90", "a number with a unit"),
            ("", "a number with a unit"),
        ] {
            let told = text.parse::<Millis>().unwrap_err().to_string();
            assert!(told.contains(says) && told.contains(text), "{text}: {told}");
        }
        for (text, millis) in [
            ("1.5h", 5_400_000),
            ("0.5s", 500),
            ("1h 30m", 5_400_000),
            ("1 h30m", 5_400_000),
            ("2w", 1_209_600_000),
        ] {
            assert_eq!(text.parse(), Ok(Millis(millis)), "{text}");
        }
        // As a document of version 0.1 has it, and as it is written now.
        let span = Millis(78_883_200_000 + 1_000);
        let stored = humantime::format_duration(span.std()).to_string();
        assert!(stored.contains("year"), "{stored}");
        assert_eq!(
            serde_json::from_value::<Millis>(stored.into()).unwrap(),
            span
        );
        assert_eq!(serde_json::to_value(span).unwrap(), "913days 1s");
        assert!(serde_json::from_value::<Millis>("30M".into()).is_err());
        for n in [
            0,
            1,
            86_400_000,
            2_630_016_000,
            31_557_600_000,
            u64::from(u32::MAX) * 1_000_003,
        ] {
            assert_eq!(Millis(n).to_string().parse(), Ok(Millis(n)));
            let short = n < 2_630_016_000;
            assert_eq!(
                Millis(n).to_string() == humantime::format_duration(Millis(n).std()).to_string(),
                short,
                "{n}"
            );
        }
    }

    #[test]
    fn numbers_with_leading_zeros_are_refused() {
        for text in ["01", "010m", "00.5", "-01"] {
            assert!(text.parse::<MilliCpu>().is_err(), "{text}");
        }
        for text in ["064Mi", "01", "00", "007.5Gi"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
        assert!(
            "010m"
                .parse::<MilliCpu>()
                .unwrap_err()
                .to_string()
                .contains("without leading zeros")
        );
        assert_eq!(
            ("0".parse(), "0.5".parse(), ".5".parse()),
            (Ok(MilliCpu(0)), Ok(MilliCpu(500)), Ok(MilliCpu(500)))
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "-1", "1e9", "0.1234567", "$", "1,5", "18446744073710"] {
            assert!(bad.parse::<MicroUsd>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "-1",
            "1Xi",
            "99999999Ti",
            "NaN",
            "inf",
            "1e3",
            "5BB",
            "+5",
            "5.",
        ] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
        for bad in [
            "",
            "-1",
            "1.0001",
            "NaN",
            "inf",
            "99999999999",
            "1e3",
            "+2",
            "+2m",
        ] {
            assert!(bad.parse::<MilliCpu>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_amount_that_can_not_be_counted_says_why() {
        assert_eq!("0.0416000000".parse(), Ok(MicroUsd(41_600)));
        for (bad, why) in [
            ("0.00580695", "more than six decimals"),
            ("1e-7", "scientific notation"),
            ("zero", "such as 0.25"),
        ] {
            let told = bad.parse::<MicroUsd>().map_err(|e| e.to_string());
            assert!(
                told.as_ref().is_err_and(|told| told.contains(why)),
                "{bad}: {told:?}"
            );
        }
    }

    #[test]
    fn numbers_and_text_mean_the_same() {
        assert_eq!(
            serde_json::from_str::<MilliCpu>("0.5").ok(),
            serde_json::from_str("\"500m\"").ok()
        );
        assert_eq!(
            serde_json::from_str::<MicroUsd>("0.5").ok(),
            Some(MicroUsd(500_000))
        );
    }
}
