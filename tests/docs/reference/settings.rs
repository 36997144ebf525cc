//! The settings reference, made of the schema of the settings and of their defaults.

use clap::CommandFactory;
use serde_json::Value;
use tradewind_cli::Cli;
use tradewind_config::{Config, ENVIRONMENT, Effective, Overrides};

use super::{
    manifest,
    schema::{Field, NONE, Schema, referred},
    table::{code, paragraph, table},
};

/// Stands for the data folder.
const DATA: &str = "/DATA";

pub(super) fn parts() -> Vec<(&'static str, String)> {
    let mut schema = Schema::new(schemars::schema_for!(Config).to_value(), manifest::values());
    let tables: Vec<String> = schema.objects().into_iter().map(str::to_owned).collect();
    schema.call(
        tables.into_iter().chain(["CredentialSource".to_owned()]),
        "table",
    );
    let defaults = defaults();
    let (sections, single): (Vec<Field>, Vec<Field>) = schema
        .fields(schema.definition(""))
        .into_iter()
        .partition(|field| section(&schema, field).is_some());
    let mut sections: Vec<(&str, &Value)> = sections
        .iter()
        .filter_map(|field| Some((field.name, section(&schema, field)?)))
        .collect();
    sections.sort_by_key(|(name, _)| *name);
    let of_sections = sections.into_iter().map(|(name, object)| {
        let mut fields = schema.fields(object);
        fields.sort_by_key(|field| field.name);
        let rows = fields
            .iter()
            .map(|f| row(&schema, &format!("{name}."), f, &defaults[name]));
        let about = paragraph(&schema.about(object));
        format!("## [{name}]\n\n{about}\n{}\n", settings(rows))
    });
    vec![
        ("variables", variables()),
        (
            "settings",
            of_single(&schema, single, &defaults) + "\n" + &of_sections.collect::<String>(),
        ),
    ]
}

/// What the settings are where nobody says anything.
fn defaults() -> Value {
    let nothing = tempfile::NamedTempFile::new().unwrap();
    let overrides = Overrides {
        config: Some(nothing.path().to_owned()),
        data: Some(DATA.into()),
        ..Overrides::default()
    };
    let effective = Effective::load(&overrides, |_| None).unwrap();
    serde_json::to_value(effective.config).unwrap()
}

/// The fields of a section.
fn section<'a>(schema: &'a Schema, field: &Field) -> Option<&'a Value> {
    let object = schema.definition(referred(field.schema)?);
    object.get("properties").map(|_| object)
}

fn of_single(schema: &Schema, mut fields: Vec<Field>, defaults: &Value) -> String {
    fields.sort_by_key(|field| field.name);
    let mut rows = Vec::new();
    for field in &fields {
        rows.push(row(schema, "", field, defaults));
        // Of a list of tables, what one of them has.
        if let Some(item) = referred(&field.schema["items"]) {
            let prefix = format!("{}[].", field.name);
            let fields = schema.fields(schema.definition(item));
            rows.extend(fields.iter().map(|f| row(schema, &prefix, f, &Value::Null)));
        }
    }
    settings(rows)
}

fn settings(rows: impl IntoIterator<Item = [String; 4]>) -> String {
    table(["setting", "type", "default", "meaning"], rows)
}

fn row(schema: &Schema, prefix: &str, field: &Field, defaults: &Value) -> [String; 4] {
    let (meaning, own_default) = schema.meaning(field);
    let default = own_default.unwrap_or_else(|| match &defaults[field.name] {
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) => code(text.replace(DATA, "DATA")),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Object(map) if map.is_empty() => "none".to_owned(),
        Value::Null if field.required => "required".to_owned(),
        Value::Null => NONE.to_owned(),
        other => code(other),
    });
    let name = code(format_args!("{prefix}{}", field.name));
    [name, schema.kind(field.schema), default, meaning]
}

fn variables() -> String {
    let command = Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let flags: Vec<&str> = command
        .get_arguments()
        .chain(serve.get_arguments())
        .filter_map(|arg| arg.get_long())
        .collect();
    let rows = ENVIRONMENT.map(|(setting, variable)| {
        let flag = match flags.contains(&setting) {
            true => code(format_args!("--{setting}")),
            false => NONE.to_owned(),
        };
        [code(setting), code(variable), flag]
    });
    table(["setting", "variable", "flag"], rows)
}
