//! A client of the daemon that keeps its connections, as programs do.

use anyhow::{Result, ensure};
use reqwest::Client;
use tradewind_tests::Daemon;

pub(crate) fn client(daemon: &Daemon) -> Result<Client> {
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert(
        reqwest::header::AUTHORIZATION,
        format!("Bearer {}", daemon.admin_token()?).parse()?,
    );
    Ok(Client::builder()
        .no_proxy()
        .default_headers(headers)
        .build()?)
}

/// Stores a manifest in JSON.
pub(crate) async fn put(
    client: &Client,
    daemon: &Daemon,
    name: &str,
    manifest: String,
) -> Result<()> {
    let request = client
        .put(daemon.url(&format!("/v1/deployments/{name}")))
        .header("content-type", "application/json");
    let response = request.body(manifest).send().await?;
    let (status, text) = (response.status(), response.text().await?);
    ensure!(status.is_success(), "PUT {name}: {status}: {text}");
    Ok(())
}
