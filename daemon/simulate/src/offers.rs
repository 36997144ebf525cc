//! Recorded offers: what `tradewind offers -o json` prints, or a list of such prints with the time from which each holds.

use std::{collections::HashSet, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use tradewind_api::OfferView;
use tradewind_core::{placement::PlacedOffer, units::Millis};

/// The offers that there are from a time on, until the next set.
#[derive(Debug, Clone)]
pub struct OfferSet {
    /// From the start of the trace.
    pub at: Millis,
    /// Each with its provider.
    pub offers: Arc<Vec<PlacedOffer>>,
}

/// Why a file of offers is refused.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("it is not JSON: {0}")]
    Json(serde_json::Error),
    #[error(
        "{path}: {problem}; wanted is what `tradewind offers -o json` prints, or a list of {{\"at\": …, \"offers\": […]}}"
    )]
    Shape { path: String, problem: String },
    #[error("{path}: \"{value}\" can't be used: {rule}")]
    Value {
        path: String,
        value: String,
        rule: &'static str,
    },
}

#[derive(Deserialize)]
struct Recorded {
    #[serde(default)]
    at: Option<Value>,
    /// `offers` before lists had one form.
    #[serde(alias = "items")]
    offers: Vec<OfferView>,
}

/// Reads offers. The first set holds from the start.
///
/// # Errors
/// What is wrong, where, and what would be right.
pub fn read(text: &[u8]) -> Result<Vec<OfferSet>, Error> {
    let value: Value = serde_json::from_slice(text).map_err(Error::Json)?;
    let shape = |e: serde_path_to_error::Error<serde_json::Error>| Error::Shape {
        path: e.path().to_string(),
        problem: e.inner().to_string(),
    };
    let many = value.is_array();
    let recorded: Vec<Recorded> = if many {
        serde_path_to_error::deserialize(value).map_err(shape)?
    } else {
        vec![serde_path_to_error::deserialize(value).map_err(shape)?]
    };
    let mut sets: Vec<OfferSet> = Vec::with_capacity(recorded.len());
    for (i, one) in recorded.into_iter().enumerate() {
        let path = if many {
            format!("[{i}].")
        } else {
            String::new()
        };
        let at = match one.at {
            None => Millis(0),
            Some(at) => time(&at).ok_or_else(|| Error::Value {
                path: format!("{path}at"),
                value: at.to_string(),
                rule: "write milliseconds from the start, such as 90000, or a duration such as \"90s\"",
            })?,
        };
        let before = sets.last().map(|s| s.at);
        if before.is_some_and(|before| at <= before) || (before.is_none() && at.0 > 0) {
            let rule =
                "the first set has the time 0, every other a later one than the set before it";
            return Err(Error::Value {
                path: format!("{path}at"),
                value: at.to_string(),
                rule,
            });
        }
        sets.push(OfferSet {
            at,
            offers: Arc::new(offers(&one.offers, &path)?),
        });
    }
    if sets.is_empty() {
        return Err(Error::Shape {
            path: ".".to_owned(),
            problem: "there is no set of offers in it".to_owned(),
        });
    }
    Ok(sets)
}

fn time(value: &Value) -> Option<Millis> {
    value
        .as_u64()
        .map(Millis)
        .or_else(|| value.as_str()?.parse().ok())
}

fn offers(views: &[OfferView], path: &str) -> Result<Vec<PlacedOffer>, Error> {
    let mut seen = HashSet::new();
    for (i, view) in views.iter().enumerate() {
        let wrong = |field: &str, value: String, rule| Error::Value {
            path: format!("{path}offers[{i}].{field}"),
            value,
            rule,
        };
        if !(view.performance.is_finite() && view.performance > 0.0) {
            return Err(wrong(
                "performance",
                view.performance.to_string(),
                "write a number above 0; 1 is the reference machine",
            ));
        }
        if !seen.insert((&view.provider, &view.id)) {
            return Err(wrong(
                "id",
                view.id.clone(),
                "an offer's id is unique in its provider",
            ));
        }
    }
    Ok(views
        .iter()
        .map(|view| PlacedOffer {
            provider: view.provider.clone(),
            offer: view.offer(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_core::{
        offer::Offer,
        units::{Bytes, Instant, MicroUsd, MilliCpu},
    };

    fn view(id: &str) -> Value {
        let offer = Offer::new(id, MilliCpu(1000), Bytes(1 << 30), MicroUsd(10));
        serde_json::to_value(OfferView::new(
            &"p".parse().expect("a name"),
            &offer,
            Instant(0),
        ))
        .expect("JSON")
    }

    #[test]
    fn one_print_or_several_with_times() {
        let one = serde_json::json!({ "offers": [view("a")], "failures": [] });
        assert_eq!(read(one.to_string().as_bytes()).expect("offers").len(), 1);
        let many =
            serde_json::json!([{ "at": 0, "offers": [view("a")] }, { "at": "90s", "offers": [] }]);
        let sets = read(many.to_string().as_bytes()).expect("offers");
        assert_eq!(
            sets.iter()
                .map(|s| (s.at.0, s.offers.len()))
                .collect::<Vec<_>>(),
            [(0, 1), (90_000, 0)]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut slow = view("a");
        slow["performance"] = 0.0.into();
        let mut nameless = view("a");
        nameless.as_object_mut().expect("an object").remove("id");
        for (value, parts) in [
            (
                serde_json::json!({ "offers": [slow] }),
                ["offers[0].performance", "above 0"],
            ),
            (
                serde_json::json!({ "offers": [nameless] }),
                ["offers[0]", "id"],
            ),
            (
                serde_json::json!({ "offers": [view("a"), view("a")] }),
                ["offers[1].id", "unique"],
            ),
            (
                serde_json::json!([{ "at": "soon", "offers": [] }]),
                ["[0].at", "soon"],
            ),
            (
                serde_json::json!([{ "at": 5, "offers": [] }]),
                ["[0].at", "first set"],
            ),
            (
                serde_json::json!([{ "at": 0, "offers": [] }, { "at": 0, "offers": [] }]),
                ["[1].at", "later"],
            ),
            (serde_json::json!([]), ["no set", "tradewind offers"]),
        ] {
            let error = read(value.to_string().as_bytes())
                .expect_err("refused")
                .to_string();
            assert!(
                parts.iter().all(|part| error.contains(part)),
                "{value}: {error}"
            );
        }
    }
}
