//! `support-bundle`: what somebody who helps needs to know, in one archive. No part of it comes from a secret's place, and what it has is gone
//! through once more: values of manifests, tokens and the like are taken out wherever they stand.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use reqwest::Method;
use serde_json::{Value, json};
use tradewind_api::DeploymentSummary;
use tradewind_config::{Effective, environment};

use super::{doctor, version::Versions};
use crate::{
    Error, Globals, Output,
    args::SupportBundle,
    client::{Body, Client},
    connection::Connection,
    overrides,
};

/// Of the daemon's log.
const LOG: u64 = 1 << 20;
const EVENTS: usize = 500;
const DECISIONS: usize = 50;
/// Of so many manifests the values are taken that must not be told. With more, texts that may have some are left out.
const MOST: usize = 1000;
/// A shorter value is a word that stands everywhere.
const SHORT: usize = 5;
const REMOVED: &str = "(removed)";

const ABOUT: &str = "\
A support bundle of Tradewind, made with `tradewind support-bundle`.

doctor.txt       what is in order and what is not
versions.json    of the program and of the daemon
settings.json    the settings in force: sources of credentials, headers and parts of URLs are removed
plugins.json     the plugin instances, with their calls and failures
regions.json     how each region has been doing
deployments.json names, states and costs: no manifests
events.json      the last events, without what they changed
decisions.json   the last decisions
metrics.txt      the metrics
log.txt          the end of the daemon's log, where one was named
failed.txt       what could not be had

Not in it: tokens, credentials, secrets, manifests, files and output of workloads. Values of environment variables and files of manifests, and
whatever looks like a token, are removed from every file.
";

/// What must not be told.
#[derive(Debug, Default)]
struct Hidden(Vec<String>);

/// The files, by name.
#[derive(Default)]
struct Parts {
    files: BTreeMap<&'static str, String>,
    failed: Vec<String>,
}

impl Parts {
    fn json(&mut self, name: &'static str, value: &Value) {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        self.files.insert(name, text);
    }

    fn part(&mut self, name: &'static str, answer: Result<Value, Error>) {
        match answer {
            Ok(value) => self.json(name, &value),
            Err(error) => self.failed.push(format!("{name}: {error}")),
        }
    }
}

pub(crate) async fn run(globals: &Globals, args: &SupportBundle) -> Result<(), Error> {
    let mut parts = Parts::default();
    let plain = Output::for_files();
    let checks = doctor::checks(globals).await;
    parts
        .files
        .insert("doctor.txt", doctor::text(&plain, &checks));
    let versions = serde_json::to_value(Versions::find(globals).await);
    parts.json("versions.json", &versions.unwrap_or_default());
    let hidden = match Connection::find(globals).and_then(|connection| connection.client()) {
        Ok(client) => asked(&mut parts, &client).await,
        Err(error) => {
            parts.failed.push(format!("the daemon: {error}"));
            None
        }
    };
    if !parts.files.contains_key("settings.json") {
        let local = Effective::load(&overrides(globals, None), environment);
        let local = local.map(|effective| settings(json!(effective.config)));
        parts.part("settings.json", local.map_err(Error::from));
    }
    // Without a daemon nobody knows what the log must not tell.
    match (&args.log, &hidden) {
        (Some(log), Some(_)) => match tail(log) {
            Ok(text) => drop(parts.files.insert("log.txt", text)),
            Err(source) => {
                let path = log.clone();
                return Err(Error::Read { path, source });
            }
        },
        (Some(_), None) => parts.failed.push(
            "log.txt: without the deployments nobody knows which values must not be in it"
                .to_owned(),
        ),
        (None, _) => {}
    }
    let failed = parts.failed.join("\n");
    parts.files.insert("failed.txt", failed);
    let hidden = hidden.unwrap_or_default();
    for text in parts.files.values_mut() {
        *text = hidden.scrub(text);
    }
    parts.files.insert("README.txt", ABOUT.to_owned());
    write(&args.file, &parts.files).map_err(|source| Error::Write {
        path: args.file.clone(),
        source,
    })?;
    Output::new(globals).text(&format!(
        "{} has {} files: look at them before you hand it on",
        args.file.display(),
        parts.files.len()
    ))
}

