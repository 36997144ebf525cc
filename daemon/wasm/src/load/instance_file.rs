//! The instance file: TOML beside a component, written by the operator. Knows its grammar, not whether the plugin agrees.

use serde::Deserialize;
use serde_json::Value;
use tradewind_core::{
    grant::{Grants, Spaces},
    plugin::Limits,
};

/// The largest instance file, in bytes.
pub(crate) const SIZE_CAP: u64 = 1 << 20;

/// How a component of the program's own is named, before its name.
pub(crate) const BUILTIN: &str = "builtin:";

/// The text is no instance file.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("the instance file is not UTF-8")]
    NotText,
    #[error("the instance file is not valid: {0}")]
    Syntax(String),
    #[error(
        "component is \"{0}\": use the name of a file in the plugin folder that ends in .wasm, or builtin:NAME"
    )]
    Component(String),
    #[error("settings.{path} is not a number that JSON can hold")]
    Number { path: String },
    #[error("{0}")]
    Grant(String),
}

/// One configured use of a component.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InstanceFile {
    /// A file name in the plugin folder, or in that of further components; or `builtin:NAME`.
    pub(crate) component: String,
    /// Whose deployments may be placed there, or may name the policy.
    pub(crate) namespaces: Spaces,
    /// A JSON object.
    pub(crate) settings: Value,
    pub(crate) limits: Limits,
    pub(crate) grants: Grants,
    /// False: there is no such file.
    pub(crate) written: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    component: String,
    #[serde(default)]
    namespaces: Spaces,
    #[serde(default)]
    settings: toml::Table,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    grants: Grants,
}

/// Checks the text of an instance file. Whether the plugin accepts its settings is not looked at.
///
/// # Errors
/// When the text is no TOML of this shape; the message names the place and the field.
pub fn check(text: &[u8]) -> Result<(), Error> {
    InstanceFile::parse(text).map(drop)
}

impl InstanceFile {
    /// What a component without an instance file gets: no settings, no grants, the default limits.
    pub(crate) fn bare(component: &str) -> Self {
        Self {
            component: component.to_owned(),
            namespaces: Spaces::All,
            settings: Value::Object(serde_json::Map::new()),
            limits: Limits::default(),
            grants: Grants::default(),
            written: false,
        }
    }

    /// What a version was configured with, of which the text is kept; it is empty where there was no file.
    ///
    /// # Errors
    /// As `parse`.
    pub(crate) fn kept(text: &[u8], component: &str) -> Result<Self, Error> {
        match text {
            [] => Ok(Self::bare(component)),
            text => Self::parse(text),
        }
    }

    /// # Errors
    /// When the text is no TOML of this shape; the message names the place and the field.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::NotText)?;
        let mut document: Document =
            toml::from_str(text).map_err(|e| Error::Syntax(one_line(&e, text)))?;
        let plain =
            !document.component.contains(['/', '\\']) && !document.component.starts_with('.');
        let named =
            document.component.ends_with(".wasm") || document.component.starts_with(BUILTIN);
        if !plain || !named {
            return Err(Error::Component(document.component));
        }
        document
            .grants
            .check(&std::env::var("PATH").unwrap_or_default())
            .map_err(Error::Grant)?;
        let settings = json(
            toml::Value::Table(std::mem::take(&mut document.settings)),
            &mut Vec::new(),
        )?;
        let Document {
            component,
            namespaces,
            limits,
            grants,
            ..
        } = document;
        Ok(Self {
            component,
            namespaces,
            settings,
            limits,
            grants,
            written: true,
        })
    }
}

/// The parser's message without its picture of the text, with the line number.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().trim().replace('\n', ", ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

fn json(value: toml::Value, path: &mut Vec<String>) -> Result<Value, Error> {
    Ok(match value {
        toml::Value::String(s) => Value::String(s),
        toml::Value::Integer(n) => Value::from(n),
        toml::Value::Float(x) => Value::Number(serde_json::Number::from_f64(x).ok_or_else(
            || Error::Number {
                path: path.join("."),
            },
        )?),
        toml::Value::Boolean(b) => Value::Bool(b),
        toml::Value::Datetime(t) => Value::String(t.to_string()),
        toml::Value::Array(items) => {
            let mut out = Vec::with_capacity(items.len());
            for (i, item) in items.into_iter().enumerate() {
                path.push(i.to_string());
                out.push(json(item, path)?);
                path.pop();
            }
            Value::Array(out)
        }
        toml::Value::Table(table) => {
            let mut out = serde_json::Map::with_capacity(table.len());
            for (key, item) in table {
                path.push(key.clone());
                out.insert(key, json(item, path)?);
                path.pop();
            }
            Value::Object(out)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file() {
        let text = "component = \"a.wasm\"\n[settings]\nn = 1\nlist = [{ x = 1.5 }]\n[limits]\ndeadline = \"2s\"\nmemory = \"1Mi\"\n[grants.process]\ncommands = [\"sh\"]\n";
        let file = InstanceFile::parse(text.as_bytes()).unwrap();
        assert_eq!(
            file.settings,
            serde_json::json!({ "n": 1, "list": [{ "x": 1.5 }] })
        );
        assert_eq!(file.limits.deadline.0, 2000);
        assert_eq!(file.grants.process.unwrap().commands, ["sh"]);
        assert!(file.namespaces.is_all());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("component = 1", "line 1"),
            ("component = \"a.wasm\"\nsetings = 1", "setings"),
            ("component = \"../a.wasm\"", "../a.wasm"),
            (
                "component = \"a.wasm\"\n[limits]\ndeadline = \"soon\"",
                "soon",
            ),
            ("component = \"a.wasm\"\n[grants]\nroot = true", "root"),
            (
                "component = \"a.wasm\"\nnamespaces = []",
                "namespaces is empty",
            ),
            (
                "component = \"a.wasm\"\n[grants.process]\ncommands = [{ name = \"a\", namespaces = [\"No\"] }]",
                "holds \"No\"",
            ),
            (
                "component = \"a.wasm\"\n[settings]\nx = [nan]",
                "settings.x.0",
            ),
            ("", "component"),
        ] {
            let error = InstanceFile::parse(text.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
