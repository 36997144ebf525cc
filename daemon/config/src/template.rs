//! A configuration file in which every setting stands, with what it is for and its default, and none but a few is set. It is made of the
//! settings' own descriptions and defaults.

use std::path::Path;

use serde_json::Value as Schema;
use toml::{Table, Value};

use crate::{Config, load::Error};

/// The widest line of a comment.
const WIDTH: usize = 100;

/// The text of a configuration file for a daemon with this data folder. `set` are the settings that stand there in force, by dotted name.
///
/// # Errors
/// None in practice: the defaults have a TOML form.
pub fn template(data: &Path, set: &[(&str, String)]) -> Result<String, Error> {
    let effective = crate::Effective::load(
        &crate::Overrides {
            data: Some(data.to_owned()),
            // Nothing of the user's own.
            config: Some("/dev/null".into()),
            ..crate::Overrides::default()
        },
        |_| None,
    )?;
    let defaults = Table::try_from(&effective.config).unwrap_or_default();
    let schema = schemars::schema_for!(Config).to_value();
    let mut text = String::from(
        "# Settings of a Tradewind daemon: `tradewind serve --config FILE`, with the path of this file.\n\
         # A setting behind a \"#\" shows its default: take the \"#\" away to change it. `tradewind config` shows\n\
         # what is in force.\n",
    );
    let (sections, single): (Vec<_>, Vec<_>) =
        defaults.iter().partition(|(_, value)| value.is_table());
    for (name, default) in single {
        setting(&mut text, &schema, (&schema, name), default, set, name);
    }
    for (name, fields) in sections {
        let field = property(&schema, name);
        let object = resolved(&schema, field);
        text.push_str(&format!("\n\n[{name}]\n"));
        comment(&mut text, described(object).or_else(|| described(field)));
        for (key, default) in fields.as_table().into_iter().flatten() {
            setting(
                &mut text,
                &schema,
                (object, key),
                default,
                set,
                &format!("{name}.{key}"),
            );
        }
    }
    Ok(text)
}

fn setting(
    text: &mut String,
    schema: &Schema,
    (object, key): (&Schema, &str),
    default: &Value,
    set: &[(&str, String)],
    path: &str,
) {
    let field = property(object, key);
    text.push('\n');
    comment(
        text,
        described(field).or_else(|| described(resolved(schema, field))),
    );
    match set.iter().find(|(name, _)| *name == path) {
        Some((_, value)) => text.push_str(&format!("{key} = {}\n", Value::from(value.as_str()))),
        None => text.push_str(&format!("# {key} = {default}\n")),
    }
}

/// The description of a field. Null: there is none.
fn property<'a>(object: &'a Schema, name: &str) -> &'a Schema {
    const NONE: &Schema = &Schema::Null;
    let fields = object.get("properties");
    fields.and_then(|fields| fields.get(name)).unwrap_or(NONE)
}

/// What a reference leads to.
fn resolved<'a>(schema: &'a Schema, field: &'a Schema) -> &'a Schema {
    let reference = field
        .get("$ref")
        .or_else(|| field.pointer("/allOf/0/$ref"))
        .and_then(Schema::as_str);
    reference
        .and_then(|path| schema.pointer(path.trim_start_matches('#')))
        .unwrap_or(field)
}

fn described(field: &Schema) -> Option<&str> {
    field.get("description")?.as_str()
}

/// Words as they stay together in a line: code is not broken, lest a part of it looks like a setting.
fn words(about: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in about.split_whitespace() {
        match words.last_mut() {
            Some(last) if last.matches('`').count() % 2 == 1 => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

fn comment(text: &mut String, about: Option<&str>) {
    let mut line = String::from("#");
    for word in words(about.unwrap_or_default()) {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(&word);
    }
    if line.len() > 1 {
        text.push_str(&line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Effective, Overrides};

    /// With every "#" before a setting taken away, it is what a daemon has without it.
    #[test]
    fn every_setting_stands_there_with_its_default() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let text = template(&data, &[]).unwrap();
        let is_setting = |line: &str| {
            line.strip_prefix("# ")
                .and_then(|rest| rest.split_once(" = "))
                .is_some_and(|(key, value)| {
                    key.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !value.is_empty()
                })
        };
        let active: String = text
            .lines()
            .map(|line| format!("{}\n", if is_setting(line) { &line[2..] } else { line }))
            .collect();
        let load = |text: &str| {
            let file = folder.path().join("config.toml");
            std::fs::write(&file, text).unwrap();
            let overrides = Overrides {
                config: Some(file),
                data: Some(data.clone()),
                ..Overrides::default()
            };
            let mut effective = Effective::load(&overrides, |_| None).unwrap();
            effective.config.file = None;
            effective
        };
        let (mine, defaults) = (load(&active), load(""));
        assert_eq!(mine.config, defaults.config);
        let unset: Vec<_> = mine
            .sources
            .iter()
            .filter(|(_, source)| **source == crate::Source::Default)
            .collect();
        assert!(unset.is_empty(), "{unset:?}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH + 60));
        let set = template(&data, &[("listen", "127.0.0.1:9".into())]).unwrap();
        assert_eq!(load(&set).config.listen.port(), 9);
    }
}
