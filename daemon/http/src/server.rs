//! Accepts connections until the daemon stops, then lets requests in flight end. Plain and encrypted connections share one loop, speak
//! HTTP/1.1 alone, and are closed when their client lets them wait for too long.

mod crowd;
mod pulse;
mod watched;

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::{App, refusals::Refused};
use crate::tls::Certificate;
use tradewind_config::Config;

pub(crate) use crowd::Crowd;
pub(crate) use pulse::Pulse;

use crowd::Seat;
use pulse::Patience;
use watched::{Answer, Watched};

/// Connections that are being closed, beyond those that are served.
const LEAVING: usize = 16;
/// The most bytes of one connection that wait to be read or written: a request's head has to fit.
const BUFFER: usize = 128 << 10;
/// After the system refused a connection for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound listener and its real address.
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// # Errors
    /// When the address can't be bound: in use, or not this machine's.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// With the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What every connection is served with.
struct Terms {
    router: Router,
    tls: Option<Certificate>,
    patience: Patience,
    stopping: CancellationToken,
    /// Cancelled when requests in flight have had their time.
    cut: CancellationToken,
}

/// Serves until the daemon begins to stop; requests in flight then have the time of `api.drain` to end.
///
/// # Errors
/// None at present: what the listener refuses is tried again.
pub async fn serve(listener: Listener, router: Router, app: App) -> io::Result<()> {
    let api = &app.config.api;
    let terms = Terms {
        router,
        tls: app.certificate.clone(),
        patience: Patience::of(api),
        stopping: app.stopping.clone(),
        cut: CancellationToken::new(),
    };
    let terms = Arc::new(terms);
    let connections = TaskTracker::new();
    let mut stopping = pin!(terms.stopping.cancelled());
    // Whoever is asked to leave holds a descriptor until it has left.
    let room = Arc::new(Semaphore::new(app.crowd.most().saturating_add(LEAVING)));
    loop {
        let next = async {
            let place = room.clone().acquire_owned().await;
            (place, listener.listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut stopping => break,
        };
        match accepted {
            Ok((stream, peer)) => match app.crowd.enter(peer.ip()) {
                Ok((seat, left)) => {
                    if let Some(address) = left {
                        app.refusals.note(&Refused::connection(address));
                    }
                    let terms = terms.clone();
                    connections.spawn(async move {
                        attend(stream, peer, &seat, &terms).await;
                        drop((seat, place));
                    });
                }
                Err(full) => app.refusals.note(&Refused::connection(full.address)),
            },
            Err(error) => pause(&error).await,
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(api.drain.std(), connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            setting = "api.drain",
            "requests still in progress were cut off"
        );
        terms.cut.cancel();
    }
    Ok(())
}

/// The most connections at one time while the daemon starts.
const MOST_FOR_NOW: u32 = 64;
/// How long requests may take whose answer is short and known.
const SHORT: Duration = Duration::from_secs(5);

/// Serves this router until `until` is cancelled, then gives the listener back at once. Requests in flight have a short time to end.
pub(crate) async fn serve_for_now(
    listener: Listener,
    router: Router,
    config: &Config,
    certificate: Option<Certificate>,
    until: CancellationToken,
) -> Listener {
    let terms = Arc::new(Terms {
        router,
        tls: certificate,
        patience: Patience::of(&config.api),
        stopping: until.clone(),
        cut: CancellationToken::new(),
    });
    let crowd = Arc::new(Crowd::new(MOST_FOR_NOW));
    let room = Arc::new(Semaphore::new(MOST_FOR_NOW as usize + LEAVING));
    loop {
        let next = async {
            let place = room.clone().acquire_owned().await;
            (place, listener.listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = until.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Ok((seat, _left)) = crowd.enter(peer.ip()) {
                    let terms = terms.clone();
                    tokio::spawn(async move {
                        attend(stream, peer, &seat, &terms).await;
                        drop((seat, place));
                    });
                }
            }
            Err(error) => pause(&error).await,
        }
    }
    tokio::spawn(async move {
        tokio::time::sleep(SHORT).await;
        terms.cut.cancel();
    });
    listener
}

/// A client that has gone again says nothing of the next one; everything else does.
async fn pause(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        return;
    }
    tracing::debug!(%error, "a connection can't be accepted");
    tokio::time::sleep(PAUSE).await;
}

/// Serves one connection until it ends, or is closed.
async fn attend(stream: TcpStream, peer: SocketAddr, seat: &Seat, terms: &Terms) {
    prepare(&stream, terms.patience.write);
    let pulse = seat.pulse();
    let talk = async {
        let stream = Watched::new(stream, pulse.clone());
        let Some(certificate) = &terms.tls else {
            return talk(stream, peer, pulse, terms).await;
        };
        match TlsAcceptor::from(certificate.current())
            .accept(stream)
            .await
        {
            Ok(stream) => {
                pulse.opened();
                talk(stream, peer, pulse, terms).await;
            }
            Err(error) => tracing::debug!(%peer, %error, "no encrypted connection came about"),
        }
    };
    tokio::select! {
        () = talk => {}
        late = pulse.overdue(&terms.patience) => tracing::debug!(%peer, late, "a connection was closed: its client let it wait"),
        () = seat.asked_to_leave() => tracing::debug!(%peer, setting = "api.connections", "a connection was closed for another one"),
        () = dismissed(pulse, terms) => {}
        () = terms.cut.cancelled() => {}
    }
}

/// Resolves when the daemon stops before the connection has asked anything: half a head must not hold the stop up.
async fn dismissed(pulse: &Pulse, terms: &Terms) {
    terms.stopping.cancelled().await;
    if !pulse.expects_head() {
        std::future::pending().await
    }
}

/// What is written goes out at once, and a peer that has vanished is noticed.
fn prepare(stream: &TcpStream, write: Duration) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection waits for full packets");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(
        stream,
        u32::try_from(write.as_millis()).unwrap_or(u32::MAX),
    ) {
        tracing::debug!(%error, "a vanished peer is noticed late");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = write;
}

async fn talk<S>(stream: S, peer: SocketAddr, pulse: &Arc<Pulse>, terms: &Terms)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        pulse.asked();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(pulse.clone());
        let answer = terms.router.clone().oneshot(request);
        async move {
            answer
                .await
                .map(|response| response.map(|body| Answer::new(body, pulse.clone())))
        }
    });
    let mut http = http1::Builder::new();
    // How long a head may take is measured here: hyper's measure counts the time between two requests as well.
    http.header_read_timeout(None).max_buf_size(BUFFER);
    // A session with a replica goes on by itself: it counts as a stream, not as a connection.
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection.with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = terms.stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a connection broke off");
    }
}
