//! What every request must pass: it comes from this machine's own programs, not from a page in a browser, and there is room for it.
//!
//! Without TLS, a page of any site could send a browser here, directly or by pointing its own name at 127.0.0.1
//! (DNS rebinding); both give themselves away by their `Host` or `Origin`.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
    middleware::Next,
    response::Response,
};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tradewind_core::{identity::Power, names::TokenName};

use super::{App, Error, auth::Caller, extract};
use crate::identity::Identity;
use tradewind_config::Config;

/// How long a request waits for a slot.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A bounded number of things at once, and the setting that bounds it. One token has at most an eighth of them, and an eighth is kept for
/// those who may do everything.
pub(crate) struct Shares {
    setting: &'static str,
    limit: u32,
    share: u32,
    open: Arc<Semaphore>,
    kept: Arc<Semaphore>,
    of_tokens: Mutex<HashMap<TokenName, Arc<Semaphore>>>,
}

/// One of those things, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Share {
    _of_token: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

/// A token's part, and the part that is kept: one in so many.
const PARTS: u32 = 8;
/// Tokens that are remembered although they hold nothing.
const REMEMBERED: usize = 1024;

impl Shares {
    pub(crate) fn new(setting: &'static str, limit: u32) -> Self {
        let kept = limit / PARTS;
        let semaphore = |n: u32| Arc::new(Semaphore::new(n as usize));
        let (open, kept) = (semaphore(limit - kept), semaphore(kept));
        Self {
            setting,
            limit,
            share: limit.div_ceil(PARTS),
            open,
            kept,
            of_tokens: Mutex::default(),
        }
    }

    /// # Errors
    /// `Share` when the token's part is taken, `Busy` when all are, and none gets free in time.
    pub(crate) async fn take(
        &self,
        identity: &Identity,
        patience: Duration,
    ) -> Result<Share, Error> {
        let until = Instant::now() + patience;
        let busy = Error::Busy {
            setting: self.setting,
            limit: self.limit,
        };
        let Some(of_token) = acquire(self.of_token(identity.name()), until).await else {
            let &Self {
                setting,
                share,
                limit,
                ..
            } = self;
            return Err(if share < limit {
                Error::Share {
                    setting,
                    share,
                    limit,
                }
            } else {
                busy
            });
        };
        let everybodys = acquire(self.open.clone(), until);
        let of_all = if *identity.power() == Power::whole() {
            tokio::select! {
                biased;
                Some(permit) = everybodys => Some(permit),
                Some(permit) = acquire(self.kept.clone(), until) => Some(permit),
                else => None,
            }
        } else {
            everybodys.await
        };
        of_all
            .map(|of_all| Share {
                _of_token: Some(of_token),
                _of_all: Some(of_all),
            })
            .ok_or(busy)
    }

    fn of_token(&self, name: &TokenName) -> Arc<Semaphore> {
        let mut of_tokens = self.of_tokens.lock();
        if let Some(known) = of_tokens.get(name) {
            return known.clone();
        }
        if of_tokens.len() >= REMEMBERED {
            // Every permit that is out holds its semaphore.
            of_tokens.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        of_tokens
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(self.share as usize)))
            .clone()
    }
}

/// None when none gets free in time. Who comes first is served first.
async fn acquire(semaphore: Arc<Semaphore>, until: Instant) -> Option<OwnedSemaphorePermit> {
    // Most find one at once, and need no timer.
    if let Ok(permit) = semaphore.clone().try_acquire_owned() {
        return Some(permit);
    }
    timeout_at(until, semaphore.acquire_owned())
        .await
        .ok()?
        .ok()
}

/// Takes in a request's body, then holds one of the request slots until the response's head is there: a body that does not come keeps
/// nobody else waiting. Probes and metrics pass without. One that brings a component has a turn among those from before its body is there:
/// they are large, and take long.
pub(crate) async fn slot(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let caller = request
        .extensions()
        .get::<Caller>()
        .map(|caller| caller.identity.clone());
    let Some(identity) = caller.filter(|_| request.uri().path().starts_with("/v1/")) else {
        return Ok(next.run(request).await);
    };
    let _turn = if extract::is_upload(&request) {
        Some(app.uploads.take(&identity, PATIENCE).await?)
    } else {
        None
    };
    let request = extract::arrived(request, &app).await?;
    let _slot = app.requests.take(&identity, PATIENCE).await?;
    Ok(next.run(request).await)
}

/// Refuses what was not meant for a loopback address or comes from a foreign page.
pub(crate) async fn local_only(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    check(request.headers(), request.uri(), Transport::of(&app.config))?;
    Ok(next.run(request).await)
}

