//! What is asked of a daemon: by the command line, by HTTP, and until it is so.

use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Result, anyhow, ensure};
use reqwest::StatusCode;
use serde_json::Value;

use super::Daemon;
use crate::{Attempt, binary, eventually, when};

/// A client that sends this token with every request.
///
/// # Errors
/// A token that no header can hold.
pub fn client(token: Option<&str>) -> Result<reqwest::Client> {
    let mut headers = reqwest::header::HeaderMap::new();
    if let Some(token) = token {
        headers.insert(
            reqwest::header::AUTHORIZATION,
            format!("Bearer {token}").parse()?,
        );
    }
    Ok(reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .default_headers(headers)
        .build()?)
}

/// What a URL answers.
///
/// # Errors
/// When it does not answer, or with a status that is no success.
pub async fn fetch(http: &reqwest::Client, url: &str) -> Result<String> {
    let response = http.get(url).send().await?.error_for_status()?;
    Ok(response.text().await?)
}

impl Daemon {
    pub fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder that is there from the start and holds nothing of the daemon's: processes may write to it.
    pub fn shared(&self) -> PathBuf {
        self.folder.path().join("shared")
    }

    /// The first token, out of its file.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn admin_token(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.data().join("admin.token"))?
            .trim()
            .to_owned())
    }

    /// What the daemon has logged, over all of its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(super) fn with_log(&self, error: &anyhow::Error) -> anyhow::Error {
        anyhow!("{error:#}\n--- the daemon's log ---\n{}", self.log())
    }

    /// The command line, as a user runs it.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(binary());
        command
            .args(["--server", &self.address])
            .arg("--data")
            .arg(self.data())
            .args(arguments)
            .stdin(Stdio::null())
            .env_remove("TRADEWIND_TOKEN")
            // Tables have the times of the reader's zone.
            .env("TZ", "UTC")
            .env("TRADEWIND_CONFIG", self.folder.path().join("config.toml"));
        Ok(command.output()?)
    }

    /// What the command line prints when it succeeds.
    ///
    /// # Errors
    /// When it does not succeed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.cli(arguments)?;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        if !output.status.success() {
            let error = anyhow!(
                "tradewind {arguments:?} ended with {}:\n{out}\n{err}",
                output.status
            );
            return Err(self.with_log(&error));
        }
        Ok(out.into_owned())
    }

    /// A file with this text in the daemon's folder, for `-f`.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text)?;
        // It may be a secret.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(path.to_string_lossy().into_owned())
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// # Errors
    /// When the daemon does not answer, or with a status that is no success.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let response = self.http.get(self.url(path)).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "GET {path}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// The items of a list.
    ///
    /// # Errors
    /// As `get`, and when it is no list.
    pub async fn list(&self, path: &str) -> Result<Value> {
        let mut page = self.get(path).await?;
        ensure!(page["items"].is_array(), "GET {path}: no list: {page}");
        Ok(page["items"].take())
    }

    /// Stores a manifest.
    ///
    /// # Errors
    /// As `get`.
    pub async fn put(&self, name: &str, manifest: &str) -> Result<Value> {
        let request = self
            .http
            .put(self.url(&format!("/v1/deployments/{name}")))
            .header("content-type", "application/yaml");
        let response = request.body(manifest.to_owned()).send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "PUT {name}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// # Errors
    /// As `get`.
    pub async fn delete(&self, name: &str) -> Result<()> {
        let url = self.url(&format!("/v1/deployments/{name}"));
        let response = self.http.delete(url).send().await?;
        ensure!(
            response.status().is_success(),
            "DELETE {name}: {}",
            response.text().await?
        );
        Ok(())
    }

    /// [`eventually`], with the daemon's log beside what was seen last.
    ///
    /// # Errors
    /// As [`eventually`].
    pub async fn eventually<A: Attempt>(
        &self,
        what: impl Into<String>,
        attempt: impl AsyncFnMut() -> Result<A>,
    ) -> Result<A::Answer> {
        let answer = eventually(what, attempt).await;
        answer.map_err(|error| self.with_log(&error))
    }

    /// Waits until a deployment is as wanted, and answers it.
    ///
    /// # Errors
    /// As [`eventually`].
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let path = format!("/v1/deployments/{name}");
        self.until_at(&path, what, wanted).await
    }

    /// Waits until what a path answers is as wanted.
    ///
    /// # Errors
    /// As [`eventually`].
    pub async fn until_at(
        &self,
        path: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        self.eventually(format!("{path} is {what}"), async || {
            let seen = self.get(path).await?;
            Ok(when(wanted(&seen), seen))
        })
        .await
    }

    /// Waits until the items of a list are as wanted.
    ///
    /// # Errors
    /// As [`eventually`].
    pub async fn until_list(
        &self,
        path: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        self.eventually(format!("{path} is {what}"), async || {
            let seen = self.list(path).await?;
            Ok(when(wanted(&seen), seen))
        })
        .await
    }

    /// Waits until everything of a deployment runs.
    ///
    /// # Errors
    /// As [`eventually`].
    pub async fn running(&self, name: &str) -> Result<Value> {
        self.until(name, "running", |d| {
            d["status"] == "running" && d["observedGeneration"] == d["generation"]
        })
        .await
    }

    /// Waits until a deployment is gone.
    ///
    /// # Errors
    /// As [`eventually`].
    pub async fn gone(&self, name: &str) -> Result<()> {
        let url = self.url(&format!("/v1/deployments/{name}"));
        self.eventually(format!("{name} is gone"), async || {
            let seen = self.http.get(&url).send().await?;
            let gone = seen.status() == StatusCode::NOT_FOUND;
            Ok(when(gone, seen.text().await?).map(drop))
        })
        .await
    }

    /// Waits until a line of the log has this in it, and answers the line. Of the lines that have, it is the first.
    ///
    /// # Errors
    /// As [`eventually`].
    pub async fn logged(&self, text: &str) -> Result<String> {
        self.eventually(format!("\"{text}\" is logged"), async || {
            let log = self.log();
            Ok(log
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned))
        })
        .await
    }
}
