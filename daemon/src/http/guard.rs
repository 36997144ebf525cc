//! What every request must pass: it comes from this machine's own programs, not from a page in a browser, and there is room for it.
//!
//! Without TLS, a page of any site could send a browser here, directly or by pointing its own name at 127.0.0.1
//! (DNS rebinding); both give themselves away by their `Host` or `Origin`.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri, header},
    middleware::Next,
    response::Response,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{App, Error};

/// How long a request waits for a slot.
const PATIENCE: Duration = Duration::from_secs(5);

/// A bounded number of things at once, and the setting that bounds it.
pub struct Slots {
    semaphore: Arc<Semaphore>,
    setting: &'static str,
    limit: u32,
}

impl Slots {
    pub fn new(setting: &'static str, limit: u32) -> Self {
        Self { semaphore: Arc::new(Semaphore::new(limit as usize)), setting, limit }
    }

    /// # Errors
    /// `Busy` when none gets free in time.
    pub async fn take(&self, patience: Duration) -> Result<OwnedSemaphorePermit, Error> {
        let busy = Error::Busy { setting: self.setting, limit: self.limit };
        match tokio::time::timeout(patience, self.semaphore.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(busy),
        }
    }
}

/// Holds one of the request slots until the response's head is there. Probes and metrics pass without.
pub async fn slot(State(app): State<App>, request: Request, next: Next) -> Result<Response, Error> {
    if !request.uri().path().starts_with("/v1/") {
        return Ok(next.run(request).await);
    }
    let _slot = app.requests.take(PATIENCE).await?;
    Ok(next.run(request).await)
}

/// Refuses what was not meant for a loopback address or comes from a foreign page.
pub async fn local_only(State(app): State<App>, request: Request, next: Next) -> Result<Response, Error> {
    let transport = if app.config.tls.is_on() { Transport::Encrypted } else { Transport::Plain };
    check(request.headers(), request.uri(), transport)?;
    Ok(next.run(request).await)
}

/// Over what requests come. Whoever listens with TLS may have any name: there the certificate and the token guard alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Plain,
    Encrypted,
}

fn check(headers: &HeaderMap, uri: &Uri, transport: Transport) -> Result<(), Error> {
    let text = |name| headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    // HTTP/2 has it in the URI.
    let host = text(header::HOST).or_else(|| uri.authority().map(ToString::to_string)).unwrap_or_default();
    if transport == Transport::Plain && !is_loopback(&host) {
        return Err(Error::Host { host });
    }
    match text(header::ORIGIN) {
        Some(origin) if !same_origin(&origin, &host, transport) => Err(Error::Origin { origin }),
        _ => Ok(()),
    }
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
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Nothing, or a colon and a number.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|n| n.parse::<u16>().is_ok())
}

/// A page that this API itself served: the same host and port.
fn same_origin(origin: &str, host: &str, transport: Transport) -> bool {
    let scheme = if transport == Transport::Plain { "http://" } else { "https://" };
    origin.strip_prefix(scheme).is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_hosts_pass() {
        for good in ["127.0.0.1", "127.0.0.1:7180", "127.8.8.8:1", "localhost", "LOCALHOST:80", "[::1]", "[::1]:7180"] {
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
            check(&headers.into_iter().map(|(n, v)| (n, v.parse().unwrap())).collect(), &Uri::from_static("/"), Transport::Plain)
        };
        assert!(try_with("http://127.0.0.1:7180").is_ok());
        for bad in ["null", "https://evil.example", "http://127.0.0.1:3000", "http://localhost:7180", "https://127.0.0.1:7180"] {
            assert!(matches!(try_with(bad), Err(Error::Origin { .. })), "{bad}");
        }
    }
}
