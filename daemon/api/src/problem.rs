//! The wire form of an error: RFC 9457 problem details. The API writes it, the command line reads it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::names::RequestId;

/// The media type of the body.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What kind of problem it is. Clients act on this and on the status; the texts are for people. The daemon serves a page for each under this
/// path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProblemType")]
pub enum Kind {
    /// The manifest is refused: `problems` says where.
    #[serde(
        rename = "/problems/invalid-manifest",
        alias = "urn:tradewind:problem:invalid-manifest"
    )]
    InvalidManifest,
    /// The request is refused for another reason than its manifest.
    #[serde(
        rename = "/problems/invalid-request",
        alias = "urn:tradewind:problem:invalid-request"
    )]
    InvalidRequest,
    /// What was named does not exist, or the token may not know of it.
    #[serde(
        rename = "/problems/not-found",
        alias = "urn:tradewind:problem:not-found"
    )]
    NotFound,
    /// It was there, and is not kept any more.
    #[serde(rename = "/problems/gone")]
    Gone,
    /// The object has another generation than the request was made for.
    #[serde(
        rename = "/problems/generation-mismatch",
        alias = "urn:tradewind:problem:generation-mismatch"
    )]
    GenerationMismatch,
    /// The object's state does not allow it.
    #[serde(
        rename = "/problems/conflict",
        alias = "urn:tradewind:problem:conflict"
    )]
    Conflict,
    /// The token may not do it.
    #[serde(
        rename = "/problems/forbidden",
        alias = "urn:tradewind:problem:forbidden"
    )]
    Forbidden,
    /// There is no token, or it is not accepted.
    #[serde(
        rename = "/problems/unauthenticated",
        alias = "urn:tradewind:problem:unauthenticated"
    )]
    Unauthenticated,
    /// A limit of the token, its address or the daemon is reached.
    #[serde(
        rename = "/problems/too-many-requests",
        alias = "urn:tradewind:problem:too-many-requests"
    )]
    TooManyRequests,
    /// A plugin that had to be called failed.
    #[serde(
        rename = "/problems/plugin-failed",
        alias = "urn:tradewind:problem:plugin-failed"
    )]
    PluginFailed,
    /// The daemon can't answer at the moment.
    #[serde(
        rename = "/problems/unavailable",
        alias = "urn:tradewind:problem:unavailable"
    )]
    Unavailable,
    /// The daemon is starting: nothing of the request was done. The same request can be sent again.
    #[serde(rename = "/problems/starting")]
    Starting,
    /// The state takes no writes.
    #[serde(rename = "/problems/storage", alias = "urn:tradewind:problem:storage")]
    Storage,
    /// The daemon failed: its log has the request's id.
    #[serde(
        rename = "/problems/internal",
        alias = "urn:tradewind:problem:internal"
    )]
    Internal,
    /// One that this version does not know.
    #[serde(other, rename = "about:blank")]
    Other,
}

/// Problem details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProblemDetails")]
pub struct Problem {
    /// What kind of problem it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The kind, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request, for people.
    #[serde(default)]
    pub detail: String,
    /// The path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The request's id, as in the daemon's log and in the header `x-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// Everything that is wrong with the input, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<tradewind_manifest::Problem>,
    /// The causes, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What can be done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Kind {
    /// The title of the kind's problems.
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidManifest => "The manifest is not valid",
            Self::InvalidRequest => "The request is not valid",
            Self::NotFound => "Not found",
            Self::Gone => "Not kept any more",
            Self::GenerationMismatch => "Another change came first",
            Self::Conflict => "Not possible at the moment",
            Self::Forbidden => "Refused",
            Self::Unauthenticated => "No valid token",
            Self::TooManyRequests => "Too many requests",
            Self::PluginFailed => "A plugin call failed",
            Self::Unavailable => "The daemon can't answer now",
            Self::Starting => "The daemon is starting",
            Self::Storage => "The state takes no writes",
            Self::Internal => "The daemon failed",
            Self::Other => "Failed",
        }
    }
}
