//! From Azure's refusals to the contract's cases. The code decides where there is one that says more than the status.

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
    code: String,
    message: String,
}

pub(crate) fn refusal(response: &HttpResponse) -> Error {
    let Refusal { error: told } = serde_json::from_slice(&response.body).unwrap_or_default();
    let kind = kind(&told.code, response.status);
    let said = if told.message.is_empty() {
        "no reason given"
    } else {
        told.message.lines().next().unwrap_or_default()
    };
    let mut error = Error::new(kind, format!("azure answers {}: {said}", response.status));
    if !told.code.is_empty() {
        error = error.code(told.code.as_str());
    }
    if let Some(remedy) = remedy(&told.code, kind) {
        error = error.remedy(remedy);
    }
    if kind == ErrorKind::Throttled {
        error.retry_after = retry_after(response);
    }
    error
}

/// The resource manager's codes, and those of container instances.
fn kind(code: &str, status: u16) -> ErrorKind {
    match code {
        "ContainerGroupQuotaReached"
        | "QuotaExceeded"
        | "ResourceQuotaExceeded"
        | "OperationNotAllowed" => ErrorKind::Quota,
        // A location that has no room says the service is not available, with 409.
        "ServiceUnavailable" if status == 409 => ErrorKind::OutOfCapacity,
        "SkuNotAvailable"
        | "AllocationFailed"
        | "ZonalAllocationFailed"
        | "InsufficientCapacity"
        | "ResourceRequestsNotSupported"
        | "LocationNotAvailableForResourceType" => ErrorKind::OutOfCapacity,
        "TooManyRequests" | "SubscriptionRequestsThrottled" => ErrorKind::Throttled,
        "AuthorizationFailed"
        | "LinkedAuthorizationFailed"
        | "InvalidAuthenticationToken"
        | "ExpiredAuthenticationToken"
        | "AuthenticationFailed"
        | "MissingSubscriptionRegistration"
        | "SubscriptionNotFound"
        | "ReadOnlyDisabledSubscription"
        | "RequestDisallowedByPolicy"
        | "ResourceGroupNotFound" => ErrorKind::Denied,
        // It is on its way to another state: what is asked for can be had after that.
        "ContainerGroupTransitioning"
        | "Conflict"
        | "AnotherOperationInProgress"
        | "RegistryErrorResponse" => ErrorKind::Unavailable,
        "InaccessibleImage" => ErrorKind::Invalid,
        _ if status == 409 => ErrorKind::Unavailable,
        _ => kind_of_status(status),
    }
}

fn remedy(code: &str, kind: ErrorKind) -> Option<&'static str> {
    Some(match code {
        "MissingSubscriptionRegistration" => {
            "register Microsoft.ContainerInstance in the subscription: az provider register -n Microsoft.ContainerInstance"
        }
        "ResourceGroupNotFound" => "create the resource group of the settings, or name another",
        "SubscriptionNotFound" => {
            "see that subscription in the settings is one of the credential's tenant"
        }
        "RequestDisallowedByPolicy" => {
            "a policy of the subscription forbids it: ask whoever set it"
        }
        "InaccessibleImage" => "see that the image exists and can be pulled without a password",
        _ if kind == ErrorKind::Quota => {
            "ask for a higher quota of container instances in this location, or list more locations"
        }
        _ if kind == ErrorKind::Denied => {
            "see that the client of the granted credential has the role Contributor on the resource group, and that its secret has not expired"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tradewind_plugin_sdk::types::Entry;

    use super::*;

    #[test]
    fn the_code_decides_then_the_status() {
        for (status, code, kind) in [
            (409, "ServiceUnavailable", ErrorKind::OutOfCapacity),
            (503, "ServiceUnavailable", ErrorKind::Unavailable),
            (409, "ContainerGroupQuotaReached", ErrorKind::Quota),
            (409, "SkuNotAvailable", ErrorKind::OutOfCapacity),
            (409, "ContainerGroupTransitioning", ErrorKind::Unavailable),
            (403, "AuthorizationFailed", ErrorKind::Denied),
            (401, "ExpiredAuthenticationToken", ErrorKind::Denied),
            (404, "ResourceGroupNotFound", ErrorKind::Denied),
            (404, "ResourceNotFound", ErrorKind::NotFound),
            (400, "InaccessibleImage", ErrorKind::Invalid),
            (429, "TooManyRequests", ErrorKind::Throttled),
            (500, "InternalServerError", ErrorKind::Unavailable),
            (502, "", ErrorKind::Unavailable),
        ] {
            let body = format!(r#"{{"error":{{"code":"{code}","message":"so it is\nand more"}}}}"#)
                .into_bytes();
            let headers = vec![Entry {
                key: "Retry-After".to_owned(),
                value: "7".to_owned(),
            }];
            let error = refusal(&HttpResponse {
                status,
                headers,
                body,
            });
            assert_eq!(
                (error.kind, error.code.as_deref()),
                (kind, (!code.is_empty()).then_some(code)),
                "{status} {code}"
            );
            assert_eq!(
                error.retry_after,
                (kind == ErrorKind::Throttled).then_some(7000)
            );
            assert_eq!(error.message, format!("azure answers {status}: so it is"));
        }
    }
}
