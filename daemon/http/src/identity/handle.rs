//! What the rest of the daemon asks about tokens.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use tradewind_api::{TokenCreated, TokenRequest, TokenView};
use tradewind_core::{
    event::{Event, Reason},
    identity::{Power, Scope, Secret, TokenRecord, TokenState},
    names::{Namespace, TokenId, TokenName},
    store::{self, Revision},
    units::{Instant, Millis},
};

use super::{Denied, Error, Handle, Identity, Patience, Refusal, admin, state};

/// What is recorded of the last use is at most this old.
const COARSE: Millis = Millis::from_secs(3600);

impl Handle {
    /// Whose token this is. `presented`: what came behind `Bearer`.
    ///
    /// # Errors
    /// It lets nobody in, and why.
    pub fn authenticate(&self, presented: &str) -> Result<Arc<Identity>, Denied> {
        let secret: Secret = presented.parse().map_err(|_| Refusal::Unknown)?;
        let now = self.shared.now();
        self.shared.read().find(&secret.hash(), now)
    }

    /// Resolves soon after the identity's token has been revoked or has expired.
    pub async fn ended(self, identity: Arc<Identity>) {
        identity.ended(|| self.shared.now()).await;
    }

    /// Counts a request that needs no token.
    ///
    /// # Errors
    /// The address has had its share for now.
    pub fn anonymous(&self, address: IpAddr) -> Result<(), Patience> {
        self.shared.limits.anonymous(address)
    }

    /// Counts a request that was refused for its token.
    ///
    /// # Errors
    /// Too many of them came from this address.
    pub fn refused(&self, address: IpAddr) -> Result<(), Patience> {
        self.shared.limits.refused(address)
    }

