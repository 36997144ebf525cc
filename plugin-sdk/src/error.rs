//! Errors as plugin authors make them. The host acts on the kind; a plugin never decides whether to retry.

use std::fmt;

use crate::{bindings::provider::tradewind::plugin::types as wire, units::Span};

/// The code of [`Error::unsupported`].
pub const UNSUPPORTED: &str = "unsupported";

/// Why a call failed. The host acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The input can never work as it is. The host stops and reports it.
    Invalid,
    /// The credential is missing, wrong, or lacks a permission.
    Denied,
    /// The offer can't supply what it promised at the moment. The host tries the next candidate.
    OutOfCapacity,
    /// A limit of the account stands in the way. The host avoids the region and size for a while.
    Quota,
    /// Too many requests. The host waits.
    Throttled,
    /// No answer, or a failure that may pass. The host tries again.
    Unavailable,
    /// What was named does not exist.
    NotFound,
    /// A defect of the plugin, or an answer of the cloud that it does not understand.
    Internal,
}

/// A failed call: a kind for the host, and texts for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What the host acts on.
    pub kind: ErrorKind,
    /// One sentence, lowercase, without a full stop, with the offending value in quotes.
    pub message: String,
    /// The field of the input at fault, as a path (`workload.ports[0].number`).
    pub field: Option<String>,
    /// The cloud's own error code.
    pub code: Option<String>,
    /// What the operator can do about it.
    pub remedy: Option<String>,
    /// With [`ErrorKind::Throttled`]: how long the cloud asks us to wait, in milliseconds.
    pub retry_after: Option<u64>,
}

// === impl Error ===

impl Error {
    /// An error of any kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            field: None,
            code: None,
            remedy: None,
            retry_after: None,
        }
    }

    /// The input can never work as it is.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// This provider can't run what is asked for, though another may: "not here". The host sends the task elsewhere, and tells the reason
    /// like that of any excluded offer. Name what can't be had with [`Error::field`]. Where nobody can ever run it, say [`Error::invalid`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::invalid(message).code(UNSUPPORTED)
    }

    /// A credential or permission is missing.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, message)
    }

    /// The offer can't supply what it promised at the moment.
    pub fn out_of_capacity(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::OutOfCapacity, message)
    }

    /// A limit of the account stands in the way.
    pub fn quota(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Quota, message)
    }

    /// Too many requests; `retry_after` when the cloud says how long to wait.
    pub fn throttled(message: impl Into<String>, retry_after: Option<Span>) -> Self {
        Self {
            retry_after: retry_after.map(|span| span.millis()),
            ..Self::new(ErrorKind::Throttled, message)
        }
    }

    /// No answer, or a failure that may pass.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// What was named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// A defect of the plugin.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Names the field of the input at fault.
    #[must_use]
    pub fn field(mut self, path: impl Into<String>) -> Self {
        self.field = Some(path.into());
        self
    }

    /// Adds the cloud's own code.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Says what the operator can do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    fn fault(self) -> wire::Fault {
        wire::Fault {
            message: self.message,
            field: self.field,
            code: self.code,
            remedy: self.remedy,
        }
    }

    fn of(kind: ErrorKind, fault: wire::Fault) -> Self {
        Self {
            kind,
            message: fault.message,
            field: fault.field,
            code: fault.code,
            remedy: fault.remedy,
            retry_after: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for wire::Fault {
    fn from(error: Error) -> Self {
        error.fault()
    }
}

impl From<Error> for wire::Error {
    fn from(error: Error) -> Self {
        let (kind, retry_after) = (error.kind, error.retry_after);
        let fault = error.fault();
        match kind {
            ErrorKind::Invalid => Self::Invalid(fault),
            ErrorKind::Denied => Self::Denied(fault),
            ErrorKind::OutOfCapacity => Self::OutOfCapacity(fault),
            ErrorKind::Quota => Self::Quota(fault),
            ErrorKind::Throttled => Self::Throttled(wire::Throttle { fault, retry_after }),
            ErrorKind::Unavailable => Self::Unavailable(fault),
            ErrorKind::NotFound => Self::NotFound(fault),
            ErrorKind::Internal => Self::Internal(fault),
        }
    }
}

impl From<wire::Error> for Error {
    fn from(error: wire::Error) -> Self {
        match error {
            wire::Error::Invalid(fault) => Self::of(ErrorKind::Invalid, fault),
            wire::Error::Denied(fault) => Self::of(ErrorKind::Denied, fault),
            wire::Error::OutOfCapacity(fault) => Self::of(ErrorKind::OutOfCapacity, fault),
            wire::Error::Quota(fault) => Self::of(ErrorKind::Quota, fault),
            wire::Error::Throttled(throttle) => Self {
                retry_after: throttle.retry_after,
                ..Self::of(ErrorKind::Throttled, throttle.fault)
            },
            wire::Error::Unavailable(fault) => Self::of(ErrorKind::Unavailable, fault),
            wire::Error::NotFound(fault) => Self::of(ErrorKind::NotFound, fault),
            wire::Error::Internal(fault) => Self::of(ErrorKind::Internal, fault),
        }
    }
}
