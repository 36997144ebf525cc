//! The manifest reference, made of the JSON Schemas of its two documents.

use std::collections::BTreeMap;

use serde_json::Value;
use tradewind_core::{
    manifest::{VALUES, json_schema, namespace},
    names::{MetricName, NameError, Region, TaskName},
};
use tradewind_kit::pages::slug;

use super::{
    schema::{Field, NONE, Schema, default, referred},
    table::{code, paragraph, table},
};

/// A type with a section of its own.
struct Section {
    title: &'static str,
    /// In the schema.
    definition: &'static str,
    /// What its fields are written behind.
    prefix: &'static str,
}

const fn section(title: &'static str, definition: &'static str, prefix: &'static str) -> Section {
    Section {
        title,
        definition,
        prefix,
    }
}

const TASKS: &str = "Services and jobs";

const DEPLOYMENT: [Section; 29] = [
    section("CloudDeployment", "", ""),
    section("metadata", "Metadata", "metadata."),
    section("spec", "Spec", "spec."),
    section("Only services", "Service", "services.NAME."),
    section("Only jobs", "Job", "jobs.NAME."),
    section("placement", "Placement", "placement."),
    section("placement.spread", "SpreadSpec", "spread."),
    section("placement.affinity", "AffinitySpec", "affinity."),
    section("resources", "ResourcesSpec", "resources."),
    section("resources.gpu", "Accelerator", "gpu."),
    section("limits", "LimitsSpec", "limits."),
    section("ports", "PortLong", "ports.NAME."),
    section("volumes", "VolumeSpec", "volumes[]."),
    section("files", "FileSpec", "files[]."),
    section("secret", "SecretSpec", "secret."),
    section("stop", "StopSpec", "stop."),
    section("schedule", "ScheduleLong", "schedule."),
    section("health", "HealthSpec", "health."),
    section("update", "UpdateSpec", "update."),
    section("update.steps", "CanaryStepSpec", "steps[]."),
    section("scale", "ScaleSpec", "scale."),
    section("scale.target", "ScaleTarget", "target."),
    section("scale.target.metric", "MetricTarget", "metric."),
    section("scale.stabilization", "Stabilization", "stabilization."),
    section("recovery", "RecoverySpec", "recovery."),
    section("hedge", "HedgeSpec", "hedge."),
    section("replacement", "ReplacementSpec", "replacement."),
    section("targets", "TargetSpec", "targets[]."),
    section("targets.services", "TargetService", "services[]."),
];

const NAMESPACE: [Section; 4] = [
    section("Metadata of a namespace", "NamespaceMetadata", "metadata."),
    section("Spec of a namespace", "NamespaceSpec", "spec."),
    section("budget", "Budget", "budget."),
    section("quota", "Quota", "quota."),
];

/// Beside the types that are written as one value.
const AFFINITY: (&str, &str) = ("AffinityWord", "name");

pub(super) fn values() -> BTreeMap<String, String> {
    let values = VALUES.into_iter().chain([AFFINITY]);
    values
        .map(|(name, word)| (name.to_owned(), word.to_owned()))
        .collect()
}

pub(super) fn parts() -> Vec<(&'static str, String)> {
    let link = |title: &str| format!("[{title}](#{})", slug(title));
    let mut words = values();
    for s in DEPLOYMENT
        .iter()
        .chain(&NAMESPACE)
        .filter(|s| !s.definition.is_empty())
    {
        words.insert(s.definition.to_owned(), link(s.title));
    }
    for task in ["Service", "Job"] {
        words.insert(task.to_owned(), link(TASKS));
    }
    let of_namespace = schemars::schema_for!(namespace::Document).to_value();
    let deployment = Schema::new(json_schema(), words.clone());
    let namespace = Schema::new(of_namespace, words);
    for name in deployment.objects().into_iter().chain(namespace.objects()) {
        let mut sections = DEPLOYMENT.iter().chain(&NAMESPACE);
        assert!(
            sections.any(|s| s.definition == name),
            "{name} has no section"
        );
    }
    vec![
        ("deployment", of_deployment(&deployment)),
        ("namespace", of_namespace_document(&namespace)),
        ("values", of_values(&deployment)),
    ]
}