/// What the daemon says. None: it can't be known which values must not be told.
async fn asked(parts: &mut Parts, client: &Client) -> Option<Hidden> {
    let get = async |path: &[&str], query: &[(&str, String)]| -> Result<Value, Error> {
        Ok(client.get::<Value>(path, query).await?)
    };
    let config = get(&["v1", "config"], &[]).await.map(settings);
    parts.part("settings.json", config);
    for (file, name) in [("plugins.json", "plugins"), ("regions.json", "regions")] {
        let answer = get(&["v1", name], &[]).await.map(without_secrets);
        parts.part(file, answer);
    }
    let metrics = client
        .text(Method::GET, &["metrics"], &[], Body::Empty)
        .await;
    match metrics {
        Ok(text) => drop(parts.files.insert("metrics.txt", text)),
        Err(error) => parts.failed.push(format!("metrics.txt: {error}")),
    }
    let list = get(&["v1", "deployments"], &[]).await;
    let hidden = match &list {
        Ok(list) => hidden(client, list).await,
        Err(_) => None,
    };
    parts.part("deployments.json", list.map(without_secrets));
    if hidden.is_none() {
        parts.failed.push(
            "events.json, decisions.json: nobody knows which values must not be in them".to_owned(),
        );
        return None;
    }
    let limit = |most: usize| [("limit", most.to_string())];
    let events = get(&["v1", "events"], &limit(EVENTS)).await;
    parts.part("events.json", events.map(without_changes));
    let decisions = get(&["v1", "decisions"], &limit(DECISIONS)).await;
    parts.part("decisions.json", decisions.map(without_secrets));
    hidden
}

/// The values in all manifests that are kept.
async fn hidden(client: &Client, list: &Value) -> Option<Hidden> {
    let items = list.get("items").unwrap_or(list);
    let list: Vec<DeploymentSummary> = serde_json::from_value(items.clone()).ok()?;
    let mut hidden = Hidden::default();
    let mut read = 0;
    for one in list {
        let query = [("namespace", one.namespace.to_string())];
        let path = ["v1", "deployments", one.name.as_str(), "revisions"];
        let marks: Value = match client.get(&path, &query).await {
            Ok(marks) => marks,
            // It has gone meanwhile.
            Err(error) if error.is_not_found() => continue,
            Err(_) => return None,
        };
        let marks = marks.get("items").unwrap_or(&marks).as_array()?;
        for mark in marks {
            read += 1;
            if read > MOST {
                return None;
            }
            let generation = mark.get("generation")?.to_string();
            let path = [
                "v1",
                "deployments",
                one.name.as_str(),
                "revisions",
                &generation,
            ];
            match client.get::<Value>(&path, &query).await {
                Ok(revision) => hidden.values(revision.get("manifest")?, false),
                Err(error) if error.is_not_found() => {}
                Err(_) => return None,
            }
        }
    }
    Some(hidden)
}

impl Hidden {
    /// Takes in every text below fields that hold what is a workload's own.
    fn values(&mut self, value: &Value, own: bool) {
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    let is_own = matches!(
                        name.as_str(),
                        "env" | "files" | "secrets" | "command" | "args" | "headers" | "content"
                    );
                    self.values(inner, own || is_own);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.values(item, own)),
            Value::String(text) if own => {
                // A file's lines may be told one by one.
                let lines = text
                    .lines()
                    .map(str::trim)
                    .filter(|line| line.len() >= SHORT);
                self.0.extend(lines.map(str::to_owned));
            }
            _ => {}
        }
    }

    /// The text without what must not be told. The longest first: one may be a part of another.
    fn scrub(&self, text: &str) -> String {
        let mut values: Vec<&String> = self.0.iter().collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        let mut text = text.to_owned();
        for value in values {
            text = text.replace(value.as_str(), REMOVED);
            let escaped = json!(value).to_string();
            text = text.replace(escaped.trim_matches('"'), REMOVED);
        }
        without_tokens(&text)
    }
}

