//! What programs and people rely on, kept as files: the description of the API, the metrics, what the command line prints. A change of one
//! shows in its file.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use regex::Regex;
use tradewind_kit::{
    Daemon, golden,
    pages::{code, table},
};

const CLOUDS: [(&str, &str); 2] = [
    ("north", include_str!("../golden/north.toml")),
    ("south", include_str!("../golden/south.toml")),
];

#[tokio::test]
async fn the_description_of_the_api_is_as_kept() -> Result<()> {
    let daemon = Daemon::start(&["cheapest"], &[])?;
    let document = serde_json::to_string_pretty(&daemon.get("/openapi.json").await?)?;
    golden::file("tests/golden/openapi.json", &(document + "\n"))
}

/// A family of metrics, as the daemon describes it.
#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The families in the text that OpenMetrics prescribes (`# TYPE`, `# HELP`, then samples).
fn families(text: &str) -> Result<BTreeMap<String, Family>> {
    let mut families = BTreeMap::<String, Family>::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        if let ("#", Some(what), Some(name), Some(rest)) = (
            words.next().unwrap_or_default(),
            words.next(),
            words.next(),
            words.next(),
        ) {
            let family = families.entry(name.to_owned()).or_default();
            match what {
                "TYPE" => family.kind = rest.to_owned(),
                "HELP" => family.help = rest.to_owned(),
                other => anyhow::bail!("{other}: {line}"),
            }
            continue;
        }
        let end = line.find(['{', ' ']).context("a sample has a value")?;
        let sample = &line[..end];
        let family = families
            .iter_mut()
            .filter(|(name, _)| sample.starts_with(name.as_str()))
            .max_by_key(|(name, _)| name.len());
        let (_, family) = family.with_context(|| format!("{sample} is not described"))?;
        let labels = line[end..].strip_prefix('{').unwrap_or_default();
        let labels = labels.rsplit_once('}').map_or("", |(labels, _)| labels);
        for label in labels.split("\",") {
            let name = label.split('=').next().unwrap_or_default();
            // The bounds of a histogram are its own affair.
            if !name.is_empty() && name != "le" {
                family.labels.insert(name.to_owned());
            }
        }
    }
    Ok(families)
}

#[tokio::test]
async fn every_metric_is_in_the_reference() -> Result<()> {
    // With a certificate, which has a metric of its own.
    let settings = "[tls]\nself-signed = true\n";
    let daemon = Daemon::configured(&["cheapest", "simulated"], &CLOUDS, settings)?;
    daemon.run(&["apply", "-f", &daemon.file("web.yaml", WEB)?])?;
    // An update that waits, and a budget.
    let canary = "spec:\n  update: {strategy: canary, steps: [{weight: 50%}]}\n";
    let canary = WEB
        .replace("spec:\n", canary)
        .replace("replicas:", "env: {A: b}\n      replicas:");
    daemon.run(&["apply", "-f", &daemon.file("canary.yaml", &canary)?])?;
    daemon.run(&["namespace", "set", "-f", &daemon.file("team.yaml", TEAM)?])?;
    let certificate = std::fs::read(daemon.data().join("tls/certificate.pem"))?;
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(&certificate)?])
        .build()?;
    let refused = http.get(daemon.url("/v1/deployments")).send().await?;
    ensure!(refused.status() == reqwest::StatusCode::UNAUTHORIZED);

    let metrics = http.get(daemon.url("/metrics"));
    let metrics = metrics.header("accept", "application/openmetrics-text");
    let metrics = metrics.bearer_auth(daemon.admin_token()?).send().await?;
    let text = metrics.error_for_status()?.text().await?;
    let rows = families(&text)?.into_iter().map(|(name, family)| {
        let suffix = if family.kind == "counter" {
            "_total"
        } else {
            ""
        };
        let labels: Vec<String> = family.labels.iter().map(code).collect();
        [
            code(format_args!("{name}{suffix}")),
            family.kind,
            labels.join(", "),
            family.help,
        ]
    });
    golden::page(
        "daemon/docs/metrics-reference.md",
        &[(
            "metrics",
            table(["metric", "type", "labels", "meaning"], rows),
        )],
    )
}

const TEAM: &str = "apiVersion: tradewind.dev/v1\nkind: Namespace\nmetadata: {name: team}\nspec: {budget: {hourly: 1}}\n";

const WEB: &str = include_str!("../golden/web.yaml");

