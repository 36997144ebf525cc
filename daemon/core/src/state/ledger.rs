//! What has been spent: intervals of a constant hourly cost, added up by UTC month and hour. Exact: nothing is rounded before it is shown.
//! Pure: time comes from the caller, and a clock that goes back costs nothing and gives nothing back.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{
    names::Namespace,
    units::{Instant, MicroUsd, Millis, UnitError},
};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const KEEP_MONTHS: usize = 13;
const KEEP_HOURS: u64 = 48;

/// A calendar month, UTC. Written as `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month {
    year: u32,
    /// 1 to 12.
    month: u32,
}

/// An amount with its fraction: micro-USD and micro-USD-milliseconds below an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    micro: u64,
    rest: u64,
}

/// An interval in which something cost the same per hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    /// The namespace that pays.
    pub namespace: Namespace,
    /// When it began.
    pub from: Instant,
    /// When it ended.
    pub to: Instant,
    /// The cost per hour.
    pub hourly: MicroUsd,
}

/// What an allocation costs per hour at present, and since when. Kept in its record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meter {
    /// The cost per hour.
    pub hourly: MicroUsd,
    /// Since when.
    pub since: Instant,
    /// What the provider itself said last, per hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metered: Option<MicroUsd>,
}

/// A namespace's finished intervals, added up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    months: BTreeMap<Month, Amount>,
    /// By hours since the Unix epoch.
    hours: BTreeMap<u64, Amount>,
}

// === impl Month ===

impl Month {
    /// The month (UTC) in which the instant lies.
    pub fn of(at: Instant) -> Self {
        // Days to a date, by the era-of-400-years method: March is the first month there, so that leap days come last.
        let days = at.0 / DAY + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        Self {
            year: u32::try_from(year).unwrap_or(u32::MAX),
            month: u32::try_from(month).unwrap_or(1),
        }
    }

    /// The month after it.
    pub fn next(self) -> Self {
        if self.month == 12 {
            Self {
                year: self.year.saturating_add(1),
                month: 1,
            }
        } else {
            Self {
                month: self.month + 1,
                ..self
            }
        }
    }

    /// Its first instant.
    pub fn start(self) -> Instant {
        let year = u64::from(self.year) - u64::from(self.month <= 2);
        let (era, year_of_era) = (year / 400, year % 400);
        let from_march = u64::from(if self.month > 2 {
            self.month - 3
        } else {
            self.month + 9
        });
        let day =
            (153 * from_march + 2) / 5 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100;
        Instant(
            (era * 146_097 + day)
                .saturating_sub(719_468)
                .saturating_mul(DAY),
        )
    }

    /// How long it still goes on.
    pub fn left(now: Instant) -> Millis {
        Self::of(now).next().start().since(now)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:04}-{:02}", self.year, self.month))
    }
}

impl FromStr for Month {
    type Err = UnitError;
    fn from_str(s: &str) -> Result<Self, UnitError> {
        let read = || {
            let (year, month) = s.split_once('-')?;
            let (year, month): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
            ((1970..=9999).contains(&year) && (1..=12).contains(&month))
                .then_some(Self { year, month })
        };
        read().ok_or_else(|| UnitError {
            what: "a month",
            value: s.to_owned(),
            hint: "a year and a month, such as 2026-11",
        })
    }
}

impl TryFrom<String> for Month {
    type Error = UnitError;
    fn try_from(value: String) -> Result<Self, UnitError> {
        value.parse()
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

impl JsonSchema for Month {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Month".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$", "description": "A calendar month, UTC.", "examples": ["2026-11"] })
    }
}

// === impl Amount ===

impl Amount {
    /// What so much per hour makes in a time.
    pub fn of(hourly: MicroUsd, time: Millis) -> Self {
        let exact = u128::from(hourly.0) * u128::from(time.0);
        let hour = u128::from(HOUR);
        let part = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
        Self {
            micro: part(exact / hour),
            rest: part(exact % hour),
        }
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let rest = self.rest + other.rest;
        Self {
            micro: self
                .micro
                .saturating_add(other.micro)
                .saturating_add(rest / HOUR),
            rest: rest % HOUR,
        }
    }

    /// Rounded down to a micro-USD.
    pub fn whole(self) -> MicroUsd {
        MicroUsd(self.micro)
    }
}

// === impl Segment ===

impl Segment {
    /// The part of it between two points in time.
    fn between(&self, from: Instant, to: Instant) -> Amount {
        let (from, to) = (self.from.max(from), self.to.min(to));
        Amount::of(self.hourly, to.since(from))
    }

    /// The part of it in a month.
    pub fn within(&self, month: Month) -> Amount {
        self.between(month.start(), month.next().start())
    }
}

// === impl Ledger ===

