//! The conformance suite as a plugin's author runs it: every plugin of this repository passes, and each rule that a plugin breaks fails the
//! check that asks for it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tradewind_kit::{
    Signal,
    aws::AwsCloud,
    binary,
    clouds::{azure::Azure, gcp::Gcp},
    cluster::Cluster,
    component, eventually_blocking,
    fixture::{Config, FixtureCloud},
    guest,
    podman::Podman,
    signal, when,
};

/// `tradewind plugin test` on a component, with an instance file of this name and text, in a folder of its own.
struct Test {
    folder: tempfile::TempDir,
    component: PathBuf,
    arguments: Vec<String>,
}

impl Test {
    fn of(component: PathBuf) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("config.toml"), "")?;
        Ok(Self {
            folder,
            component,
            arguments: Vec::new(),
        })
    }

    fn instance(mut self, name: &str, text: &str) -> Result<Self> {
        let path = self.folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, text)?;
        self.arguments
            .extend(["--instance".to_owned(), path.display().to_string()]);
        Ok(self)
    }

    fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|a| (*a).to_owned()));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        // What a daemon of this machine may have left in its folder is not to be read.
        command
            .arg("--data")
            .arg(self.folder.path().join("data"))
            .args(["-o", "json", "plugin", "test"])
            .arg(&self.component);
        command
            .args(&self.arguments)
            .env("TRADEWIND_CONFIG", self.folder.path().join("config.toml"))
            .env("TMPDIR", self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self) -> Result<(Output, Value)> {
        let output = self.command().output()?;
        let told = serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "{:?}: {}",
                self.arguments,
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
        Ok((output, told))
    }

    /// Runs it, and lets nothing fail.
    fn passes(&self) -> Result<Value> {
        let (output, told) = self.run()?;
        let failed = with(&told, "failed");
        ensure!(
            output.status.success() && failed.is_empty(),
            "{}: {failed:?}\n{told:#}",
            self.component.display()
        );
        ensure!(
            with(&told, "passed").len() > 5,
            "next to nothing was tried: {told:#}"
        );
        Ok(told)
    }
}