    /// Records in the audit log what somebody tried with a token that does not allow it. It is bounded for each token: beyond, nothing is
    /// recorded.
    pub fn record_refusal(&self, identity: &Identity, what: &str) {
        if !identity.may_be_recorded() {
            return;
        }
        let event = state::refusal(identity.name(), &identity.actor(), what, self.shared.now());
        let store = self.shared.store.clone();
        tokio::spawn(async move {
            if let Err(error) = state::audit(store.as_ref(), event).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a refused request could not be recorded"
                );
            }
        });
    }

    /// Makes a token. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// `Exists`, `Escalation`, `Stillborn`, or the state can't be written. Nothing has been changed then.
    pub async fn create(
        &self,
        by: &Identity,
        request: TokenRequest,
    ) -> Result<TokenCreated, Error> {
        let now = self.shared.now();
        let TokenRequest {
            name,
            role,
            namespaces,
            expires_in,
        } = request;
        if expires_in == Some(Millis(0)) {
            return Err(Error::Stillborn);
        }
        let power = Power {
            role,
            namespaces,
            expires_at: expires_in.map(|span| now.plus(span)),
        };
        by.power().may_grant(&power)?;
        let secret = admin::secret()?;
        let record = TokenRecord {
            id: TokenId::new(state::ulid(now)),
            name,
            power,
            hash: secret.hash(),
            created_at: now,
            created_by: by.actor(),
            revoked_at: None,
        };
        let before = self.replaceable(by, &record.name, now)?;
        let event = state::event(
            Reason::TokenCreated,
            &by.actor(),
            before.as_ref().map(|old| old.record()),
            &record,
            now,
        );
        let name = record.name.clone();
        let before = before.map(|old| old.revision);
        let token = match self.put(record, before, None, event, now).await {
            Err(store::Error::Conflict { .. }) => return Err(Error::Exists { name }),
            written => written?,
        };
        Ok(TokenCreated {
            token,
            secret: secret.expose().to_owned(),
        })
    }

    /// Stores a token with its event, then lets requests see it. Cancel-safe: a client that leaves meanwhile does not leave what requests see
    /// behind what is stored.
    async fn put(
        &self,
        record: TokenRecord,
        before: Option<Revision>,
        used: Option<Instant>,
        event: Event,
        now: Instant,
    ) -> Result<TokenView, store::Error> {
        let shared = self.shared.clone();
        let stored = tokio::spawn(async move {
            let revision = state::put(shared.store.as_ref(), &record, before, event).await?;
            let identity = Identity::new(record, revision, used, &shared.limits);
            let view = identity.view(now);
            shared.write().insert(identity);
            Ok(view)
        });
        stored.await.map_err(|_| store::Error::Closed)?
    }

    /// The name of a token that has ended may be used again. By whom else's, too: only by those who could have ended it.
    fn replaceable(
        &self,
        by: &Identity,
        name: &TokenName,
        now: Instant,
    ) -> Result<Option<Arc<Identity>>, Error> {
        let Some(old) = self.shared.read().named(name) else {
            return Ok(None);
        };
        let mine = by.power().may_manage(old.power()).is_ok();
        if old.state(now) == TokenState::Active || !mine {
            return Err(Error::Exists { name: name.clone() });
        }
        Ok(Some(old))
    }

    /// The tokens that `by` may manage, those that have ended included, by name.
    pub fn list(&self, by: &Identity) -> Vec<TokenView> {
        let now = self.shared.now();
        let table = self.shared.read();
        let mut views: Vec<_> = table
            .all()
            .filter(|t| by.power().may_manage(t.power()).is_ok())
            .map(|t| t.view(now))
            .collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// The namespaces that tokens name, those of tokens that have ended included.
    pub fn namespaces(&self) -> BTreeSet<Namespace> {
        let named = |scope: &Scope| match scope {
            Scope::All => BTreeSet::new(),
            Scope::Only(names) => names.clone(),
        };
        self.shared
            .read()
            .all()
            .flat_map(|token| named(&token.power().namespaces))
            .collect()
    }

    /// Ends a token, for requests and for streams that are open. One that has ended stays as it is.
    ///
    /// # Errors
    /// `NotFound` also for what `by` may not manage; `Last`; the state can't be written.
    pub async fn revoke(&self, by: &Identity, name: &TokenName) -> Result<TokenView, Error> {
        loop {
            let now = self.shared.now();
            let found = self
                .shared
                .read()
                .named(name)
                .filter(|t| by.power().may_manage(t.power()).is_ok());
            let found = found.ok_or_else(|| Error::NotFound { name: name.clone() })?;
            if found.state(now) == TokenState::Revoked {
                return Ok(found.view(now));
            }
            self.keep_one(&found, now)?;
            let record = TokenRecord {
                revoked_at: Some(now),
                ..found.record().clone()
            };
            let event = state::event(
                Reason::TokenRevoked,
                &by.actor(),
                Some(found.record()),
                &record,
                now,
            );
            let (before, used) = (Some(found.revision), found.used());
            match self.put(record, before, used, event, now).await {
                // Another write came first: see what it made of the token.
                Err(store::Error::Conflict { .. }) => {}
                written => return Ok(written?),
            }
        }
    }

    /// Nobody locks everybody out by mistake.
    fn keep_one(&self, leaving: &Identity, now: Instant) -> Result<(), Error> {
        let whole =
            |t: &Identity| t.state(now) == TokenState::Active && *t.power() == Power::whole();
        let other = self
            .shared
            .read()
            .all()
            .any(|t| t.name() != leaving.name() && whole(t));
        if other || !whole(leaving) {
            Ok(())
        } else {
            Err(Error::Last {
                name: leaving.name().clone(),
            })
        }
    }

    pub(super) async fn record_uses(&self) -> Result<(), store::Error> {
        let due: Vec<(TokenName, Instant)> = {
            let table = self.shared.read();
            let stale = |name: &TokenName, used: Instant| {
                table
                    .recorded
                    .get(name)
                    .is_none_or(|at| used.since(*at) >= COARSE)
            };
            table
                .all()
                .filter_map(|t| Some((t.name().clone(), t.used()?)))
                .filter(|(name, used)| stale(name, *used))
                .collect()
        };
        if due.is_empty() {
            return Ok(());
        }
        state::put_uses(self.shared.store.as_ref(), &due).await?;
        self.shared.write().recorded.extend(due);
        Ok(())
    }
}
