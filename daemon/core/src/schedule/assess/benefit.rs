//! Costs and benefits: what the choice costs, what the alternatives would, and what lies between.

use std::{cmp::Ordering, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{ChoiceReport, OfferReport};
use crate::base::{
    names::InstanceName,
    units::{MicroUsd, UnitError},
};

/// Hours of an average month.
const MONTH: u64 = 730;

/// What all replicas of a task cost, with what they are expected to send out of their region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bill {
    /// Per hour.
    pub hourly: MicroUsd,
    /// For the whole estimated duration, set-up included.
    pub estimate: MicroUsd,
    /// For a month of 730 hours.
    pub monthly: MicroUsd,
}

/// An offer that could take all replicas, were there room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alternative {
    /// The provider instance.
    pub provider: InstanceName,
    /// The region. Empty: the provider has none.
    pub region: String,
    /// The instance type or size class.
    pub size: String,
    /// The provider's name for the offer.
    pub offer: String,
    /// What all replicas would cost there.
    pub bill: Bill,
    /// What it costs more than the choice; below zero: less.
    pub more: More,
}

/// Differences of what two choices cost; below zero: less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct More {
    /// Per hour.
    pub hourly: Difference,
    /// For the whole estimated duration, set-up included.
    pub estimate: Difference,
    /// For a month of 730 hours.
    pub monthly: Difference,
}

/// A difference in micro-USD, written as US dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference(pub i64);

/// The choice among its alternatives. Absent: nothing was chosen, or there is no offer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Benefit {
    /// What the choice costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Bill>,
    /// For the estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cheapest: Option<Alternative>,
    /// The highest availability after failed starts; then the fastest, the nearest, the soonest ready, the cheapest. What nobody has quoted
    /// or measured comes last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_quality: Option<Alternative>,
}

impl Bill {
    pub(super) fn of(offer: &OfferReport, replicas: u32) -> Self {
        let replicas = u64::from(replicas);
        let hourly = offer
            .hourly
            .saturating_add(offer.egress_hourly)
            .saturating_mul(replicas);
        let egress = offer.egress_hourly.scaled(offer.hours);
        Self {
            hourly,
            estimate: offer.cost.saturating_add(egress).saturating_mul(replicas),
            monthly: hourly.saturating_mul(MONTH),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            hourly: self.hourly.saturating_add(other.hourly),
            estimate: self.estimate.saturating_add(other.estimate),
            monthly: self.monthly.saturating_add(other.monthly),
        }
    }

    /// What this costs more than another.
    pub fn more_than(self, other: Self) -> More {
        More {
            hourly: Difference::of(self.hourly, other.hourly),
            estimate: Difference::of(self.estimate, other.estimate),
            monthly: Difference::of(self.monthly, other.monthly),
        }
    }
}

impl Benefit {
    /// Of a task with so many replicas, out of its candidates.
    pub fn of(offers: &[OfferReport], choice: &[ChoiceReport], replicas: u32) -> Self {
        let bill = |c: &ChoiceReport| {
            let offer = offers
                .iter()
                .find(|o| o.provider == c.provider && o.offer == c.offer)?;
            Some(Bill::of(offer, c.replicas))
        };
        // An offer that was chosen and is gone by now has no price any more.
        let chosen = choice
            .iter()
            .map(bill)
            .collect::<Option<Vec<_>>>()
            .filter(|bills| !bills.is_empty());
        let chosen = chosen.map(|bills| bills.into_iter().fold(Bill::default(), Bill::plus));
        let alternative = |offer: &OfferReport| {
            let bill = Bill::of(offer, replicas);
            Alternative {
                provider: offer.provider.clone(),
                region: offer.region.clone(),
                size: offer.size.clone(),
                offer: offer.offer.clone(),
                bill,
                more: bill.more_than(chosen.unwrap_or(bill)),
            }
        };
        Self {
            chosen,
            cheapest: offers
                .iter()
                .min_by_key(|o| Bill::of(o, replicas).estimate)
                .map(alternative),
            best_quality: offers.iter().max_by(|a, b| better(a, b)).map(alternative),
        }
    }
}

/// What counts is greater.
fn better(a: &OfferReport, b: &OfferReport) -> Ordering {
    let high = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
    let low = |value: Option<f64>| value.map_or(f64::NEG_INFINITY, |v| -v);
    let useful = |o: &OfferReport| {
        o.availability
            .map(|a| a * (1.0 - o.failure_rate.unwrap_or(0.0)))
    };
    high(useful(a))
        .total_cmp(&high(useful(b)))
        .then(a.performance.total_cmp(&b.performance))
        .then(low(a.latency).total_cmp(&low(b.latency)))
        .then(low(a.time_to_ready).total_cmp(&low(b.time_to_ready)))
        .then(b.cost.cmp(&a.cost))
}

// === impl Difference ===

impl Difference {
    fn of(more: MicroUsd, less: MicroUsd) -> Self {
        let difference = i128::from(more.0) - i128::from(less.0);
        Self(i64::try_from(difference).unwrap_or(if difference > 0 { i64::MAX } else { i64::MIN }))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "+" };
        f.pad(&format!("{sign}{}", MicroUsd(self.0.unsigned_abs())))
    }
}

impl FromStr for Difference {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let amount: MicroUsd = text.trim_start_matches(['-', '+']).parse()?;
        let amount = i64::try_from(amount.0).unwrap_or(i64::MAX);
        Ok(Self(if text.starts_with('-') {
            -amount
        } else {
            amount
        }))
    }
}

impl Serialize for Difference {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let sign = if self.0 < 0 { "-" } else { "" };
        s.collect_str(&format_args!(
            "{sign}{}",
            MicroUsd(self.0.unsigned_abs())
                .to_string()
                .trim_start_matches('$')
        ))
    }
}

impl<'de> Deserialize<'de> for Difference {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Difference {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Difference".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": r"^-?[0-9]+\.[0-9]{2,6}$", "description": "A difference in US dollars, exact to six decimals.", "examples": ["-0.25"] })
    }
}
