//! JSON in which `3.0` and `3e0` are integers where integers are wanted, as JSON Schema has it. It knows no request.

use serde::de::DeserializeOwned;
use tradewind_core::units::whole;

/// Reads JSON.
///
/// # Errors
/// The text is none, or not of this type.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let first = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    match first.is_data().then(|| with_whole_numbers(bytes)).flatten() {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|_| first),
        None => Err(first),
    }
}

/// The same text, with numbers whose fraction is zero written as integers. None: there are none of them.
fn with_whole_numbers(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let (mut rest, mut changed) = (text, false);
    while let Some((&first, after)) = rest.split_first() {
        let length = match first {
            b'"' => string(after) + 1,
            b'-' | b'0'..=b'9' => rest
                .iter()
                .position(|c| !matches!(c, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
                .unwrap_or(rest.len()),
            _ => 1,
        };
        let (token, behind) = rest.split_at_checked(length)?;
        let fraction = first != b'"' && token.iter().any(|c| matches!(c, b'.' | b'e' | b'E'));
        let number = std::str::from_utf8(token)
            .ok()
            .filter(|_| fraction && length > 1)
            .and_then(|t| t.parse::<f64>().ok());
        match number.and_then(whole) {
            Some(whole) => {
                out.extend_from_slice(whole.to_string().as_bytes());
                changed = true;
            }
            None => out.extend_from_slice(token),
        }
        rest = behind;
    }
    changed.then_some(out)
}

/// How many bytes of it belong to a string that has begun, its end included.
fn string(text: &[u8]) -> usize {
    let mut escaped = false;
    let end = text.iter().position(|c| {
        let ends = *c == b'"' && !escaped;
        escaped = *c == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_number_without_a_fraction_is_an_integer() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            to: u64,
            #[serde(default)]
            text: String,
        }
        let read = |text: &str| super::read::<Body>(text.as_bytes());
        assert_eq!(read(r#"{"to": 386177.0}"#).unwrap().to, 386_177);
        assert_eq!(
            read(r#"{"to": 1e3, "text": "a \\\" 2.0"}"#).unwrap(),
            Body {
                to: 1000,
                text: "a \\\" 2.0".into()
            }
        );
        for bad in [
            r#"{"to": 1.5}"#,
            r#"{"to": -1.0}"#,
            r#"{"to": 1e300}"#,
            r#"{"to": "1.0"}"#,
            r#"{"to": 1.0, "to": 2.0}"#,
            r#"{"to": 1.0"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
