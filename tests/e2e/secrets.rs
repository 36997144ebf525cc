//! Secret values stay where they belong. Canaries are planted wherever the daemon gets secrets from; then they are used well and badly, and
//! looked for in everything that the daemon writes, answers and lends, in every spelling that they might take. Each canary has to be seen
//! once, at the place that it is meant for: a search that could find nothing would prove nothing.

mod clouds;
mod plants;
mod search;

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradewind_kit::{Daemon, binary, component, guest};

use self::{
    plants::{PLANTS, Planted, Site},
    search::{Canary, files, found},
};

/// All that is said of requests, plugins and deployments; a compiler that traces itself would fill the disk.
const TALKATIVE: &str = "trace,cranelift_codegen=info,regalloc2=info,wasmtime=info,wasmtime_environ=info,wasmtime_cranelift=info";

/// A daemon with all canaries planted, at the most talkative level of its log.
fn planted(site: &Site) -> Result<(Daemon, Vec<Planted>)> {
    let mut all = PLANTS
        .iter()
        .map(|plant| plant(site))
        .collect::<Result<Vec<_>>>()?;
    all.extend(clouds::plant()?);
    let mut daemon = Daemon::start(&["cheapest", "process"], &[])?;
    daemon.stop()?;
    std::fs::copy(
        guest("prying-provider")?,
        daemon.plugins().join("prying-provider.wasm"),
    )?;
    for name in clouds::COMPONENTS {
        std::fs::copy(
            component(name),
            daemon.plugins().join(format!("{name}.wasm")),
        )?;
    }
    let secrets = daemon.data().join("secrets");
    std::fs::create_dir_all(&secrets)?;
    let mut config = "[log]\nlevel = \"{TALKATIVE}\"\n[keep]\ncore-dumps = 1000\n[controller]\nsweep-interval = \"500ms\"\noffers-ttl = \"200ms\"\n[credentials]\n"
        .replace("{TALKATIVE}", TALKATIVE);
    for one in &all {
        for (name, text) in &one.instances {
            std::fs::write(daemon.plugins().join(format!("{name}.toml")), text)?;
        }
        for (name, value) in &one.secrets {
            std::fs::write(secrets.join(name), value)?;
        }
        one.credentials
            .iter()
            .for_each(|line| config.push_str(line));
        daemon.environment.extend(one.environment.iter().cloned());
    }
    daemon.file("config.toml", &config)?;
    for (name, value) in all.iter().flat_map(|one| &one.sealed) {
        seal(&daemon, name, value)?;
    }
    daemon.launch()?;
    Ok((daemon, all))
}

/// Stores a credential as an operator does.
fn seal(daemon: &Daemon, name: &str, value: &str) -> Result<()> {
    let mut command = Command::new(binary());
    command
        .arg("--data")
        .arg(daemon.data())
        .args(["credential", "seal", name]);
    command
        .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn()?;
    child
        .stdin
        .take()
        .context("no input")?
        .write_all(value.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "\"{name}\" is not sealed");
    Ok(())
}

