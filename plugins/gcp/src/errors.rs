//! From Google's refusals to the contract's cases: those of requests, and those of operations that were accepted and failed. The reason
//! decides where there is one that says more than the status: 403 is a missing permission, a quota and a rate limit.

use serde::Deserialize;
use tradewind_plugin_sdk::{
    Error, ErrorKind,
    api::{kind_of_status, retry_after},
    host::HttpResponse,
};

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    error: Told,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Told {
    message: String,
    errors: Vec<Reason>,
    status: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Reason {
    reason: String,
}

/// What went wrong with an operation.
#[derive(Debug, Deserialize)]
pub(crate) struct Failed {
    errors: Vec<FailedBy>,
}

#[derive(Debug, Deserialize)]
struct FailedBy {
    code: String,
    #[serde(default)]
    message: String,
}

/// The reason of a creation under a name that is taken.
pub(crate) const ALREADY_EXISTS: &str = "alreadyExists";

pub(crate) fn refusal(response: &HttpResponse) -> Error {
    let Refusal { error: told } = serde_json::from_slice(&response.body).unwrap_or_default();
    let reason = told
        .errors
        .first()
        .map(|reason| reason.reason.clone())
        .filter(|reason| !reason.is_empty());
    let code = reason.unwrap_or(told.status);
    let kind = kind(&code).unwrap_or_else(|| {
        if response.status == 409 {
            ErrorKind::Unavailable
        } else {
            kind_of_status(response.status)
        }
    });
    let mut error = explained(
        kind,
        &code,
        &format!("google answers {}", response.status),
        &told.message,
    );
    if kind == ErrorKind::Throttled {
        error.retry_after = retry_after(response);
    }
    error
}

impl Failed {
    pub(crate) fn error(&self) -> Error {
        let Some(first) = self.errors.first() else {
            return Error::unavailable("an operation has failed without a reason");
        };
        let kind = kind(&first.code).unwrap_or(ErrorKind::Unavailable);
        explained(
            kind,
            &first.code,
            "the instance could not be made",
            &first.message,
        )
    }
}

fn explained(kind: ErrorKind, code: &str, what: &str, message: &str) -> Error {
    let said = message
        .lines()
        .next()
        .filter(|line| !line.is_empty())
        .unwrap_or("no reason given");
    let mut error = Error::new(kind, format!("{what}: {said}"));
    if !code.is_empty() {
        error = error.code(code);
    }
    match remedy(code, kind) {
        Some(remedy) => error.remedy(remedy),
        None => error,
    }
}

fn kind(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "ZONE_RESOURCE_POOL_EXHAUSTED"
        | "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"
        | "STOCKOUT"
        | "resourcePoolExhausted" => ErrorKind::OutOfCapacity,
        "UNSUPPORTED_OPERATION" | "VM_MIN_COUNT_NOT_REACHED" => ErrorKind::OutOfCapacity,
        "quotaExceeded" | "QUOTA_EXCEEDED" | "limitExceeded" | "LIMIT_EXCEEDED" => ErrorKind::Quota,
        "rateLimitExceeded"
        | "userRateLimitExceeded"
        | "RATE_LIMIT_EXCEEDED"
        | "concurrentLimitExceeded" => ErrorKind::Throttled,
        "accessNotConfigured"
        | "SERVICE_DISABLED"
        | "forbidden"
        | "authError"
        | "required"
        | "insufficientPermissions"
        | "PERMISSION_DENIED"
        | "PERMISSIONS_ERROR"
        | "billingNotEnabled"
        | "UNAUTHENTICATED" => ErrorKind::Denied,
        "resourceNotReady"
        | "RESOURCE_NOT_READY"
        | "resourceInUseByAnotherResource"
        | "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE"
        | "operationInProgress"
        | "backendError"
        | "internalError"
        | "INTERNAL_ERROR" => ErrorKind::Unavailable,
        "CONDITION_NOT_MET" | "INVALID_USAGE" | "INVALID_FIELD_VALUE" | "RESOURCE_NOT_FOUND" => {
            ErrorKind::Invalid
        }
        _ => return None,
    })
}

fn remedy(code: &str, kind: ErrorKind) -> Option<&'static str> {
    Some(match code {
        "accessNotConfigured" | "SERVICE_DISABLED" => {
            "enable the Compute Engine API in the project: gcloud services enable compute.googleapis.com"
        }
        "billingNotEnabled" => "link the project to a billing account",
        _ if kind == ErrorKind::Quota => {
            "ask for a higher quota in this region, or list more zones and sizes"
        }
        _ if kind == ErrorKind::Denied => {
            "see that the service account of the granted credential has the role Compute Instance Admin, may act as the service account of the settings, and that its key is valid"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_decides_then_the_status() {
        for (status, reason, kind) in [
            (403, "quotaExceeded", ErrorKind::Quota),
            (403, "rateLimitExceeded", ErrorKind::Throttled),
            (403, "forbidden", ErrorKind::Denied),
            (403, "accessNotConfigured", ErrorKind::Denied),
            (401, "authError", ErrorKind::Denied),
            (404, "notFound", ErrorKind::NotFound),
            (409, ALREADY_EXISTS, ErrorKind::Unavailable),
            (400, "invalid", ErrorKind::Invalid),
            (429, "", ErrorKind::Throttled),
            (503, "backendError", ErrorKind::Unavailable),
            (500, "", ErrorKind::Unavailable),
        ] {
            let body = format!(r#"{{"error":{{"code":{status},"message":"so it is","errors":[{{"reason":"{reason}"}}]}}}}"#).into_bytes();
            let error = refusal(&HttpResponse {
                status,
                headers: Vec::new(),
                body,
            });
            assert_eq!(
                (error.kind, error.code.as_deref()),
                (kind, (!reason.is_empty()).then_some(reason)),
                "{status} {reason}"
            );
        }
        for (code, kind) in [
            ("ZONE_RESOURCE_POOL_EXHAUSTED", ErrorKind::OutOfCapacity),
            (
                "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
                ErrorKind::OutOfCapacity,
            ),
            ("QUOTA_EXCEEDED", ErrorKind::Quota),
            ("SOMETHING_NEW", ErrorKind::Unavailable),
        ] {
            let failed = Failed {
                errors: vec![FailedBy {
                    code: code.to_owned(),
                    message: "so it is".to_owned(),
                }],
            };
            assert_eq!(failed.error().kind, kind, "{code}");
        }
    }
}