fn of_deployment(schema: &Schema) -> String {
    let places = places(schema);
    let (service, job) = (schema.definition("Service"), schema.definition("Job"));
    let is_common =
        |field: &Field| service["properties"].get(field.name) == job["properties"].get(field.name);
    let mut text = String::new();
    for Section {
        title,
        definition,
        prefix,
    } in DEPLOYMENT
    {
        let object = schema.definition(definition);
        let mut of_section = schema.fields(object);
        let place = places
            .get(definition)
            .filter(|p| **p != [title])
            .map(|p| at(p));
        if definition == "Service" {
            let mut common = schema.fields(object);
            common.retain(is_common);
            text.push_str(&format!(
                "## {TASKS}\n\nWhat services and jobs have in common. A task is one of them.\n\n\
                 At `spec.services.NAME`, `spec.jobs.NAME`; below, `TASK` stands for both.\n\n{}\n",
                fields(schema, "TASK.", common)
            ));
        }
        if matches!(definition, "Service" | "Job") {
            of_section.retain(|field| !is_common(field));
        }
        text.push_str(&head(title, schema, object));
        text.extend(place.map(|place| format!("{}\n", paragraph(&place))));
        text.push_str(&format!("{}\n", fields(schema, prefix, of_section)));
    }
    text
}

fn of_namespace_document(schema: &Schema) -> String {
    let document = fields(schema, "", schema.fields(schema.definition("")));
    let parts = NAMESPACE.map(
        |Section {
             title,
             definition,
             prefix,
         }| {
            let object = schema.definition(definition);
            let fields = fields(schema, prefix, schema.fields(object));
            format!("{}{fields}\n", head(title, schema, object))
        },
    );
    format!("{document}\n{}", parts.concat())
}

fn of_values(schema: &Schema) -> String {
    let rule = |e: NameError| {
        let rule = e.rule.trim_start_matches("use ");
        format!("{rule}.")
    };
    let mut words: BTreeMap<&str, [String; 3]> = BTreeMap::new();
    for (name, word) in VALUES {
        let definition = schema.definition(name);
        let written = match word {
            "metric name" => "".parse::<MetricName>().map_err(rule).unwrap_err(),
            "region" => "".parse::<Region>().map_err(rule).unwrap_err(),
            "name" => "".parse::<TaskName>().map_err(rule).unwrap_err(),
            _ => schema.about(definition),
        };
        let example = definition["examples"][0]
            .as_str()
            .map_or(NONE.to_owned(), code);
        words
            .entry(word)
            .or_insert([word.to_owned(), written, example]);
    }
    table(["type", "written as", "example"], words.into_values())
}

fn head(title: &str, schema: &Schema, object: &Value) -> String {
    format!("## {title}\n\n{}\n", paragraph(&schema.about(object)))
}

fn fields(schema: &Schema, prefix: &str, fields: Vec<Field>) -> String {
    let rows = fields.into_iter().map(|field| {
        let (meaning, own_default) = schema.meaning(&field);
        let default = match (own_default, field.required) {
            (Some(default), _) => default,
            (None, true) => "required".to_owned(),
            (None, false) => default(&field.schema["default"]),
        };
        let name = code(format_args!("{prefix}{}", field.name));
        [name, schema.kind(field.schema), default, meaning]
    });
    table(["field", "type", "default", "meaning"], rows)
}

/// Where a type stands, those of all tasks before those of services and of jobs.
fn at(places: &[String]) -> String {
    let mut places = places.to_vec();
    places.sort_by_key(|place| {
        let task = ["spec.services.NAME", "spec.jobs.NAME"]
            .iter()
            .position(|t| place.starts_with(t));
        (task.map_or(0, |n| n + 1), place.clone())
    });
    format!(
        "At {}.",
        places.iter().map(code).collect::<Vec<_>>().join(", ")
    )
}

/// The paths at which each type stands in a deployment.
fn places(schema: &Schema) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    visit(schema, schema.definition(""), String::new(), &mut found);
    found
}

fn visit(schema: &Schema, value: &Value, path: String, found: &mut BTreeMap<String, Vec<String>>) {
    if let Some(name) = referred(value) {
        found.entry(name.to_owned()).or_default().push(path.clone());
        return visit(schema, schema.definition(name), path, found);
    }
    for form in value["anyOf"].as_array().into_iter().flatten() {
        visit(schema, form, path.clone(), found);
    }
    for field in schema.fields(value) {
        let dot = if path.is_empty() { "" } else { "." };
        visit(
            schema,
            field.schema,
            format!("{path}{dot}{}", field.name),
            found,
        );
    }
    if value.get("items").is_some() {
        visit(schema, &value["items"], format!("{path}[]"), found);
    }
    if value["additionalProperties"].is_object() {
        visit(
            schema,
            &value["additionalProperties"],
            format!("{path}.NAME"),
            found,
        );
    }
}
