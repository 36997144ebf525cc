//! Keys that one mapping repeats. YAML and JSON forbid them and most parsers silently keep the last, so two of three clouds vanish: such a
//! text is refused, and where it is a deployment onto several clouds the answer shows it as a list, made from its own values.

use std::collections::HashMap;

use crate::{
    Format, Problem,
    tree::{Entry, Node, Path, Step, Value, short},
};

/// The most problems told at once.
const MOST: usize = 20;
/// The keys that make a cloud's block.
const CLOUD_KEYS: [&str; 3] = ["provider", "region", "services"];

/// Every repeated key of the tree.
pub(super) fn find(root: &Node, format: Format) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(root, &Path::default(), format, &mut problems);
    problems.sort_by_key(|p| (p.line, p.column));
    problems
}

fn walk(node: &Node, path: &Path, format: Format, problems: &mut Vec<Problem>) {
    if problems.len() >= MOST {
        return;
    }
    match &node.value {
        Value::List(items) => {
            for (i, item) in items.iter().enumerate() {
                walk(item, &path.clone().index(i), format, problems);
            }
        }
        Value::Map(entries) => {
            let here = repeats(entries);
            // A deployment is described at the top or under `spec`; elsewhere these are keys like any other.
            let in_spec = path.0.is_empty() || path.0 == [Step::Key("spec".to_owned())];
            let names_one = entries.iter().any(|e| e.key == "provider");
            let clouds = in_spec
                && names_one
                && here
                    .iter()
                    .any(|(_, again)| CLOUD_KEYS.contains(&again.key.as_str()));
            if clouds {
                problems.push(several_clouds(entries, &here, path, format));
            }
            let plain = here
                .iter()
                .filter(|(_, again)| !clouds || !CLOUD_KEYS.contains(&again.key.as_str()));
            problems.extend(plain.map(|(first, again)| twice(first, again, path)));
            for entry in entries {
                walk(
                    &entry.value,
                    &path.clone().key(&entry.key),
                    format,
                    problems,
                );
            }
        }
        _ => {}
    }
    problems.truncate(MOST);
}

/// Each repetition with the first time its key was written.
fn repeats(entries: &[Entry]) -> Vec<(&Entry, &Entry)> {
    let mut seen = HashMap::new();
    let mut out = Vec::new();
    for entry in entries {
        match seen.get(entry.key.as_str()) {
            Some(first) => out.push((*first, entry)),
            None => drop(seen.insert(entry.key.as_str(), entry)),
        }
    }
    out.truncate(MOST);
    out
}

fn twice(first: &Entry, again: &Entry, path: &Path) -> Problem {
    let place = first
        .key_at
        .map(|p| format!(" (first at line {}, column {})", p.line, p.column))
        .unwrap_or_default();
    let message = format!(
        "the key \"{}\" is written twice in one mapping{place}: keep one of them",
        short(&again.key)
    );
    at(again, path.clone().key(&again.key), message)
}

fn at(entry: &Entry, path: Path, message: String) -> Problem {
    Problem {
        path: path.to_string(),
        message,
        line: entry.key_at.map(|p| p.line),
        column: entry.key_at.map(|p| p.column),
    }
}

fn several_clouds(
    entries: &[Entry],
    repeats: &[(&Entry, &Entry)],
    path: &Path,
    format: Format,
) -> Problem {
    let mut keys: Vec<&str> = repeats
        .iter()
        .map(|(_, again)| again.key.as_str())
        .filter(|k| CLOUD_KEYS.contains(k))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let named = keys
        .iter()
        .map(|k| format!("\"{k}\""))
        .collect::<Vec<_>>()
        .join(", ");
    let (notation, mapping) = match format {
        Format::Yaml => ("YAML", "mapping"),
        Format::Json => ("JSON", "object"),
    };
    let list = targets(entries).unwrap_or_else(example);
    let shown = match format {
        Format::Yaml => list
            .iter()
            .fold("  targets:\n".to_owned(), |text, t| text + &t.yaml()),
        Format::Json => format!(
            "  \"targets\": [\n{}\n  ]\n",
            list.iter()
                .map(Target::json)
                .collect::<Vec<_>>()
                .join(",\n")
        ),
    };
    let message = format!(
        "a {notation} {mapping} can't repeat keys, and this one repeats {named}: most parsers would silently keep the last of each and drop the \
         clouds before it. Write one entry for each cloud under \"spec\":\n\n{shown}\nand describe each service once under \"spec.services\""
    );
    let first = repeats
        .iter()
        .find(|(_, again)| CLOUD_KEYS.contains(&again.key.as_str()));
    match first {
        Some((_, again)) => at(again, path.clone().key(&again.key), message),
        None => Problem {
            path: path.to_string(),
            message,
            line: None,
            column: None,
        },
    }
}