/// The names of the checks with this outcome.
fn with(told: &Value, outcome: &str) -> BTreeSet<String> {
    let checks = told["checks"].as_array().into_iter().flatten();
    checks
        .filter(|c| c["outcome"] == outcome)
        .map(|c| c["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

const PROCESS: &str = "component = \"process.wasm\"\n[grants.process]\ncommands = [\"*\"]\n";

const TABLE: &str = r#"
[settings.sizes.small]
cpu = 2
memory = "4Gi"
price = "0.04"
time-to-ready = "50ms"
[settings.regions.eu-north-1]
[settings.regions.us-east-1]
"#;

/// How a provider is tried: its instance file, the arguments beside it, and what has to be so afterwards.
struct Tried {
    instance: String,
    arguments: Vec<String>,
    /// Checks that do not apply to it. Any other that is skipped is a mistake.
    skipped: &'static [&'static str],
    /// Holds what it is tried on, and looks whether it was left as it was found.
    afterwards: Box<dyn FnOnce() -> Result<()>>,
}

impl Tried {
    fn on(instance: impl Into<String>) -> Self {
        Self {
            instance: instance.into(),
            arguments: Vec::new(),
            skipped: &["previous"],
            afterwards: Box::new(|| Ok(())),
        }
    }
}

/// Every provider, with how it is tried. One line each.
macro_rules! providers {
    ($($test:ident: $name:literal, $tried:ident;)*) => {
        $(#[test]
        fn $test() -> Result<()> {
            conforms($name, $tried()?)
        })*
    };
}

providers! {
    process_conforms: "process", process;
    simulated_conforms: "simulated", simulated;
    simulated_live_conforms: "simulated-live", simulated_live;
    rest_conforms: "rest", rest;
    containers_conform: "containers", containers;
    kubernetes_conforms: "kubernetes", kubernetes;
    aws_conforms: "aws", aws;
    azure_conforms: "azure", azure;
    gcp_conforms: "gcp", gcp;
}

/// Faults at capabilities, and what only a provider that makes something can lose.
const MAKES_NOTHING: &[&str] = &[
    "previous",
    "disappears",
    "owned",
    "fault-invalid",
    "fault-denied",
    "fault-out-of-capacity",
    "fault-quota",
    "fault-throttled",
    "fault-unavailable",
    "fault-not-found",
    "fault-internal",
    "fault-lost-answer",
    "fault-hang",
];

fn process() -> Result<Option<Tried>> {
    // Its own predecessor, until there is an older one.
    let arguments = vec![
        "--previous".to_owned(),
        component("process").display().to_string(),
    ];
    Ok(Some(Tried {
        arguments,
        skipped: &[],
        ..Tried::on(PROCESS)
    }))
}

fn simulated() -> Result<Option<Tried>> {
    Ok(Some(Tried {
        skipped: MAKES_NOTHING,
        ..Tried::on(format!(
            "component = \"simulated.wasm\"\n[settings]\njob-duration = \"100ms\"\n{TABLE}"
        ))
    }))
}

fn simulated_live() -> Result<Option<Tried>> {
    Ok(Some(Tried::on(format!(
        "component = \"simulated-live.wasm\"\n{TABLE}\n[grants.process]\ncommands = [\"*\"]\n"
    ))))
}

/// Against the fixture cloud, whose ledger tells afterwards whether anything was made twice or left behind.
fn rest() -> Result<Option<Tried>> {
    let cloud = FixtureCloud::start(Config {
        boot_ms: 20,
        delete_ms: 20,
        job_ms: 100,
        ..Config::default()
    })?;
    let instance = cloud.instance();
    let afterwards = move || {
        ensure!(!cloud.ledger().is_empty(), "nothing was made");
        ensure!(cloud.live().is_empty(), "left behind: {:#?}", cloud.live());
        Ok(())
    };
    Ok(Some(Tried {
        skipped: &["previous", "logs"],
        afterwards: Box::new(afterwards),
        ..Tried::on(instance)
    }))
}

/// A workload with an image, for clouds that run nothing else.
fn image() -> Vec<String> {
    allocation("image.yaml")
}

fn allocation(name: &str) -> Vec<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("manifests/conformance")
        .join(name);
    vec!["--allocation".to_owned(), manifest.display().to_string()]
}

fn containers() -> Result<Option<Tried>> {
    let Some(engine) = Podman::start()? else {
        return Ok(None);
    };
    let instance = engine
        .instance("", "network = \"host\"\n")
        .replace("images =", "host-network = true\nimages =");
    let afterwards = move || {
        ensure!(
            engine.containers()?.is_empty(),
            "left behind: {:?}",
            engine.containers()?
        );
        Ok(())
    };
    Ok(Some(Tried {
        arguments: image(),
        afterwards: Box::new(afterwards),
        ..Tried::on(instance)
    }))
}

fn kubernetes() -> Result<Option<Tried>> {
    let Some(cluster) = Cluster::start()? else {
        return Ok(None);
    };
    let instance = cluster.instance("", "");
    let afterwards = move || {
        for kind in ["deployments", "jobs", "services", "secrets"] {
            ensure!(
                cluster.ours(kind, "default")?.is_empty(),
                "{kind} are left behind"
            );
        }
        Ok(())
    };
    Ok(Some(Tried {
        arguments: allocation("pods.yaml"),
        afterwards: Box::new(afterwards),
        ..Tried::on(instance)
    }))
}

fn aws() -> Result<Option<Tried>> {
    let Some(cloud) = AwsCloud::start()? else {
        return Ok(None);
    };
    cloud.work(Duration::from_millis(100));
    let instance = cloud.instance(&["us-east-1"], "")?;
    let afterwards = move || {
        ensure!(
            cloud.live("us-east-1")?.is_empty(),
            "instances are left behind"
        );
        Ok(())
    };
    Ok(Some(Tried {
        arguments: image(),
        afterwards: Box::new(afterwards),
        ..Tried::on(instance)
    }))
}

fn azure() -> Result<Option<Tried>> {
    let cloud = Azure::start()?;
    cloud.served.with(|arm| arm.work = Some(100));
    let instance = cloud.instance(&[]);
    let afterwards = move || {
        ensure!(cloud.live().is_empty(), "container groups are left behind");
        Ok(())
    };
    Ok(Some(Tried {
        arguments: image(),
        afterwards: Box::new(afterwards),
        ..Tried::on(instance)
    }))
}

fn gcp() -> Result<Option<Tried>> {
    let cloud = Gcp::start()?;
    cloud.served.with(|compute| compute.work = Some(100));
    let instance = cloud.instance(&[]);
    let afterwards = move || {
        ensure!(cloud.live().is_empty(), "instances are left behind");
        Ok(())
    };
    Ok(Some(Tried {
        arguments: image(),
        afterwards: Box::new(afterwards),
        ..Tried::on(instance)
    }))
}

fn conforms(name: &str, tried: Option<Tried>) -> Result<()> {
    let Some(Tried {
        instance,
        arguments,
        skipped,
        afterwards,
    }) = tried
    else {
        return Ok(());
    };
    let test = Test::of(component(name))?.instance("tried", &instance)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let told = test.with(&arguments).passes()?;
    let expected: BTreeSet<String> = skipped.iter().map(|s| (*s).to_owned()).collect();
    assert_eq!(with(&told, "skipped"), expected, "{name}: {told:#}");
    afterwards().with_context(|| name.to_owned())
}

#[test]
fn every_policy_conforms() -> Result<()> {
    for name in [
        "balanced", "cheapest", "fastest", "optimal", "spot", "spread", "weighted",
    ] {
        let told = Test::of(component(name))?.passes()?;
        assert!(with(&told, "skipped").is_empty(), "{name}: {told:#}");
    }
    Ok(())
}

/// A provider that breaks a rule, and the check that has to find it.
const WAYWARD: [(&str, &str); 26] = [
    ("unusable", "check"),
    ("offers-nothing", "offers"),
    ("offers-change", "offers"),
    ("impossible-offer", "offers"),
    ("loses-regions", "offers-region"),
    ("never-runs", "apply"),
    ("restarts", "apply-again"),
    ("doubles", "apply-unanswered"),
    ("doubles", "fault-lost-answer"),
    ("forgets", "observe"),
    ("never-gone", "observe"),
    ("logs-all", "logs"),
    ("logs-mixed", "logs"),
    ("resize-restarts", "resize-up"),
    ("ignores-change", "update"),
    ("trusts-state", "garbage"),
    ("gone-without-looking", "garbage"),
    ("gone-is-an-error", "disappears"),
    ("owns-nothing", "owned"),
    ("owns-uselessly", "owned"),
    ("destroys-nothing", "destroy"),
    ("destroys-once", "destroy-again"),
    ("job-runs-on", "job"),
    ("job-runs-again", "job-again"),
    ("all-is-internal", "fault-denied"),
    ("forgets-the-wait", "fault-throttled"),
];

fn wayward(mode: &str, arguments: &[&str]) -> Result<Test> {
    let instance = format!(
        "component = \"wayward-provider.wasm\"\n[settings]\nmode = \"{mode}\"\n[grants.process]\ncommands = [\"*\"]\n"
    );
    Ok(Test::of(guest("wayward-provider")?)?
        .instance("tried", &instance)?
        .with(arguments))
}

#[test]
fn a_provider_that_keeps_to_the_rules_breaks_none() -> Result<()> {
    wayward("", &[])?.passes()?;
    Ok(())
}

/// The rules whose breach shows by waiting in vain: their checks take the whole deadline.
const IN_VAIN: [&str; 9] = [
    "never-runs",
    "restarts",
    "never-gone",
    "ignores-change",
    "gone-is-an-error",
    "owns-nothing",
    "owns-uselessly",
    "destroys-nothing",
    "job-runs-on",
];

fn breaks(mode: &str, check: &str, deadline: &str) -> Result<()> {
    let (output, told) = wayward(mode, &["--check", check, "--deadline", deadline])?.run()?;
    ensure!(
        with(&told, "failed") == BTreeSet::from([check.to_owned()]),
        "{mode}: {told:#}"
    );
    ensure!(output.status.code() == Some(1), "{mode}: {}", output.status);
    Ok(())
}

/// Those that wait in vain wait side by side. The others have as long as a busy machine needs.
#[test]
fn each_rule_that_a_provider_breaks_fails_its_check() -> Result<()> {
    let rules = WAYWARD
        .into_iter()
        .chain([("panics-on-failure", "fault-unavailable")]);
    let (in_vain, at_once): (Vec<_>, Vec<_>) = rules.partition(|(mode, _)| IN_VAIN.contains(mode));
    std::thread::scope(|scope| {
        let waiting: Vec<_> = in_vain
            .iter()
            .map(|(mode, check)| scope.spawn(|| breaks(mode, check, "6s")))
            .collect();
        at_once
            .iter()
            .try_for_each(|(mode, check)| breaks(mode, check, "60s"))?;
        waiting.into_iter().try_for_each(|broken| {
            broken
                .join()
                .map_err(|_| anyhow::anyhow!("a check panicked"))?
        })
    })
}

/// A copy of the component with other bytes.
fn changed(folder: &Path, from: &[u8], to: &[u8]) -> Result<PathBuf> {
    let mut bytes = std::fs::read(guest("wayward-provider")?)?;
    let at = bytes
        .windows(from.len())
        .position(|window| window == from)
        .context("the bytes to change are not there")?;
    bytes[at..at + from.len()].copy_from_slice(to);
    let path = folder.join("changed.wasm");
    std::fs::write(&path, bytes)?;
    Ok(path)
}

#[test]
fn what_a_plugin_says_of_itself_is_held_against_what_it_is() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (from, to, check, part) in [
        (
            "describe:honest",
            "describe:fickle",
            "describe",
            "first, then",
        ),
        (
            "describe:honest",
            "describe:silent",
            "describe",
            "it imports \"process\" and does not say why",
        ),
        (
            "\"additionalProperties\":false",
            "\"additionalProperties\":true ",
            "settings",
            "passes unseen",
        ),
    ] {
        let component = changed(folder.path(), from.as_bytes(), to.as_bytes())?;
        let test = Test::of(component)?
            .instance("tried", &PROCESS.replace("process.wasm", "changed.wasm"))?;
        let (_, told) = test.with(&["--check", check]).run()?;
        let failed = told["checks"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|c| c["outcome"] == "failed");
        let failed = failed.with_context(|| format!("{to} passes: {told:#}"))?;
        assert_eq!(failed["name"], check);
        assert!(
            failed["reason"].as_str().unwrap_or_default().contains(part),
            "{failed:#}"
        );
    }
    Ok(())
}

