//! What an instance file grants, as whoever restores a backup is shown it: a backup brings its plugins with what they may do.

use std::{fs, path::Path};

use serde::Serialize;

/// A plugin instance, and what it is granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// Its path in the backup.
    pub file: String,
    /// The tables `grants` of the file, as lines of TOML. Empty: it is granted nothing.
    pub grants: Vec<String>,
}

/// None for a component, which is granted nothing without an instance file.
pub(super) fn of_file(name: &str, path: &Path) -> Option<Instance> {
    if !name.ends_with(".toml") {
        return None;
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    Some(Instance {
        file: name.to_owned(),
        grants: of_text(&text),
    })
}

fn of_text(text: &str) -> Vec<String> {
    let Ok(table) = text.parse::<toml::Table>() else {
        return vec!["it can't be read: no daemon will load it".to_owned()];
    };
    if !table.contains_key("grants") {
        return Vec::new();
    }
    let told = table
        .into_iter()
        .filter(|(key, _)| matches!(key.as_str(), "grants" | "namespaces"));
    let granted = toml::Table::from_iter(told);
    let written = toml::to_string(&granted).unwrap_or_else(|_| granted.to_string());
    written
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_shown_line_by_line() {
        let text = "component = \"process.wasm\"\n[grants.process]\ncommands = [\"*\"]\n[settings]\nx = 1\n";
        assert_eq!(of_text(text), ["[grants.process]", "commands = [\"*\"]"]);
        let limited = of_text(&text.replacen('\n', "\nnamespaces = [\"shop\"]\n", 1));
        assert_eq!(
            limited,
            [
                "namespaces = [\"shop\"]",
                "[grants.process]",
                "commands = [\"*\"]"
            ]
        );
        assert!(of_text("component = \"cheapest.wasm\"\n").is_empty());
        assert_eq!(of_text("= =").len(), 1);
    }
}
