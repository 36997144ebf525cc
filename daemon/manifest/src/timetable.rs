//! What a schedule means: the times of a cron expression in a time zone. The expressions are those of POSIX `crontab`, with names of months and
//! days, `L`, `W` and `#`; where a day of the month and one of the week are both given, either counts. It must not know what runs.
//!
//! What runs at certain hours runs at the end of the hour that the clock skips in spring, and once in the hour that it has twice in autumn.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{Timestamp, tz::TimeZone};
use tradewind_core::{field::short, manifest::ScheduleLong, units::Instant};

/// The times of a schedule.
#[derive(Debug, Clone)]
pub struct Timetable {
    cron: Cron,
    zone: TimeZone,
}

/// A schedule that has no times.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is none of the expressions that are understood.
    #[error(
        "\"{cron}\" is not a cron expression ({why}): write minute, hour, day of the month, month and day of the week, such as \"30 3 * * 1-5\", or one of @hourly, @daily, @weekly, @monthly, @yearly"
    )]
    Cron {
        /// What was written.
        cron: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such zone.
    #[error("\"{zone}\" is not a time zone: write an IANA name such as Europe/Berlin, or UTC")]
    TimeZone {
        /// What was written.
        zone: String,
    },
    /// It names a day that no year has.
    #[error("\"{cron}\" never comes: no year has such a day")]
    Never {
        /// What was written.
        cron: String,
    },
}

impl Timetable {
    /// # Errors
    /// An expression or a time zone that can't be used, and an expression without any time.
    pub fn new(schedule: &ScheduleLong) -> Result<Self, Error> {
        let name = schedule.time_zone.as_deref().unwrap_or("UTC");
        let zone = TimeZone::get(name).map_err(|_| Error::TimeZone {
            zone: short(name).to_string(),
        })?;
        let written = || short(&schedule.cron).to_string();
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser.parse(&schedule.cron).map_err(|e| Error::Cron {
            cron: written(),
            why: e.to_string(),
        })?;
        let table = Self { cron, zone };
        match table.next(Instant(0)) {
            Some(_) => Ok(table),
            None => Err(Error::Never { cron: written() }),
        }
    }

    /// The first time after this one. None: there is none that can be written as a date.
    pub fn next(&self, after: Instant) -> Option<Instant> {
        let after = Timestamp::from_millisecond(i64::try_from(after.0).ok()?).ok()?;
        let after = after.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&after, false).ok()?;
        u64::try_from(next.timestamp().as_millisecond())
            .ok()
            .map(Instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(cron: &str, zone: Option<&str>) -> Result<Timetable, Error> {
        Timetable::new(&ScheduleLong {
            time_zone: zone.map(str::to_owned),
            ..tradewind_core::manifest::ScheduleSpec::Cron(cron.to_owned()).long()
        })
    }

    fn next(cron: &str, zone: Option<&str>, after: &str, n: usize) -> Vec<String> {
        let table = table(cron, zone).unwrap();
        let mut at = Instant(after.parse::<Timestamp>().unwrap().as_millisecond() as u64);
        (0..n)
            .map(|_| {
                at = table.next(at).unwrap();
                Timestamp::from_millisecond(at.0 as i64)
                    .unwrap()
                    .to_string()
            })
            .collect()
    }

    #[test]
    fn times_are_those_of_the_zone_and_of_cron() {
        let at = "2026-11-30T11:00:00Z";
        let berlin = Some("Europe/Berlin");
        assert_eq!(next("0 3 * * *", None, at, 1), ["2026-12-01T03:00:00Z"]);
        assert_eq!(next("0 3 * * *", berlin, at, 1), ["2026-12-01T02:00:00Z"]);
        assert_eq!(next("@Monthly", None, at, 1), ["2026-12-01T00:00:00Z"]);
        assert_eq!(
            next("*/30 9-10 * * mon-FRI", None, at, 3),
            [
                "2026-12-01T09:00:00Z",
                "2026-12-01T09:30:00Z",
                "2026-12-01T10:00:00Z"
            ]
        );
        // The last day of the month, and either of two days.
        assert_eq!(
            next("0 0 L * *", None, at, 2),
            ["2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z"]
        );
        assert_eq!(
            next("0 0 13 * 5", None, at, 3),
            [
                "2026-12-04T00:00:00Z",
                "2026-12-11T00:00:00Z",
                "2026-12-13T00:00:00Z"
            ]
        );
    }

    #[test]
    fn a_clock_that_is_put_forward_or_back_costs_and_doubles_no_run() {
        let berlin = Some("Europe/Berlin");
        // 02:30 does not exist on 29 March 2026, and exists twice on 25 October.
        assert_eq!(
            next("30 2 * * *", berlin, "2026-03-28T12:00:00Z", 2),
            ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            next("30 2 * * *", berlin, "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for cron in [
            "",
            "* * * *",
            "* * * * * *",
            "61 * * * *",
            "a b c d e",
            "@often",
            "0 0 30 2 *",
        ] {
            let error = table(cron, None).unwrap_err().to_string();
            assert!(error.contains(&format!("\"{cron}\"")), "{error}");
        }
        for zone in ["Berlin", "", "UTC Europe/Berlin", "../../etc/passwd"] {
            let error = table("0 3 * * *", Some(zone)).unwrap_err();
            assert!(matches!(error, Error::TimeZone { .. }), "{error}");
        }
    }
}
