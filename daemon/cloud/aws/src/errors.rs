//! From AWS's answers to the contract's cases, with AWS's code kept. What to do about it is never decided here.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tradewind_core::{
    exhausted,
    failure::{Failure, FailureKind},
    units::Millis,
};

/// The longest text of AWS that is passed on, in characters: a refused permission comes with a long encoded one.
const LONGEST: usize = 400;
/// What is asked for where AWS only says that it is too much.
const PAUSE: Millis = Millis(2000);

/// Codes that tell of credentials which are no longer, or never were, good.
const CREDENTIALS: [&str; 9] = [
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "MissingAuthenticationToken",
];
const PERMISSIONS: [&str; 5] = [
    "UnauthorizedOperation",
    "AccessDenied",
    "AccessDeniedException",
    "OptInRequired",
    "Blocked",
];
const CAPACITY: [&str; 8] = [
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientCapacity",
    "InsufficientCapacityOnHost",
    "SpotMaxPriceTooLow",
    "Unsupported",
    "InsufficientFreeAddressesInSubnet",
];
const QUOTA: [&str; 12] = [
    "InstanceLimitExceeded",
    "VcpuLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "VolumeLimitExceeded",
    "AddressLimitExceeded",
    "NetworkInterfaceLimitExceeded",
    "TooManyLoadBalancers",
    "TooManyTargetGroups",
    "TooManyListeners",
    "TooManyTargets",
    "TooManyRegistrationsForTargetId",
    "TooManyTags",
];
const THROTTLED: [&str; 5] = [
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "RequestThrottled",
];
const MISSING: [&str; 6] = [
    "InvalidInstanceID.NotFound",
    "LoadBalancerNotFound",
    "TargetGroupNotFound",
    "ListenerNotFound",
    "RuleNotFound",
    "InvalidAMIID.NotFound",
];

/// Whether other credentials would help.
pub(crate) fn is_about_credentials(failure: &Failure) -> bool {
    failure
        .code
        .as_deref()
        .is_some_and(|code| CREDENTIALS.contains(&code))
}

/// Whether what was named does not exist.
pub(crate) fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    code(error).is_some_and(|code| MISSING.contains(&code))
}

pub(crate) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code)
}

/// Codes after which the same request, sent again at once, would only cost time: nothing is free, or a limit is reached.
pub(crate) fn is_settled(code: &str) -> bool {
    CAPACITY.contains(&code) || QUOTA.contains(&code)
}

/// The failure of an operation, named as its permission is (`ec2:RunInstances`).
pub(crate) fn failure<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            told(
                operation,
                status,
                answer.err().code().unwrap_or_default(),
                answer.err().message().unwrap_or_default(),
            )
        }
        SdkError::TimeoutError(_) => {
            Failure::unavailable(format!("{operation} was not answered in time")).code("timeout")
        }
        SdkError::ResponseError(_) => Failure::unavailable(format!(
            "the answer to {operation} broke off or makes no sense"
        )),
        other => unsent(operation, other),
    }
}

fn told(operation: &str, status: u16, code: &str, message: &str) -> Failure {
    let kind = match code {
        code if CREDENTIALS.contains(&code) || PERMISSIONS.contains(&code) => FailureKind::Denied,
        code if CAPACITY.contains(&code) => FailureKind::OutOfCapacity,
        code if QUOTA.contains(&code) => FailureKind::Quota,
        code if THROTTLED.contains(&code) => FailureKind::Throttled,
        // Two calls that were meant to be one differ: the next attempt has another token.
        "IdempotentParameterMismatch" | "IdempotentInstanceTerminated" => FailureKind::Internal,
        code if code.ends_with("LimitExceeded") => FailureKind::Quota,
        code if MISSING.contains(&code) && field(code, message).is_none() => FailureKind::NotFound,
        code if code.starts_with("Invalid")
            || code.starts_with("Missing")
            || code == "ValidationError" =>
        {
            FailureKind::Invalid
        }
        _ if status >= 500 || status == 408 => FailureKind::Unavailable,
        _ if status == 429 => FailureKind::Throttled,
        _ if status == 401 || status == 403 => FailureKind::Denied,
        _ if status == 404 => FailureKind::NotFound,
        _ => FailureKind::Invalid,
    };
    let said: String = message.chars().take(LONGEST).collect();
    let said = if said.is_empty() {
        format!("AWS answers {status}")
    } else {
        said
    };
    let mut failure = Failure::new(kind, format!("{operation}: {}", said.trim_end_matches('.')));
    if !code.is_empty() {
        failure = failure.code(code);
    }
    match kind {
        FailureKind::Denied if CREDENTIALS.contains(&code) => failure
            .field("credentials")
            .remedy("renew what credentials in [grants.aws] of the instance file names; it is read again by itself, without a restart"),
        FailureKind::Denied => failure.remedy(format!("allow \"{operation}\" in the policy of the identity that signs for this instance")),
        FailureKind::Quota => failure.remedy("have the account's limit raised (Service Quotas), or let fewer run"),
        FailureKind::Throttled => failure.retry_after(Some(PAUSE)),
        FailureKind::Invalid => match field(code, message) {
            Some(field) => failure.field(field),
            None => failure,
        },
        _ => failure,
    }
}