#[test]
fn a_policy_that_breaks_a_rule_fails_its_check() -> Result<()> {
    for (mode, check) in [
        ("too-many", "limits"),
        ("unknown-offer", "limits"),
        ("nan", "limits"),
        ("ragged", "no-tasks"),
        ("panic", "deterministic"),
        ("fault", "no-candidates"),
        ("allocate", "large"),
    ] {
        let instance = format!(
            "component = \"hostile-policy.wasm\"\n[settings]\nmode = \"{mode}\"\n[limits]\ndeadline = \"2s\"\n"
        );
        let test = Test::of(guest("hostile-policy")?)?.instance("tried", &instance)?;
        let (output, told) = test.with(&["--check", check]).run()?;
        assert_eq!(
            (with(&told, "failed"), output.status.code()),
            (BTreeSet::from([check.to_owned()]), Some(1)),
            "{mode}: {told:#}"
        );
    }
    Ok(())
}

#[test]
fn what_the_daemon_would_not_load_does_not_conform() -> Result<()> {
    let (output, told) = Test::of(component("process"))?.run()?;
    assert_eq!(
        (with(&told, "failed"), output.status.code()),
        (BTreeSet::from(["loads".to_owned()]), Some(1))
    );
    assert!(
        told["checks"][0]["reason"]
            .as_str()
            .unwrap_or_default()
            .contains("[grants.process]"),
        "the grant that it lacks: {told:#}"
    );
    let unknown = Test::of(component("cheapest"))?
        .with(&["--check", "nonsense"])
        .command()
        .output()?;
    assert_eq!(
        unknown.status.code(),
        Some(64),
        "{}",
        String::from_utf8_lossy(&unknown.stderr)
    );
    Ok(())
}

