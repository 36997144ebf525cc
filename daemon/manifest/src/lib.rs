//! Documents that people write, from text to a checked value: YAML or JSON in, a document that breaks no rule or a list of problems out. It
//! knows the steps and their order; each step is a module of its own. What a document means is core's (`tradewind_core::manifest`); this
//! crate knows nothing of deployments that exist, of offers, or of the daemon.
#![warn(missing_docs)]

mod check;
mod documents;
mod json;
pub mod layout;
mod overlay;
mod read;
mod repeated;
pub mod timetable;
mod tree;
pub mod variables;
mod yaml;

use serde::de::DeserializeOwned;

use tradewind_core::{
    manifest::{Manifest, namespace},
    names::Namespace,
};

pub use documents::{Part, split};
pub use overlay::Tree;

use crate::tree::{Node, Path, Position, Value};

/// The text's notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// One thing that is wrong, where, and what would be right.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The field (`spec.services.web.replicas`); empty for the whole text.
    pub path: String,
    /// Names the value and what would be right.
    pub message: String,
    /// 1-based; absent where unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// 1-based, in characters; absent where unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
}

/// The manifest can't be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the manifest is not valid")]
pub struct Invalid {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// The most problems of one text that are told.
const MOST: usize = 50;
/// How often a text is read again without the field that did not fit, to find the next such field.
const READINGS: usize = 40;

/// Reads and checks a manifest. Nesting, the number of values and the expansion of aliases are bounded here; the size of the text is the
/// caller's to bound.
///
/// # Errors
/// `Invalid` with every problem that could be found.
pub fn parse(text: &[u8], format: Format) -> Result<Manifest, Invalid> {
    document(text, format, check::check)
}

/// The same for a manifest that is sent to a namespace: one that names no namespace belongs to that one.
///
/// # Errors
/// `Invalid` as for `parse`, and for a manifest that names another namespace.
pub fn parse_in(text: &[u8], format: Format, namespace: &Namespace) -> Result<Manifest, Invalid> {
    let tree = whole_tree(text, format)?;
    let named = tree
        .get("metadata")
        .is_some_and(|metadata| metadata.get("namespace").is_some());
    let mut manifest: Manifest = checked(&tree, |manifest: &Manifest| {
        let mut broken = check::check(manifest);
        let own = &manifest.metadata.namespace;
        if named && own != namespace {
            let message = format!(
                "the manifest names the namespace \"{own}\" and was sent to \"{namespace}\": name one of the two"
            );
            broken.push((Path::default().key("metadata").key("namespace"), message));
        }
        broken
    })?;
    if !named {
        manifest.metadata.namespace = namespace.clone();
    }
    Ok(manifest)
}

/// The name that a document gives itself, whatever else is right or wrong with it. None where it can't be read or gives none.
pub fn name(text: &[u8], format: Format) -> Option<String> {
    let tree = tree(utf8(text).ok()?, format).ok()?;
    match &tree.get("metadata")?.get("name")?.value {
        Value::Text(name) => Some(name.clone()),
        _ => None,
    }
}

/// Whether a document says itself to which namespace it belongs. One that can't be read does not.
pub fn names_namespace(text: &[u8], format: Format) -> bool {
    let tree = utf8(text).ok().and_then(|text| tree(text, format).ok());
    tree.as_ref()
        .and_then(|tree| tree.get("metadata"))
        .is_some_and(|metadata| metadata.get("namespace").is_some())
}

/// The kind that a document says it is of, whatever else is right or wrong with it.
pub fn kind(text: &[u8], format: Format) -> Option<String> {
    let tree = tree(utf8(text).ok()?, format).ok()?;
    match &tree.get("kind")?.value {
        Value::Text(kind) => Some(kind.clone()),
        _ => None,
    }
}

/// Reads and checks the document of a namespace.
///
/// # Errors
/// `Invalid` with every problem that could be found.
pub fn parse_namespace(text: &[u8], format: Format) -> Result<namespace::Document, Invalid> {
    document(text, format, check::check_namespace)
}

/// The same for any kind of document; `check` tells the rules that it breaks.
///
/// # Errors
/// `Invalid` with every problem that could be found.
fn document<T: DeserializeOwned>(
    text: &[u8],
    format: Format,
    check: impl FnOnce(&T) -> Vec<(Path, String)>,
) -> Result<T, Invalid> {
    checked(&whole_tree(text, format)?, check)
}

/// The text as a tree in which no key repeats.
fn whole_tree(text: &[u8], format: Format) -> Result<Node, Invalid> {
    let text = utf8(text).map_err(one)?;
    let tree = tree(text, format).map_err(one)?;
    let repeated = repeated::find(&tree, format);
    if repeated.is_empty() {
        Ok(tree)
    } else {
        Err(Invalid { problems: repeated })
    }
}

/// The tree as a document that breaks no rule.
fn checked<T: DeserializeOwned>(
    tree: &Node,
    check: impl FnOnce(&T) -> Vec<(Path, String)>,
) -> Result<T, Invalid> {
    let read = typed(tree)?;
    let broken = check(&read);
    if broken.is_empty() {
        return Ok(read);
    }
    let mut problems: Vec<Problem> = broken
        .into_iter()
        .map(|(path, message)| located(tree, &path, message))
        .collect();
    problems.sort_by_key(|p| (p.line, p.column));
    problems.truncate(MOST);
    Err(Invalid { problems })
}

fn one(problem: Problem) -> Invalid {
    Invalid {
        problems: vec![problem],
    }
}

fn utf8(text: &[u8]) -> Result<&str, Problem> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    std::str::from_utf8(text).map_err(|e| {
        let (good, bad) = text
            .split_at_checked(e.valid_up_to())
            .unwrap_or((text, &[]));
        let line = good.iter().filter(|&&b| b == b'\n').count() as u64 + 1;
        let last = good.rsplit(|&b| b == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(last).chars().count() as u64 + 1;
        let byte = bad
            .first()
            .map(|b| format!("byte 0x{b:02x} "))
            .unwrap_or_default();
        let message = format!(
            "not UTF-8: {byte}at offset {} begins no character: save the file as UTF-8",
            e.valid_up_to()
        );
        Problem {
            path: String::new(),
            message,
            line: Some(line),
            column: Some(column),
        }
    })
}

fn tree(text: &str, format: Format) -> Result<Node, Problem> {
    let whole = |message: String, at: Option<Position>| Problem {
        path: String::new(),
        message,
        line: at.map(|p| p.line),
        column: at.map(|p| p.column),
    };
    let empty = || {
        whole(
            "the text is empty: a manifest begins with \"apiVersion\" and \"kind\"".to_owned(),
            None,
        )
    };
    if text.trim().is_empty() {
        return Err(empty());
    }
    match format {
        Format::Json => json::read(text),
        Format::Yaml => {
            let mut documents = yaml::read(text)?.into_iter();
            match (documents.next(), documents.next()) {
                (None, _) => Err(empty()),
                (Some(only), None) => Ok(only),
                (Some(_), Some(second)) => Err(whole(
                    format!(
                        "the text holds {} documents: put one manifest in each file (the second begins here)",
                        2 + documents.count()
                    ),
                    second.at,
                )),
            }
        }
    }
}

/// A field that does not fit is noted and left out, and the rest read again: one mistake shall not hide the next.
fn typed<T: DeserializeOwned>(tree: &Node) -> Result<T, Invalid> {
    let mut error = match read::read(tree) {
        Ok(read) => return Ok(read),
        Err(error) => error,
    };
    let mut rest = tree.clone();
    let mut problems = Vec::new();
    let mut left_out: Vec<Path> = Vec::new();
    for _ in 0..READINGS {
        let mut path = error.path();
        // What is missing because it was left out has been told already.
        if !(error.missing && left_out.contains(&path)) {
            problems.push(located(tree, &path, error.message));
        }
        if error.missing {
            // Nothing can stand in for it, so what needs it goes too: all its other fields have been read by now.
            path.0.pop();
        }
        if !rest.remove(&path) {
            break;
        }
        left_out.push(path);
        match read::read::<T>(&rest) {
            Ok(_) => break,
            Err(next) => error = next,
        }
    }
    problems.sort_by_key(|p| (p.line, p.column));
    Err(Invalid { problems })
}

fn located(tree: &Node, path: &Path, message: String) -> Problem {
    let at = tree.position(path);
    Problem {
        path: path.to_string(),
        message,
        line: at.map(|p| p.line),
        column: at.map(|p| p.column),
    }
}
