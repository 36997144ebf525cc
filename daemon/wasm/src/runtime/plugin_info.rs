//! What a plugin says about itself, checked. Free of the contract's types.

use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tradewind_core::plugin::{Features, Kind, Wanted};

use crate::base::text::tame;

/// The answer to `describe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginInfo {
    /// Whether it is a provider or a policy.
    pub kind: Kind,
    /// The plugin's name: lowercase letters, digits and hyphens, at most 63.
    pub name: String,
    /// The plugin's semantic version, such as `1.2.3`.
    pub version: String,
    /// What it is for, in at most 200 characters.
    pub summary: String,
    /// JSON Schema of the settings.
    pub settings_schema: Value,
    /// What it would like to be granted, and why. At most 32.
    pub capabilities: Vec<Wanted>,
    /// Of a provider: the workloads it runs.
    pub features: Features,
}

const SCHEMA_CAP: usize = 256 << 10;
/// The most bytes of a version.
const LONGEST_VERSION: usize = 64;

impl PluginInfo {
    /// # Errors
    /// A sentence about the first field that can't be right.
    pub(crate) fn checked(
        kind: Kind,
        (name, version, summary, schema): (String, String, String, String),
        capabilities: Vec<Wanted>,
        features: Features,
    ) -> Result<Self, String> {
        let label = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if !(1..=63).contains(&name.len()) || !name.bytes().all(label) {
            return Err(format!(
                "the name \"{}\": use 1 to 63 lowercase letters, digits and hyphens",
                tame(&name)
            ));
        }
        let is_short = version.len() <= LONGEST_VERSION;
        let parsed = if is_short {
            Version::parse(&version).map_err(|e| e.to_string())
        } else {
            Err("it is too long".to_owned())
        };
        if let Err(why) = parsed {
            return Err(format!(
                "the version \"{}\": {why}; use a semantic version such as 1.2.3",
                tame(&version)
            ));
        }
        if schema.len() > SCHEMA_CAP {
            return Err(format!(
                "a settings schema of {} bytes, the most is {SCHEMA_CAP}",
                schema.len()
            ));
        }
        let settings_schema: Value = serde_json::from_str(&schema)
            .map_err(|e| format!("a settings schema that is no JSON: {e}"))?;
        if !settings_schema.is_object() && !settings_schema.is_boolean() {
            return Err("a settings schema that is no object".to_owned());
        }
        let summary: String = tame(&summary).chars().take(200).collect();
        let capabilities = capabilities
            .into_iter()
            .take(32)
            .map(|w| Wanted {
                name: tame(&w.name),
                why: tame(&w.why),
            })
            .collect();
        Ok(Self {
            kind,
            name,
            version,
            summary,
            settings_schema,
            capabilities,
            features,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_version(version: &str) -> Result<PluginInfo, String> {
        let texts = (
            "mine".to_owned(),
            version.to_owned(),
            String::new(),
            "{}".to_owned(),
        );
        PluginInfo::checked(Kind::Policy, texts, Vec::new(), Features::default())
    }

    #[test]
    fn a_version_is_a_semantic_one() {
        for good in [
            "0.1.0",
            "1.2.3",
            "1.2.3-rc.1",
            "1.2.3-rc.1+linux.7",
            "10.20.4294967296",
        ] {
            assert_eq!(
                of_version(good).map(|about| about.version),
                Ok(good.to_owned())
            );
        }
        let long = format!("1.2.3-{}", "x".repeat(LONGEST_VERSION));
        for bad in [
            "",
            "1",
            "1.2",
            "v1.2.3",
            "1.2.3.4",
            "01.2.3",
            "1.2.3-",
            "1.2.3-a..b",
            "1.2.3-a_b",
            "1.2.x",
            " 1.2.3",
            &long,
        ] {
            let told = of_version(bad).unwrap_err();
            assert!(
                told.starts_with(&format!("the version \"{bad}\": "))
                    && told.ends_with("such as 1.2.3"),
                "{told}"
            );
        }
    }
}