/// One cloud as its author wrote it.
#[derive(Default)]
struct Target {
    provider: Option<String>,
    region: Option<String>,
    /// Name and kind of platform.
    services: Vec<(String, Option<String>)>,
}

impl Target {
    /// Whether a further `key` belongs to the next cloud.
    fn has(&self, key: &str) -> bool {
        match key {
            "provider" => self.provider.is_some(),
            "region" => self.region.is_some(),
            _ => !self.services.is_empty(),
        }
    }

    fn yaml(&self) -> String {
        let mut text = format!(
            "    - provider: {}\n",
            self.provider.as_deref().map_or("NAME".to_owned(), quoted)
        );
        self.region
            .iter()
            .for_each(|r| text += &format!("      region: {}\n", quoted(r)));
        if !self.services.is_empty() {
            text += "      services:\n";
        }
        for (name, platform) in &self.services {
            text += &format!("        - name: {}\n", quoted(name));
            platform
                .iter()
                .for_each(|p| text += &format!("          type: {}\n", quoted(p)));
        }
        text
    }

    fn json(&self) -> String {
        let services: Vec<_> = self
            .services
            .iter()
            .map(|(name, platform)| match platform {
                Some(p) => serde_json::json!({ "name": name, "type": p }),
                None => serde_json::json!({ "name": name }),
            })
            .collect();
        let mut one = serde_json::Map::new();
        one.insert(
            "provider".to_owned(),
            self.provider
                .clone()
                .unwrap_or_else(|| "NAME".to_owned())
                .into(),
        );
        self.region
            .iter()
            .for_each(|r| drop(one.insert("region".to_owned(), r.as_str().into())));
        if !services.is_empty() {
            one.insert("services".to_owned(), services.into());
        }
        format!("    {}", serde_json::Value::Object(one))
    }
}

/// A text that YAML reads back as the same text.
fn quoted(text: &str) -> String {
    let text = short(text);
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off"
        );
    if plain {
        text
    } else {
        serde_json::Value::String(text).to_string()
    }
}

/// The blocks of the mapping in order; none when they are not what they look like.
fn targets(entries: &[Entry]) -> Option<Vec<Target>> {
    let mut all = vec![Target::default()];
    for entry in entries
        .iter()
        .filter(|e| CLOUD_KEYS.contains(&e.key.as_str()))
    {
        if all.last()?.has(&entry.key) {
            all.push(Target::default());
        }
        let last = all.last_mut()?;
        match (entry.key.as_str(), &entry.value.value) {
            ("provider", Value::Text(text)) => last.provider = Some(text.clone()),
            ("region", Value::Text(text)) => last.region = Some(text.clone()),
            ("services", Value::List(items)) => {
                last.services = items.iter().filter_map(listed).collect()
            }
            ("services", Value::Map(named)) => {
                last.services = named
                    .iter()
                    .map(|e| (e.key.clone(), text_of(&e.value, "type")))
                    .collect();
            }
            _ => return None,
        }
    }
    (all.len() > 1 && all.len() <= 1000 && all.iter().all(|t| t.provider.is_some())).then_some(all)
}

fn listed(item: &Node) -> Option<(String, Option<String>)> {
    match &item.value {
        Value::Text(name) => Some((name.clone(), None)),
        _ => Some((text_of(item, "name")?, text_of(item, "type"))),
    }
}

fn text_of(node: &Node, key: &str) -> Option<String> {
    match &node.get(key)?.value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn example() -> Vec<Target> {
    let one = |provider: &str, region: &str, platform: &str| Target {
        provider: Some(provider.to_owned()),
        region: Some(region.to_owned()),
        services: vec![("my-model".to_owned(), Some(platform.to_owned()))],
    };
    vec![
        one("aws", "us-west-2", "EKS"),
        one("azure", "us-east-1", "AKS"),
    ]
}