/// The argument that a code is about.
fn field(code: &str, message: &str) -> Option<&'static str> {
    let by_code = [
        ("InvalidAMIID", "image"),
        ("InvalidSubnet", "subnet"),
        ("SubnetNotFound", "subnets"),
        ("InvalidGroup", "security-groups"),
        ("InvalidSecurityGroup", "security-groups"),
        ("InvalidKeyPair", "key-name"),
        ("InvalidInstanceType", "instance-type"),
        ("InvalidUserData", "user-data"),
        ("InvalidZone", "zone"),
        ("InvalidAvailabilityZone", "zone"),
    ];
    let by_message = [
        ("InstanceType", "instance-type"),
        ("instance type", "instance-type"),
        ("iamInstanceProfile", "instance-profile"),
        ("availability zone", "zone"),
        ("availabilityZone", "zone"),
        ("User data", "user-data"),
    ];
    let found = |table: &[(&str, &'static str)], fits: &dyn Fn(&str) -> bool| {
        table
            .iter()
            .find(|(key, _)| fits(key))
            .map(|(_, field)| *field)
    };
    found(&by_code, &|key| code.starts_with(key)).or_else(|| {
        let by_text = found(&by_message, &|key| message.contains(key));
        by_text.filter(|_| code.starts_with("InvalidParameter"))
    })
}

/// It never got to AWS. A failure of our own, in whatever it is wrapped, is told as it is.
fn unsent(operation: &str, error: &(dyn StdError + 'static)) -> Failure {
    if let Some(own) = exhausted::out_of_files(error, operation) {
        return own;
    }
    let (mut next, mut credentials, mut last) = (error.source(), false, String::new());
    while let Some(cause) = next {
        if let Some(ours) = cause.downcast_ref::<Failure>() {
            return ours.clone();
        }
        credentials |= cause.is::<CredentialsError>();
        last = cause.to_string();
        next = cause.source();
    }
    let last: String = last.chars().take(LONGEST).collect();
    if credentials {
        return Failure::denied(format!("{operation}: there are no credentials: {last}"))
            .field("credentials")
            .code("no-credentials")
            .remedy("see that credentials in [grants.aws] of the instance file names a source that has some");
    }
    Failure::unavailable(format!("{operation}: AWS can't be reached: {last}")).code("unreachable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_of_aws_is_one_of_the_contracts_cases_and_is_kept() {
        use FailureKind::{
            Denied, Internal, Invalid, NotFound, OutOfCapacity, Quota, Throttled, Unavailable,
        };
        for (status, code, kind) in [
            (500, "InsufficientInstanceCapacity", OutOfCapacity),
            (400, "SpotMaxPriceTooLow", OutOfCapacity),
            (400, "InstanceLimitExceeded", Quota),
            (400, "VcpuLimitExceeded", Quota),
            (400, "MaxSpotInstanceCountExceeded", Quota),
            (400, "SomethingLimitExceeded", Quota),
            (503, "RequestLimitExceeded", Throttled),
            (400, "Throttling", Throttled),
            (401, "AuthFailure", Denied),
            (403, "UnauthorizedOperation", Denied),
            (400, "ExpiredToken", Denied),
            (403, "InvalidClientTokenId", Denied),
            (400, "InvalidParameterValue", Invalid),
            (400, "InvalidAMIID.NotFound", Invalid),
            (400, "InvalidInstanceID.NotFound", NotFound),
            (400, "LoadBalancerNotFound", NotFound),
            (400, "IdempotentParameterMismatch", Internal),
            (500, "InternalError", Unavailable),
            (503, "Unavailable", Unavailable),
            (503, "", Unavailable),
        ] {
            let failure = told("ec2:RunInstances", status, code, "so it is.");
            assert_eq!(
                (failure.kind, failure.code.as_deref()),
                (kind, (!code.is_empty()).then_some(code)),
                "{status} {code}"
            );
            assert_eq!(
                failure.remedy.is_some(),
                matches!(kind, Denied | Quota),
                "{code}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let field = |code: &str, message: &str| told("ec2:RunInstances", 400, code, message).field;
        assert_eq!(
            field(
                "InvalidParameterValue",
                "Invalid value 'x9.big' for InstanceType"
            )
            .as_deref(),
            Some("instance-type")
        );
        assert_eq!(
            field("InvalidSubnetID.NotFound", "").as_deref(),
            Some("subnet")
        );
        assert_eq!(
            field("InvalidKeyPair.NotFound", "").as_deref(),
            Some("key-name")
        );
        assert_eq!(
            field("InvalidAMIID.Malformed", "").as_deref(),
            Some("image")
        );
        let denied = told(
            "ec2:RunInstances",
            403,
            "UnauthorizedOperation",
            &"x".repeat(3000),
        );
        assert!(
            denied.message.len() < 500 && denied.remedy.unwrap().contains("\"ec2:RunInstances\"")
        );
        assert_eq!(
            told("x", 503, "RequestLimitExceeded", "").retry_after,
            Some(PAUSE)
        );
    }
}