/// Every text that a `GET` of the API answers, by its path. Parameters take every value that the lists show.
async fn answers(daemon: &Daemon) -> Result<BTreeMap<String, String>> {
    let document = daemon.get("/openapi.json").await?;
    let names = |list: Value, field: &str| -> Vec<String> {
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one[field].as_str().map(str::to_owned))
            .collect()
    };
    let deployments = names(daemon.list("/v1/deployments").await?, "name");
    let plugins = names(
        daemon.get("/v1/plugins").await?["items"].clone(),
        "instance",
    );
    let decisions = names(daemon.list("/v1/decisions").await?, "id");
    let mut paths = Vec::new();
    for (path, operations) in document["paths"].as_object().context("no paths")? {
        if operations.get("get").is_none() {
            continue;
        }
        let values = match path.split('/').nth(2) {
            Some("plugins") => &plugins,
            Some("decisions") => &decisions,
            Some("deployments") => &deployments,
            Some("namespaces") if path.contains("{name}") && path.contains("{namespace}") => {
                &deployments
            }
            _ => &vec!["default".to_owned()],
        };
        if path.contains('{') {
            paths.extend(values.iter().map(|value| {
                let path = path
                    .replace("{generation}", "1")
                    .replace("{kind}", "conflict");
                // The namespace of a path, where a name follows it.
                let path = match path.contains("{name}") {
                    true => path.replace("{namespace}", "default"),
                    false => path,
                };
                let (before, rest) = path.split_once('{').unwrap_or((&path, ""));
                format!(
                    "{before}{value}{}",
                    rest.split_once('}').map_or("", |(_, after)| after)
                )
            }));
        } else {
            paths.push(path.clone());
        }
    }
    paths.extend(["/v1/events?limit=10000", "/v1/audit?limit=10000"].map(str::to_owned));
    let mut answers = BTreeMap::new();
    for path in paths {
        let mut response = daemon.http.get(daemon.url(&path)).send().await?;
        let mut text = Vec::new();
        // What goes on for ever is read for a while.
        while let Ok(Some(piece)) = tokio::time::timeout(Duration::from_secs(2), response.chunk())
            .await
            .unwrap_or(Ok(None))
        {
            text.extend_from_slice(&piece);
        }
        answers.insert(path, String::from_utf8_lossy(&text).into_owned());
    }
    Ok(answers)
}

/// What the command line prints.
fn prints(daemon: &Daemon) -> Result<BTreeMap<String, String>> {
    let backup = daemon
        .folder
        .path()
        .join("kept.backup")
        .display()
        .to_string();
    let mut all: Vec<Vec<String>> = [
        "get",
        "offers",
        "regions",
        "events",
        "audit export",
        "audit show",
        "decisions",
        "plugin list",
        "config",
        "token list",
        "credential list",
        "assess --cpu 10m --memory 16Mi --replicas 1 --hours 1",
    ]
    .map(|line| line.split(' ').map(str::to_owned).collect())
    .to_vec();
    all.push(vec!["backup".to_owned(), backup]);
    for name in [
        "keeper",
        "crasher",
        "refused",
        "tempted",
        "boxed",
        "clustered",
        "accounted",
    ] {
        all.extend([
            vec!["describe".to_owned(), name.to_owned()],
            vec!["logs".to_owned(), name.to_owned()],
        ]);
    }
    for entry in std::fs::read_dir(daemon.plugins())? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default()
            .to_owned();
        let what = if path.extension().is_some_and(|e| e == "toml") {
            name
        } else {
            path.display().to_string()
        };
        all.push(vec!["plugin".to_owned(), "inspect".to_owned(), what]);
    }
    let mut printed = BTreeMap::new();
    for arguments in all {
        for form in ["table", "json"] {
            let mut with = vec!["-o", form];
            with.extend(
                arguments
                    .iter()
                    .map(String::as_str)
                    .filter(|a| !(*a == "audit" && form == "json")),
            );
            let output = daemon.cli(&with)?;
            let text = [output.stdout, output.stderr].concat();
            printed.insert(with.join(" "), String::from_utf8_lossy(&text).into_owned());
        }
    }
    Ok(printed)
}

/// Waits until the canaries have been used, well and badly.
async fn used(daemon: &Daemon, all: &[Planted]) -> Result<()> {
    for (name, manifest) in all.iter().flat_map(|one| &one.manifests) {
        daemon.put(name, manifest).await?;
    }
    for (name, wanted) in all.iter().flat_map(|one| &one.become_) {
        daemon
            .until(name, wanted, |d| {
                d["status"] == **wanted || d.to_string().contains(wanted)
            })
            .await?;
    }
    for one in all {
        let what = format!("the canary \"{}\" has arrived", one.canary.name);
        let arrived = daemon.eventually(what, async || {
            daemon.get("/v1/offers").await?;
            (one.arrived)(daemon)
        });
        arrived.await?;
    }
    Ok(())
}