/// `tw_` and what follows.
fn without_tokens(text: &str) -> String {
    const MARK: &str = "tw_";
    const LENGTH: usize = 20;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        let (before, from) = rest.split_at(at);
        let end = from
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        out.push_str(before);
        out.push_str(if word.len() > LENGTH { REMOVED } else { word });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Settings: credentials have names and kinds, URLs have hosts.
fn settings(mut config: Value) -> Value {
    if let Some(credentials) = config.get_mut("credentials").and_then(Value::as_object_mut) {
        for source in credentials.values_mut() {
            *source = kind_of(source);
        }
    }
    let registries = config.get_mut("registries").and_then(Value::as_array_mut);
    for registry in registries.into_iter().flatten() {
        if let Some(source) = registry.get_mut("source") {
            *source = kind_of(source);
        }
    }
    if let Some(webhook) = config.pointer_mut("/audit/webhook") {
        let host = webhook
            .as_str()
            .and_then(|text| url::Url::parse(text).ok())
            .map(|url| url.origin().ascii_serialization());
        *webhook = json!(host.unwrap_or_default());
    }
    without_secrets(config)
}

/// `{"env": "NAME"}` becomes `env`.
fn kind_of(source: &Value) -> Value {
    let kinds = source
        .as_object()
        .map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    json!(kinds.unwrap_or_default().join(", "))
}

/// Without texts below names that promise a secret.
fn without_secrets(mut value: Value) -> Value {
    fn clean(value: &mut Value, hide: bool) {
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    let name = name.to_ascii_lowercase();
                    let secret = ["password", "secret-", "token", "authorization", "headers"]
                        .iter()
                        .any(|word| name.contains(word));
                    clean(inner, hide || secret || name == "env" || name == "manifest");
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| clean(item, hide)),
            Value::String(text) if hide && !text.is_empty() => *text = REMOVED.to_owned(),
            _ => {}
        }
    }
    clean(&mut value, false);
    value
}

/// Events, without the fields that they changed: parts of manifests are among them.
fn without_changes(mut events: Value) -> Value {
    let list = match events.get_mut("items") {
        Some(items) => items.as_array_mut(),
        None => events.as_array_mut(),
    };
    for event in list.into_iter().flatten().filter_map(Value::as_object_mut) {
        event.remove("before");
        event.remove("after");
    }
    without_secrets(events)
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG)))?;
    let mut bytes = Vec::new();
    file.take(LOG).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// For its owner alone. A file that is there already is not written over.
fn write(path: &Path, files: &BTreeMap<&'static str, String>) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = archive(file, files);
    if written.is_err() {
        // Half of it is of no use.
        let _ = fs::remove_file(path);
    }
    written
}

fn archive(file: File, files: &BTreeMap<&'static str, String>) -> io::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(text.len()).unwrap_or(0));
        header.set_mode(0o600);
        let path = format!("tradewind-support/{name}");
        archive.append_data(&mut header, path, text.as_bytes())?;
    }
    let mut file = archive.into_inner()?.finish()?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_workloads_own_stands_nowhere() {
        let mut hidden = Hidden::default();
        let manifest = json!({"metadata": {"name": "web"}, "spec": {"services": {"web": {
            "env": {"KEY": "s3cret\"quoted"}, "files": {"/a": "first line\nsecond line\n"}, "command": ["run", "--password=hunter2"],
            "resources": {"cpu": "100m"}}}}});
        hidden.values(&manifest, false);
        let told = json!({"message": "web/0 said s3cret\"quoted and second line and --password=hunter2, cpu 100m"});
        let text = hidden.scrub(&told.to_string());
        for secret in ["s3cret", "second line", "hunter2"] {
            assert!(!text.contains(secret), "{text}");
        }
        assert!(text.contains("cpu 100m"), "{text}");
        let token = format!("tw_{}", "a".repeat(49));
        assert_eq!(
            without_tokens(&format!("with {token}, and tw_short")),
            "with (removed), and tw_short"
        );
    }

    #[test]
    fn settings_name_sources_but_not_where_they_lie() {
        let config = json!({"credentials": {"cloud": {"command": ["get", "--key", "abc"]}},
            "audit": {"webhook": "https://hooks.example.com/T0/secret?x=1"}, "listen": "127.0.0.1:1"});
        let shown = settings(config);
        assert_eq!(
            shown,
            json!({"credentials": {"cloud": "command"}, "audit": {"webhook": "https://hooks.example.com"}, "listen": "127.0.0.1:1"})
        );
        let event = json!([{"message": "a", "before": {"spec.env": "x"}, "after": {}}]);
        assert_eq!(without_changes(event), json!([{"message": "a"}]));
    }
}
