//! The trace that a refused request leaves: a counter for each reason, a line of the log for each address and second, and an entry of the
//! audit log where the sender's token is known.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use axum::response::Response;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use tokio::time::Instant;

use super::{App, auth::Sender};
use crate::identity::network;

/// Lines about one address are at least so far apart.
const PAUSE: Duration = Duration::from_secs(1);
/// Addresses that are told within one pause; beyond, they are counted alone.
const ADDRESSES: usize = 1024;

/// Why a request was refused: a label of the counter. It travels with the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reason(pub &'static str);

impl Reason {
    pub(crate) const EXPIRED: Self = Self("token-expired");
    pub(crate) const REVOKED: Self = Self("token-revoked");
    pub(crate) const ROLE: Self = Self("role");
    pub(crate) const NAMESPACE: Self = Self("namespace");
    pub(crate) const ESCALATION: Self = Self("escalation");

    /// Whether a known token tried what it may not.
    fn is_trespass(self) -> bool {
        [
            Self::EXPIRED,
            Self::REVOKED,
            Self::ROLE,
            Self::NAMESPACE,
            Self::ESCALATION,
        ]
        .contains(&self)
    }
}

/// One refused request, or connection.
pub(crate) struct Refused<'a> {
    address: IpAddr,
    token: Option<&'a str>,
    method: &'a str,
    /// As the API's description has it: never what the client wrote.
    route: &'a str,
    reason: Reason,
}

impl Refused<'_> {
    /// A connection that was closed because there are too many.
    pub(crate) fn connection(address: IpAddr) -> Self {
        Self {
            address,
            token: None,
            method: "none",
            route: "none",
            reason: Reason("connections"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByReason {
    reason: &'static str,
}

/// What is counted and told of refusals.
#[derive(Default)]
pub(crate) struct Refusals {
    pub counts: Family<ByReason, Counter>,
    pace: Pace,
}

impl Refusals {
    /// Counts a refusal, and tells of it unless its address was told of just now.
    pub(crate) fn note(&self, refused: &Refused<'_>) {
        let Refused {
            address,
            token,
            method,
            route,
            reason,
        } = refused;
        self.counts
            .get_or_create(&ByReason { reason: reason.0 })
            .inc();
        if self.pace.is_due(*address) {
            let token = token.unwrap_or("none");
            tracing::warn!(%address, token, method, route, reason = reason.0, "a request was refused");
        }
    }
}

/// Traces a response that is a refusal.
pub(crate) fn trace(app: &App, response: &Response, address: IpAddr, method: &str, route: &str) {
    let Some(reason) = response.extensions().get::<Reason>().copied() else {
        return;
    };
    let sender = response
        .extensions()
        .get::<Sender>()
        .map(|sender| &sender.0);
    let token = sender.map(|identity| identity.name().as_str());
    app.refusals.note(&Refused {
        address,
        token,
        method,
        route,
        reason,
    });
    if let Some(identity) = sender.filter(|_| reason.is_trespass()) {
        app.identities.record_refusal(
            identity,
            &format!("{method} {route} from {address}: {}", reason.0),
        );
    }
}

/// When addresses were told of last.
#[derive(Default)]
struct Pace {
    told: Mutex<HashMap<IpAddr, Instant>>,
}

impl Pace {
    fn is_due(&self, address: IpAddr) -> bool {
        let address = network(address);
        let now = Instant::now();
        let mut told = self.told.lock();
        if told
            .get(&address)
            .is_some_and(|at| now.duration_since(*at) < PAUSE)
        {
            return false;
        }
        if told.len() >= ADDRESSES {
            told.retain(|_, at| now.duration_since(*at) < PAUSE);
        }
        if told.len() >= ADDRESSES {
            return false;
        }
        told.insert(address, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_is_told_of_once_a_second() {
        let pace = Pace::default();
        let ask = |address: &str| pace.is_due(address.parse().unwrap());
        assert_eq!(
            [ask("192.0.2.1"), ask("192.0.2.1"), ask("192.0.2.2")],
            [true, false, true]
        );
        for n in 0..2 * ADDRESSES {
            let _ = ask(&format!("2001:db8:{n:x}::1"));
        }
        assert!(
            !ask("198.51.100.1"),
            "what a crowd of addresses can write is bounded"
        );
        tokio::time::sleep(PAUSE).await;
        assert_eq!([ask("192.0.2.1"), ask("198.51.100.1")], [true, true]);
    }
}
