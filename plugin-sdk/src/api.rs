//! A cloud's HTTP API with JSON bodies, on the `http` capability: what every provider for such a cloud would otherwise write again.
//! It knows no cloud: what a refusal means is told by a function of the plugin's.

mod time;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::time::{instant, nanoseconds};
use crate::{
    Error, ErrorKind,
    host::{Http, HttpRequest, HttpResponse},
    types::Entry,
};

/// An API: where it begins, and how requests are signed.
pub struct Api<H> {
    host: H,
    url: String,
    credential: Option<String>,
    timeout: u64,
    refusal: fn(&HttpResponse) -> Error,
}

impl<H: Http> Api<H> {
    /// `url` without a slash at its end; the name of the granted credential, "" for none; milliseconds for one request; what an answer
    /// outside 2xx means.
    pub fn new(
        host: H,
        url: &str,
        credential: &str,
        timeout: u64,
        refusal: fn(&HttpResponse) -> Error,
    ) -> Self {
        let credential = Some(credential.to_owned()).filter(|name| !name.is_empty());
        Self {
            host,
            url: url.to_owned(),
            credential,
            timeout,
            refusal,
        }
    }

    /// The capabilities it stands on.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Asks, and reads the answer. `path` begins with a slash, or is a whole address below this API's own (a link to a next page). An
    /// answer without a body reads as `null`.
    ///
    /// # Errors
    /// What the refusal means; `internal` for an answer that is not understood.
    pub fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Error> {
        self.call_with(method, path, body, &[])
    }

    /// Likewise, with further headers.
    ///
    /// # Errors
    /// As `call`.
    pub fn call_with<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<T, Error> {
        let entry = |(key, value): &(&str, &str)| Entry {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        let json = body.map(|_| entry(&("content-type", "application/json")));
        let response = self.host.send(&HttpRequest {
            method: method.to_owned(),
            url: self.address(path)?,
            headers: json.into_iter().chain(headers.iter().map(entry)).collect(),
            body: body
                .map(|body| body.to_string().into_bytes())
                .unwrap_or_default(),
            credential: self.credential.clone(),
            timeout: Some(self.timeout),
        })?;
        if !(200..300).contains(&response.status) {
            return Err((self.refusal)(&response));
        }
        let content: &[u8] = if response.body.is_empty() {
            b"null"
        } else {
            &response.body
        };
        serde_json::from_slice(content).map_err(|error| {
            let path = path.split('?').next().unwrap_or_default();
            Error::internal(format!(
                "the answer to {method} {path:?} is not understood: {error}"
            ))
        })
    }

    /// A link that the cloud gives is followed within this API alone: the request is signed.
    fn address(&self, path: &str) -> Result<String, Error> {
        match path.strip_prefix(&self.url) {
            Some(rest) if rest.starts_with('/') => Ok(path.to_owned()),
            _ if path.starts_with('/') => Ok(format!("{}{path}", self.url)),
            _ => Err(Error::internal(format!(
                "the cloud points to {path:?}, which lies outside {:?}",
                self.url
            ))),
        }
    }
}

/// The kind that a status alone tells, where the cloud's code says no more.
pub fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        400 | 405 | 413 | 422 => ErrorKind::Invalid,
        401 | 403 => ErrorKind::Denied,
        404 | 410 => ErrorKind::NotFound,
        429 => ErrorKind::Throttled,
        408 | 500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

/// How long the header `Retry-After`, which counts in seconds, asks to wait, in milliseconds.
pub fn retry_after(response: &HttpResponse) -> Option<u64> {
    let header = response
        .headers
        .iter()
        .find(|header| header.key.eq_ignore_ascii_case("retry-after"))?;
    header
        .value
        .trim()
        .parse::<u64>()
        .ok()
        .map(|seconds| seconds.saturating_mul(1000))
}

/// Whether a setting is an address that an API can begin with.
///
/// # Errors
/// `invalid`, naming the setting.
pub fn check_url(url: &str, setting: &str) -> Result<(), Error> {
    let known = url.starts_with("https://") || url.starts_with("http://");
    if !known || url.ends_with('/') {
        let message = format!(
            "the address {url:?} is not of the form https://HOST without a slash at the end"
        );
        return Err(Error::invalid(message).field(setting));
    }
    Ok(())
}

/// Percent-encoding of everything but what is safe everywhere.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// FNV-1a in hexadecimal: the same on every machine and in every version, which the standard library's hashes don't promise.
pub fn fingerprint(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Clock, Web};

    #[test]
    fn links_are_followed_within_the_api_and_nowhere_else() {
        let answer = |_: &HttpRequest, _| {
            Ok(HttpResponse {
                status: 204,
                headers: Vec::new(),
                body: Vec::new(),
            })
        };
        let web = Web::new(Clock::default(), answer);
        let api = Api::new(web.clone(), "https://cloud.test", "cloud", 1000, |_| {
            Error::internal("refused")
        });
        for (path, sent) in [
            ("/a", Some("https://cloud.test/a")),
            (
                "https://cloud.test/b?page=2",
                Some("https://cloud.test/b?page=2"),
            ),
            ("https://cloud.test.evil.test/b", None),
            ("https://cloud.test@evil.test/b", None),
            ("https://other.test/b", None),
            ("b", None),
        ] {
            assert_eq!(
                api.call::<Option<u8>>("GET", path, None).is_ok(),
                sent.is_some(),
                "{path}"
            );
            assert_eq!(
                web.sent().first().map(|request| request.url.as_str()),
                sent,
                "{path}"
            );
        }
    }
}
