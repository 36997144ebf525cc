//! What must not come back: values that went out with a request are taken out of its answer before a guest sees it. Pure.

use base64::{Engine, prelude::BASE64_STANDARD};
use url::form_urlencoded;
use zeroize::Zeroizing;

/// A shorter value can't be told from other text.
pub(super) const SHORTEST: usize = 6;
const INSTEAD: &[u8] = b"[redacted]";

/// Values, in the forms in which a server may give them back: as they are, as JSON texts, percent-encoded, in base64.
#[derive(Default)]
pub(super) struct Redaction(Vec<Zeroizing<Vec<u8>>>);

impl Redaction {
    pub(super) fn add(&mut self, value: &[u8]) {
        if value.len() < SHORTEST {
            return;
        }
        self.form(value.to_vec());
        self.form(BASE64_STANDARD.encode(value).into_bytes());
        self.form(
            form_urlencoded::byte_serialize(value)
                .collect::<String>()
                .into_bytes(),
        );
        if let Ok(text) = std::str::from_utf8(value) {
            self.form(json_text(text).as_bytes().to_vec());
        }
    }

    fn form(&mut self, form: Vec<u8>) {
        let form = Zeroizing::new(form);
        if !self.0.contains(&form) {
            self.0.push(form);
            // A value that begins with another one goes first, else its end would stay.
            self.0.sort_by_key(|form| std::cmp::Reverse(form.len()));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same bytes without the values, in one pass.
    pub(super) fn hide(&self, bytes: Vec<u8>) -> Vec<u8> {
        let begins = |byte: &u8| self.0.iter().any(|form| form.first() == Some(byte));
        let mut first = [false; 256];
        (0..=u8::MAX)
            .zip(&mut first)
            .for_each(|(byte, is_first)| *is_first = begins(&byte));
        let is_first = |byte: &u8| first.get(usize::from(*byte)).copied().unwrap_or_default();
        let (rest, mut out) = (bytes.as_slice(), Vec::new());
        let (mut kept, mut at) = (0, 0);
        while let Some(ahead) = rest
            .get(at..)
            .and_then(|tail| tail.iter().position(is_first))
        {
            at += ahead;
            let tail = rest.get(at..).unwrap_or_default();
            match self.0.iter().find(|form| tail.starts_with(form)) {
                Some(form) => {
                    out.extend_from_slice(rest.get(kept..at).unwrap_or_default());
                    out.extend_from_slice(INSTEAD);
                    at += form.len();
                    kept = at;
                }
                None => at += 1,
            }
        }
        if kept == 0 {
            return bytes;
        }
        out.extend_from_slice(rest.get(kept..).unwrap_or_default());
        out
    }

    pub(super) fn hide_text(&self, text: String) -> String {
        String::from_utf8_lossy(&self.hide(text.into_bytes())).into_owned()
    }
}

/// A text as it stands between the quotes of a JSON string.
pub(super) fn json_text(text: &str) -> Zeroizing<String> {
    let quoted = Zeroizing::new(serde_json::Value::from(text).to_string());
    Zeroizing::new(
        quoted
            .get(1..quoted.len().saturating_sub(1))
            .unwrap_or_default()
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_in_every_form_and_nothing_else_does() {
        let mut redaction = Redaction::default();
        redaction.add(b"pass\"word/1");
        redaction.add(b"pass\"word/1 and more");
        redaction.add(b"short");
        let hidden = |text: &str| redaction.hide_text(text.to_owned());
        for (text, told) in [
            ("a pass\"word/1 b pass\"word/1", "a [redacted] b [redacted]"),
            (r#"{"v":"pass\"word/1"}"#, r#"{"v":"[redacted]"}"#),
            ("v=pass%22word%2F1&w=1", "v=[redacted]&w=1"),
            ("Basic cGFzcyJ3b3JkLzE=", "Basic [redacted]"),
            ("pass\"word/1 and more.", "[redacted]."),
            ("a short text of pass words", "a short text of pass words"),
        ] {
            assert_eq!(hidden(text), told, "{text}");
        }
    }
}