/// What people see on a terminal, command after command. What differs from run to run stands as a word in capitals, and columns are two
/// spaces apart.
#[tokio::test]
async fn a_session_on_the_command_line_is_as_kept() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "simulated"], &CLOUDS)?;
    let web = daemon.file("web.yaml", WEB)?;
    let changed = WEB.replace("replicas: 2", "replicas: 3");
    let changed = daemon.file("changed.yaml", &changed)?;
    let broken = WEB.replace("replicas:", "replcas:");
    let broken = daemon.file("broken.yaml", &broken)?;

    let commands: &[&[&str]] = &[
        &["plugin", "list"],
        &["offers"],
        &["regions"],
        &["get"],
        &["assess", "-f", &web],
        &["plan", "-f", &web],
        &["apply", "-f", &web],
        &["apply", "-f", &web],
        &["get"],
        &["get", "web"],
        &["describe", "web"],
        &["explain", "web"],
        &["decisions"],
        &["plan", "-f", &changed],
        &["apply", "-f", &changed],
        &["revisions", "web"],
        &["diff", "web", "--from", "1", "--to", "2"],
        &["rollback", "web", "--to", "1"],
        &["rollout", "status", "web"],
        &["scale", "web", "web", "--replicas", "1"],
        &["whoami"],
        &["token", "list"],
        &["apply", "-f", &broken],
        &["get", "nothing"],
        &["delete", "web"],
        &["delete", "web"],
        &["frobnicate"],
    ];
    let mut session = String::new();
    for command in commands {
        let output = daemon.cli(command)?;
        session += &format!("$ tradewind {}\n", command.join(" "));
        session += &String::from_utf8(output.stdout)?;
        // How far it is at which moment is told there as well.
        let told = String::from_utf8(output.stderr)?;
        for line in told.lines().filter(|line| !line.starts_with("web: ")) {
            session += &format!("{line}\n");
        }
        if !output.status.success() {
            session += &format!("[{}]\n", output.status);
        }
        session += "\n";
    }
    let folder = daemon.folder.path().display().to_string();
    golden::file(
        "tests/golden/session.txt",
        &steady(&session.replace(&folder, "FOLDER"))?,
    )
}

/// What a terminal shows, narrow and wide: no line is broken, and a wide one has more columns.
#[tokio::test]
async fn terminals_of_80_and_of_160_columns_are_as_kept() -> Result<()> {
    let daemon = Daemon::start(&["cheapest", "simulated"], &CLOUDS)?;
    let web = daemon.file("web.yaml", WEB)?;
    daemon.run(&["apply", "-f", &web])?;
    let changed = daemon.file("changed.yaml", &WEB.replace("replicas: 2", "replicas: 3"))?;
    let commands: &[&[&str]] = &[
        &["plugin", "list"],
        &["offers"],
        &["offers", "-o", "wide"],
        &["get"],
        &["get", "-o", "wide"],
        &["get", "web"],
        &["describe", "web"],
        &["top", "web"],
        &["assess", "-f", &web],
        &["plan", "-f", &changed],
        &["decisions"],
        &["revisions", "web"],
        &["token", "list"],
    ];
    let colours = Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]|\r")?;
    for columns in [80, 160] {
        let mut shown = String::new();
        for command in commands {
            let screen = on_terminal(&daemon, columns, command)?;
            let screen = colours.replace_all(&screen, "");
            // Who asks for all columns gets them, and sentences are the terminal's to break.
            let is_table = !["wide", "describe", "assess", "plan"]
                .iter()
                .any(|other| command.contains(other));
            let mut lines = screen.lines().filter(|_| is_table);
            let long = lines.find(|line| line.chars().count() > columns);
            ensure!(long.is_none(), "{command:?} at {columns}: {long:?}");
            shown += &format!("$ tradewind {}\n{screen}\n", command.join(" "));
        }
        let folder = daemon.folder.path().display().to_string();
        let shown = steady(&shown.replace(&folder, "FOLDER"))?;
        golden::file(&format!("tests/golden/terminal-{columns}.txt"), &shown)?;
    }
    Ok(())
}

/// What is on a terminal of so many columns after a command.
fn on_terminal(daemon: &Daemon, columns: usize, command: &[&str]) -> Result<String> {
    let words: Vec<String> = command.iter().map(|word| format!("'{word}'")).collect();
    let line = format!(
        "stty rows 50 cols {columns}; '{}' --data '{}' {}",
        tradewind_kit::binary().display(),
        daemon.data().display(),
        words.join(" ")
    );
    let output = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env_remove("TRADEWIND_TOKEN")
        .env_remove("TRADEWIND_SERVER")
        .env("TRADEWIND_CONFIG", daemon.folder.path().join("config.toml"))
        .env("TERM", "xterm-256color")
        .stdin(std::process::Stdio::null())
        .output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// The text without what differs from run to run.
fn steady(text: &str) -> Result<String> {
    let mut text = text.to_owned();
    for (what, word) in [
        (r"\b[0-9a-hjkmnp-tv-z]{26}\b", "ID"),
        // The provider's name for a replica begins with the daemon's.
        (r"\bsim-a-[0-9a-z]{8}-ID", "sim-ID"),
        (r"\b\d{4}-\d\d-\d\dT[0-9:.]+Z\b", "TIME"),
        (r"\b(sha256:)?[0-9a-f]{12,64}\b", "DIGEST"),
        (r"\b127\.0\.0\.1:\d+\b", "ADDRESS"),
        (r"\b(\d+[dhm])*\d+(\.\d+)? ?[mµ]?s\b", "AGE"),
        (r"[^\n]*AllocationStarting[^\n]*\n", ""),
        (r" {2,}", "  "),
        (r" +\n", "\n"),
    ] {
        text = Regex::new(what)?.replace_all(&text, word).into_owned();
    }
    Ok(text)
}
