//! Secrets as files: `NAME`, or `NAME/KEY` for a reference with a key, in the daemon's secrets folder. Values leave it only
//! into what a capability starts; they must never reach a message, a log or the record.

use std::{io, path::Path};

use tradewind_core::{
    failure::{Failure, FailureKind, SECRET},
    workload::SecretRef,
};

use crate::owners::{self, Kind};

/// Checks that a reference is granted and that its names are plain file names.
///
/// # Errors
/// `denied` for a secret outside the grant, `invalid` for a name that is not a plain file name.
pub fn check(granted: &[String], capability: &str, secret: &SecretRef, field: &str) -> Result<(), Failure> {
    for name in std::iter::once(&secret.name).chain(&secret.key) {
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
        if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.bytes().all(plain) {
            let message =
                format!("\"{}\" is not a secret's name: use letters, digits and - _ . not beginning with a dot", name.escape_debug());
            return Err(Failure::invalid(message).field(field));
        }
    }
    if !granted.contains(&secret.name) {
        return Err(Failure::not_granted(format!("the secret \"{}\" is not granted", secret.name), field)
            .remedy(format!("add \"{}\" to secrets in [grants.{capability}] of the instance file", secret.name)));
    }
    Ok(())
}

/// What a variable gets of a secret's value: all but one line end, `\n` or `\r\n`, which editors and `echo` put behind it. A file gets the
/// value as it is.
pub fn variable(value: &[u8]) -> &[u8] {
    value.strip_suffix(b"\r\n").or_else(|| value.strip_suffix(b"\n")).unwrap_or(value)
}

/// Reads a secret's value as it is in its file. Blocks.
///
/// # Errors
/// `denied` when the file can't be read; the message names the secret and the reason, never a value.
pub fn read(folder: Option<&Path>, secret: &SecretRef, field: &str) -> Result<Vec<u8>, Failure> {
    let shown = secret.key.as_ref().map_or_else(|| secret.name.clone(), |k| format!("{}/{k}", secret.name));
    let Some(folder) = folder else {
        let message = format!("the secret \"{shown}\" can't be read: the daemon has no secrets folder");
        return Err(Failure::denied(message).field(field).code(SECRET).remedy("name one in the setting \"secrets\""));
    };
    let mut path = folder.join(&secret.name);
    path.extend(&secret.key);
    owners::read(&path, Kind::Secret).map_err(|error| {
        if let Some(untrusted) = owners::untrusted(&error) {
            return Failure::denied(format!("the secret \"{shown}\" is not used: {untrusted}")).field(field).code(SECRET);
        }
        let (kind, cause) = match error.kind() {
            io::ErrorKind::NotFound => (FailureKind::Denied, "it does not exist"),
            io::ErrorKind::PermissionDenied => (FailureKind::Denied, "the daemon may not read it"),
            io::ErrorKind::IsADirectory => (FailureKind::Invalid, "it has keys: name one"),
            io::ErrorKind::NotADirectory => (FailureKind::Invalid, "it has no keys: name it without one"),
            _ => (FailureKind::Unavailable, "reading it failed"),
        };
        Failure::new(kind, format!("the secret \"{shown}\" can't be read: {cause}"))
            .field(field)
            .code(SECRET)
            .remedy(format!("put its value into the file \"{shown}\" of the daemon's secrets folder"))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_variable_loses_one_line_end() {
        for (value, wanted) in
            [("", ""), ("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\nb\n\n", "a\nb\n"), ("a\r", "a\r"), ("\n", ""), (" a ", " a ")]
        {
            assert_eq!(super::variable(value.as_bytes()), wanted.as_bytes(), "{value:?}");
        }
    }
}
