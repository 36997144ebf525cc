//! What the API server's refusals and silences mean to the daemon: a kind to act on, and a cause and a remedy for people.
//! Errors of the client are never shown as they are: those of credential programs hold what the programs printed.

use std::error::Error as StdError;

use http::StatusCode;
use kube::core::Status;
use tradewind_core::{
    exhausted,
    failure::{Failure, FailureKind},
    units::Millis,
};

pub(crate) const UNAUTHORIZED: &str = "Unauthorized";
pub(crate) const FIELD_CONFLICT: &str = "FieldConflict";
/// The longest text of the server's that is passed on.
const LONGEST: usize = 1_000;

/// A client that can't be made.
pub(crate) fn unconnected(error: &kube::Error) -> Failure {
    let cause = match error {
        kube::Error::Auth(auth) => return credential(auth),
        kube::Error::RustlsTls(tls) => tls_cause(tls),
        kube::Error::ProxyProtocolUnsupported { .. }
        | kube::Error::ProxyProtocolDisabled { .. } => {
            "it leads through a proxy, and the daemon uses none"
        }
        kube::Error::TlsRequired => "its server asks for TLS, which can't be set up",
        kube::Error::HttpError(_) => "the server's address in it is not understood",
        kube::Error::InferConfig(_) => "it does not say where the cluster is",
        _ => "a client for its server can't be made",
    };
    Failure::denied(format!("the kubeconfig can't be used: {cause}"))
        .field("grants.kubernetes.kubeconfig")
        .code("kubeconfig")
}

/// The texts of these errors may quote what was in the kubeconfig.
fn tls_cause(error: &kube::client::RustlsTlsError) -> &'static str {
    use kube::client::RustlsTlsError as Tls;
    match error {
        Tls::InvalidIdentityPem(_) => "its client certificate or key is not in PEM",
        Tls::MissingPrivateKey => "its client certificate has no private key",
        Tls::MissingCertificate => "its client key has no certificate",
        Tls::InvalidPrivateKey(_) => {
            "its client key does not go with its certificate, or is of a kind that is not understood"
        }
        Tls::AddRootCertificate(_) => "the certificate authority in it is not understood",
        Tls::NoValidNativeRootCA(_) => {
            "it names no certificate authority, and the machine's own can't be read"
        }
        _ => "its certificates or keys are not understood",
    }
}

fn credential(error: &kube::client::AuthError) -> Failure {
    use kube::client::AuthError as Auth;
    let reason = match error {
        Auth::AuthExecStart(source) => format!("its program can't be started: {}", source.kind()),
        Auth::AuthExecRun { cmd, out } => {
            format!("its program \"{cmd}\" failed with {}", out.status)
        }
        Auth::ReadTokenFile(source, path) => format!(
            "its token file \"{}\" can't be read: {}",
            path.display(),
            source.kind()
        ),
        _ => "what it gives is not understood".to_owned(),
    };
    Failure::denied(format!("the kubeconfig gives no credential: {reason}"))
        .field("grants.kubernetes.kubeconfig")
        .code("credential")
        .remedy("run the program by hand as the daemon's user, or renew the credential")
}

/// No answer.
pub(crate) fn unanswered(error: &kube::Error, what: &str) -> Failure {
    if let Some(auth) = chain(error).find_map(|e| e.downcast_ref()) {
        return credential(auth);
    }
    if let Some(own) =
        exhausted::out_of_files(error, &format!("the api server can't be asked to {what}"))
    {
        return own;
    }
    Failure::unavailable(format!(
        "the api server can't be reached to {what}: {}",
        cause(error)
    ))
    .code("unreachable")
    .remedy(
        "see that the API server runs and that the daemon reaches the address in the kubeconfig",
    )
}

pub(crate) fn late(timeout: Millis, what: &str) -> Failure {
    Failure::unavailable(format!(
        "the api server has not answered within {timeout} to {what}"
    ))
    .code("unreachable")
    .remedy(
        "see that the API server runs; timeout in [grants.kubernetes] says how long it may take",
    )
}

/// The innermost reason, in the words of the operating system where it has some.
fn cause(error: &kube::Error) -> String {
    let io = chain(error)
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .last();
    match (io, chain(error).last()) {
        // An error of TLS comes as one of input and output, with its text inside.
        (Some(io), _)
            if io.kind() != std::io::ErrorKind::Other
                && io.kind() != std::io::ErrorKind::InvalidData =>
        {
            io.kind().to_string()
        }
        (_, Some(last)) => short(&last.to_string()),
        (_, None) => "no reason was given".to_owned(),
    }
}

/// An error and all that is behind it.
fn chain(error: &kube::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let first: &(dyn StdError + 'static) = error;
    std::iter::successors(Some(first), |error: &&'_ (dyn StdError + 'static)| {
        (*error).source()
    })
}

fn short(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if out.len() < text.len() && text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

/// An answer that is none.
pub(crate) fn refused(
    code: StatusCode,
    body: &[u8],
    retry_after: Option<Millis>,
    what: &str,
) -> Failure {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    let said = if status.message.is_empty() {
        code.to_string()
    } else {
        short(&status.message)
    };
    let field = status
        .details
        .as_ref()
        .and_then(|d| d.causes.first())
        .map(|c| c.field.clone())
        .filter(|field| !field.is_empty());
    let of = |kind: FailureKind, message: String| {
        let reason = if status.reason.is_empty() {
            code.as_str().to_owned()
        } else {
            status.reason.clone()
        };
        Failure {
            field: field.clone(),
            ..Failure::new(kind, message).code(reason)
        }
    };
    match code.as_u16() {
        401 => of(FailureKind::Denied, format!("the cluster does not accept the credential of the kubeconfig to {what}"))
            .code(UNAUTHORIZED)
            .remedy("renew the credential that [grants.kubernetes] of the instance file names: it is read again without a restart"),
        403 if said.contains("exceeded quota") => of(FailureKind::Quota, format!("a quota of the namespace stands in the way: {said}"))
            .code("QuotaExceeded")
            .remedy("raise the namespace's ResourceQuota, or ask for less"),
        403 if said.contains("is forbidden: User ") || said.contains("cannot ") => {
            of(FailureKind::Denied, format!("the cluster does not allow it to {what}: {said}"))
                .remedy("give the kubeconfig's user a Role with this verb on this resource")
        }
        403 => of(FailureKind::Invalid, format!("the cluster does not take it to {what}: {said}"))
            .remedy("an admission rule of the cluster says no: change the workload, or the rule"),
        404 => of(FailureKind::NotFound, format!("not there to {what}: {said}")),
        409 if said.contains("conflict with") => of(FailureKind::Invalid, format!("another manager holds a field: {said}"))
            .code(FIELD_CONFLICT)
            .remedy("have that manager give the field up, or add force-conflicts = true to [grants.kubernetes] of the instance file"),
        409 | 410 => of(FailureKind::Unavailable, format!("it has changed meanwhile, to {what}: {said}")),
        429 => of(FailureKind::Throttled, format!("the api server asks for a pause before the next request to {what}"))
            .retry_after(retry_after),
        400 | 405 | 406 | 413 | 415 | 422 => of(FailureKind::Invalid, format!("the api server does not accept it to {what}: {said}")),
        500..=599 => of(FailureKind::Unavailable, format!("the api server fails to {what}: {said}")).retry_after(retry_after),
        _ => of(FailureKind::Internal, format!("an answer that is not understood to {what}: {said}")),
    }
}