#[tokio::test]
async fn canaries_are_found_only_where_they_belong() -> Result<()> {
    let site = Site::open()?;
    // What is planted holds the clouds, which have to outlive the daemon: it is dropped last.
    let all;
    let mut daemon;
    (daemon, all) = planted(&site)?;
    used(&daemon, &all).await?;
    let canaries: Vec<&Canary> = all.iter().map(|one| &one.canary).collect();

    // What a guest that searched its whole memory has found.
    let searched = |offers: &Value| offers.to_string().contains("\"found-0\"");
    let offers = daemon
        .until_at("/v1/offers", "searched", searched)
        .await?
        .to_string();
    ensure!(
        offers.contains("\"found-1\""),
        "what is planted in memory is not found: {offers}"
    );
    let searched = daemon.get("/v1/offers").await?;
    let listed = searched
        .as_array()
        .or(searched["items"].as_array())
        .context("no offers")?;
    for offer in listed.iter().filter(|o| {
        o["offer"]["id"]
            .as_str()
            .or(o["id"].as_str())
            .is_some_and(|id| id.starts_with("found-"))
    }) {
        let id = offer["offer"]["id"]
            .as_str()
            .or(offer["id"].as_str())
            .unwrap_or_default();
        let expected = if offer["provider"] == "plant-control" {
            "found-1"
        } else {
            "found-0"
        };
        assert_eq!(id, expected, "{offer:#}");
    }

    // What was planted to be shown is shown: the searches see it.
    let mut texts = answers(&daemon).await?;
    texts.extend(prints(&daemon)?);
    let printer = |name: &str| name.contains("printer") && name.contains("logs");
    let shown: Vec<&String> = texts
        .iter()
        .filter(|(name, text)| printer(name) && !found(text.as_bytes(), &canaries).is_empty())
        .map(|(n, _)| n)
        .collect();
    ensure!(
        !shown.is_empty(),
        "what a process printed is not in its logs: {:?}",
        texts.keys()
    );
    for (name, text) in texts.iter().filter(|(name, _)| !printer(name)) {
        assert_eq!(
            found(text.as_bytes(), &canaries),
            [] as [String; 0],
            "{name}"
        );
    }
    ensure!(
        texts.len() > 80,
        "only {} answers were searched: {:?}",
        texts.len(),
        texts.keys()
    );

    // Command lines can be read by every user of the machine.
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert_eq!(
            found(&line, &canaries),
            [] as [String; 0],
            "{}",
            String::from_utf8_lossy(&line)
        );
    }

    daemon.stop()?;
    let files = files(daemon.folder.path())?;
    let belongs = |path: &str| {
        path.starts_with("data/secrets/")
            || (path.starts_with("data/processes/")
                && (path.ends_with("/work/token") || path.contains("/stdout")))
    };
    let planted =
        |path: &str| path.starts_with("data/core-dumps/") && path.contains("-dump-control-");
    let (mut seen, mut dumped) = (0, 0);
    for (path, content) in &files {
        let canaries = found(content, &canaries);
        if belongs(path) {
            seen += canaries.len();
        } else if planted(path) {
            dumped += canaries.len();
        } else {
            assert_eq!(canaries, [] as [String; 0], "{path}");
        }
    }
    ensure!(
        seen > 3,
        "the search of files sees nothing of what is there"
    );
    ensure!(
        dumped > 0,
        "what was planted in memory is not found in its core dump"
    );
    ensure!(
        files
            .iter()
            .any(|(path, _)| path.starts_with("data/core-dumps/") && path.contains("-then-traps-")),
        "no dump of who knows nothing"
    );
    for part in [
        "data/state.db",
        "data/credentials/",
        "log",
        "kept.backup",
        "data/plugin-history/",
        "data/cache/",
        "data/core-dumps/",
    ] {
        ensure!(
            files
                .iter()
                .any(|(path, content)| path.starts_with(part) && !content.is_empty()),
            "{part} was not searched"
        );
    }
    let log = daemon.log();
    ensure!(
        log.contains("TRACE") && log.contains("heard: "),
        "the log says too little"
    );
    Ok(())
}
