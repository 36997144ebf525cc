//! What a grant allows: kinds, namespaces, names. Each refusal names the field, the value and the line that would allow it.

use tradewind_core::{failure::Failure, grant::KubernetesGrant};

use crate::kinds::{self, NODE, SECRET};

/// A refusal, with the line of the instance file that would lift it.
pub(crate) fn refused(message: impl Into<String>, field: impl Into<String>, line: &str) -> Failure {
    Failure::not_granted(message, field).remedy(format!(
        "add {line} to [grants.kubernetes] of the instance file"
    ))
}

/// # Errors
/// `denied` for a namespace that is not granted.
pub(crate) fn namespace(
    grant: &KubernetesGrant,
    namespace: &str,
    field: &str,
) -> Result<(), Failure> {
    // What is granted is still a part of a path.
    if grant.namespaces.iter().any(|n| n == namespace) && is_label(namespace) {
        return Ok(());
    }
    let shown = namespace.escape_debug();
    Err(refused(
        format!("the namespace \"{shown}\" is not granted"),
        field,
        &format!("\"{shown}\" to namespaces, that is namespaces = [\"{shown}\"],"),
    ))
}

/// # Errors
/// `denied` for a kind that may not be written.
pub(crate) fn writable(grant: &KubernetesGrant, kind: &str, field: &str) -> Result<(), Failure> {
    if grant.kinds.iter().any(|k| k == kind) && kinds::is_name(kind) {
        return Ok(());
    }
    let shown = kind.escape_debug();
    Err(refused(
        format!("the kind \"{shown}\" is not granted for writing"),
        field,
        &format!("\"{shown}\" to kinds, that is kinds = [\"{shown}\", …],"),
    ))
}

/// # Errors
/// `denied` for a kind that may not be read, and for secrets always.
pub(crate) fn readable(grant: &KubernetesGrant, kind: &str, field: &str) -> Result<(), Failure> {
    if kind == SECRET || kind.starts_with("Secret.") {
        return Err(
            Failure::denied("secrets can't be read: no value of them leaves the host")
                .field(field)
                .code("secret"),
        );
    }
    if kind != NODE
        && grant.kinds.iter().chain(&grant.read).any(|k| k == kind)
        && kinds::is_name(kind)
    {
        return Ok(());
    }
    let shown = kind.escape_debug();
    Err(refused(
        format!("the kind \"{shown}\" is not granted for reading"),
        field,
        &format!("\"{shown}\" to read, that is read = [\"{shown}\", …],"),
    ))
}

/// # Errors
/// `invalid` for what is no name of an object.
pub(crate) fn name(name: &str, field: &str) -> Result<(), Failure> {
    let good = name.len() <= 253 && name.split('.').all(is_label);
    if good {
        return Ok(());
    }
    let message = format!(
        "\"{}\" is not an object's name: use lowercase letters, digits, - and dots",
        name.escape_debug()
    );
    Err(Failure::invalid(message).field(field))
}

/// A DNS label.
fn is_label(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(plain)
        && !text.starts_with('-')
        && !text.ends_with('-')
}
