//! What went wrong between the daemon and an engine, as failures the daemon can act on: with the cause, and with what the operator can do.
//! Texts of engines are untrusted: capped, on one line.

use std::{
    error::Error as _,
    io,
    path::Path,
    time::{Duration, Instant},
};

use bollard::{Docker, errors::Error};
use tradewind_cloud::facts;
use tradewind_core::{
    diagnose, exhausted,
    failure::{Failure, FailureKind, PORT_TAKEN, REGISTRY, WORKLOAD},
    grant::ContainersGrant,
};

use crate::connect;

/// The engine's answer, if it gave one.
pub(crate) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

pub(crate) fn is_missing(error: &Error) -> bool {
    status(error) == Some(404)
}

/// Whether something of that name is there already. Podman says so with the status of a failure.
pub(crate) fn is_taken(error: &Error) -> bool {
    status(error) == Some(409)
        || (status(error) == Some(500)
            && (says(error, "already in use") || says(error, "already exists")))
}

pub(crate) fn says(error: &Error, what: &str) -> bool {
    error.to_string().to_lowercase().contains(what)
}

/// Asks again while a container is in a state that the API has no word for: podman has one for what has ended and is not tidied up yet, which
/// takes a moment.
pub(crate) async fn settled<T, F: Future<Output = Result<T, Error>>>(
    ask: impl Fn() -> F,
) -> Result<T, Error> {
    const PAUSE: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(4);
    let began = Instant::now();
    loop {
        match ask().await {
            Err(error) if is_unsettled(&error) && began.elapsed() < LONGEST => {
                tokio::time::sleep(PAUSE).await
            }
            other => return other,
        }
    }
}

fn is_unsettled(error: &Error) -> bool {
    matches!(error, Error::JsonDataError { message, .. } if message.contains("unknown variant"))
}

/// Whether the engine was not reached at all.
pub(crate) fn is_silent(error: &Error) -> bool {
    status(error).is_none()
        && !matches!(
            error,
            Error::DockerStreamError { .. } | Error::JsonDataError { .. }
        )
}

/// A failure of any question to the engine.
pub(crate) fn failure(grant: &ContainersGrant, error: &Error, doing: &str) -> Failure {
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => answered(*status_code, &shorten(message), doing),
        Error::DockerStreamError { error } => answered(500, &shorten(error), doing),
        error if is_unsettled(error) => {
            Failure::unavailable(format!("{doing}: a container is between two states"))
        }
        Error::JsonDataError { message, .. } => Failure::internal(format!(
            "{doing}: the engine's answer can't be understood: {}",
            shorten(message)
        )),
        other => unreached(grant, other),
    }
}

fn unreached(grant: &ContainersGrant, error: &Error) -> Failure {
    let socket = grant.socket.escape_debug();
    let start = format!(
        "start the engine (dockerd, or \"podman system service\"), or correct socket in [grants.containers]: it is \"{socket}\""
    );
    let silent = |why: &str| {
        Failure::unavailable(format!(
            "the container engine does not answer at \"{socket}\": {why}"
        ))
        .code("engine-unreachable")
    };
    if let Error::SocketNotFoundError(_) = error {
        return silent("there is no such socket").remedy(start);
    }
    if let Error::RequestTimeoutError = error {
        return silent("it took too long").code("engine-slow");
    }
    if let Some(own) = exhausted::out_of_files(error, "the container engine can't be asked") {
        return own;
    }
    let mut cause = error.source();
    let mut kind = None;
    while let Some(inner) = cause {
        kind = kind.or_else(|| inner.downcast_ref::<io::Error>().map(io::Error::kind));
        cause = inner.source();
    }
    match kind {
        Some(io::ErrorKind::NotFound) => silent("there is no such socket").remedy(start),
        Some(io::ErrorKind::ConnectionRefused) => silent("nobody listens").remedy(start),
        Some(io::ErrorKind::PermissionDenied) => Failure::denied(format!(
            "the daemon may not use the container engine's socket \"{socket}\""
        ))
        .code("engine-denied")
        .remedy("run the daemon as a user of the socket's group (often \"docker\" or \"podman\")"),
        Some(kind) => silent(&kind.to_string()),
        None => silent(&shorten(&error.to_string())),
    }
}

fn answered(status: u16, message: &str, doing: &str) -> Failure {
    let kind = match status {
        400 => FailureKind::Invalid,
        401 | 403 => FailureKind::Denied,
        404 => FailureKind::NotFound,
        429 => FailureKind::Throttled,
        _ => FailureKind::Unavailable,
    };
    Failure::new(kind, format!("{doing}: {message}")).code(format!("engine-{status}"))
}

/// What an engine says when it, or its machine, is in trouble. Whatever else it says of a container's parts is about that container.
const TROUBLE: [&str; 15] = [
    "no space left",
    "read-only file system",
    "too many open files",
    "cannot allocate memory",
    "resource temporarily unavailable",
    "database is locked",
    "database disk image",
    "timed out",
    "timeout",
    "deadline exceeded",
    "connection re",
    "broken pipe",
    "input/output error",
    "shutting down",
    "context canceled",
];

