//! How good an offer is: each figure as it was quoted and as it was measured, and which of both counts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::units::{Instant, Millis},
    spec::offer::Offer,
    state::quality::{Measured, Sampled},
};

/// What is known of an offer's quality. What the provider quotes counts; what was measured counts where it quotes nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QualityReport {
    /// The share of time in which a replica is ready, 0 … 1.
    pub availability: Figure,
    /// The share of starts that fail, 0 … 1.
    pub failure_rate: Figure,
    /// Milliseconds until a new replica is ready, in the median.
    pub time_to_ready: Figure,
    /// Round trip in milliseconds.
    pub latency: Figure,
    /// Speed relative to the reference machine.
    pub performance: Figure,
}

/// One figure. Absent parts are not known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// What policies see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What that is.
    pub basis: Basis,
    /// As the provider quoted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted: Option<Quoted>,
    /// As it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<MeasuredFigure>,
}

/// Where a figure comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Nobody has quoted or measured it.
    #[default]
    Unknown,
    /// The provider quoted it.
    Quoted,
    /// It was measured.
    Measured,
}

/// A figure as the provider quoted it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quoted {
    /// The figure.
    pub value: f64,
    /// Of the quote.
    pub age: Millis,
}

/// A figure as it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeasuredFigure {
    /// The figure.
    pub value: f64,
    /// What 95 of 100 samples do not exceed, where that says something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// How many observations it is made of.
    pub samples: u32,
    /// Of the newest sample.
    pub age: Millis,
}

impl Basis {
    /// As the API and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Quoted => "quoted",
            Self::Measured => "measured",
        }
    }
}

impl QualityReport {
    /// `offer` as policies see it, `quote` as the provider said it.
    pub(super) fn of(
        offer: &Offer,
        quote: Option<&Offer>,
        measured: Option<&Measured>,
        now: Instant,
    ) -> Self {
        let figure = |value: fn(&Offer) -> f64, sampled: Option<Sampled>, tail: Option<Sampled>| {
            let known = |v: f64| v.is_finite().then_some(v);
            let quoted = quote.and_then(|q| known(value(q))).map(|value| Quoted {
                value,
                age: now.since(offer.quoted_at),
            });
            let sampled = sampled.map(|s| MeasuredFigure {
                value: s.value,
                p95: tail.map(|t| t.value),
                samples: s.samples,
                age: now.since(s.at),
            });
            let value = known(value(offer));
            let basis = match (value, quoted) {
                (None, _) => Basis::Unknown,
                (Some(_), Some(_)) => Basis::Quoted,
                (Some(_), None) => Basis::Measured,
            };
            Figure {
                value,
                basis,
                quoted,
                measured: sampled,
            }
        };
        Self {
            availability: figure(
                |o| o.availability,
                measured.and_then(Measured::availability),
                None,
            ),
            failure_rate: figure(
                |o| o.failure_rate,
                measured.and_then(Measured::failure_rate),
                None,
            ),
            time_to_ready: figure(
                |o| o.time_to_ready,
                measured.and_then(|m| m.time_to_ready(0.5)),
                measured.and_then(|m| m.time_to_ready(0.95)),
            ),
            latency: figure(|o| o.latency, None, None),
            performance: figure(|o| o.performance, None, None),
        }
    }
}

/// What policies see of an offer: where the provider says nothing, what was measured.
pub fn fill(offer: &mut Offer, measured: &Measured) {
    let put = |to: &mut f64, from: Option<Sampled>| {
        if let (true, Some(sampled)) = (to.is_nan(), from) {
            *to = sampled.value;
        }
    };
    put(&mut offer.availability, measured.availability());
    put(&mut offer.failure_rate, measured.failure_rate());
    put(&mut offer.time_to_ready, measured.time_to_ready(0.5));
}
