//! Quantities as people write them in settings: money, processor shares, sizes, lengths of time. The same texts as in manifests.
//!
//! Each reads from a string or a plain number, and holds the contract's integer.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

/// One GiB in bytes.
pub const GIB: u64 = 1 << 30;

/// Micro-USD. `"0.25"`, `"$0.25"`, `"0.25 USD"` or the number 0.25: US dollars with up to six decimals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(pub u64);

/// Millicores. `"2"`, `"500m"` or the number 0.5: cores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu(pub u32);

/// Bytes. `"512Mi"`, `"4Gi"`, `"1.5G"`, or a plain number of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Milliseconds. `"250ms"`, `"30s"`, `"5m"`, `"2h"`, `"1d"`, or a plain number of seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

impl Money {
    /// In US dollars.
    pub fn usd(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Span {
    /// So many whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// In milliseconds, as the contract has it.
    pub const fn millis(self) -> u64 {
        self.0
    }
}

impl FromStr for Money {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |why: &str| format!("{text:?} is not an amount of money: {why}");
        let number = text
            .trim()
            .trim_start_matches('$')
            .trim_end_matches("USD")
            .trim();
        if number.contains(['e', 'E']) && number.parse::<f64>().is_ok() {
            return Err(refuse(
                "scientific notation is not read, write US dollars such as 0.25",
            ));
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
            return Err(refuse("write US dollars such as 0.25"));
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 6 {
            return Err(refuse(
                "it has more than six decimals, and 0.000001 US dollars is the least that is counted",
            ));
        }
        let micro = || format!("{whole}{fraction:0<6}").parse::<u64>().ok();
        micro().map(Self).ok_or_else(|| refuse("it is too large"))
    }
}

impl FromStr for Cpu {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = unpadded(text)?;
        let value = trimmed
            .strip_suffix('m')
            .map_or_else(|| scaled(trimmed, 1000.0), |milli| scaled(milli, 1.0));
        let value = value.filter(|value| *value <= f64::from(u32::MAX));
        value
            .map(|value| Self(value.round() as u32))
            .ok_or_else(|| {
                format!("{text:?} is not a processor share: write cores such as 2 or 500m")
            })
    }
}

const SIZE_UNITS: [(&str, f64); 8] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("K", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
];

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        suffixed(unpadded(text)?.trim_end_matches('B'), &SIZE_UNITS, 1.0)
            .map(Self)
            .ok_or_else(|| {
                format!("{text:?} is not a size: write a number with a unit, such as 512Mi or 4Gi")
            })
    }
}

const SPAN_UNITS: [(&str, f64); 5] = [
    ("ms", 1.0),
    ("s", 1000.0),
    ("m", 60_000.0),
    ("h", 3_600_000.0),
    ("d", 86_400_000.0),
];

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim_end().ends_with('M') {
            return Err(format!(
                "{text:?} is not a length of time: write m for minutes, such as 30m (M is months, which have no fixed length)"
            ));
        }
        suffixed(text.trim(), &SPAN_UNITS, 1000.0)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a length of time: write a number with a unit, such as 30s or 5m"))
    }
}

/// The text without spaces around it, unless its number has leading zeros: `010` is ten to some and eight to others.
fn unpadded(text: &str) -> Result<&str, String> {
    let trimmed = text.trim();
    let padded = trimmed
        .strip_prefix('0')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if padded {
        Err(format!("{text:?} has leading zeros: write it without them"))
    } else {
        Ok(trimmed)
    }
}

/// A number with one of the units, the first that fits, or none.
fn suffixed(text: &str, units: &[(&str, f64)], none: f64) -> Option<u64> {
    let unit = units
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number, *factor)));
    let (number, factor) = unit.unwrap_or((text, none));
    scaled(number, factor).map(|value| value.round() as u64)
}

/// A non-negative decimal number times a factor, when the result fits 64 bits.
fn scaled(number: &str, factor: f64) -> Option<f64> {
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    let value = Some(number.trim())
        .filter(|text| plain(text))?
        .parse::<f64>()
        .ok()?
        * factor;
    (value < u64::MAX as f64).then_some(value)
}

