//! The groups of a crate use one another in one direction: each only those before it. Within a crate the compiler doesn't see to that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Crates that are made of groups. Those of one row may use one another.
const CRATES: [(&str, &[&[&str]]); 3] = [
    (
        "core",
        &[
            &["base"],
            &["spec"],
            &["ports"],
            &["state"],
            &["schedule"],
            &["lifecycle"],
        ],
    ),
    (
        "controller",
        &[
            &["state"],
            &["schedule", "execute", "observe"],
            &["reconcile"],
            &["background", "service"],
        ],
    ),
    (
        "wasm",
        &[
            &["base"],
            &["history", "runtime"],
            &["load"],
            &["trial"],
            &["registry"],
        ],
    ),
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
    all
}

/// The first word of every path below `crate::`, those in braces included.
fn used(source: &str) -> Vec<String> {
    let word = |text: &str| {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut all = Vec::new();
    for (at, _) in source.match_indices("crate::") {
        let rest = source.get(at + "crate::".len()..).unwrap_or_default();
        let Some(inner) = rest.strip_prefix('{') else {
            all.push(word(rest));
            continue;
        };
        let mut depth = 0u32;
        let mut begins = true;
        for (i, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if begins && c.is_alphabetic() => {
                    all.push(word(inner.get(i..).unwrap_or_default()));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    all
}

#[test]
fn each_group_uses_only_those_before_it() {
    assert_eq!(
        used("use crate::{base::{names::A, units}, state::x};\nlet y = crate::spec::z;"),
        ["base", "state", "spec"]
    );
    let daemon = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon");
    for (name, rows) in CRATES {
        let sources = daemon.join(name).join("src");
        let rank = |group: &str| rows.iter().position(|row| row.contains(&group));
        let mut seen = 0;
        for group in rows.iter().copied().flatten() {
            let mut own = files(&sources.join(group));
            own.push(sources.join(group).with_extension("rs"));
            // A unit test may look upwards.
            own.retain(|file| !file.ends_with("tests.rs"));
            for file in own {
                let text = fs::read_to_string(&file).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next();
                let code: String = code
                    .unwrap_or_default()
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .flat_map(|line| [line, "\n"])
                    .collect();
                for other in used(&code) {
                    // What stands in no group is the crate's own root.
                    seen += u32::from(rank(&other).is_some());
                    assert!(
                        rank(&other) <= rank(group),
                        "{}: \"{group}\" stands below \"{other}\"",
                        file.display()
                    );
                }
            }
        }
        assert!(seen > 50, "{name}: {seen}");
    }
}
