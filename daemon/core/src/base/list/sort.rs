//! The order of a list that a client asks for. Whatever it is, the key of an item is what decides at last, so no two items stand at one place.

use std::{cmp::Ordering, fmt, marker::PhantomData, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use super::Listed;
use crate::base::units::{Bytes, Instant, MicroUsd, MilliCpu, Millis};

/// What an item is sorted by. What it does not have comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SortValue {
    /// It has none.
    Nothing,
    /// A number, a sum of money or a moment.
    Number(i64),
    /// A name or a word.
    Text(String),
}

/// The order of a list: its fields, the first first, each ascending or descending.
pub struct Sort<T: Listed> {
    by: Vec<By>,
    of: PhantomData<fn() -> T>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct By {
    field: &'static str,
    descending: bool,
}

/// A text that is no order of the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this list can't be sorted by \"{field}\": its fields for that are {known}, with - before one for the highest first"
)]
pub struct SortError {
    field: String,
    known: String,
}

// === impl SortValue ===

impl From<&str> for SortValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for SortValue {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for SortValue {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<Instant> for SortValue {
    fn from(at: Instant) -> Self {
        at.0.into()
    }
}

impl From<MicroUsd> for SortValue {
    fn from(sum: MicroUsd) -> Self {
        sum.0.into()
    }
}

impl From<Millis> for SortValue {
    fn from(time: Millis) -> Self {
        time.0.into()
    }
}

impl From<MilliCpu> for SortValue {
    fn from(cores: MilliCpu) -> Self {
        cores.0.into()
    }
}

impl From<Bytes> for SortValue {
    fn from(size: Bytes) -> Self {
        size.0.into()
    }
}

impl<V: Into<Self>> From<Option<V>> for SortValue {
    fn from(value: Option<V>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

// === impl Sort ===

impl<T: Listed> Sort<T> {
    /// What the item is sorted by.
    pub(super) fn values(&self, item: &T) -> Vec<SortValue> {
        self.by.iter().map(|by| item.sort_value(by.field)).collect()
    }

    pub(super) fn compare(&self, a: &[SortValue], b: &[SortValue]) -> Ordering {
        let pairs = self.by.iter().zip(a.iter().zip(b));
        pairs
            .map(|(by, (a, b))| if by.descending { b.cmp(a) } else { a.cmp(b) })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// Whether these values can be of an item in this order.
    pub(super) fn fits(&self, values: &[SortValue]) -> bool {
        values.len() == self.by.len()
    }
}

impl<T: Listed> Clone for Sort<T> {
    fn clone(&self) -> Self {
        Self {
            by: self.by.clone(),
            of: PhantomData,
        }
    }
}

impl<T: Listed> fmt::Debug for Sort<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sort({self})")
    }
}

impl<T: Listed> fmt::Display for Sort<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, by) in self.by.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let sign = if by.descending { "-" } else { "" };
            write!(f, "{comma}{sign}{}", by.field)?;
        }
        Ok(())
    }
}

impl<T: Listed> FromStr for Sort<T> {
    type Err = SortError;
    fn from_str(text: &str) -> Result<Self, SortError> {
        let by = |text: &str| {
            let (descending, field) = match text.strip_prefix('-') {
                Some(field) => (true, field),
                None => (false, text),
            };
            let known = T::SORTS.iter().copied().find(|known| *known == field);
            known
                .map(|field| By { field, descending })
                .ok_or_else(|| SortError {
                    field: field.chars().take(80).collect(),
                    known: T::SORTS.join(", "),
                })
        };
        Ok(Self {
            by: text.split(',').map(by).collect::<Result<_, _>>()?,
            of: PhantomData,
        })
    }
}

impl<'de, T: Listed> Deserialize<'de> for Sort<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl<T: Listed> JsonSchema for Sort<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("SortOf-{}", T::LIST).into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let fields = T::SORTS.join("|").replace('.', "\\.");
        json_schema!({
            "type": "string",
            "pattern": format!("^-?({fields})(,-?({fields}))*$"),
        })
    }
}
