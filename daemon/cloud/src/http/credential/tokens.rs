//! Tokens that are exchanged for a credential: kept until shortly before they expire, asked for once however many wait for them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use tradewind_core::{
    failure::Failure,
    grant::{CredentialGrant, HttpGrant, Injection},
    names::InstanceName,
};
use tradewind_credentials::Secret;

use super::{super::Client, assertion, endpoint, failed};

/// So long before its end a token is not used any more, or a tenth of its life if that is shorter.
const MARGIN: Duration = Duration::from_secs(60);

/// A token and when it stops being used.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) value: Secret,
    until: Instant,
}

impl Token {
    pub(super) fn new(value: Secret, life: Duration) -> Self {
        Self {
            value,
            until: Instant::now() + life.saturating_sub(MARGIN.min(life / 10)),
        }
    }
}

/// A token that is being asked for, or has been.
type Flight = Shared<BoxFuture<'static, Result<Token, Failure>>>;

/// The tokens of all instances: one for each credential of each.
#[derive(Default)]
pub(in super::super) struct Tokens(Mutex<HashMap<(InstanceName, String), Entry>>);

struct Entry {
    /// What it was asked for with: a changed grant or a rotated value needs another token.
    inject: Injection,
    value: Secret,
    flight: Flight,
}

impl Entry {
    fn serves(&self, inject: &Injection, value: &Secret) -> bool {
        let same = self.inject == *inject && self.value.expose() == value.expose();
        // One that is being asked for serves all who ask meanwhile; a failure serves only them.
        let fresh = self.flight.peek().is_none_or(|told| {
            told.as_ref()
                .is_ok_and(|token| Instant::now() < token.until)
        });
        same && fresh
    }

    fn is_kept(&self) -> bool {
        self.flight.peek().is_some()
    }
}

impl Tokens {
    /// The token of a credential with this value. True when it was there already.
    pub(super) async fn get(
        &self,
        client: &Client,
        owner: &InstanceName,
        grant: &HttpGrant,
        credential: &CredentialGrant,
        value: &Secret,
    ) -> Result<(Secret, bool), Failure> {
        let (flight, kept) = self.flight(owner, credential, value, || {
            // In a task of its own: it goes on when those who wait for it give up.
            let (client, grant, credential, value) = (
                client.clone(),
                grant.clone(),
                credential.clone(),
                value.clone(),
            );
            let limit = grant.timeout.std();
            let fetch = async move {
                let asked =
                    tokio::time::timeout(limit, fetch(&client, &grant, &credential, &value)).await;
                asked.unwrap_or_else(|_| {
                    Err(Failure::unavailable("no token has come in time").code("deadline-exceeded"))
                })
            };
            let task = tokio::spawn(fetch);
            async move {
                task.await
                    .unwrap_or_else(|_| Err(Failure::internal("asking for a token broke off")))
            }
            .boxed()
            .shared()
        });
        flight.await.map(|token| (token.value, kept))
    }

    fn flight(
        &self,
        owner: &InstanceName,
        credential: &CredentialGrant,
        value: &Secret,
        begin: impl FnOnce() -> Flight,
    ) -> (Flight, bool) {
        let mut known = self.0.lock();
        let key = (owner.clone(), credential.name.clone());
        if let Some(entry) = known
            .get(&key)
            .filter(|entry| entry.serves(&credential.inject, value))
        {
            return (entry.flight.clone(), entry.is_kept());
        }
        let entry = Entry {
            inject: credential.inject.clone(),
            value: value.clone(),
            flight: begin(),
        };
        let flight = entry.flight.clone();
        known.insert(key, entry);
        (flight, false)
    }

    /// Forgets a token that was refused, unless another one has taken its place already.
    pub(in super::super) fn forget(
        &self,
        owner: &InstanceName,
        credential: &CredentialGrant,
        refused: &Secret,
    ) {
        let mut known = self.0.lock();
        let key = (owner.clone(), credential.name.clone());
        let told = known
            .get(&key)
            .and_then(|entry| entry.flight.peek().cloned());
        if told.is_some_and(|told| told.is_ok_and(|token| token.value.expose() == refused.expose()))
        {
            known.remove(&key);
        }
    }
}

/// Asks the token endpoint.
async fn fetch(
    client: &Client,
    grant: &HttpGrant,
    credential: &CredentialGrant,
    value: &Secret,
) -> Result<Token, Failure> {
    match &credential.inject {
        Injection::Oauth2(oauth) => {
            let secret = value.expose().lines().next().unwrap_or_default();
            let form = [
                ("grant_type", "client_credentials"),
                ("client_id", &oauth.client_id),
                ("client_secret", secret),
                ("scope", &oauth.scope),
            ];
            endpoint::ask(client, grant, credential, &oauth.token_url, &form, secret).await
        }
        Injection::GoogleServiceAccount(account) => {
            let key = assertion::Key::parse(value.expose(), account)
                .map_err(|reason| failed(credential, &reason))?;
            let (url, scope) = (key.endpoint.clone(), account.scope.clone());
            let signed = tokio::task::spawn_blocking(move || key.assertion(&scope)).await;
            let signed = signed
                .map_err(|_| failed(credential, "signing broke off"))?
                .map_err(|reason| failed(credential, &reason))?;
            let form = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", &signed),
            ];
            endpoint::ask(client, grant, credential, &url, &form, &signed).await
        }
        Injection::Bearer | Injection::Basic | Injection::Header(_) | Injection::AwsSigv4(_) => {
            Err(failed(credential, "its kind has no tokens"))
        }
    }
}
