//! The wire form of an error: RFC 9457 problem details. The API writes it, the command line reads it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::names::RequestId;

/// The media type of the body.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What kind of problem it is. Clients act on this and on the status; the texts are for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProblemType")]
pub enum Kind {
    #[serde(rename = "urn:tradewind:problem:invalid-manifest")]
    InvalidManifest,
    #[serde(rename = "urn:tradewind:problem:invalid-request")]
    InvalidRequest,
    #[serde(rename = "urn:tradewind:problem:not-found")]
    NotFound,
    #[serde(rename = "urn:tradewind:problem:generation-mismatch")]
    GenerationMismatch,
    #[serde(rename = "urn:tradewind:problem:conflict")]
    Conflict,
    #[serde(rename = "urn:tradewind:problem:forbidden")]
    Forbidden,
    #[serde(rename = "urn:tradewind:problem:unauthenticated")]
    Unauthenticated,
    #[serde(rename = "urn:tradewind:problem:too-many-requests")]
    TooManyRequests,
    #[serde(rename = "urn:tradewind:problem:plugin-failed")]
    PluginFailed,
    #[serde(rename = "urn:tradewind:problem:unavailable")]
    Unavailable,
    /// The state takes no writes.
    #[serde(rename = "urn:tradewind:problem:storage")]
    Storage,
    #[serde(rename = "urn:tradewind:problem:internal")]
    Internal,
    /// One that this version does not know.
    #[serde(other, rename = "about:blank")]
    Other,
}

/// Problem details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ProblemDetails")]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: Kind,
    pub title: String,
    /// The HTTP status.
    pub status: u16,
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
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidManifest => "The manifest is not valid",
            Self::InvalidRequest => "The request is not valid",
            Self::NotFound => "Not found",
            Self::GenerationMismatch => "Another change came first",
            Self::Conflict => "Not possible at the moment",
            Self::Forbidden => "Refused",
            Self::Unauthenticated => "No valid token",
            Self::TooManyRequests => "Too many requests",
            Self::PluginFailed => "A plugin call failed",
            Self::Unavailable => "The daemon can't answer now",
            Self::Storage => "The state takes no writes",
            Self::Internal => "The daemon failed",
            Self::Other => "Failed",
        }
    }
}
