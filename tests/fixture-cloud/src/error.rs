//! Refusals, as clouds give them: a status, a code of the cloud's own, a message, and how long to wait.

use serde_json::{Value, json};

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    /// Milliseconds.
    pub retry_after: Option<u64>,
}

impl Error {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after: None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "Invalid", message)
    }

    pub(crate) fn not_found(what: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("there is no {what} \"{name}\""))
    }

    pub(crate) fn out_of_capacity(region: &str, size: &str) -> Self {
        Self::new(
            503,
            "OutOfCapacity",
            format!("no \"{size}\" is left in \"{region}\""),
        )
    }

    pub(crate) fn quota() -> Self {
        Self::new(
            403,
            "QuotaExceeded",
            "the account has as many instances as it may have",
        )
    }

    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::new(403, "Denied", message)
    }

    pub(crate) fn throttled(retry_after: u64) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(429, "Throttled", "too many requests")
        }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "Unavailable", message)
    }

    pub(crate) fn body(&self) -> Value {
        let mut body = json!({"code": self.code, "message": self.message});
        if let (Some(object), Some(retry_after)) = (body.as_object_mut(), self.retry_after) {
            object.insert("retryAfter".to_owned(), retry_after.into());
        }
        body
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}