impl Ledger {
    /// Adds an interval that has ended. One that ends before it begins counts nothing.
    pub fn add(&mut self, segment: &Segment) {
        if segment.hourly == MicroUsd(0) || segment.to <= segment.from {
            return;
        }
        let mut month = Month::of(segment.from);
        while month.start() < segment.to {
            let part = segment.within(month);
            let sum = self.months.entry(month).or_default();
            *sum = sum.plus(part);
            month = month.next();
        }
        let last = segment.to.0 / HOUR;
        for hour in (segment.from.0 / HOUR).max(last.saturating_sub(KEEP_HOURS))..=last {
            let part = segment.between(Instant(hour * HOUR), Instant((hour + 1) * HOUR));
            if part != Amount::default() {
                let sum = self.hours.entry(hour).or_default();
                *sum = sum.plus(part);
            }
        }
        while self.months.len() > KEEP_MONTHS {
            self.months.pop_first();
        }
        let newest = self.hours.last_key_value().map_or(0, |(h, _)| *h);
        self.hours.retain(|hour, _| hour + KEEP_HOURS > newest);
    }

    /// Spent in the month.
    pub fn month(&self, month: Month) -> Amount {
        self.months.get(&month).copied().unwrap_or_default()
    }

    /// Spent in the hour (UTC) in which the instant lies.
    pub fn hour(&self, at: Instant) -> Amount {
        self.hours.get(&(at.0 / HOUR)).copied().unwrap_or_default()
    }

    /// Months with any spending, the latest first.
    pub fn months(&self) -> impl Iterator<Item = Month> {
        self.months.keys().rev().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Instant {
        text.parse().expect("a time")
    }

    fn segment(from: Instant, to: Instant, hourly: u64) -> Segment {
        Segment {
            namespace: Namespace::default_namespace(),
            from,
            to,
            hourly: MicroUsd(hourly),
        }
    }

    #[test]
    fn months_begin_where_calendars_say() {
        for (time, month, left_hours) in [
            ("1970-01-01T00:00:00Z", "1970-01", 744),
            ("2024-02-28T12:00:00Z", "2024-02", 36),
            ("2023-02-28T12:00:00Z", "2023-02", 12),
            ("2026-12-31T23:00:00Z", "2026-12", 1),
            ("2000-02-29T00:00:00Z", "2000-02", 24),
            ("2100-03-01T00:00:00Z", "2100-03", 744),
        ] {
            assert_eq!(Month::of(at(time)).to_string(), month, "{time}");
            assert_eq!(Month::left(at(time)).0, left_hours * HOUR, "{time}");
        }
        for bad in ["2026-13", "2026-0", "26", "x-1", ""] {
            assert!(bad.parse::<Month>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_interval_over_the_turn_of_the_year_is_split() {
        let mut ledger = Ledger::default();
        ledger.add(&segment(
            at("2026-12-31T22:30:00Z"),
            at("2027-01-01T00:30:00Z"),
            1_000_000,
        ));
        let of =
            |ledger: &Ledger, month: &str| ledger.month(month.parse().expect("a month")).whole();
        assert_eq!(
            (of(&ledger, "2026-12"), of(&ledger, "2027-01")),
            (MicroUsd(1_500_000), MicroUsd(500_000))
        );
        assert_eq!(
            ledger.hour(at("2026-12-31T23:59:00Z")).whole(),
            MicroUsd(1_000_000)
        );
        assert_eq!(
            ledger.hour(at("2027-01-01T00:10:00Z")).whole(),
            MicroUsd(500_000)
        );
        ledger.add(&segment(Instant(0), at("2027-01-01T00:30:00Z"), 0));
        assert_eq!(
            ledger.months().count(),
            2,
            "what costs nothing leaves no months behind"
        );
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_away() {
        let mut ledger = Ledger::default();
        let (noon, one) = (at("2026-11-21T12:00:00Z"), at("2026-11-21T13:00:00Z"));
        ledger.add(&segment(noon, one, 7));
        let before = ledger.clone();
        ledger.add(&segment(one, noon, 7));
        assert_eq!(ledger, before);
    }

    proptest! {
        /// However an interval is cut, what it comes to is the same: nothing lost, nothing doubled.
        #[test]
        fn cutting_changes_nothing(start in 1_700_000_000_000u64..1_900_000_000_000, hourly in 0u64..5_000_000_000,
                                   cuts in proptest::collection::vec(1u64..3_000_000_000, 1..8)) {
            let mut cut = Ledger::default();
            let mut from = start;
            for length in &cuts {
                cut.add(&segment(Instant(from), Instant(from + length), hourly));
                from += length;
            }
            let mut whole = Ledger::default();
            whole.add(&segment(Instant(start), Instant(from), hourly));
            prop_assert_eq!(&cut.months, &whole.months);
            let sum = whole.months.values().fold(Amount::default(), |a, b| a.plus(*b));
            prop_assert_eq!(sum, Amount::of(MicroUsd(hourly), Millis(from - start)));
        }
    }
}
