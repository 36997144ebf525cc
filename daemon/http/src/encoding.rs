//! Answers are compressed for those who can read it, where it saves something. Bodies of requests never are: nothing here unpacks any. It must not
//! know what is answered.

use axum::{
    extract::Request,
    http::{Extensions, HeaderMap, StatusCode, Version, header},
    middleware::Next,
    response::Response,
};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{And, Predicate, SizeAbove},
    },
};

use super::etag;

/// Smaller ones fit into a packet as they are.
const LEAST: u16 = 1024;
/// Backups are packed, and streams of events have to arrive one by one.
const TEXTS: [&str; 5] = [
    "application/json",
    "application/problem+json",
    "application/openmetrics-text",
    "text/html",
    "text/markdown",
];

/// Whether an answer is text that is there as a whole.
type Worth = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

pub(crate) fn layer() -> CompressionLayer<And<SizeAbove, Worth>> {
    let worth: Worth = |_, _, headers, _| is_text(headers);
    // The lists of a busy daemon become a tenth at this level; the next ones cost several times the work for little more.
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(LEAST).and(worth))
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    TEXTS.contains(&kind)
}

/// An answer that was compressed has a tag of its own.
pub(crate) async fn mark(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    etag::mark_coding(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn texts_are_compressed_and_streams_are_not() {
        let is = |kind: &'static str| {
            is_text(
                &[(header::CONTENT_TYPE, HeaderValue::from_static(kind))]
                    .into_iter()
                    .collect(),
            )
        };
        assert!(is("application/json") && is("text/html; charset=utf-8"));
        assert!(!is("text/event-stream") && !is("application/gzip") && !is_text(&HeaderMap::new()));
    }
}
