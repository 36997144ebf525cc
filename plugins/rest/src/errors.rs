//! From the cloud's refusals to the contract's cases: the one table to rewrite for another cloud.
//!
//! The code decides where there is one that says more than the status (clouds answer 403 both for a missing permission and for a quota),
//! else the status does. What to do about it is never decided here: the host acts on the case.

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Error, ErrorKind,
    api::{kind_of_status, retry_after},
    host::HttpResponse,
};

/// A refusal's body.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Refusal {
    code: String,
    message: String,
    /// Milliseconds.
    retry_after: Option<u64>,
}

/// A refusal. Its codes for tokens are those that the fleet waits for.
pub(crate) fn refusal(response: &HttpResponse) -> Error {
    let told: Refusal = serde_json::from_slice(&response.body).unwrap_or_default();
    let kind = match told.code.as_str() {
        "OutOfCapacity" => ErrorKind::OutOfCapacity,
        "QuotaExceeded" => ErrorKind::Quota,
        _ => kind_of_status(response.status),
    };
    let said = if told.message.is_empty() {
        "no reason given"
    } else {
        told.message.as_str()
    };
    let mut error = Error::new(
        kind,
        format!("the cloud answers {}: {said}", response.status),
    );
    if !told.code.is_empty() {
        error = error.code(told.code.as_str());
    }
    if kind == ErrorKind::Denied {
        error =
            error.remedy("see that the credential of the grant is valid and may manage instances");
    }
    if kind == ErrorKind::Throttled {
        error.retry_after = told.retry_after.or_else(|| retry_after(response));
    }
    error
}

#[cfg(test)]
mod tests {
    use tradewind_plugin_sdk::{fleet::TOKEN_SPENT, types::Entry};

    use super::*;

    #[test]
    fn the_code_decides_then_the_status() {
        for (status, code, kind) in [
            (503, "OutOfCapacity", ErrorKind::OutOfCapacity),
            (403, "QuotaExceeded", ErrorKind::Quota),
            (403, "Denied", ErrorKind::Denied),
            (401, "", ErrorKind::Denied),
            (404, "NotFound", ErrorKind::NotFound),
            (410, TOKEN_SPENT, ErrorKind::NotFound),
            (400, "Invalid", ErrorKind::Invalid),
            (503, "RegionDown", ErrorKind::Unavailable),
            (302, "", ErrorKind::Internal),
        ] {
            let body = format!(r#"{{"code":"{code}","message":"so it is"}}"#).into_bytes();
            let error = refusal(&HttpResponse {
                status,
                headers: Vec::new(),
                body,
            });
            assert_eq!(
                (error.kind, error.code.as_deref()),
                (kind, (!code.is_empty()).then_some(code)),
                "{status} {code}"
            );
        }
    }

    #[test]
    fn the_time_to_wait_comes_from_the_body_or_the_header() {
        let header = Entry {
            key: "Retry-After".into(),
            value: "3".into(),
        };
        let told = |body: &str| {
            let response = HttpResponse {
                status: 429,
                headers: vec![header.clone()],
                body: body.as_bytes().to_vec(),
            };
            refusal(&response).retry_after
        };
        assert_eq!(
            (told("not json"), told(r#"{"retryAfter":250}"#)),
            (Some(3000), Some(250))
        );
    }
}
