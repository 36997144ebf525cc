//! The marks by which what is ours is known: labels that the host sets, whatever a plugin writes.

use serde_json::{Map, Value};
use tradewind_core::{capability::Attempt, names::InstanceName, workload::Labels};

pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(crate) const INSTANCE: &str = "tradewind.dev/instance";
pub(crate) const ALLOCATION: &str = "tradewind.dev/allocation";
pub(crate) const NAMESPACE: &str = "tradewind.dev/namespace";
pub(crate) const DEPLOYMENT: &str = "tradewind.dev/deployment";
/// Labels that begin so are the host's alone.
const OURS: &str = "tradewind.dev/";

/// Whether these labels are those of this instance's objects.
pub(crate) fn is_of(labels: &Labels, owner: &InstanceName) -> bool {
    let has = |key: &str, value: &str| labels.get(key).is_some_and(|v| v == value);
    has(MANAGED_BY, "tradewind") && has(INSTANCE, owner.as_str())
}

/// The marks of what is made for an attempt.
pub(crate) fn of(owner: &InstanceName, attempt: &Attempt) -> Labels {
    let tags = attempt
        .tags
        .iter()
        .filter(|(_, value)| is_label(value))
        .map(|(key, value)| (key.clone(), value.clone()));
    let mut marks: Labels = tags.collect();
    marks.insert(MANAGED_BY.to_owned(), "tradewind".to_owned());
    marks.insert(INSTANCE.to_owned(), owner.to_string());
    marks.insert(ALLOCATION.to_owned(), attempt.allocation.to_string());
    marks
}

/// Those of an object's labels that are marks.
pub(crate) fn among(labels: &Labels) -> Labels {
    labels
        .iter()
        .filter(|(key, _)| is_mark(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Which objects an instance may see, as the API server's selector.
pub(crate) fn selector(owner: &InstanceName, labels: &Labels) -> String {
    let mut parts = vec![
        format!("{MANAGED_BY}=tradewind"),
        format!("{INSTANCE}={owner}"),
    ];
    parts.extend(
        labels
            .iter()
            .filter(|(key, _)| *key != MANAGED_BY && *key != INSTANCE)
            .map(|(key, value)| format!("{key}={value}")),
    );
    parts.join(",")
}

/// Puts the marks on labels, in place of whatever a plugin has written there under our names.
pub(crate) fn put(labels: &mut Map<String, Value>, marks: &Labels) {
    labels.retain(|key, _| !is_mark(key));
    labels.extend(
        marks
            .iter()
            .map(|(key, value)| (key.clone(), Value::String(value.clone()))),
    );
}

fn is_mark(key: &str) -> bool {
    key == MANAGED_BY || key.starts_with(OURS)
}

/// Whether a text can be a label's value.
pub(crate) fn is_label(value: &str) -> bool {
    let ends = |c: Option<u8>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    let bytes = value.as_bytes();
    value.len() <= 63
        && value
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
        && ends(bytes.first().copied())
        && ends(bytes.last().copied())
}
