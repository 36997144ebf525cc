//! Manifests as YAML, and what differs between two of them.

use serde::Serialize;

use crate::{
    Error,
    output::{Mood, Output},
};

/// As manifests are written.
///
/// # Errors
/// What has no form in YAML.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(|e| Error::Encode {
        form: "YAML",
        source: e.into(),
    })
}

/// A unified diff of two named texts; empty where they are equal.
pub(crate) fn unified(out: &Output, (from, old): (&str, &str), (to, new): (&str, &str)) -> String {
    unified_plain((from, old), (to, new))
        .lines()
        .map(|line| coloured(out, line) + "\n")
        .collect()
}

/// The same without colours, for programs.
pub(crate) fn unified_plain((from, old): (&str, &str), (to, new): (&str, &str)) -> String {
    let diff = similar::TextDiff::from_lines(old, new);
    diff.unified_diff().header(from, to).to_string()
}

fn coloured(out: &Output, line: &str) -> String {
    let mood = match line.chars().next() {
        Some('+') => Mood::Good,
        Some('-') => Mood::Bad,
        Some('@') => Mood::Busy,
        _ => Mood::Plain,
    };
    out.paint(line, mood)
}
