//! Accepting connections until told to stop, then letting requests in progress end.

use std::{io, net::SocketAddr, time::Duration};

use axum::Router;
use axum_server::tls_rustls::RustlsConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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

/// Serves until `stopping` is cancelled; requests in progress then have `drain` to end.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: Listener,
    router: Router,
    tls: Option<RustlsConfig>,
    stopping: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    match tls {
        Some(tls) => encrypted(listener, router, tls, stopping, drain).await,
        None => plain(listener, router, stopping, drain).await,
    }
}

async fn encrypted(listener: Listener, router: Router, tls: RustlsConfig, stopping: CancellationToken, drain: Duration) -> io::Result<()> {
    let handle = axum_server::Handle::new();
    let server = axum_server::from_tcp_rustls(listener.listener.into_std()?, tls)?.handle(handle.clone());
    let stop = async {
        stopping.cancelled().await;
        handle.graceful_shutdown(Some(drain));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = server.serve(router.into_make_service_with_connect_info::<SocketAddr>()) => ended,
        () = stop => Ok(()),
    }
}

async fn plain(listener: Listener, router: Router, stopping: CancellationToken, drain: Duration) -> io::Result<()> {
    let graceful = axum::serve(listener.listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stopping.clone().cancelled_owned());
    let bound = async {
        stopping.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        ended = std::future::IntoFuture::into_future(graceful) => ended,
        () = bound => {
            tracing::warn!(setting = "api.drain", "requests still in progress were cut off");
            Ok(())
        }
    }
}
