//! What the API shows and takes of tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use tradewind_core::{
    identity::{Role, Scope, TokenRecord, TokenState},
    list::{Choice, Listed, SortValue},
    names::{Actor, TokenId, TokenName},
    units::{Instant, Millis},
};

/// A token, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenView {
    /// Its id. No two tokens share one.
    pub id: TokenId,
    /// Its name, shown as `token:NAME` in events.
    pub name: TokenName,
    /// What its holder may do.
    pub role: Role,
    /// The namespaces that it reaches.
    pub namespaces: Scope,
    /// Whether it is accepted.
    pub state: TokenState,
    /// When it was made.
    pub created_at: Instant,
    /// Who made it.
    pub created_by: Actor,
    /// Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Instant>,
    /// To within an hour. Absent: not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Instant>,
    /// When it was revoked. Absent: it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Instant>,
}

impl TokenView {
    /// The view of a record at this instant, which says whether it has expired.
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
    const SORTS: &'static [&'static str] = &[
        "name",
        "role",
        "state",
        "createdAt",
        "expiresAt",
        "lastUsed",
    ];
    type Key = (TokenName, TokenId);

    fn key(&self) -> Self::Key {
        (self.name.clone(), self.id.clone())
    }

    fn sort_value(&self, field: &str) -> SortValue {
        match field {
            "name" => self.name.as_str().into(),
            "role" => self.role.as_str().into(),
            "state" => self.state.name().into(),
            "createdAt" => self.created_at.into(),
            "expiresAt" => self.expires_at.into(),
            "lastUsed" => self.last_used.into(),
            _ => SortValue::Nothing,
        }
    }
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(example = serde_json::json!({ "name": "ci", "role": "viewer", "namespaces": ["default"], "expiresIn": "1h" }))]
pub struct TokenRequest {
    /// Shown as `token:NAME` in events. No other active token may have it.
    pub name: TokenName,
    /// What its holder may do.
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
    /// The token, without its text.
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
    /// What the sender may do.
    pub role: Role,
    /// The namespaces that the sender reaches.
    pub namespaces: Scope,
    /// When the token ends. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Instant>,
}