/// Processes whose environment shows that they belong to this test.
fn of_this_test(mark: &str) -> usize {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok())
        .filter(|env| env.windows(mark.len()).any(|w| w == mark.as_bytes()))
        .count()
}

#[test]
fn an_interrupted_test_removes_what_it_has_made() -> Result<()> {
    let mark = format!("CONFORMANCE_MARK=m{}", std::process::id());
    let (name, value) = mark.split_once('=').context("a variable")?;
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("manifest.yaml");
    let text = format!(
        "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: x}}\nspec:\n  services:\n    s:\n      command: [sleep, \"3600\"]\n      env: {{{name}: {value}}}\n"
    );
    std::fs::write(&manifest, text)?;
    let test = wayward(
        "never-runs",
        &[
            "--allocation",
            &manifest.display().to_string(),
            "--check",
            "apply",
        ],
    )?;
    std::fs::write(test.folder.path().join("config.toml"), "")?;
    let child = test.command().stdout(Stdio::piped()).spawn()?;
    eventually_blocking("two are started", || {
        let started = of_this_test(&mark);
        Ok(when(started >= 2, started))
    })?;
    signal(child.id(), Signal::INT)?;
    let output = child.wait_with_output()?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(
        (told["stopped"].as_bool(), output.status.code()),
        (Some(true), Some(1)),
        "{told:#}"
    );
    assert_eq!(of_this_test(&mark), 0, "what it made is still there");
    Ok(())
}
