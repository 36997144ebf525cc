//! What messages call a setting is what the configuration file calls it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tradewind_config::{Effective, Overrides};

/// What looks like a setting and is a file or a host.
const OTHERS: [&str; 1] = ["api.example"];
/// Names of files end so, and those of settings do not.
const FILES: [&str; 4] = [".json", ".jsonl", ".rs", ".txt"];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            all.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            all.push(path);
        }
    }
    all
}

/// The texts of a source: what stands between quotes outside of comments.
fn texts(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let (mut all, mut text, mut within) = (Vec::new(), String::new(), false);
    for line in source.lines() {
        if !within && line.trim_start().starts_with("//") {
            continue;
        }
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' if within => drop(chars.next()),
                '\'' if !within && chars.peek() == Some(&'"') => drop(chars.next()),
                '"' => {
                    if within {
                        all.push(std::mem::take(&mut text));
                    }
                    within = !within;
                }
                c if within => text.push(c),
                _ => {}
            }
        }
        text.push(' ');
    }
    all
}

/// Words such as `api.rate` that begin with one of these.
fn dotted<'t>(text: &'t str, first: &BTreeSet<&str>) -> Vec<&'t str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    text.split(|c: char| !is_part(c) && !matches!(c, 'A'..='Z' | '_' | '/' | '[' | '{' | '}'))
        .map(|word| word.trim_end_matches(['.', '-']))
        .filter(|word| word.chars().all(is_part))
        .filter(|word| !FILES.iter().any(|end| word.ends_with(end)))
        .filter(|word| {
            word.split_once('.')
                .is_some_and(|(part, rest)| first.contains(part) && !rest.is_empty())
        })
        .collect()
}

#[test]
fn every_setting_that_a_message_names_is_one() {
    let folder = Overrides {
        data: Some("/data".into()),
        config: None,
        ..Overrides::default()
    };
    let effective = Effective::load(&folder, |name| {
        (name == "TRADEWIND_CONFIG").then(|| "/dev/null".to_owned())
    });
    let rows = effective.unwrap().rows().unwrap();
    let known: BTreeSet<&str> = rows.iter().map(|(name, ..)| name.as_str()).collect();
    let first: BTreeSet<&str> = known
        .iter()
        .map(|name| name.split('.').next().unwrap())
        .collect();
    assert_eq!(
        dotted(
            "set api.rate, or \"tls.key\" of x.api.rate; web.toml",
            &first
        ),
        ["api.rate", "tls.key"]
    );
    let daemon = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen = BTreeSet::new();
    for file in files(&daemon) {
        for text in texts(&fs::read_to_string(&file).unwrap()) {
            for name in dotted(&text, &first) {
                assert!(
                    known.contains(name) || OTHERS.contains(&name),
                    "{}: there is no setting \"{name}\"",
                    file.display()
                );
                seen.insert(name.to_owned());
            }
        }
    }
    assert!(seen.len() > 40, "{seen:?}");
}
