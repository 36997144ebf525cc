//! Examples: what a fenced block says that it is, it is. `daemon/docs/README.md` explains the words to authors.

use serde_json::Value;
use tradewind_config::{Effective, Overrides};
use tradewind_kit::pages::Block;
use tradewind_manifest::{Format, Invalid, parse, parse_namespace};

use crate::{at, commands, every_page, none};

/// What is wrong with a text, if anything.
type Check = fn(&str) -> Result<(), String>;

/// The info strings, and how the text below each is checked.
const KINDS: [(&str, Check); 15] = [
    ("yaml manifest", manifest),
    ("yaml namespace", namespace),
    ("yaml fragment spec", fragment_of_spec),
    ("yaml fragment service", fragment_of_service),
    ("yaml fragment", yaml),
    ("toml settings", settings),
    ("toml instance", instance),
    ("toml fragment", toml),
    ("json", json),
    ("sh", commands::script),
    ("console", commands::session),
    ("text", text),
    // By others: by GitHub, and by the documentation tests of their crate.
    ("mermaid", unchecked),
    ("rust", unchecked),
    ("rust,ignore", unchecked),
];

/// Behind the info string of an example that must be refused.
const REFUSED: &str = "refused";

pub(crate) fn check(block: &Block) -> Result<(), String> {
    let words: Vec<&str> = block.info.split_whitespace().collect();
    let (kind, refused) = match words.as_slice() {
        [kind @ .., REFUSED] => (kind.join(" "), true),
        kind => (kind.join(" "), false),
    };
    let Some((_, check)) = KINDS.iter().find(|(known, _)| *known == kind) else {
        let known: Vec<&str> = KINDS.iter().map(|(known, _)| *known).collect();
        return Err(format!(
            "\"{kind}\" is no kind of block: say one of {}",
            known.join(", ")
        ));
    };
    match (check(&block.text), refused) {
        (Ok(()), true) => Err("it is refused, says the page, but is accepted".to_owned()),
        (Err(_), true) | (Ok(()), false) => Ok(()),
        (Err(problem), false) => Err(problem),
    }
}

fn problems(invalid: Invalid) -> String {
    let problems = invalid.problems.into_iter().map(|p| {
        let line = p.line.map_or_else(String::new, |n| format!("line {n}: "));
        format!("{line}{}: {}", p.path, p.message)
    });
    problems.collect::<Vec<_>>().join("; ")
}

pub(crate) fn manifest(text: &str) -> Result<(), String> {
    parse(text.as_bytes(), Format::Yaml)
        .map(drop)
        .map_err(problems)
}

fn namespace(text: &str) -> Result<(), String> {
    parse_namespace(text.as_bytes(), Format::Yaml)
        .map(drop)
        .map_err(problems)
}

fn yaml(text: &str) -> Result<(), String> {
    let value: Value = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    match value.get("apiVersion") {
        Some(_) => Err("it is a whole document: say \"manifest\" or \"namespace\"".to_owned()),
        None => Ok(()),
    }
}

/// Fields of `spec`, beside a service where the fragment has no task.
fn fragment_of_spec(text: &str) -> Result<(), String> {
    let tasks = text
        .lines()
        .any(|l| l.starts_with("services:") || l.starts_with("jobs:"));
    let service = if tasks {
        ""
    } else {
        "  services: {web: {image: web}}\n"
    };
    manifest(&format!("{}{service}{}", head(), indented(text, 2)))
}

/// Fields of a service, beside an image where the fragment says nothing to run.
fn fragment_of_service(text: &str) -> Result<(), String> {
    let runs = text
        .lines()
        .any(|l| l.starts_with("image:") || l.starts_with("command:"));
    let image = if runs { "" } else { "      image: web\n" };
    let service = format!("  services:\n    web:\n{image}");
    manifest(&format!("{}{service}{}", head(), indented(text, 6)))
}

fn head() -> &'static str {
    "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: fragment}\nspec:\n"
}

fn indented(text: &str, by: usize) -> String {
    let lines = text.lines().map(|line| format!("{:by$}{line}\n", ""));
    lines.collect()
}

fn settings(text: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    let overrides = Overrides {
        config: Some(path),
        ..Overrides::default()
    };
    let loaded = Effective::load(&overrides, |_| None);
    loaded.map(drop).map_err(|e| e.to_string())
}

pub(crate) fn instance(text: &str) -> Result<(), String> {
    tradewind_wasm::check_instance_file(text.as_bytes()).map_err(|e| e.to_string())
}

fn toml(text: &str) -> Result<(), String> {
    text.parse::<toml::Table>()
        .map(drop)
        .map_err(|e| e.to_string())
}

fn json(text: &str) -> Result<(), String> {
    serde_json::from_str::<Value>(text)
        .map(drop)
        .map_err(|e| e.to_string())
}

/// Output, files of other programs. Commands belong into sessions, where they are checked.
fn text(text: &str) -> Result<(), String> {
    match text.lines().any(|line| line.starts_with("$ ")) {
        true => Err("it has commands: say \"console\"".to_owned()),
        false => Ok(()),
    }
}

fn unchecked(_: &str) -> Result<(), String> {
    Ok(())
}

#[test]
fn every_block_is_what_it_says() {
    let pages = every_page();
    let found: Vec<String> = pages
        .iter()
        .flat_map(|page| page.blocks().into_iter().map(move |block| (page, block)))
        .filter_map(|(page, block)| Some(at(page, block.line, check(&block).err()?)))
        .collect();
    none("blocks that are not what they say", &found);
}

#[test]
fn what_is_wrong_is_found() {
    let manifest = |fields: &str| {
        format!(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {{name: a}}\nspec: {{services: {{a: {{{fields}}}}}}}\n"
        )
    };
    let cases = [
        (
            "yaml manifest",
            manifest("comand: [a]"),
            "did you mean \"command\"",
        ),
        (
            "yaml manifest refused",
            manifest("command: [a]"),
            "is accepted",
        ),
        ("yaml", manifest("command: [a]"), "no kind of block"),
        ("yaml fragment", manifest("command: [a]"), "whole document"),
        ("yaml fragment", "a: [".to_owned(), ""),
        (
            "yaml fragment spec",
            "placment: {}\n".to_owned(),
            "placment",
        ),
        ("yaml fragment service", "port: {}\n".to_owned(), "port"),
        (
            "toml settings",
            "[controler]\na = 1\n".to_owned(),
            "controler",
        ),
        (
            "toml instance",
            "component = \"a.wasm\"\n[grant]\n".to_owned(),
            "grant",
        ),
        ("toml fragment", "a = \n".to_owned(), ""),
        ("json", "{\"a\": }".to_owned(), "expected"),
        ("sh", "tradewind apply --flie a.yaml\n".to_owned(), "--flie"),
        ("console", "$ tradewind aply\n".to_owned(), "aply"),
        ("text", "$ tradewind offers\n".to_owned(), "console"),
    ];
    for (info, text, part) in cases {
        let block = Block {
            line: 1,
            info: info.to_owned(),
            text,
        };
        let problem = check(&block).unwrap_err();
        assert!(problem.contains(part), "{info}: {problem}");
    }
    let refused = Block {
        line: 1,
        info: "yaml manifest refused".to_owned(),
        text: manifest("comand: [a]"),
    };
    assert_eq!(check(&refused), Ok(()));
}
