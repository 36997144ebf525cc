//! Entity tags of what has generations: `"3-9f86d081884c7d65"`. The number is the generation, which a write's `If-Match` is about; the rest stands for
//! the whole content, so that the tag changes whenever the body does. It must not know what is tagged.

use std::hash::{DefaultHasher, Hasher};

use aide::OperationInput;
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{Error, extract::describe_header};

/// Between the generation and the content.
const CONTENT: char = '-';
/// Before the coding of a body that is compressed: its bytes are others.
const CODING: char = '.';

/// What the client has already, of a read: the value of `If-None-Match`.
#[derive(Debug, Default)]
pub(crate) struct Known(Option<String>);

impl Known {
    /// The tag that the client has it by. A coding makes no difference, nor does a tag that says that it is weak.
    fn tag<'a>(&'a self, current: &'a str) -> Option<&'a str> {
        let given = self.0.as_deref()?;
        if given.trim() == "*" {
            return Some(current);
        }
        given.split(',').map(str::trim).find(|tag| {
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            let bare = |tag: &str| {
                let tag = tag.trim_matches('"');
                tag.split_once(CODING)
                    .map_or_else(|| tag.to_owned(), |(tag, _)| tag.to_owned())
            };
            tag.starts_with('"') && bare(tag) == bare(current)
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Known {
    type Rejection = Error;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let values = parts.headers.get_all(header::IF_NONE_MATCH).iter();
        let values: Vec<&str> = values.filter_map(|v| v.to_str().ok()).collect();
        Ok(Self((!values.is_empty()).then(|| values.join(","))))
    }
}

impl OperationInput for Known {
    fn operation_input(
        _: &mut aide::generate::GenContext,
        operation: &mut aide::openapi::Operation,
    ) {
        describe_header(
            operation,
            "If-None-Match",
            "The `ETag` of an earlier answer: 304 without a body when nothing has changed since.",
            "",
        );
    }
}

/// The tag of a write: of the generation, whatever else changes.
pub(crate) fn of_generation(generation: u64) -> String {
    format!("\"{generation}\"")
}

/// The generation that a tag is of. None: it is no tag of ours.
pub(crate) fn generation(tag: &str) -> Option<u64> {
    let inner = tag.strip_prefix('"')?.strip_suffix('"')?;
    let (generation, content) = match inner.split_once(CONTENT) {
        Some((generation, content)) => (generation, Some(content)),
        None => (inner, None),
    };
    let is_content = |content: &str| {
        let (hash, coding) = content.split_once(CODING).unwrap_or((content, "x"));
        let hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        hash.len() == 16
            && hash.bytes().all(hex)
            && !coding.is_empty()
            && coding.bytes().all(|c| c.is_ascii_lowercase())
    };
    let digits = generation.bytes().all(|c| c.is_ascii_digit());
    // What has never been written is read at 0.
    let number = generation.parse().ok();
    let number = number.filter(|n| digits && (*n > 0 || content.is_some()))?;
    content.is_none_or(is_content).then_some(number)
}

/// JSON with its tag; without a body when the client has it already.
pub(crate) fn answer<T: Serialize>(
    generation: u64,
    view: &T,
    known: &Known,
) -> Result<Response, Error> {
    let body = serde_json::to_vec(view).map_err(|e| Error::Encode(e.into()))?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&body);
    let tag = format!("\"{generation}{CONTENT}{:016x}\"", hasher.finish());
    let value = |tag: &str| HeaderValue::try_from(tag).map_err(|e| Error::Encode(e.into()));
    if let Some(had) = known.tag(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, value(had)?)]).into_response());
    }
    let headers = [
        (header::ETAG, value(&tag)?),
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
    ];
    Ok((headers, body).into_response())
}

/// Marks the tag of an answer whose body was compressed: it stands for other bytes.
pub(crate) fn mark_coding(headers: &mut HeaderMap) {
    let text = |name| {
        headers
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok())
    };
    let (Some(tag), Some(coding)) = (text(header::ETAG), text(header::CONTENT_ENCODING)) else {
        return;
    };
    let marked = tag
        .strip_suffix('"')
        .map(|tag| format!("{tag}{CODING}{coding}\""))
        .and_then(|tag| HeaderValue::try_from(tag).ok());
    if let Some(marked) = marked {
        headers.insert(header::ETAG, marked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_its_generation() {
        for (tag, wanted) in [
            ("\"3\"", Some(3)),
            ("\"3-9f86d081884c7d65\"", Some(3)),
            ("\"3-9f86d081884c7d65.gzip\"", Some(3)),
            ("3", None),
            ("\"0\"", None),
            ("\"0-9f86d081884c7d65\"", Some(0)),
            ("\"3-9f86\"", None),
            ("\"+3\"", None),
            ("\"3-\"", None),
            ("\"3-9f86d081884c7d65.\"", None),
            ("\"3\", \"4\"", None),
            ("W/\"3\"", None),
            ("\"", None),
            ("\"three\"", None),
        ] {
            assert_eq!(generation(tag), wanted, "{tag}");
        }
    }

    #[test]
    fn a_client_that_has_it_already_is_told_so() {
        let current = "\"3-00ff\"";
        let has = |given: &str| Known(Some(given.to_owned())).tag(current).is_some();
        for given in [
            "\"3-00ff\"",
            "W/\"3-00ff\"",
            "\"1-a\", \"3-00ff.gzip\"",
            "*",
        ] {
            assert!(has(given), "{given}");
        }
        for given in ["\"3\"", "\"3-00fe\"", "3-00ff", ""] {
            assert!(!has(given), "{given}");
        }
        assert!(Known::default().tag(current).is_none());
    }

    #[test]
    fn a_compressed_answer_has_a_tag_of_its_own() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ETAG, HeaderValue::from_static("\"3-00ff\""));
        mark_coding(&mut headers);
        assert_eq!(headers[header::ETAG], "\"3-00ff\"");
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        mark_coding(&mut headers);
        assert_eq!(headers[header::ETAG], "\"3-00ff.zstd\"");
    }
}