/// Says of every answer that does not say otherwise: it is what its type says, nobody keeps it, and no page may load or frame anything with it.
pub(crate) async fn harden(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Over what requests come. Whoever listens with TLS may have any name: there the certificate and the token guard alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Encrypted,
}

impl Transport {
    pub(crate) fn of(config: &Config) -> Self {
        if config.tls.is_on() {
            Self::Encrypted
        } else {
            Self::Plain
        }
    }
}

/// # Errors
/// The request was meant for another host, or comes from a foreign page.
pub(crate) fn check(headers: &HeaderMap, uri: &Uri, transport: Transport) -> Result<(), Error> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().map(text);
    if let (Some(host), Some(other)) = (&host, hosts.next()) {
        // Who reads the first one and who reads the last one would not see the same request.
        return Err(Error::Hosts {
            host: host.clone(),
            other: text(other),
        });
    }
    let target = uri.authority().map(ToString::to_string);
    if let (Some(host), Some(target)) = (&host, &target)
        && !host.eq_ignore_ascii_case(target)
    {
        return Err(Error::Hosts {
            host: host.clone(),
            other: target.clone(),
        });
    }
    let host = host.or(target).unwrap_or_default();
    if transport == Transport::Plain && !is_loopback(&host) {
        return Err(Error::Host { host });
    }
    let foreign = headers
        .get_all(header::ORIGIN)
        .iter()
        .map(text)
        .find(|origin| !same_origin(origin, &host, transport));
    foreign.map_or(Ok(()), |origin| Err(Error::Origin { origin }))
}

/// `host[:port]` names this machine.
fn is_loopback(authority: &str) -> bool {
    let name = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if is_port(port) => address,
            _ => return false,
        },
        None => authority.find(':').map_or(authority, |colon| {
            let (name, port) = authority.split_at(colon);
            if is_port(port) { name } else { "" }
        }),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Nothing, or a colon and a number.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|n| n.parse::<u16>().is_ok())
}

/// A page that this API itself served: the same host and port.
fn same_origin(origin: &str, host: &str, transport: Transport) -> bool {
    let scheme = if transport == Transport::Plain {
        "http://"
    } else {
        "https://"
    };
    origin
        .strip_prefix(scheme)
        .is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_pass() {
        for good in [
            "127.0.0.1",
            "127.0.0.1:7180",
            "127.8.8.8:1",
            "localhost",
            "LOCALHOST:80",
            "[::1]",
            "[::1]:7180",
        ] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "evil.example:7180",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::]:1",
            "[::1",
            "::1",
            "127.0.0.1:x",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[test]
    fn foreign_pages_do_not_pass() {
        let try_with = |origin: &str| {
            let headers = [(header::HOST, "127.0.0.1:7180"), (header::ORIGIN, origin)];
            check(
                &headers
                    .into_iter()
                    .map(|(n, v)| (n, v.parse().unwrap()))
                    .collect(),
                &Uri::from_static("/"),
                Transport::Plain,
            )
        };
        assert!(try_with("http://127.0.0.1:7180").is_ok());
        for bad in [
            "null",
            "https://evil.example",
            "http://127.0.0.1:3000",
            "http://localhost:7180",
            "https://127.0.0.1:7180",
        ] {
            assert!(matches!(try_with(bad), Err(Error::Origin { .. })), "{bad}");
        }
    }

    fn with(headers: &[(header::HeaderName, &str)], uri: &'static str) -> Result<(), Error> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        check(&headers, &Uri::from_static(uri), Transport::Plain)
    }

    #[test]
    fn a_request_has_one_host_and_no_foreign_origin_among_several() {
        let (own, evil) = ("127.0.0.1:7180", "evil.example");
        assert!(with(&[(header::HOST, own)], "http://127.0.0.1:7180/v1/whoami").is_ok());
        for (first, second) in [(own, evil), (evil, own), (own, own)] {
            assert!(
                matches!(
                    with(&[(header::HOST, first), (header::HOST, second)], "/"),
                    Err(Error::Hosts { .. })
                ),
                "{first} {second}"
            );
        }
        assert!(matches!(
            with(&[(header::HOST, own)], "http://evil.example/v1/whoami"),
            Err(Error::Hosts { .. })
        ));
        assert!(matches!(
            with(&[], "http://evil.example/v1/whoami"),
            Err(Error::Host { .. })
        ));
        let origins = [
            (header::HOST, own),
            (header::ORIGIN, "http://127.0.0.1:7180"),
            (header::ORIGIN, "http://evil.example"),
        ];
        assert!(matches!(with(&origins, "/"), Err(Error::Origin { .. })));
    }
}
