//! What a restore must not bring back: power that was taken from somebody since the backup was made. It compares the state of the backup with
//! the one that is replaced. Where there is none, or it can't be read, nobody knows what was taken back: all tokens end.

use std::collections::BTreeMap;

use serde::Serialize;
use tradewind_core::{
    document,
    identity::{Role, Scope, TOKENS, TokenRecord, TokenState},
    names::{Digest, TokenName},
    plan::stored::PLANS,
    record::{LEDGERS, NAMESPACES, SHADOWS},
    store::{Record, Txn},
    units::Instant,
};

use super::Error;

/// What says who may do what, and how much is left to them.
pub(super) const PREFIXES: [&str; 5] = [TOKENS, NAMESPACES, LEDGERS, PLANS, SHADOWS];

/// By key.
pub(super) type Documents = BTreeMap<String, Vec<u8>>;

/// A token that lets somebody in after the restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Active {
    /// Its name.
    pub name: TokenName,
    /// What its holder may do.
    pub role: Role,
    /// The namespaces that it reaches.
    pub namespaces: Scope,
    /// When it ends. Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Instant>,
}

/// What the restore does to the powers that the backup holds.
#[derive(Debug, Default)]
pub(super) struct Authority {
    pub(super) txn: Txn,
    pub(super) active: Vec<Active>,
    /// Active in the backup, and not any more.
    pub(super) ended: Vec<TokenName>,
}

/// What is known of the time after the backup.
pub(super) enum Since {
    /// The state that is replaced.
    State(Documents),
    /// Nothing. Tokens end, but for that of the administrator of this folder, unless somebody keeps them.
    Unknown {
        administrator: Option<Digest>,
        keep_tokens: bool,
    },
}

pub(super) fn documents(records: Vec<Record>) -> Documents {
    records
        .into_iter()
        .map(|record| (record.key, record.value))
        .collect()
}

/// What has to be written over the backup's state. `now` must not be before the backup was made.
///
/// # Errors
/// A token's document can't be understood.
pub(super) fn carry_over(
    backup: &Documents,
    since: &Since,
    now: Instant,
) -> Result<Authority, Error> {
    let mut authority = Authority::default();
    let mut tokens = tokens(backup)?;
    let before: Vec<TokenName> = tokens
        .values()
        .filter(|t| t.state(now) == TokenState::Active)
        .map(|t| t.name.clone())
        .collect();
    match since {
        Since::State(present) => {
            let known = self::tokens(present)?;
            tokens.retain(|key, _| !known.contains_key(key));
            tokens
                .values_mut()
                .for_each(|token| token.revoked_at = token.revoked_at.or(Some(now)));
            tokens.extend(known);
            authority.txn = settle(backup, present);
        }
        Since::Unknown {
            keep_tokens: true, ..
        } => {}
        Since::Unknown { administrator, .. } => {
            let ended = tokens
                .values_mut()
                .filter(|token| Some(token.hash) != *administrator);
            ended.for_each(|token| token.revoked_at = token.revoked_at.or(Some(now)));
        }
    }
    for (key, token) in &tokens {
        let bytes = document::to_vec(token).map_err(|e| Error::Document {
            key: key.clone(),
            source: e.into(),
        })?;
        if backup.get(key) != Some(&bytes) {
            authority.txn = authority.txn.put(key.clone(), bytes);
        }
        if token.state(now) == TokenState::Active {
            let power = &token.power;
            let (role, namespaces, expires_at) =
                (power.role, power.namespaces.clone(), power.expires_at);
            authority.active.push(Active {
                name: token.name.clone(),
                role,
                namespaces,
                expires_at,
            });
        }
    }
    authority.ended = before
        .into_iter()
        .filter(|name| authority.active.iter().all(|a| a.name != *name))
        .collect();
    Ok(authority)
}

/// Limits, spending, plans and shadows, as they are in the state that is replaced.
fn settle(backup: &Documents, present: &Documents) -> Txn {
    let mut txn = Txn::new();
    for (key, document) in present {
        let limits = [NAMESPACES, LEDGERS]
            .iter()
            .any(|prefix| key.starts_with(prefix));
        // A plan or a shadow that came later belongs to a state that is gone.
        let kept = limits || (!key.starts_with(TOKENS) && backup.contains_key(key));
        if kept && backup.get(key) != Some(document) {
            txn = txn.put(key.clone(), document.clone());
        }
    }
    // What was deleted since does not come back: a plan could be carried out again, a shadow would go on.
    for key in backup
        .keys()
        .filter(|key| key.starts_with(PLANS) || key.starts_with(SHADOWS))
    {
        if !present.contains_key(key) {
            txn = txn.delete(key.clone());
        }
    }
    txn
}