/// A number as people would write it: what sums of binary fractions leave behind (0.1 + 0.2) is no further decimal.
fn written(number: f64) -> String {
    let short = format!("{number:.9}");
    match short.parse::<f64>() {
        Ok(near) if (near - number).abs() <= number.abs() * 1e-12 => {
            short.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => number.to_string(),
    }
}

macro_rules! deserialize {
    ($($type:ident: $what:literal),+) => { $(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_u64<E: de::Error>(self, number: u64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }
                    fn visit_i64<E: de::Error>(self, number: i64) -> Result<$type, E> {
                        self.visit_str(&number.to_string())
                    }
                    fn visit_f64<E: de::Error>(self, number: f64) -> Result<$type, E> {
                        self.visit_str(&written(number))
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }
    )+ };
}

deserialize!(
    Money: "US dollars such as \"0.25\"",
    Cpu: "cores such as \"2\" or \"500m\"",
    Size: "a size such as \"4Gi\"",
    Span: "a length of time such as \"30s\""
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_that_can_not_be_counted_is_refused_with_the_reason() {
        let read = |json: &str| serde_json::from_str::<Money>(json);
        for (text, micro) in [
            ("\"0.0416000000\"", 41_600),
            ("\"0.000001\"", 1),
            ("0.10", 100_000),
            ("1e-6", 1),
            ("1e2", 100_000_000),
        ] {
            assert_eq!(read(text).ok(), Some(Money(micro)), "{text}");
        }
        for (text, reason) in [
            ("\"0.00580695\"", "more than six decimals"),
            ("0.00580695", "more than six decimals"),
            ("1e-7", "more than six decimals"),
            ("1e-30", "more than six decimals"),
            ("\"1e-7\"", "scientific notation"),
            ("\"2E3\"", "scientific notation"),
            ("\"zero\"", "such as 0.25"),
            ("\"1,5\"", "such as 0.25"),
            ("\".\"", "such as 0.25"),
            ("-1", "such as 0.25"),
            ("\"18446744073709.551616\"", "too large"),
        ] {
            let told = read(text).unwrap_err().to_string();
            assert!(
                told.contains("is not an amount of money") && told.contains(reason),
                "{text}: {told}"
            );
        }
    }

    #[test]
    fn quantities_read_as_in_manifests() {
        let money = |text: &str| text.parse::<Money>().map(|value| value.0).ok();
        let table = [
            ("0.25", Some(250_000)),
            ("$1.000001", Some(1_000_001)),
            ("3 USD", Some(3_000_000)),
            ("-1", None),
            ("0.0000001", None),
            ("", None),
        ];
        table
            .iter()
            .for_each(|(text, value)| assert_eq!(money(text), *value, "{text}"));
        let cpu = |text: &str| text.parse::<Cpu>().map(|value| value.0).ok();
        [
            ("2", Some(2000)),
            ("0.5", Some(500)),
            ("250m", Some(250)),
            ("x", None),
            ("010", None),
            ("010m", None),
        ]
        .iter()
        .for_each(|(text, value)| assert_eq!(cpu(text), *value));
        let size = |text: &str| text.parse::<Size>().map(|value| value.0).ok();
        [
            ("4Gi", Some(4 * GIB)),
            ("1.5G", Some(1_500_000_000)),
            ("512", Some(512)),
            ("1e3", None),
            ("99999999Ti", None),
            ("064Mi", None),
        ]
        .iter()
        .for_each(|(text, value)| assert_eq!(size(text), *value, "{text}"));
        let span = |text: &str| text.parse::<Span>().map(|value| value.0).ok();
        [
            ("250ms", Some(250)),
            ("5m", Some(300_000)),
            ("2", Some(2000)),
            ("5x", None),
            ("30M", None),
        ]
        .iter()
        .for_each(|(text, value)| assert_eq!(span(text), *value));
        assert_eq!(
            serde_json::from_str::<Money>("0.1").unwrap(),
            Money(100_000)
        );
        assert_eq!(
            serde_json::from_str::<Money>("0.30000000000000004").unwrap(),
            Money(300_000)
        );
        assert_eq!(
            serde_json::from_str::<Size>("1048576").unwrap(),
            Size(1_048_576)
        );
    }
}
