//! Workloads' secrets in bodies: `{{secret:NAME}}` and `{{secret:NAME/KEY}}` become the value as a variable gets it, without one line end.
//! `|base64` behind the name makes its base64, `|file` the value as it is in its file, `|file|base64` the base64 of that.
//! A value is escaped as the body's type asks for, so that it stays the one text that it stands in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, header::CONTENT_TYPE};
use tradewind_core::{failure::Failure, grant::Entry, workload::SecretRef};
use tradewind_credentials::secrets::{self, Granted};
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::redact::{self, Redaction, SHORTEST};

const OPEN: &str = "{{secret:";
const CLOSE: &str = "}}";
const FIELD: &str = "body";

/// How a value is written into a body.
#[derive(Clone, Copy)]
enum Form {
    Json,
    UrlEncoded,
}

/// The values of the granted secrets, those of all namespaces, so that none comes back: another request may have put them where this one
/// looks. Blocks.
pub(super) fn known(folder: &Path, granted: &[Entry]) -> Redaction {
    let mut redaction = Redaction::default();
    if granted.is_empty() {
        return redaction;
    }
    let mut add = |path: &Path| {
        if let Ok(value) = fs::read(path).map(Zeroizing::new) {
            redaction.add(secrets::variable(&value));
            redaction.add(&value);
        }
    };
    let namespaces = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    let folders: Vec<PathBuf> = std::iter::once(folder.to_owned())
        .chain(namespaces)
        .collect();
    for name in granted
        .iter()
        .map(|entry| &entry.name)
        .filter(|name| !name.contains('/') && !name.starts_with('.'))
    {
        for path in folders.iter().map(|folder| folder.join(name)) {
            match fs::read_dir(&path) {
                Ok(keys) => keys.flatten().for_each(|key| add(&key.path())),
                Err(_) => add(&path),
            }
        }
    }
    redaction
}

/// The body with values in the place of names. Blocks.
///
/// # Errors
/// `denied` for what is not granted or can't be read, `invalid` for what can't be put into this body.
pub(super) fn fill(
    folder: &Path,
    granted: Granted<'_>,
    headers: &HeaderMap,
    body: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let Ok(text) = std::str::from_utf8(&body) else {
        return Ok(body);
    };
    if !text.contains(OPEN) {
        return Ok(body);
    }
    let form = form(headers)?;
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, from)) = rest.split_once(OPEN) {
        let unfinished = || Failure::invalid(format!("\"{OPEN}\" has no \"{CLOSE}\"")).field(FIELD);
        let (name, after) = from.split_once(CLOSE).ok_or_else(unfinished)?;
        out.push_str(before);
        out.push_str(&value(folder, granted, name, form)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out.into_bytes())
}

fn form(headers: &HeaderMap) -> Result<Form, Failure> {
    let told = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = told
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match kind.as_str() {
        "application/x-www-form-urlencoded" => Ok(Form::UrlEncoded),
        json if json == "application/json" || json.ends_with("+json") => Ok(Form::Json),
        _ => Err(Failure::invalid(format!(
            "secrets can't be put into a body of the type \"{}\": JSON and forms take them",
            kind.escape_debug()
        ))
        .field(FIELD)),
    }
}

fn value(
    folder: &Path,
    granted: Granted<'_>,
    told: &str,
    form: Form,
) -> Result<Zeroizing<String>, Failure> {
    let (name, encoded) = told
        .strip_suffix("|base64")
        .map_or((told, false), |name| (name, true));
    let (name, whole) = name
        .strip_suffix("|file")
        .map_or((name, false), |name| (name, true));
    let (name, key) = name
        .split_once('/')
        .map_or((name, None), |(name, key)| (name, Some(key.to_owned())));
    let secret = SecretRef {
        name: name.to_owned(),
        key,
    };
    let value = Zeroizing::new(secrets::read(granted, Some(folder), &secret, FIELD)?);
    let told = secrets::variable(&value).len();
    let value = if whole {
        &value
    } else {
        secrets::variable(&value)
    };
    let refused = |reason: String| {
        Failure::invalid(format!("the secret \"{}\" {reason}", secret.name)).field(FIELD)
    };
    if (1..SHORTEST).contains(&told) {
        return Err(refused(format!(
            "is shorter than {SHORTEST} bytes: it could not be told from other text in answers"
        )));
    }
    let text = match (encoded, std::str::from_utf8(value)) {
        (true, _) => Zeroizing::new(BASE64_STANDARD.encode(value)),
        (false, Ok(text)) => Zeroizing::new(text.to_owned()),
        (false, Err(_)) => {
            return Err(refused(
                "is no text: write \"|base64\" behind its name".to_owned(),
            ));
        }
    };
    Ok(match form {
        Form::Json => redact::json_text(&text),
        Form::UrlEncoded => {
            Zeroizing::new(form_urlencoded::byte_serialize(text.as_bytes()).collect())
        }
    })
}

