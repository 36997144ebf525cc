//! From what was typed behind `--file` to bytes: files, folders, patterns, URLs and standard input. It must not know what a file holds.

use std::{
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use tradewind_manifest::Format;
use url::Url;

use crate::{Error, Globals, client, connection::Connection};

/// The most bytes of a file at a URL.
const MOST: usize = 4 << 20;
/// How deep folders within folders are looked into.
const DEEPEST: usize = 32;

/// Every file that was named by the argument `what`, in the order of the arguments; of a folder or a pattern in the order of the names.
///
/// # Errors
/// A folder that can't be read, and a folder or a pattern without a file.
pub(in crate::commands) fn find(
    what: &'static str,
    given: &[PathBuf],
    recursive: bool,
) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for one in given {
        let text = one.to_string_lossy();
        if one == Path::new("-") || is_url(&text) {
            files.push(one.clone());
        } else if one.is_dir() {
            let found = folder(one, recursive)?;
            if found.is_empty() {
                let more = if recursive {
                    ""
                } else {
                    ", or look deeper with -R"
                };
                return Err(nothing(
                    what,
                    one,
                    &format!("the folder has no *.yaml, *.yml or *.json: name another{more}"),
                ));
            }
            files.extend(found);
        } else if !one.exists() && text.contains(['*', '?']) {
            let found = pattern(one)?;
            if found.is_empty() {
                return Err(nothing(what, one, "no file has such a name"));
            }
            files.extend(found);
        } else {
            files.push(one.clone());
        }
    }
    Ok(files)
}

fn nothing(what: &'static str, path: &Path, rule: &str) -> Error {
    Error::Argument {
        what,
        value: path.display().to_string(),
        rule: rule.to_owned(),
    }
}

pub(in crate::commands) fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// The manifests in a folder. Names that begin with a dot are left out: editors and tools make them.
fn folder(path: &Path, recursive: bool) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    gather(path, if recursive { DEEPEST } else { 0 }, &mut found)?;
    found.sort();
    Ok(found)
}

fn gather(path: &Path, deeper: usize, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    for (name, entry) in entries(path)? {
        let path = path.join(&name);
        // A link to a folder may lead back.
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
        if is_folder && deeper > 0 {
            gather(&path, deeper - 1, found)?;
        } else if !path.is_dir() && is_manifest(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn entries(path: &Path) -> Result<Vec<(String, std::fs::DirEntry)>, Error> {
    let failed = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            found.push((name, entry));
        }
    }
    Ok(found)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|e| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| e.eq_ignore_ascii_case(known))
    })
}

/// The files whose paths match, part by part: `*` is any text, `?` any character.
fn pattern(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = vec![PathBuf::new()];
    for part in path.components() {
        let text = part.as_os_str().to_string_lossy();
        let is_pattern = matches!(part, Component::Normal(_)) && text.contains(['*', '?']);
        let mut next = Vec::new();
        for base in found {
            if !is_pattern {
                next.push(base.join(part));
                continue;
            }
            let folder = if base.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &base
            };
            if !folder.is_dir() {
                continue;
            }
            let names = entries(folder)?.into_iter().map(|(name, _)| name);
            next.extend(
                names
                    .filter(|name| matches(&text, name))
                    .map(|name| base.join(name)),
            );
        }
        found = next;
    }
    found.retain(|path| path.is_file());
    found.sort();
    Ok(found)
}

fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    // Which beginnings of the name the pattern so far matches.
    let mut open = vec![false; name.len() + 1];
    if let Some(first) = open.first_mut() {
        *first = true;
    }
    for p in pattern {
        let mut next = vec![false; name.len() + 1];
        let mut any = false;
        for (i, is_open) in open.iter().enumerate() {
            any |= *is_open;
            let takes = match p {
                '*' => any.then_some(i),
                p => name
                    .get(i)
                    .filter(|c| *is_open && (p == '?' || **c == p))
                    .map(|_| i + 1),
            };
            if let Some(at) = takes.and_then(|at| next.get_mut(at)) {
                *at = true;
            }
        }
        open = next;
    }
    open.last().copied().unwrap_or(false)
}

/// The bytes of one file, and its notation.
///
/// # Errors
/// `Read` or `Download`.
pub(super) async fn load(globals: &Globals, file: &Path) -> Result<(Format, Vec<u8>), Error> {
    let text = file.to_string_lossy();
    let mut name = file.to_owned();
    let failed = |source| Error::Read {
        path: file.to_owned(),
        source,
    };
    let bytes = if is_url(&text) {
        let (path, bytes) = fetched(globals, &text).await?;
        name = path;
        bytes
    } else if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map_err(failed)?;
        bytes
    } else {
        std::fs::read(file).map_err(failed)?
    };
    let is_json = name
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let format = if is_json { Format::Json } else { Format::Yaml };
    Ok((format, bytes))
}

/// The path of a URL, and the file there.
///
/// # Errors
/// `Argument` for what is no URL or holds a password, `Download`.
async fn fetched(globals: &Globals, text: &str) -> Result<(PathBuf, Vec<u8>), Error> {
    let wrong = |rule: &str| Error::Argument {
        what: "--file",
        value: text.to_owned(),
        rule: rule.to_owned(),
    };
    let url = Url::parse(text).map_err(|e| wrong(&e.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::Argument {
            what: "--file",
            value: url.host_str().unwrap_or_default().to_owned(),
            rule: "no credentials are sent to a URL: leave them out".to_owned(),
        });
    }
    let trust = Connection::find(globals)?.trust;
    let bytes = client::fetch(&url, &trust, MOST)
        .await
        .map_err(|source| Error::Download {
            url: text.to_owned(),
            source: source.into(),
        })?;
    Ok((PathBuf::from(url.path()), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_patterns() {
        for (pattern, name, expected) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "a.yml", false),
            ("a?.y*l", "ab.yaml", true),
            ("a?.y*l", "a.yaml", false),
            ("*", "", true),
            ("**a*", "xxa", true),
            ("ä*", "äb", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