fn tokens(documents: &Documents) -> Result<BTreeMap<String, TokenRecord>, Error> {
    let tokens = documents.iter().filter(|(key, _)| key.starts_with(TOKENS));
    let token = |(key, bytes): (&String, &Vec<u8>)| {
        let token = document::from_slice(bytes).map_err(|source| Error::Document {
            key: key.clone(),
            source,
        })?;
        Ok((key.clone(), token))
    };
    tokens.map(token).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(name: &str, id: u8, revoked_at: Option<u64>) -> (String, Vec<u8>) {
        let mut value = json!({
            "v": 1, "id": format!("t-{id}"), "name": name, "role": "admin", "namespaces": ["*"],
            "hash": Digest::of(&[id]), "createdAt": Instant(1), "createdBy": "local",
        });
        if let Some(at) = revoked_at {
            value["revokedAt"] = json!(Instant(at));
        }
        let record: TokenRecord = serde_json::from_value(value).unwrap();
        (record.path(), document::to_vec(&record).unwrap())
    }

    fn names(authority: &Authority) -> (Vec<&str>, Vec<&str>) {
        (
            authority.active.iter().map(|a| a.name.as_str()).collect(),
            authority.ended.iter().map(TokenName::as_str).collect(),
        )
    }

    fn after(backup: &Documents, txn: &Txn) -> Documents {
        let mut state = backup.clone();
        for write in &txn.writes {
            match write {
                tradewind_core::store::Write::Put { key, value }
                | tradewind_core::store::Write::Archive { key, value } => {
                    state.insert(key.clone(), value.clone());
                }
                tradewind_core::store::Write::Delete { key } => {
                    state.remove(key);
                }
            }
        }
        state
    }

    #[test]
    fn what_was_taken_back_since_the_backup_stays_so() {
        let text = |key: &str, value: &str| (key.to_owned(), value.as_bytes().to_vec());
        let backup = Documents::from([
            token("kept", 1, None),
            token("leaver", 2, None),
            token("forgotten", 3, None),
            text("namespaces/a", "wide"),
            text("namespaces/gone", "limit"),
            text("ledgers/a", "10 spent"),
            text("plans/a/1", "open"),
            text("plans/a/2", "open"),
            text("shadows/s", "on"),
        ]);
        let present = Documents::from([
            token("kept", 1, None),
            token("leaver", 2, Some(5)),
            token("new", 4, None),
            text("namespaces/a", "narrow"),
            text("ledgers/a", "90 spent"),
            text("plans/a/1", "rejected"),
            text("plans/a/3", "of later"),
        ]);
        let authority = carry_over(&backup, &Since::State(present), Instant(9)).unwrap();
        assert_eq!(
            names(&authority),
            (vec!["kept", "new"], vec!["forgotten", "leaver"])
        );
        let state = after(&backup, &authority.txn);
        let show = |key: &str| {
            state
                .get(key)
                .map(|v| String::from_utf8_lossy(v).into_owned())
        };
        assert_eq!(show("namespaces/a").as_deref(), Some("narrow"));
        assert_eq!(
            show("namespaces/gone").as_deref(),
            Some("limit"),
            "what comes back keeps its limit"
        );
        assert_eq!(show("ledgers/a").as_deref(), Some("90 spent"));
        assert_eq!(show("plans/a/1").as_deref(), Some("rejected"));
        assert_eq!(
            [show("plans/a/2"), show("plans/a/3"), show("shadows/s")],
            [None, None, None]
        );
        assert_eq!(
            tokens(&state).unwrap()["tokens/leaver"].revoked_at,
            Some(Instant(5)),
            "as it was recorded"
        );
    }

    #[test]
    fn where_nothing_is_known_all_tokens_end_but_the_folders_own() {
        let backup = Documents::from([
            token("admin", 1, None),
            token("team", 2, None),
            token("old", 3, Some(2)),
        ]);
        let unknown = |keep_tokens, administrator| Since::Unknown {
            administrator,
            keep_tokens,
        };
        let authority = carry_over(&backup, &unknown(false, None), Instant(9)).unwrap();
        assert_eq!(names(&authority), (vec![], vec!["admin", "team"]));
        let authority =
            carry_over(&backup, &unknown(false, Some(Digest::of(&[1]))), Instant(9)).unwrap();
        assert_eq!(names(&authority), (vec!["admin"], vec!["team"]));
        let authority = carry_over(&backup, &unknown(true, None), Instant(9)).unwrap();
        assert_eq!(
            (names(&authority), authority.txn.is_empty()),
            ((vec!["admin", "team"], vec![]), true)
        );
    }
}
