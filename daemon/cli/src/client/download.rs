//! A file at a URL. Nothing of the daemon's is sent along: no token, and no client certificate.

use std::time::Duration;

use futures::StreamExt;
use reqwest::redirect::Policy;
use url::Url;

use super::{CONNECT_TIMEOUT, Error, Trust};

/// The longest that a whole file may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The most redirects.
const REDIRECTS: usize = 5;

/// Why a file can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("it has more than {most} bytes: download it first")]
    Large { most: usize },
    #[error("the server answers {0}")]
    Status(reqwest::StatusCode),
    #[error(transparent)]
    Request(reqwest::Error),
    #[error(transparent)]
    Client(Box<Error>),
}

impl From<reqwest::Error> for Failed {
    fn from(e: reqwest::Error) -> Self {
        // Who reads it knows the URL.
        Self::Request(e.without_url())
    }
}

/// The file at a URL, of at most so many bytes.
///
/// # Errors
/// A server that can't be reached or answers with no success, and a file that is too large.
pub(crate) async fn fetch(url: &Url, trust: &Trust, most: usize) -> Result<Vec<u8>, Failed> {
    let encrypted = url.scheme() == "https";
    let policy = Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else if encrypted && attempt.url().scheme() != "https" {
            attempt.error("a redirect from https to http")
        } else {
            attempt.follow()
        }
    });
    let client = trust
        .add_to(reqwest::Client::builder())
        .map_err(|e| Failed::Client(Box::new(e)))?
        .redirect(policy)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .build()?;
    let response = client.get(url.clone()).send().await?;
    if !response.status().is_success() {
        return Err(Failed::Status(response.status()));
    }
    let mut bytes = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() > most {
            return Err(Failed::Large { most });
        }
    }
    Ok(bytes)
}
