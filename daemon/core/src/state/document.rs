//! The envelope of every stored document: a JSON object whose field `v` says of which version it is. A document of a newer version is
//! refused and left as it is; one of an older version is upgraded step by step. What a document means, this module must not know.

mod allocation;
mod kinds;

pub use kinds::KINDS;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::ports::store::{self, Record, Store};

/// What is stored as one value. Plain data.
///
/// serde ignores fields that it does not know, so an older daemon would rewrite a document without them. **Every change of what is stored
/// raises `VERSION`**, also a new field, unless losing it is harmless; a change of what a field means needs a step of `upgrade` as well.
pub trait Document: Serialize + DeserializeOwned {
    /// Of what is written. A document without `v` is of version 1: so they were before all had one.
    const VERSION: u32 = 1;

    /// Takes a document of version `from` to version `from + 1`. A step that has been released stays as it is.
    ///
    /// # Errors
    /// Why it is none of that version, for people.
    fn upgrade(from: u32, document: Value) -> Result<Value, String> {
        let _ = from;
        Ok(document)
    }
}

/// A document with its version, as it is written.
#[derive(Serialize)]
struct Versioned<'a, T> {
    v: u32,
    #[serde(flatten)]
    document: &'a T,
}

/// Why bytes are no document that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A newer daemon wrote it.
    #[error("it is of version {found}, and this daemon reads versions up to {known}")]
    Newer {
        /// The document's version.
        found: u32,
        /// The newest version that this daemon reads.
        known: u32,
    },
    /// It is no JSON of the kind's form.
    #[error("it is no document of this kind")]
    Unreadable(#[from] serde_json::Error),
    /// It is of an older version, and can't be made one of the present.
    #[error("it can't be upgraded from version {from}: {reason}")]
    Upgrade {
        /// The document's version.
        from: u32,
        /// What stands in the way.
        reason: String,
    },
}

/// The bytes of a document. Documents are plain data, so this fails only on a defect; the state is left alone then.
///
/// # Errors
/// A document that has no JSON form.
pub fn to_vec<T: Document>(document: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Versioned {
        v: T::VERSION,
        document,
    })
}

/// # Errors
/// A document of a newer version, or bytes that are none of this kind: nothing is guessed.
pub fn from_slice<T: Document>(bytes: &[u8]) -> Result<T, Error> {
    let found = readable(bytes, T::VERSION)?;
    if found == T::VERSION {
        return Ok(serde_json::from_slice(bytes)?);
    }
    let mut document = serde_json::from_slice(bytes)?;
    for from in found..T::VERSION {
        document = T::upgrade(from, document).map_err(|reason| Error::Upgrade { from, reason })?;
    }
    Ok(serde_json::from_value(document)?)
}

/// `to_vec`, for the state.
///
/// # Errors
/// `Backend` with the type's name.
pub fn encode<T: Document>(document: &T) -> Result<Vec<u8>, store::Error> {
    to_vec(document).map_err(|e| store::Error::Backend {
        action: "encoded",
        path: std::any::type_name::<T>().to_owned(),
        source: e.into(),
    })
}

/// `from_slice`, for what the state has.
///
/// # Errors
/// `Newer`, or `Backend` for what can't be understood; both name the key.
pub fn decode<T: Document>(record: &Record) -> Result<T, store::Error> {
    from_slice(&record.value).map_err(|e| at(&record.key, e))
}

fn at(key: &str, error: Error) -> store::Error {
    let key = key.to_owned();
    match error {
        Error::Newer { found, known } => store::Error::Newer { key, found, known },
        error => store::Error::Backend {
            action: "understood",
            path: key,
            source: error.into(),
        },
    }
}

/// Checks that this daemon can read every document of the state, before it writes the first one. `kinds`: the prefix of their keys and the
/// version that is known of each.
///
/// # Errors
/// `Newer` for the first document, in the order of `kinds`, that is of a newer version; `Backend` for one that has no version.
pub async fn check(store: &dyn Store, kinds: &[(&str, u32)]) -> Result<(), store::Error> {
    for (prefix, known) in kinds {
        for record in store.list(prefix).await?.records {
            readable(&record.value, *known).map_err(|e| at(&record.key, e))?;
        }
    }
    Ok(())
}

/// A document's version, if it is not above the one that is known.
///
/// # Errors
/// `Newer`, or bytes that have no version.
pub fn readable(bytes: &[u8], known: u32) -> Result<u32, Error> {
    let found = version(bytes)?;
    match found {
        1.. if found <= known => Ok(found),
        0 => Err(Error::Upgrade {
            from: 0,
            reason: "versions begin with 1".to_owned(),
        }),
        _ => Err(Error::Newer { found, known }),
    }
}

fn version(bytes: &[u8]) -> Result<u32, serde_json::Error> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default = "first")]
        v: u32,
    }

    fn first() -> u32 {
        1
    }

    // As this module writes it, without reading the rest.
    let written = bytes
        .strip_prefix(br#"{"v":"#)
        .and_then(|rest| rest.split(|b| !b.is_ascii_digit()).next());
    let number = written.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match number {
        Some(number) => Ok(number),
        None if bytes.trim_ascii_start().starts_with(b"{") => {
            Ok(serde_json::from_slice::<Head>(bytes)?.v)
        }
        // Before all documents were objects.
        None => Ok(first()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Version 1 had `cents`, version 2 `micros`; version 3 has them as an object.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Price {
        cost: Cost,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Cost {
        micros: u64,
    }

    impl Document for Price {
        const VERSION: u32 = 3;

        fn upgrade(from: u32, document: Value) -> Result<Value, String> {
            match from {
                1 => {
                    let cents = document["cents"].as_u64().ok_or("it has no \"cents\"")?;
                    Ok(json!({ "micros": cents * 10_000 }))
                }
                _ => Ok(json!({ "cost": { "micros": document["micros"] } })),
            }
        }
    }

    #[test]
    fn an_older_document_is_upgraded_by_every_step() {
        let wanted = Price {
            cost: Cost { micros: 50_000 },
        };
        for text in [
            r#"{"cents": 5}"#,
            r#"{"v":1,"cents":5}"#,
            r#"{"cents":5,"v":1}"#,
            r#"{"v":2,"micros":50000}"#,
            r#"{"v":3,"cost":{"micros":50000}}"#,
        ] {
            assert_eq!(
                from_slice::<Price>(text.as_bytes()).unwrap(),
                wanted,
                "{text}"
            );
        }
        assert_eq!(
            to_vec(&wanted).unwrap(),
            br#"{"v":3,"cost":{"micros":50000}}"#
        );
    }

    #[test]
    fn a_newer_document_is_refused_with_both_versions() {
        for text in [
            r#"{"v":4,"cost":{"micros":1}}"#,
            r#"{"cost":{"micros":1}, "v": 4}"#,
            r#"{"v":4}"#,
        ] {
            let error = from_slice::<Price>(text.as_bytes()).unwrap_err();
            assert!(
                matches!(error, Error::Newer { found: 4, known: 3 }),
                "{text}: {error:?}"
            );
        }
    }

    #[test]
    fn nothing_is_guessed_of_what_is_none() {
        for text in [
            "",
            "{",
            "[]",
            "7",
            r#"{"v":3}"#,
            r#"{"v":0,"cost":{"micros":1}}"#,
            r#"{"v":"3","cost":{"micros":1}}"#,
            r#"{"v":1}"#,
        ] {
            let error = from_slice::<Price>(text.as_bytes()).unwrap_err();
            assert!(!matches!(error, Error::Newer { .. }), "{text}: {error:?}");
        }
    }
}