/// A failure of what is made for one workload: its container, networks, volumes, files. An engine that answers works, so what it can't make
/// of this workload is this workload's, unless the engine says that it is in trouble itself.
pub(crate) fn made_for(grant: &ContainersGrant, error: &Error, doing: &str) -> Failure {
    let failed = failure(grant, error, doing);
    let text = failed.message.to_lowercase();
    let answered =
        status(error).is_some_and(|s| s >= 500) || matches!(error, Error::DockerStreamError { .. });
    if answered && !diagnose::is_symptom(&text) && !TROUBLE.iter().any(|t| text.contains(t)) {
        failed.code(WORKLOAD)
    } else {
        failed
    }
}

/// A container that can't be made or started: who is at fault says the text, and where the kernel said no, the machine's figures say which
/// limit was reached.
pub(crate) async fn start(
    grant: &ContainersGrant,
    engine: &Docker,
    error: &Error,
    doing: &str,
) -> Failure {
    let failed = made_for(grant, error, doing);
    let text = failed.message.to_lowercase();
    let said = |what: &[&str]| what.iter().any(|w| text.contains(w));
    if diagnose::is_symptom(&text) {
        return limit(grant, engine, failed, doing).await;
    }
    if said(&[
        "executable file not found",
        "command that was not found",
        "no such file or directory",
    ]) && said(&["exec", "command"])
    {
        return Failure {
            kind: FailureKind::Invalid,
            ..failed
        }
        .field("command")
        .remedy("name a program that the image has");
    }
    if said(&["permission denied"]) && said(&["exec"]) {
        return Failure {
            kind: FailureKind::Invalid,
            ..failed
        }
        .field("command")
        .remedy("name a file that may be executed");
    }
    if said(&[
        "port is already allocated",
        "address already in use",
        "ports are not available",
    ]) {
        let remedy = "leave the number to the engine, or stop what listens on it";
        return Failure {
            kind: FailureKind::OutOfCapacity,
            ..failed
        }
        .code(PORT_TAKEN)
        .field("ports")
        .remedy(remedy);
    }
    failed
}

async fn limit(grant: &ContainersGrant, engine: &Docker, failed: Failure, doing: &str) -> Failure {
    let root = engine
        .info()
        .await
        .ok()
        .and_then(|info| info.docker_root_dir);
    let process = connect::process(&grant.socket)
        .await
        .unwrap_or_else(std::process::id);
    let text = failed.message.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let folders = [root.as_deref().unwrap_or("/var/lib"), "/run", "/"].map(Path::new);
        let facts = facts::read(process, &folders);
        (
            diagnose::diagnose(&text, &facts),
            diagnose::unexplained(&text, &facts),
        )
    });
    let Ok((found, unexplained)) = looked.await else {
        return failed;
    };
    match (found, unexplained) {
        (Some(found), _) => Failure::new(
            FailureKind::OutOfCapacity,
            format!(
                "{doing}: {} ({})",
                found.cause,
                said(&failed.message, doing)
            ),
        )
        .code(found.code)
        .remedy(found.remedy),
        (None, Some(looked)) => Failure {
            message: format!("{} ({looked})", failed.message),
            ..failed
        }
        .remedy("look at the kernel's limits of the engine's machine (sysctl -a, ulimit -a)"),
        (None, None) => failed,
    }
}

fn said<'a>(message: &'a str, doing: &str) -> &'a str {
    message
        .strip_prefix(doing)
        .map_or(message, |rest| rest.trim_start_matches(": "))
}

/// A pull that failed.
pub(crate) fn pull(grant: &ContainersGrant, error: &Error, image: &str) -> Failure {
    let failed = failure(
        grant,
        error,
        &format!("the image \"{image}\" can't be pulled"),
    );
    if is_silent(error) {
        return failed;
    }
    let text = failed.message.to_lowercase();
    let said = |what: &[&str]| what.iter().any(|w| text.contains(w));
    let failed = failed.field("image");
    if said(&[
        "unauthorized",
        "authentication required",
        "access denied",
        "access to the resource is denied",
        "incorrect username",
    ]) {
        let remedy = "add the registry and its credential to registries in [grants.containers] of the instance file";
        Failure {
            kind: FailureKind::Denied,
            ..failed
        }
        .code(REGISTRY)
        .remedy(remedy)
    } else if said(&[
        "manifest unknown",
        "name unknown",
        "not found",
        "invalid reference",
        "repository does not exist",
    ]) {
        Failure {
            kind: FailureKind::Invalid,
            ..failed
        }
        .remedy("correct the image's name or tag")
    } else if said(&["no space left"]) {
        Failure {
            kind: FailureKind::OutOfCapacity,
            ..failed
        }
        .code("disk-full")
        .remedy("free space where the engine keeps its images")
    } else {
        // The engine has answered: it is this image's registry that has not.
        Failure {
            kind: FailureKind::Unavailable,
            ..failed
        }
        .code(WORKLOAD)
        .remedy("check that the engine reaches the image's registry")
    }
}

/// One line of at most 600 characters.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 600;
    let line: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST)
        .collect();
    if text.trim().chars().count() > LONGEST {
        line + "…"
    } else {
        line
    }
}
