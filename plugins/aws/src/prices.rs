//! Prices on demand: the settings', else the dated table's. Pure.

use std::collections::BTreeMap;

use tradewind_plugin_sdk::units::Money;

use crate::settings::Settings;

const TABLE: &str = include_str!("../data/prices.csv");
const DAY: u64 = 86_400_000;

/// A price with where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quote {
    pub(crate) price: Money,
    pub(crate) source: String,
    /// Milliseconds since the epoch; none: as of now.
    pub(crate) at: Option<u64>,
}

/// What is known of one region, by instance type.
pub(crate) fn of(region: &str, settings: &Settings) -> BTreeMap<String, Quote> {
    let mut known = table(region);
    let own = |price: &Money| Quote {
        price: *price,
        source: "settings".to_owned(),
        at: None,
    };
    let overriding = settings.prices.get(region).into_iter().flatten();
    known.extend(overriding.map(|(name, price)| (name.clone(), own(price))));
    known
}

fn table(region: &str) -> BTreeMap<String, Quote> {
    let mut lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let date = lines
        .next()
        .and_then(|line| line.strip_prefix("as-of,"))
        .unwrap_or_default();
    let column = lines
        .next()
        .and_then(|line| line.split(',').position(|name| name == region));
    let Some(column) = column.filter(|column| *column > 0) else {
        return BTreeMap::new();
    };
    let quote = |price: Money| Quote {
        price,
        source: format!("AWS price list of {date}"),
        at: millis(date),
    };
    lines
        .filter_map(|line| {
            let price = line.split(',').nth(column)?.parse().ok()?;
            Some((line.split(',').next()?.to_owned(), quote(price)))
        })
        .collect()
}

/// The beginning of a day (`2025-01-15`), in milliseconds since the epoch.
fn millis(date: &str) -> Option<u64> {
    let mut parts = date.split('-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    // Years begin in March here, so that leap days are last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.checked_sub(1)?, month + 9)
    };
    let of_year = (153 * month + 2) / 5 + day.checked_sub(1)?;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year;
    days.checked_sub(719_468)?.checked_mul(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::settings;

    #[test]
    fn the_table_is_dated_and_settings_come_first() {
        let settings = settings(r#"{"prices":{"us-east-1":{"m5.large":"0.05","x9.big":"9"}}}"#);
        let known = of("us-east-1", &settings);
        assert_eq!(known["t3.micro"].price, Money(10_400));
        assert_eq!(
            (known["t3.micro"].source.as_str(), known["t3.micro"].at),
            ("AWS price list of 2025-01-15", Some(1_736_899_200_000))
        );
        assert_eq!(
            (
                known["m5.large"].price,
                known["m5.large"].source.as_str(),
                known["m5.large"].at
            ),
            (Money(50_000), "settings", None)
        );
        assert!(known.contains_key("x9.big") && !of("eu-west-1", &settings).contains_key("x9.big"));
        assert!(
            of("mars-north-1", &settings).is_empty()
                && !of("ap-southeast-1", &settings).contains_key("g5.xlarge")
        );
    }

    #[test]
    fn every_line_of_the_table_has_a_price_or_nothing_for_each_region() {
        let lines: Vec<&str> = TABLE
            .lines()
            .filter(|line| !line.starts_with('#'))
            .skip(1)
            .collect();
        let width = lines[0].split(',').count();
        for line in &lines[1..] {
            let fields: Vec<&str> = line.split(',').collect();
            assert!(
                fields.len() == width
                    && fields[1..]
                        .iter()
                        .all(|f| f.is_empty() || f.parse::<Money>().is_ok()),
                "{line}"
            );
        }
        assert!(lines.len() > 30 && width == 7);
    }

    #[test]
    fn days_are_counted_right() {
        assert_eq!(millis("1970-01-01"), Some(0));
        assert_eq!(millis("2000-02-29"), Some(951_782_400_000));
        assert_eq!(millis("soon"), None);
    }
}
