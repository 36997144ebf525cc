//! A client of the daemon that keeps its connections, as programs do.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reqwest::{Client, Response};
use serde_json::Value;
use tradewind_kit::Daemon;

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

/// The path of the page behind this one.
pub(crate) fn next(response: &Response) -> Option<String> {
    let link = response.headers().get("link")?.to_str().ok()?;
    let (target, _) = link.strip_prefix('<')?.split_once('>')?;
    Some(target.to_owned())
}

/// Waits until so many deployments run, and no other is there.
pub(crate) async fn running(
    client: &Client,
    daemon: &Daemon,
    many: usize,
    patience: Duration,
) -> Result<()> {
    let since = Instant::now();
    loop {
        let all = deployments(client, daemon).await?;
        let running = all.iter().filter(|d| d["status"] == "running").count();
        if (running, all.len()) == (many, many) {
            return Ok(());
        }
        ensure!(
            since.elapsed() < patience,
            "{running} of {} deployments run after {patience:?}, not {many}:\n{}",
            all.len(),
            daemon.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// All of them, page by page.
async fn deployments(client: &Client, daemon: &Daemon) -> Result<Vec<Value>> {
    let (mut all, mut path) = (Vec::new(), Some("/v1/deployments?limit=1000".to_owned()));
    while let Some(page) = path {
        let response = client.get(daemon.url(&page)).send().await?;
        let response = response.error_for_status()?;
        path = next(&response);
        all.extend(response.json::<Vec<Value>>().await?);
    }
    Ok(all)
}
