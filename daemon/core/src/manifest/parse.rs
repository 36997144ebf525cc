//! Reading a manifest: YAML or JSON in, a checked manifest or a list of problems out.

use super::Manifest;

/// The text's notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Yaml,
    Json,
}

/// One thing that is wrong, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The field (`spec.services.web.replicas`); empty for the whole text.
    pub path: String,
    /// Names the value and what would be right.
    pub message: String,
    /// 1-based; absent where unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
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

/// Reads and checks a manifest. `max` is for nothing but the caller's own limit: size is the caller's business.
///
/// # Errors
/// `Invalid` with every problem that could be found.
pub fn parse(_text: &[u8], _format: Format) -> Result<Manifest, Invalid> {
    Err(Invalid { problems: Vec::new() })
}

/// The published JSON Schema of the manifest.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Manifest).to_value()
}
