//! Pages that are meant to be typed are run as written: the quick start of the README and the tour. And instance files of all pages have the
//! settings that their plugins take.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tradewind_kit::{
    binary, component, eventually_blocking,
    pages::{Block, Page, all, root},
    when,
};

/// Seconds that a page may take.
const LONGEST: &str = "300";

/// What is built already stands for the building: a `make` that knows `make plugins` alone, and looks for what that makes.
const MAKE: &str = "#!/bin/sh\n[ \"$*\" = plugins ] && [ -x target/debug/tradewind ] && [ -f target/plugins/cheapest.wasm ]\n";

/// Runs before the page: as in a terminal, jobs have numbers; what fails ends it; and whatever the page has not ended is ended.
const BEFORE: &str = r#"
set -euxm -o pipefail
finish() {
  code=$?
  set +e
  if [ -n "$(jobs -p)" ]; then
    cat "$TRADEWIND_DATA/log" >&2
    for name in $(tradewind get -o json | sed -n 's/^ *"name": "\(.*\)",*$/\1/p'); do tradewind delete "$name" --timeout 20s; done
    kill $(jobs -p)
    wait
  fi
  exit $code
}
trap finish EXIT
"#;

/// A folder that looks like a checkout in which `make plugins` has run.
struct Checkout {
    folder: TempDir,
}

impl Checkout {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let checkout = folder.path().join("checkout");
        fs::create_dir_all(checkout.join("target"))?;
        for entry in root().read_dir()? {
            let entry = entry?;
            if entry.file_name() != "target" {
                symlink(entry.path(), checkout.join(entry.file_name()))?;
            }
        }
        let built = binary();
        let (bin, plugins) = (built.parent().context("no folder")?, component("cheapest"));
        symlink(bin, checkout.join("target/debug"))?;
        symlink(
            plugins.parent().context("no folder")?,
            checkout.join("target/plugins"),
        )?;
        fs::create_dir(folder.path().join("bin"))?;
        fs::create_dir(folder.path().join("tmp"))?;
        let make = folder.path().join("bin/make");
        fs::write(&make, MAKE)?;
        fs::set_permissions(&make, fs::Permissions::from_mode(0o755))?;
        fs::write(folder.path().join("config.toml"), "")?;
        Ok(Self { folder })
    }

    /// Runs the scripts of a page, one after the other in one shell, and answers what they print.
    fn run(&self, page: &Page) -> Result<String> {
        let blocks = page.blocks().into_iter().filter(|block| block.info == "sh");
        let script: String = blocks.map(|block| block.text).collect();
        ensure!(!script.is_empty(), "{} has no script", page.path.display());
        let folder = self.folder.path();
        fs::write(folder.join("script"), format!("{BEFORE}{script}\nwait\n"))?;
        let mut path = vec![folder.join("bin")];
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=60", LONGEST, "bash"])
            .arg(folder.join("script"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TRADEWIND_") {
                command.env_remove(name);
            }
        }
        let output = command
            .current_dir(folder.join("checkout"))
            .env("PATH", std::env::join_paths(path)?)
            .env("TMPDIR", folder.join("tmp"))
            .env("TRADEWIND_CONFIG", folder.join("config.toml"))
            .stdin(Stdio::null())
            .output()?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "{} ended with {}:\n{printed}\n{}",
            page.path.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        // What collects the output of processes ends a moment after the daemon.
        let nothing = format!("{} leaves nothing behind", page.path.display());
        eventually_blocking(nothing, || {
            let left = running_in(folder);
            Ok(when(left.is_empty(), format!("{left:?}")))
        })?;
        Ok(printed)
    }
}

/// Processes that were started with a path in this folder, or work there.
fn running_in(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_folder = processes.filter_map(|process| {
        let path = process.path();
        let command = fs::read(path.join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let works_there = fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        let named = command.contains(&*folder.to_string_lossy());
        (works_there || named).then_some(command)
    });
    of_folder.collect()
}

/// What a page shows of the output is printed, but for columns that are as wide as the rest of a table demands.
fn shows(printed: &str, block: &Block) -> Result<()> {
    let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let printed: Vec<String> = printed.lines().map(plain).collect();
    for line in block.text.lines().map(plain) {
        let line = line.replace("x86_64", std::env::consts::ARCH);
        ensure!(
            printed.contains(&line),
            "line {}: {line:?} is not in {printed:#?}",
            block.line
        );
    }
    Ok(())
}

/// The services of both pages are Python's.
fn has_python() -> bool {
    let version = Command::new("python3").arg("--version").output();
    let there = version.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("left out: there is no python3");
    }
    there || std::env::var("TRADEWIND_REQUIRE_BACKENDS").as_deref() == Ok("1")
}

#[test]
fn the_quick_start_runs_as_written() -> Result<()> {
    if !has_python() {
        return Ok(());
    }
    let readme = Page::read("README.md")?;
    let page = readme
        .section("Quick start")
        .context("README without quick start")?;
    let printed = Checkout::new()?.run(&page)?;
    ensure!(
        printed.contains("http://127.0.0.1:"),
        "no address: {printed}"
    );
    Ok(())
}

#[test]
fn the_tour_runs_as_written() -> Result<()> {
    if !has_python() {
        return Ok(());
    }
    let page = Page::read("daemon/docs/get-started.md")?;
    let checkout = Checkout::new()?;
    let printed = checkout.run(&page)?;
    let shown = page
        .blocks()
        .into_iter()
        .filter(|block| block.info == "text");
    for block in shown {
        shows(&printed, &block)?;
    }
    let left: Vec<PathBuf> = fs::read_dir(checkout.folder.path().join("tmp"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    ensure!(left.is_empty(), "the tour cleans up all but {left:?}");
    Ok(())
}

#[test]
fn settings_of_instance_files_are_those_of_the_plugins() -> Result<()> {
    let mut schemas: BTreeMap<String, jsonschema::Validator> = BTreeMap::new();
    for page in all()? {
        for block in page.blocks().iter().filter(|b| b.info == "toml instance") {
            let at = format!("{}:{}", page.path.display(), block.line);
            let file: toml::Table = block.text.parse().with_context(|| at.clone())?;
            let name = file["component"].as_str().unwrap_or_default();
            if !schemas.contains_key(name) {
                schemas.insert(name.to_owned(), schema(name).with_context(|| at.clone())?);
            }
            let empty = toml::Value::Table(toml::Table::new());
            let settings = serde_json::to_value(file.get("settings").unwrap_or(&empty))?;
            let problems: Vec<String> = schemas[name]
                .iter_errors(&settings)
                .map(|e| format!("{}: {e}", e.instance_path()))
                .collect();
            ensure!(problems.is_empty(), "{at}: settings {problems:?}");
        }
    }
    ensure!(
        schemas.len() > 10,
        "instance files are missing: {}",
        schemas.len()
    );
    Ok(())
}

/// Of the settings of a component of this repository.
fn schema(file: &str) -> Result<jsonschema::Validator> {
    let folder = tempfile::tempdir()?;
    let output = Command::new(binary())
        .args(["plugin", "inspect", "-o", "json", "--data"])
        .arg(folder.path())
        .arg(component(
            file.trim_end_matches(".wasm")
                .trim_start_matches("builtin:"),
        ))
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let inspected: Value = serde_json::from_slice(&output.stdout)?;
    let options = jsonschema::draft202012::options()
        .with_pattern_options(jsonschema::PatternOptions::regex());
    Ok(options.build(&inspected["about"]["settingsSchema"])?)
}