#[cfg(test)]
mod tests {
    use tradewind_core::{failure::FailureKind, names::Namespace};

    use super::*;

    #[test]
    fn names_become_values_that_stay_one_text() {
        let folder = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir()
            .unwrap();
        let file =
            |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
        file("plain", b"line \"one\"\n\\\n");
        std::fs::create_dir(folder.path().join("db")).unwrap();
        file("db/password", b"a&b=c d!");
        file("binary", &[0xff; 8]);
        file("short", b"12345");
        file("other", b"not granted");
        let granted =
            ["plain", "db", "binary", "short", "absent", "crlf", "empty"].map(Entry::from);
        let namespace = Namespace::default_namespace();
        let lent = Granted {
            capability: "http",
            secrets: &granted,
            namespace: Some(&namespace),
        };
        let filled = |kind: &'static str, body: &str| {
            let headers =
                HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(kind))]);
            fill(folder.path(), lent, &headers, body.as_bytes().to_vec())
                .map(|bytes| String::from_utf8(bytes).unwrap())
        };
        let json = filled(
            "application/json; charset=utf-8",
            r#"{"a":"{{secret:plain}}","b":"x{{secret:db/password}}y"}"#,
        )
        .unwrap();
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&read["a"], &read["b"]),
            (&"line \"one\"\n\\".into(), &"xa&b=c d!y".into())
        );
        assert_eq!(
            filled(
                "application/x-www-form-urlencoded",
                "p={{secret:db/password}}&q=1"
            )
            .unwrap(),
            "p=a%26b%3Dc+d%21&q=1"
        );
        assert_eq!(
            filled(
                "application/merge-patch+json",
                r#""{{secret:binary|base64}}""#
            )
            .unwrap(),
            r#""//////////8=""#
        );
        file("crlf", b"two\nlines\n\r\n");
        file("empty", b"\n");
        let form = |body: &str| filled("application/x-www-form-urlencoded", body).unwrap();
        assert_eq!(
            form("{{secret:crlf}}"),
            "two%0Alines%0A",
            "a variable loses one line end"
        );
        assert_eq!(
            form("{{secret:crlf|file}}"),
            "two%0Alines%0A%0D%0A",
            "a file is as it is"
        );
        assert_eq!(
            form("a={{secret:empty}}&b={{secret:empty|file|base64}}"),
            "a=&b=Cg%3D%3D",
            "nothing can be empty"
        );
        assert_eq!(
            filled("text/plain", "no {{names}} here").unwrap(),
            "no {{names}} here"
        );
        for (kind, body, failure, word) in [
            (
                "text/plain",
                "{{secret:plain}}",
                FailureKind::Invalid,
                "text/plain",
            ),
            (
                "application/json",
                "{{secret:other}}",
                FailureKind::Denied,
                "not granted",
            ),
            (
                "application/json",
                "{{secret:../other}}",
                FailureKind::Invalid,
                "not a secret's name",
            ),
            (
                "application/json",
                "{{secret:db/../other}}",
                FailureKind::Invalid,
                "not a secret's name",
            ),
            (
                "application/json",
                "{{secret:absent}}",
                FailureKind::Denied,
                "does not exist",
            ),
            (
                "application/json",
                "{{secret:db}}",
                FailureKind::Invalid,
                "it has keys",
            ),
            (
                "application/json",
                "{{secret:binary}}",
                FailureKind::Invalid,
                "no text",
            ),
            (
                "application/json",
                "{{secret:short}}",
                FailureKind::Invalid,
                "shorter",
            ),
            (
                "application/json",
                "{{secret:plain",
                FailureKind::Invalid,
                "}}",
            ),
        ] {
            let error = filled(kind, body).unwrap_err();
            assert!(
                error.kind == failure && error.message.contains(word),
                "{body}: {error}"
            );
            assert!(!error.message.contains("12345"), "{error}");
        }
        let hidden =
            known(folder.path(), &granted).hide_text("a&b=c d! 12345 not granted".to_owned());
        assert_eq!(hidden, "[redacted] 12345 not granted");
    }
}
