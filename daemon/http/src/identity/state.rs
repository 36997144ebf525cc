//! Tokens in the state: their documents, when they were last used, and the events that tell of them.

use std::collections::HashMap;

use serde::Serialize;
use tradewind_controller::request;
use tradewind_core::{
    document::{decode, encode},
    event::{Cause, Event, Reason, Severity},
    identity::{Power, TOKEN_USES, TOKENS, TokenRecord, TokenUse},
    names::{Actor, EventId, TokenName},
    record::EVENTS,
    store::{Error, Expect, Revision, Store, Txn},
    units::Instant,
};
use ulid::Ulid;

/// What the state holds of tokens.
pub(super) struct Kept {
    pub(super) tokens: Vec<(TokenRecord, Revision)>,
    pub(super) uses: HashMap<TokenName, Instant>,
}

/// # Errors
/// The state can't be read, or has a document that this version does not understand.
pub(super) async fn load(store: &dyn Store) -> Result<Kept, Error> {
    let mut kept = Kept {
        tokens: Vec::new(),
        uses: HashMap::new(),
    };
    for stored in store.list(TOKENS).await?.records {
        kept.tokens.push((decode(&stored)?, stored.revision));
    }
    for stored in store.list(TOKEN_USES).await?.records {
        let name = stored
            .key
            .strip_prefix(TOKEN_USES)
            .and_then(|n| n.parse().ok());
        if let Some(name) = name {
            kept.uses.insert(name, decode::<TokenUse>(&stored)?.at);
        }
    }
    Ok(kept)
}

/// Writes a token and tells of it. `before`: the revision of the document that it replaces.
pub(super) async fn put(
    store: &dyn Store,
    record: &TokenRecord,
    before: Option<Revision>,
    event: Event,
) -> Result<Revision, Error> {
    let key = record.path();
    let expect = match before {
        Some(revision) => Expect::AtRevision {
            key: key.clone(),
            revision,
        },
        None => Expect::Absent { key: key.clone() },
    };
    let mut txn = Txn::new().expect(expect).put(key, encode(record)?);
    if let Some(id) = &event.id {
        let bytes = encode(&event)?;
        txn = txn.put(format!("{EVENTS}{id}"), bytes.clone()).audit(bytes);
    }
    store.commit(txn).await
}

pub(super) async fn put_uses(
    store: &dyn Store,
    uses: &[(TokenName, Instant)],
) -> Result<(), Error> {
    let mut txn = Txn::new();
    for (name, at) in uses {
        txn = txn.put(
            format!("{TOKEN_USES}{name}"),
            encode(&TokenUse { at: *at })?,
        );
    }
    store.commit(txn).await.map(drop)
}

/// What an event shows of a token: what it may do, and whether it has ended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts<'a> {
    #[serde(flatten)]
    power: &'a Power,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Instant>,
}

/// What is told of a token. It belongs to no namespace: only who reaches all of them sees it.
pub(super) fn event(
    reason: Reason,
    actor: &Actor,
    before: Option<&TokenRecord>,
    after: &TokenRecord,
    at: Instant,
) -> Event {
    fn facts(record: &TokenRecord) -> Facts<'_> {
        Facts {
            power: &record.power,
            revoked_at: record.revoked_at,
        }
    }
    let until = after
        .power
        .expires_at
        .map(|at| format!(", until {at}"))
        .unwrap_or_default();
    let message = format!(
        "token \"{}\": {} of {}{until}",
        after.name, after.power.role, after.power.namespaces
    );
    let event = Event::new(Severity::Info, reason, actor, message)
        .changing(before.map(facts).as_ref(), Some(&facts(after)));
    Event {
        at,
        id: Some(EventId::new(ulid(at))),
        cause: request::current().map(Cause::Request),
        ..event
    }
}

/// What is told of a request that a known token does not allow.
pub(super) fn refusal(token: &TokenName, actor: &Actor, what: &str, at: Instant) -> Event {
    let event = Event::new(
        Severity::Warning,
        Reason::RequestRefused,
        actor,
        format!("token \"{token}\": {what}"),
    );
    Event {
        at,
        id: Some(EventId::new(ulid(at))),
        cause: request::current().map(Cause::Request),
        ..event
    }
}

/// Records an event in the audit log alone: it pushes no other one out of the events that are kept.
pub(super) async fn audit(store: &dyn Store, event: Event) -> Result<(), Error> {
    store
        .commit(Txn::new().audit(encode(&event)?))
        .await
        .map(drop)
}

pub(super) fn ulid(at: Instant) -> Ulid {
    let since_epoch = std::time::Duration::from_millis(at.0);
    Ulid::from_datetime(
        std::time::UNIX_EPOCH
            .checked_add(since_epoch)
            .unwrap_or(std::time::UNIX_EPOCH),
    )
}
