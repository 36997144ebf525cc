//! Identities: what a role may do, which namespaces a token reaches, what the state keeps of a token, and who may make which.
//! Pure: it draws no random numbers and asks no clock. It must not know how a token reaches the daemon.

mod scope;
mod secret;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{
    list::Choice,
    names::{Actor, Digest, TokenId, TokenName},
    units::Instant,
};

pub use scope::{Scope, ScopeError};
pub use secret::{Malformed, Secret};

/// Where tokens are kept.
pub const TOKENS: &str = "tokens/";
/// When tokens were last used, by name: apart from their documents, which change only when somebody changes them.
pub const TOKEN_USES: &str = "token-uses/";

/// What a token may do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, and changes deployments.
    Operator,
    /// Reads, and lets plans of others go ahead; it changes nothing by itself.
    Approver,
    /// Everything, tokens and plugins included.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Approver, Self::Admin];

    /// Whether who has this role may do what needs the other.
    pub fn includes(self, needed: Self) -> bool {
        self == needed || self == Self::Admin || needed == Self::Viewer
    }

    /// As the API and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{value}\" is not a role: use viewer, operator, approver or admin")]
pub struct RoleError {
    /// The text.
    pub value: String,
}

impl std::str::FromStr for Role {
    type Err = RoleError;
    fn from_str(s: &str) -> Result<Self, RoleError> {
        Self::ALL
            .into_iter()
            .find(|r| r.as_str() == s)
            .ok_or_else(|| RoleError {
                value: s.to_owned(),
            })
    }
}

/// Whether a token lets anybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenState {
    /// It does.
    Active,
    /// Its time has passed.
    Expired,
    /// Somebody has ended it.
    Revoked,
}

impl TokenState {
    /// As the API and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Choice for TokenState {
    const WHAT: &'static str = "a token's status";
    const ALL: &'static [Self] = &[Self::Active, Self::Expired, Self::Revoked];

    fn name(self) -> &'static str {
        self.as_str()
    }
}

/// What a token may do, and until when: the part of it that is compared when somebody makes another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Power {
    /// What its holder may do.
    pub role: Role,
    /// The namespaces that it reaches.
    pub namespaces: Scope,
    /// When it ends. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Instant>,
}

/// A token as the state keeps it: its text is known to its holder alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRecord {
    /// Its id.
    pub id: TokenId,
    /// Unique among those that are active.
    pub name: TokenName,
    /// What it may do, and until when.
    #[serde(flatten)]
    pub power: Power,
    /// Of the token's text.
    pub hash: Digest,
    /// When it was made.
    pub created_at: Instant,
    /// Who made it.
    pub created_by: Actor,
    /// When it was revoked. Absent: it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Instant>,
}

/// When a token was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenUse {
    /// When.
    pub at: Instant,
}

/// Why somebody may not make a token, or end one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Escalation {
    #[error("the role \"{held}\" may not manage tokens: the role \"admin\" may")]
    Role { held: Role },
    #[error("the namespaces {wanted} go beyond your own: {held}")]
    Namespaces { wanted: Scope, held: Scope },
    #[error("a token of yours has to expire by {held}, when your own does")]
    Expiry { held: Instant },
}

impl Power {
    /// The power of the first token: everything, for ever.
    pub fn whole() -> Self {
        Self {
            role: Role::Admin,
            namespaces: Scope::All,
            expires_at: None,
        }
    }

    /// Whether who has this may make a token with `wanted`. Nobody hands out more than they hold.
    ///
    /// # Errors
    /// What of it would be more.
    pub fn may_grant(&self, wanted: &Self) -> Result<(), Escalation> {
        self.may_manage(wanted)?;
        match self.expires_at {
            Some(held) if wanted.expires_at.is_none_or(|wanted| wanted > held) => {
                Err(Escalation::Expiry { held })
            }
            _ => Ok(()),
        }
    }

    /// Whether who has this may see and end a token with `other`.
    ///
    /// # Errors
    /// What of it is beyond them.
    pub fn may_manage(&self, other: &Self) -> Result<(), Escalation> {
        if !self.role.includes(Role::Admin) {
            return Err(Escalation::Role { held: self.role });
        }
        if !self.namespaces.covers(&other.namespaces) {
            return Err(Escalation::Namespaces {
                wanted: other.namespaces.clone(),
                held: self.namespaces.clone(),
            });
        }
        Ok(())
    }
}

impl TokenRecord {
    /// The key of the record.
    pub fn path(&self) -> String {
        format!("{TOKENS}{}", self.name)
    }

    /// Whether it lets anybody in at this instant.
    pub fn state(&self, now: Instant) -> TokenState {
        if self.revoked_at.is_some() {
            TokenState::Revoked
        } else if self.power.expires_at.is_some_and(|at| at <= now) {
            TokenState::Expired
        } else {
            TokenState::Active
        }
    }

    /// Its holder, as events name them.
    pub fn actor(&self) -> Actor {
        Actor::token(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power(role: Role, namespaces: &[&str], expires_at: Option<u64>) -> Power {
        let names = namespaces
            .iter()
            .map(|n| (*n).to_owned())
            .collect::<Vec<_>>();
        Power {
            role,
            namespaces: Scope::try_from(names).unwrap(),
            expires_at: expires_at.map(Instant),
        }
    }

    #[test]
    fn roles_include_what_they_should() {
        use Role::{Admin, Approver, Operator, Viewer};
        let table = [
            (Viewer, [true, false, false, false]),
            (Operator, [true, true, false, false]),
            (Approver, [true, false, true, false]),
            (Admin, [true; 4]),
        ];
        for (held, expected) in table {
            assert_eq!(
                Role::ALL.map(|needed| held.includes(needed)),
                expected,
                "{held}"
            );
        }
    }

    #[test]
    fn nobody_hands_out_more_than_they_hold() {
        let whole = Power::whole();
        let team = power(Role::Admin, &["team"], Some(100));
        assert_eq!(whole.may_grant(&whole), Ok(()));
        assert_eq!(whole.may_grant(&team), Ok(()));
        assert_eq!(
            team.may_grant(&power(Role::Operator, &["team"], Some(100))),
            Ok(())
        );
        assert!(matches!(
            team.may_grant(&power(Role::Viewer, &["team", "other"], Some(1))),
            Err(Escalation::Namespaces { .. })
        ));
        assert!(matches!(
            team.may_grant(&power(Role::Viewer, &["*"], Some(1))),
            Err(Escalation::Namespaces { .. })
        ));
        assert!(matches!(
            team.may_grant(&power(Role::Viewer, &["team"], None)),
            Err(Escalation::Expiry { .. })
        ));
        assert!(matches!(
            team.may_grant(&power(Role::Viewer, &["team"], Some(101))),
            Err(Escalation::Expiry { .. })
        ));
        for role in [Role::Viewer, Role::Operator, Role::Approver] {
            let held = power(role, &["*"], None);
            assert!(
                matches!(
                    held.may_grant(&power(Role::Viewer, &["a"], None)),
                    Err(Escalation::Role { .. })
                ),
                "{role}"
            );
        }
    }
}
