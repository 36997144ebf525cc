//! What the API shows and takes of tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use tradewind_core::{
    identity::{Role, Scope, TokenRecord, TokenState},
    list::Listed,
    names::{Actor, TokenId, TokenName},
    units::{Instant, Millis},
};

/// A token, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenView {
    pub id: TokenId,
    pub name: TokenName,
    pub role: Role,
    pub namespaces: Scope,
    pub state: TokenState,
    pub created_at: Instant,
    pub created_by: Actor,
    /// Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Instant>,
    /// To within an hour. Absent: not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Instant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Instant>,
}

impl TokenView {
    pub fn new(record: &TokenRecord, last_used: Option<Instant>, now: Instant) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            role: record.power.role,
            namespaces: record.power.namespaces.clone(),
            state: record.state(now),
            created_at: record.created_at,
            created_by: record.created_by.clone(),
            expires_at: record.power.expires_at,
            last_used,
            revoked_at: record.revoked_at,
        }
    }
}

/// By name. Tokens that have ended may share one.
impl Listed for TokenView {
    const LIST: &'static str = "tokens";
    type Key = (TokenName, TokenId);

    fn key(&self) -> Self::Key {
        (self.name.clone(), self.id.clone())
    }
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "name": "ci", "role": "viewer", "namespaces": ["default"], "expiresIn": "1h" }))]
pub struct TokenRequest {
    /// Shown as `token:NAME` in events. No other active token may have it.
    pub name: TokenName,
    pub role: Role,
    /// The namespaces it reaches, or `*` for all.
    pub namespaces: Scope,
    /// How long it is valid. Absent: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Millis>,
}

/// A token just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenCreated {
    pub token: TokenView,
    /// What to send as `Authorization: Bearer`. It is shown here and never again.
    pub secret: String,
}

/// Who the sender of a request is to the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhoAmI {
    /// When the certificate ends that the daemon shows. Absent: it speaks plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_ends: Option<Instant>,
    /// As events name it.
    pub actor: Actor,
    pub role: Role,
    pub namespaces: Scope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Instant>,
}
