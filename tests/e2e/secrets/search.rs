//! Canaries, and the search for them in every spelling.

use std::path::{Path, PathBuf};

use anyhow::Result;

/// A secret that is worth nothing but to be recognised.
#[derive(Debug, Clone)]
pub(super) struct Canary {
    pub(super) name: &'static str,
    pub(super) value: String,
    spellings: Vec<(&'static str, Vec<u8>)>,
}

impl Canary {
    /// A new one. It has characters that are written differently in URLs and in JSON.
    pub(super) fn new(name: &'static str) -> Self {
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos());
        let core = format!("canary-{name}-{nanos:x}-{:x}", std::process::id());
        let value = format!("{core}\"+/&%\\~z");
        let json = serde_json::Value::from(value.as_str()).to_string();
        let spellings = vec![
            ("raw", core.clone().into_bytes()),
            ("in JSON", json.trim_matches('"').as_bytes().to_vec()),
            (
                "in JSON in JSON",
                serde_json::Value::from(json.as_str())
                    .to_string()
                    .trim_matches(['"', '\\'])
                    .as_bytes()
                    .to_vec(),
            ),
            ("in a URL", percent(&value).into_bytes()),
            ("reversed", core.bytes().rev().collect()),
            (
                "hexadecimal",
                core.bytes()
                    .flat_map(|b| format!("{b:02x}").into_bytes())
                    .collect(),
            ),
            (
                "a list of bytes",
                core.bytes()
                    .map(|b| b.to_string())
                    .collect::<Vec<_>>()
                    .join(",")
                    .into_bytes(),
            ),
        ];
        let at = |offset| {
            [
                ("base64", base64(&core, offset, b'+', b'/')),
                ("base64 for URLs", base64(&core, offset, b'-', b'_')),
            ]
        };
        Self {
            name,
            spellings: spellings.into_iter().chain((0..3).flat_map(at)).collect(),
            value,
        }
    }

    /// What a search of memory shall look for: the value and its base64.
    pub(super) fn patterns(&self) -> Vec<&[u8]> {
        self.spellings
            .iter()
            .filter(|(how, _)| matches!(*how, "raw" | "base64"))
            .map(|(_, bytes)| bytes.as_slice())
            .collect()
    }
}

/// The base64 of what stands at this offset of a longer text, without the digits that depend on its neighbours.
fn base64(text: &str, offset: usize, plus: u8, slash: u8) -> Vec<u8> {
    const DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let digit = |n: u32| match n {
        62 => plus,
        63 => slash,
        n => DIGITS[n as usize],
    };
    let bytes = text.as_bytes();
    let whole = &bytes[(3 - offset) % 3..];
    let digits = whole.chunks_exact(3).flat_map(|three| {
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        [18, 12, 6, 0].map(|shift| digit(bits >> shift & 63))
    });
    digits.collect()
}

fn percent(text: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| {
            if safe(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// Which canaries are in there, and how they are spelt.
pub(super) fn found(haystack: &[u8], canaries: &[&Canary]) -> Vec<String> {
    let mut found = Vec::new();
    for canary in canaries {
        for (how, needle) in &canary.spellings {
            if contains(haystack, needle) {
                found.push(format!("{} {how}", canary.name));
            }
        }
    }
    found
}

/// Quick enough for compiled code and logs: the first byte is looked for by the library.
fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|b| *b == needle[0]) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// Every file below a folder, by its path from there.
pub(super) fn files(root: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if entry.file_type()?.is_file() {
                found.push((path.display().to_string(), std::fs::read(entry.path())?));
            }
        }
    }
    Ok(found)
}

#[test]
fn every_spelling_is_found_and_nothing_else() {
    let canary = Canary::new("test");
    let value = canary.value.as_str();
    let json = serde_json::json!({ "a": value }).to_string();
    // As `printf 'user:VALUE' | base64` spells it, at each of the three offsets.
    let encoded = |before: &str| {
        let all = format!("{before}{value}");
        String::from_utf8(base64(&all, 0, b'+', b'/')).expect("digits")
    };
    assert_eq!(
        String::from_utf8(base64("Man", 0, b'+', b'/')).expect("digits"),
        "TWFu"
    );
    for text in [
        format!("x{value}y"),
        json.clone(),
        serde_json::json!({ "b": json }).to_string(),
        format!("?q={}", percent(value)),
        encoded(""),
        encoded("u"),
        encoded("us"),
        encoded("user:"),
    ] {
        assert!(!found(text.as_bytes(), &[&canary]).is_empty(), "{text}");
        assert_eq!(
            found(text.as_bytes(), &[&Canary::new("other")]),
            [] as [String; 0]
        );
    }
}
