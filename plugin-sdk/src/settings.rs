//! A plugin instance's settings, from the JSON the host hands over to the author's own type. What does not fit is told with its field.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use crate::Error;

/// Reads the settings. Absent settings are an empty object, so that types whose fields all have defaults need none.
pub(crate) fn read<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    from_json(json, "settings").map_err(|mut error| {
        error.message = format!("the settings don't fit: {}", error.message);
        error
    })
}

/// Reads a part of the settings that is put together first: an entry of a table, say. `field` is where it comes from.
///
/// # Errors
/// `invalid` with the field at fault, which lies in `field`.
pub fn section<T: DeserializeOwned>(part: &serde_json::Value, field: &str) -> Result<T, Error> {
    from_json(&part.to_string(), field)
}

/// Refuses a list that names something twice: what it stands for would be on sale twice under one name.
///
/// # Errors
/// `invalid` with the first that is named again.
pub fn each_once(names: &[String], field: &str) -> Result<(), Error> {
    let mut known = BTreeSet::new();
    match names.iter().find(|name| !known.insert(name.as_str())) {
        Some(again) => Err(Error::invalid(format!("{again:?} is named twice")).field(field)),
        None => Ok(()),
    }
}

fn from_json<T: DeserializeOwned>(json: &str, field: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| {
        let told = error.to_string();
        // Nobody has written this line: the field says where.
        let message = told
            .rsplit_once(" at line ")
            .map_or(told.as_str(), |(message, _)| message);
        let before = json
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum::<usize>();
        Error::invalid(message).field(format!(
            "{field}{}",
            path(json, before.saturating_add(error.column()))
        ))
    })
}

/// Where a reader of JSON stands.
enum Inside {
    /// The key of the value that is read; before the colon it is read itself.
    Object {
        key: String,
        at_key: bool,
    },
    Array(usize),
}

/// The path of the value that has been read up to this byte: `.regions.eu.zones.0`.
fn path(json: &str, end: usize) -> String {
    let mut inside: Vec<Inside> = Vec::new();
    let mut rest = json.get(..end.min(json.len())).unwrap_or(json);
    while let Some(next) = rest.chars().next() {
        let mut width = next.len_utf8();
        match next {
            '{' => inside.push(Inside::Object {
                key: String::new(),
                at_key: true,
            }),
            '[' => inside.push(Inside::Array(0)),
            '}' | ']' => drop(inside.pop()),
            '"' => {
                width = text_width(rest);
                if let Some(Inside::Object { key, at_key: true }) = inside.last_mut() {
                    *key = serde_json::from_str(rest.get(..width).unwrap_or_default())
                        .unwrap_or_default();
                }
            }
            ':' | ',' => match inside.last_mut() {
                Some(Inside::Object { at_key, .. }) => *at_key = next == ',',
                Some(Inside::Array(index)) => *index += 1,
                None => {}
            },
            _ => {}
        }
        rest = rest.get(width..).unwrap_or_default();
    }
    let step = |inside: &Inside| match inside {
        Inside::Object { key, .. } if key.is_empty() => String::new(),
        Inside::Object { key, .. } => format!(".{key}"),
        Inside::Array(index) => format!(".{index}"),
    };
    inside.iter().map(step).collect()
}

/// Bytes of the text that begins here, with its quotes.
fn text_width(json: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::units::{Money, Size};

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
    struct Settings {
        cpu_price: Option<Money>,
        prices: BTreeMap<String, BTreeMap<String, Money>>,
        sizes: Vec<Entry>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        memory: Size,
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_field() {
        for (json, field, part) in [
            (
                r#"{"cpu-price":"zero"}"#,
                "settings.cpu-price",
                "\"zero\" is not an amount of money",
            ),
            (
                r#"{"cpu-price":0.00580695,"prices":{}}"#,
                "settings.cpu-price",
                "more than six decimals",
            ),
            (
                r#"{"prices":{"us":{},"eu\"\\":{"a":1,"b":true}}}"#,
                "settings.prices.eu\"\\.b",
                "US dollars",
            ),
            (
                "{\n \"prices\": {\"eu\": {\"a\": \"x\"}}}",
                "settings.prices.eu.a",
                "\"x\" is not an amount of money",
            ),
            (
                r#"{"sizes":[{"memory":"1Gi"},{"memory":"much"}]}"#,
                "settings.sizes.1.memory",
                "\"much\" is not a size",
            ),
            (
                r#"{"sizes":[{"memory":"1Gi"},{}],"cpu-price":1}"#,
                "settings.sizes.1",
                "missing field `memory`",
            ),
            (r#"{"prise":1}"#, "settings.prise", "unknown field `prise`"),
            ("1", "settings", "invalid type"),
        ] {
            let error = read::<Settings>(json).unwrap_err();
            assert_eq!(error.field.as_deref(), Some(field), "{json}: {error:?}");
            assert!(
                error.message.contains(part) && !error.message.contains(" at line "),
                "{json}: {error:?}"
            );
        }
        let settings = read::<Settings>(r#"{"cpu-price":"0.04"}"#).unwrap();
        assert!(
            settings.cpu_price == Some(Money(40_000))
                && settings.prices.is_empty()
                && settings.sizes.is_empty()
        );
        let entry = section::<Entry>(&serde_json::json!({"memory": "much"}), "settings.sizes.s")
            .unwrap_err();
        assert_eq!(entry.field.as_deref(), Some("settings.sizes.s.memory"));
        assert!(
            section::<Entry>(&serde_json::json!({"memory": "1Gi"}), "settings")
                .unwrap()
                .memory
                .0
                > 0
        );
    }
}
