//! Checks of endpoints that plugins report, behind the `Prober` port: held against the instance's grant, resolved once, and made against
//! exactly the address that was checked. The daemon shall not become anybody's way into its own network: what leads to this machine's
//! metadata service or to a link-local address is refused whatever the grant says.

mod allow;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};
use tradewind_core::{
    capability::{Listeners, Probed, Prober, Unwell},
    failure::Failure,
    grant::ProbeGrant,
    units::Millis,
    workload::{Check, Endpoint, Labels, Protocol},
};

/// The most checks under way at once.
const AT_ONCE: usize = 128;
/// Who asks, for the logs of those who are asked.
const AGENT: &str = concat!("tradewind-probe/", env!("CARGO_PKG_VERSION"));
/// So much of an answer is read after its status, and for so long, so that the other side can end it in order.
const MOST_READ: u64 = 64 << 10;
const READ_FOR: Duration = Duration::from_secs(2);

/// Makes the checks of all instances.
pub struct Checks {
    slots: Semaphore,
    /// An answer counts only when it is the replica's own.
    listeners: Arc<dyn Listeners>,
}

impl Checks {
    /// Makes at most 128 checks at once. `listeners` says whether it is the replica that listens at an endpoint of this machine.
    pub fn new(listeners: Arc<dyn Listeners>) -> Self {
        Self {
            slots: Semaphore::new(AT_ONCE),
            listeners,
        }
    }
}

#[async_trait]
impl Prober for Checks {
    async fn probe(
        &self,
        of: Probed<'_>,
        grant: Option<&ProbeGrant>,
        endpoint: &Endpoint,
        check: &Check,
        timeout: Millis,
    ) -> Result<(), Unwell> {
        let host = endpoint.host.as_str();
        let Some(grant) = grant else {
            return Err(ungranted(host));
        };
        // A closed semaphore would mean that nobody waits for the answer any more.
        let _slot = self.slots.acquire().await;
        let made = async {
            let address = resolve(grant, endpoint).await?;
            match check {
                Check::Tcp { .. } => tcp(address).await.map_err(Unwell::Failing)?,
                Check::Http { .. } if endpoint.protocol == Protocol::Https => {
                    let message = format!(
                        "\"{host}\" speaks https, which the daemon's own checks don't: use a tcp check"
                    );
                    return Err(impossible(message));
                }
                Check::Http {
                    path,
                    headers,
                    status_min,
                    status_max,
                    ..
                } => {
                    let name = if address.port() == 80 {
                        host.to_owned()
                    } else {
                        format!("{host}:{}", address.port())
                    };
                    http(address, &name, path, headers, (*status_min, *status_max))
                        .await
                        .map_err(Unwell::Failing)?;
                }
                Check::Command { .. } => {
                    let message = "a command can't be run from outside: use an http or tcp check";
                    return Err(impossible(message));
                }
            }
            self.listeners
                .listens(of, address)
                .await
                .map_err(Unwell::Failing)
        };
        match tokio::time::timeout(timeout.std(), made).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Unwell::Failing(format!("no answer within {timeout}"))),
        }
    }
}

fn impossible(message: impl Into<String>) -> Unwell {
    Unwell::NotGranted(Box::new(Failure::invalid(message).code("check-impossible")))
}

fn ungranted(host: &str) -> Unwell {
    let failure = Failure::denied(format!(
        "the daemon may not check \"{}\"",
        host.escape_debug()
    ))
    .code("probe-not-granted")
    .remedy(format!(
        "add \"{}\" to hosts in [grants.probe] of the instance file",
        host.escape_debug()
    ));
    Unwell::NotGranted(Box::new(failure))
}

/// The address to check: the first that the grant allows.
async fn resolve(grant: &ProbeGrant, endpoint: &Endpoint) -> Result<SocketAddr, Unwell> {
    let found = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.number)).await;
    let found = found.map_err(|e| {
        Unwell::Failing(format!(
            "\"{}\" is not known: {e}",
            endpoint.host.escape_debug()
        ))
    })?;
    let allowed =
        |address: &SocketAddr| allow::allows(&grant.hosts, &endpoint.host, plain(address.ip()));
    found
        .into_iter()
        .find(allowed)
        .ok_or_else(|| ungranted(&endpoint.host))
}

/// An IPv4 address in its IPv6 clothes is that IPv4 address.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// Whether a port accepts connections.
pub(crate) async fn tcp(address: SocketAddr) -> Result<(), String> {
    let mut stream = connect(address).await?;
    // What fails from here on has been answered already.
    let _ = stream.shutdown().await;
    part(stream);
    Ok(())
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let number = address.port();
    TcpStream::connect(address)
        .await
        .map_err(|e| format!("port {number} does not accept connections: {e}"))
}

/// Reads what the other side still sends, then closes. Closing with bytes unread would reset the connection, which servers log as an error and
/// count against their callers. It happens beside the verdict, which needs none of it.
fn part(stream: TcpStream) {
    tokio::spawn(async move {
        let mut rest = stream.take(MOST_READ);
        let _ = tokio::time::timeout(READ_FOR, tokio::io::copy(&mut rest, &mut tokio::io::sink()))
            .await;
    });
}

/// Whether a GET is answered with a status in the range. The rest of the answer is read and thrown away.
pub(crate) async fn http(
    address: SocketAddr,
    host: &str,
    path: &str,
    headers: &Labels,
    range: (u16, u16),
) -> Result<(), String> {
    let mut stream = connect(address).await?;
    let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in [("Host", host), ("User-Agent", AGENT), ("Accept", "*/*")] {
        if !headers.keys().any(|k| k.eq_ignore_ascii_case(name)) {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|e| format!("the request failed: {e}"))?;
    let status = status(&mut stream).await;
    part(stream);
    let status = status?;
    if (range.0..=range.1).contains(&status) {
        Ok(())
    } else {
        Err(format!("the answer has status {status}"))
    }
}

async fn status(stream: &mut TcpStream) -> Result<u16, String> {
    let mut head = [0u8; 12];
    stream
        .read_exact(&mut head)
        .await
        .map_err(|e| format!("the answer breaks off: {e}"))?;
    let text = std::str::from_utf8(&head).unwrap_or_default();
    let status = text
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|s| s.parse().ok());
    status.ok_or_else(|| "the answer is not HTTP".to_owned())
}
