//! The tokens in memory: found by hash for every request, ended at once when they are revoked.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::DefaultDirectRateLimiter;
use tokio_util::sync::CancellationToken;
use tradewind_api::{TokenView, WhoAmI};
use tradewind_core::{
    identity::{Power, Role, Scope, TokenRecord, TokenState},
    names::{Actor, Digest, TokenName},
    store::Revision,
    units::{Instant, Millis},
};

use super::{
    Denied, Refusal,
    limits::{Limits, Patience},
    state::Kept,
};

/// A token that lets somebody in, and what it may do. What uses it longer than for one request watches `ended`.
pub struct Identity {
    record: TokenRecord,
    pub(super) revision: Revision,
    /// Revoked, or seen to have expired: it stays so, even if the clock is set back.
    ended: CancellationToken,
    used: AtomicU64,
    limit: DefaultDirectRateLimiter,
    recorded: DefaultDirectRateLimiter,
}

/// Two looks at the clock of a stream that outlives its token are at most this far apart.
const LOOK: Duration = Duration::from_secs(1);

impl Identity {
    pub(super) fn new(
        record: TokenRecord,
        revision: Revision,
        used: Option<Instant>,
        limits: &Limits,
    ) -> Self {
        let ended = CancellationToken::new();
        if record.revoked_at.is_some() {
            ended.cancel();
        }
        let used = AtomicU64::new(used.map_or(0, |at| at.0));
        Self {
            record,
            revision,
            ended,
            used,
            limit: limits.of_token(),
            recorded: Limits::of_refusals(),
        }
    }

    /// Who is named as the author of what it does: `token:NAME`.
    pub fn actor(&self) -> Actor {
        self.record.actor()
    }

    /// The name of the token.
    pub fn name(&self) -> &TokenName {
        &self.record.name
    }

    /// What it may do.
    pub fn role(&self) -> Role {
        self.record.power.role
    }

    /// The namespaces that it reaches.
    pub fn scope(&self) -> &Scope {
        &self.record.power.namespaces
    }

    /// Role, namespaces and expiry together.
    pub fn power(&self) -> &Power {
        &self.record.power
    }

    pub(super) fn record(&self) -> &TokenRecord {
        &self.record
    }

    /// What it may know of itself. When the certificate ends is for the caller to add.
    pub fn whoami(&self) -> WhoAmI {
        let Power {
            role,
            namespaces,
            expires_at,
        } = self.record.power.clone();
        WhoAmI {
            actor: self.actor(),
            role,
            namespaces,
            expires_at,
            certificate_ends: None,
        }
    }

    /// # Errors
    /// How long to wait, when it has had its share for now.
    pub fn take_turn(&self) -> Result<(), Patience> {
        self.limit.check().map_err(Patience::from)
    }

    /// Whether one more of its refusals may be recorded.
    pub(super) fn may_be_recorded(&self) -> bool {
        self.recorded.check().is_ok()
    }

    /// Resolves soon after the token has been revoked or has expired.
    pub async fn ended(self: Arc<Self>, now: impl Fn() -> Instant + Send) {
        let Some(expires_at) = self.record.power.expires_at else {
            return self.ended.cancelled().await;
        };
        loop {
            let left = expires_at.since(now());
            if left == Millis(0) {
                self.ended.cancel();
            }
            if tokio::time::timeout(left.std().min(LOOK), self.ended.cancelled())
                .await
                .is_ok()
            {
                return;
            }
        }
    }

    pub(super) fn state(&self, now: Instant) -> TokenState {
        match self.record.state(now) {
            TokenState::Active if self.ended.is_cancelled() => TokenState::Expired,
            state => state,
        }
    }

    pub(super) fn used(&self) -> Option<Instant> {
        Some(Instant(self.used.load(Ordering::Relaxed))).filter(|at| at.0 > 0)
    }

    pub(super) fn view(&self, now: Instant) -> TokenView {
        TokenView {
            state: self.state(now),
            ..TokenView::new(&self.record, self.used(), now)
        }
    }

    fn touch(&self, now: Instant) {
        self.used.fetch_max(now.0, Ordering::Relaxed);
    }
}

/// Every token there is, those that ended included: they are told from those that never were.
#[derive(Default)]
pub(super) struct Table {
    by_hash: HashMap<Digest, Arc<Identity>>,
    hashes: HashMap<TokenName, Digest>,
    /// When each token was last used, as the state has it.
    pub(super) recorded: HashMap<TokenName, Instant>,
}

impl Table {
    pub(super) fn new(kept: Kept, limits: &Limits) -> Self {
        let mut table = Self {
            recorded: kept.uses,
            ..Self::default()
        };
        for (record, revision) in kept.tokens {
            let used = table.recorded.get(&record.name).copied();
            table.insert(Identity::new(record, revision, used, limits));
        }
        table
    }

    pub(super) fn insert(&mut self, identity: Identity) {
        let (name, hash) = (identity.record.name.clone(), identity.record.hash);
        if let Some(replaced) = self
            .hashes
            .insert(name, hash)
            .and_then(|old| self.by_hash.remove(&old))
        {
            replaced.ended.cancel();
        }
        self.by_hash.insert(hash, Arc::new(identity));
    }

    /// # Errors
    /// Why nobody is let in with it.
    pub(super) fn find(&self, hash: &Digest, now: Instant) -> Result<Arc<Identity>, Denied> {
        let found = self.by_hash.get(hash).ok_or(Refusal::Unknown)?;
        match found.state(now) {
            TokenState::Active => {
                found.touch(now);
                Ok(found.clone())
            }
            TokenState::Revoked => Err(Denied {
                refusal: Refusal::Revoked,
                identity: Some(found.clone()),
            }),
            TokenState::Expired => {
                found.ended.cancel();
                Err(Denied {
                    refusal: Refusal::Expired,
                    identity: Some(found.clone()),
                })
            }
        }
    }

    pub(super) fn named(&self, name: &TokenName) -> Option<Arc<Identity>> {
        self.by_hash.get(self.hashes.get(name)?).cloned()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Identity>> {
        self.by_hash.values()
    }
}
