//! What the player's pods have written: one line each, with the time at which the player began. The API server asks over TLS, and takes any
//! certificate.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use axum::{
    Router,
    extract::{Path as Segments, Query},
    routing::get,
};
use axum_server::tls_rustls::RustlsConfig;

use super::sessions;

pub(super) struct Logs {
    listener: TcpListener,
    key: PathBuf,
    certificate: PathBuf,
}

impl Logs {
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let (key, certificate) = (folder.join("node.key"), folder.join("node.pem"));
        let mut made = Command::new("openssl");
        made.args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=node",
            "-keyout",
        ])
        .arg(&key);
        ensure!(
            made.arg("-out")
                .arg(&certificate)
                .stderr(Stdio::null())
                .status()?
                .success(),
            "no certificate could be made"
        );
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            key,
            certificate,
        })
    }

    pub(super) fn port(&self) -> Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    pub(super) async fn serve(self) -> Result<()> {
        let begun = super::now();
        let line = move |Segments((_, pod, _)): Segments<(String, String, String)>,
                         Query(asked): Query<BTreeMap<String, String>>| {
            let begun = begun.clone();
            async move { written(&begun, &pod, &asked) }
        };
        let router = Router::new()
            .route("/containerLogs/{namespace}/{pod}/{container}", get(line))
            .route(
                "/exec/{namespace}/{pod}/{container}",
                get(sessions::exec).post(sessions::exec),
            )
            .route(
                "/portForward/{namespace}/{pod}",
                get(sessions::port_forward).post(sessions::port_forward),
            );
        let tls = RustlsConfig::from_pem_file(self.certificate, self.key).await?;
        Ok(axum_server::from_tcp_rustls(self.listener, tls)?
            .serve(router.into_make_service())
            .await?)
    }
}

/// The line, unless none or only later ones are asked for.
fn written(begun: &str, pod: &str, asked: &BTreeMap<String, String>) -> String {
    let told = |name: &str| asked.get(name).map(String::as_str);
    if told("tailLines") == Some("0") || told("sinceTime").is_some_and(|since| since > begun) {
        return String::new();
    }
    let time = if told("timestamps") == Some("true") {
        format!("{begun} ")
    } else {
        String::new()
    };
    format!("{time}{pod} runs\n")
}
