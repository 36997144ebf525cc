//! What a test leaves is removed: every deployment, in every namespace.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Daemon;
use crate::{eventually, when};

/// Deletes all deployments and waits until they are gone: on a thread of its own, for this one may be a runtime's.
///
/// # Errors
/// When the daemon does not answer, or something does not go.
pub(super) fn everything(daemon: &Daemon) -> Result<()> {
    let removed = std::thread::scope(|scope| {
        let removal = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(remove(daemon))
        });
        removal.join().ok()
    });
    removed.context("the removal has panicked")?
}

async fn remove(daemon: &Daemon) -> Result<()> {
    let http = reqwest::Client::builder()
        .no_proxy()
        // Its certificate may be its own.
        .danger_accept_invalid_certs(true)
        .build()?;
    let token = daemon.admin_token()?;
    eventually("all deployments are gone", async || {
        let url = daemon.url("/v1/deployments");
        let answer = http.get(url).bearer_auth(&token).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        let page: Value = serde_json::from_str(&text).unwrap_or_default();
        let left = page["items"].as_array().cloned().unwrap_or_default();
        for deployment in left.iter().filter(|d| d["status"] != "deleting") {
            let name = |key: &str| deployment[key].as_str().unwrap_or_default();
            let (name, namespace) = (name("name"), name("namespace"));
            let path = format!("/v1/deployments/{name}?namespace={namespace}");
            let request = http.delete(daemon.url(&path)).bearer_auth(&token);
            request.send().await?;
        }
        Ok(when(status.is_success() && left.is_empty(), text).map(drop))
    })
    .await
}
