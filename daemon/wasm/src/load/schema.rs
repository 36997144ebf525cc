//! Settings against a plugin's schema. Both may come from strangers, and a schema is a program: two references in it can double the work with
//! every level of the settings. So it is looked over first; only what is sure to be quick is compared in this process.

use serde_json::{Map, Value};

use super::compiler::Answer;
use crate::base::text::tame;

/// Steps of what counts as quick: a schema is looked at with a value so often.
const STEPS: u64 = 100_000;
/// Bytes of a text that count as one step: a pattern is held against all of it, a length is counted through it.
const TEXT: usize = 100;
/// References within one another that are followed.
const DEPTH: u32 = 200;
/// Of the schema and of the settings, as text.
const SIZE: usize = 256 << 10;
/// Patterns, their length together, and repetitions in them: each may multiply what compiling it costs.
const PATTERNS: usize = 16;
const PATTERN_LENGTH: usize = 1_000;
const REPETITIONS: usize = 4;

/// Compares them, however long that takes.
pub(crate) fn compare(schema: &Value, settings: &Value) -> Answer {
    let options = jsonschema::draft202012::options()
        .with_pattern_options(jsonschema::PatternOptions::regex());
    let validator = match options.build(schema) {
        Ok(validator) => validator,
        Err(error) => return Answer::Schema(tame(&error.to_string())),
    };
    match validator.iter_errors(settings).next() {
        None => Answer::Done,
        Some(error) => Answer::Settings {
            path: error.instance_path().as_str().replace('/', "."),
            why: tame(&error.to_string()),
        },
    }
}

/// Whether comparing them is sure to be quick. What it does not know is not.
pub(crate) fn is_quick(schema: &Value, settings: &Value) -> bool {
    let (schema_text, settings_text) = (schema.to_string(), settings.to_string());
    if schema_text.len() > SIZE || settings_text.len() > SIZE {
        return false;
    }
    let mut patterns = Patterns::default();
    patterns.collect(schema);
    let mut walk = Walk {
        root: schema,
        left: STEPS,
    };
    patterns.are_quick() && walk.visit(schema, settings, DEPTH)
}

#[derive(Default)]
struct Patterns {
    count: usize,
    length: usize,
    repetitions: usize,
}

impl Patterns {
    /// Everything that is a pattern wherever in the schema, used or not: all are compiled.
    fn collect(&mut self, schema: &Value) {
        match schema {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Object(keywords) => {
                for (keyword, value) in keywords {
                    match (keyword.as_str(), value) {
                        ("pattern", Value::String(pattern)) => self.add(pattern),
                        ("patternProperties", Value::Object(properties)) => {
                            properties.keys().for_each(|pattern| self.add(pattern))
                        }
                        _ => {}
                    }
                    self.collect(value);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, pattern: &str) {
        self.count += 1;
        self.length += pattern.len();
        self.repetitions += pattern.matches('{').count();
    }

    fn are_quick(&self) -> bool {
        self.count <= PATTERNS && self.length <= PATTERN_LENGTH && self.repetitions <= REPETITIONS
    }
}

/// Goes wherever a comparison could go, and counts.
struct Walk<'a> {
    root: &'a Value,
    left: u64,
}

impl<'a> Walk<'a> {
    fn spend(&mut self, steps: usize) -> bool {
        let left = self.left.checked_sub(steps as u64);
        self.left = left.unwrap_or_default();
        left.is_some()
    }

    /// False: it is not sure to be quick.
    fn visit(&mut self, schema: &'a Value, value: &Value, depth: u32) -> bool {
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        let Value::Object(keywords) = schema else {
            return self.spend(1);
        };
        let long = value.as_str().map_or(0, str::len) / TEXT;
        self.spend(1 + keywords.len() * (1 + long))
            && keywords
                .iter()
                .all(|(keyword, given)| self.keyword(keyword, given, value, depth))
    }

    fn keyword(&mut self, keyword: &str, given: &'a Value, value: &Value, depth: u32) -> bool {
        let empty = Map::new();
        let members = value.as_object().unwrap_or(&empty);
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        match keyword {
            "$ref" => match given
                .as_str()
                .and_then(|path| path.strip_prefix('#'))
                .and_then(|path| self.root.pointer(path))
            {
                Some(target) => self.visit(target, value, depth),
                None => false,
            },
            "allOf" | "anyOf" | "oneOf" => given
                .as_array()
                .is_some_and(|all| all.iter().all(|one| self.visit(one, value, depth))),
            "not" | "if" | "then" | "else" => self.visit(given, value, depth),
            "dependentSchemas" => given
                .as_object()
                .is_some_and(|all| all.values().all(|one| self.visit(one, value, depth))),
            "properties" => given.as_object().is_some_and(|all| {
                all.iter().all(|(name, one)| {
                    members
                        .get(name)
                        .is_none_or(|member| self.visit(one, member, depth))
                })
            }),
            "patternProperties" => given.as_object().is_some_and(|all| {
                let names = members.keys().map(String::len).sum::<usize>() / TEXT;
                self.spend(all.len() * names)
                    && all.values().all(|one| {
                        members
                            .values()
                            .all(|member| self.visit(one, member, depth))
                    })
            }),
            "additionalProperties" => members
                .values()
                .all(|member| self.visit(given, member, depth)),
            "propertyNames" => members
                .keys()
                .all(|name| self.visit(given, &Value::String(name.clone()), depth)),
            "items" | "contains" => items.iter().all(|item| self.visit(given, item, depth)),
            "prefixItems" => given.as_array().is_some_and(|all| {
                all.iter()
                    .zip(items)
                    .all(|(one, item)| self.visit(one, item, depth))
            }),
            "const" => self.spend(steps(value)),
            "enum" => self.spend(
                given
                    .as_array()
                    .map_or(1, Vec::len)
                    .saturating_mul(steps(value)),
            ),
            "uniqueItems" => self.spend(items.len().saturating_mul(items.iter().map(steps).sum())),
            // Ways to go elsewhere, or to look again at what was looked at.
            "$dynamicRef"
            | "$recursiveRef"
            | "$id"
            | "$anchor"
            | "$dynamicAnchor"
            | "unevaluatedProperties"
            | "unevaluatedItems"
            | "additionalItems"
            | "dependencies" => false,
            _ => true,
        }
    }
}

/// What it takes to compare a value with another one.
fn steps(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => 1 + text.len() / TEXT,
        Value::Array(items) => 1 + items.iter().map(steps).sum::<usize>(),
        Value::Object(members) => {
            1 + members
                .iter()
                .map(|(name, member)| name.len() / TEXT + steps(member))
                .sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!({}), |inner, _| json!({ "a": inner }))
    }

    #[test]
    fn ordinary_schemas_are_quick_and_programs_are_not() {
        let ordinary = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "regions": { "type": "array", "items": { "$ref": "#/$defs/region" } },
                "price": { "anyOf": [{ "type": "string", "pattern": "^[0-9]+$" }, { "type": "null" }] },
            },
            "$defs": { "region": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } } },
        });
        let settings = json!({ "regions": vec![json!({ "name": "north" }); 100], "price": "3" });
        assert!(is_quick(&ordinary, &settings));
        assert_eq!(compare(&ordinary, &settings), Answer::Done);

        let doubling =
            json!({ "additionalProperties": { "allOf": [{ "$ref": "#" }, { "$ref": "#" }] } });
        assert!(is_quick(&doubling, &nested(3)), "small is quick");
        let began = Instant::now();
        for (what, schema, settings) in [
            ("doubling", doubling, nested(50)),
            ("a circle", json!({ "$ref": "#" }), json!({})),
            (
                "elsewhere",
                json!({ "$ref": "https://example.com/schema" }),
                json!({}),
            ),
            (
                "an anchor",
                json!({ "$ref": "#there", "$defs": { "a": { "$anchor": "there" } } }),
                json!({}),
            ),
            (
                "patterns",
                json!({ "$defs": { "a": { "pattern": "(((a{99}){99}){99}){99}b{9}" } } }),
                json!({}),
            ),
            (
                "many patterns",
                json!({ "patternProperties": (0..99).map(|n| (n.to_string(), json!(true))).collect::<Map<_, _>>() }),
                json!({}),
            ),
            (
                "many to compare",
                json!({ "properties": { "a": { "uniqueItems": true } } }),
                json!({ "a": vec![1; 1_000] }),
            ),
            (
                "one long text, looked at again and again",
                json!({ "allOf": vec![json!({ "$ref": "#/$defs/a" }); 50], "$defs": { "a": { "pattern": "(a|b)*c" } } }),
                json!("a".repeat(200_000)),
            ),
            (
                "a long name, likewise",
                json!({ "allOf": vec![json!({ "$ref": "#/$defs/a" }); 60], "$defs": { "a": { "patternProperties": { "(a|b)*c": {} } } } }),
                json!({ "a".repeat(200_000): 1 }),
            ),
            (
                "long texts to compare",
                json!({ "uniqueItems": true }),
                json!(vec!["a".repeat(1_000); 200]),
            ),
            (
                "a large schema",
                json!({ "description": "x".repeat(SIZE) }),
                json!({}),
            ),
        ] {
            assert!(!is_quick(&schema, &settings), "{what}");
        }
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "finding out is quick"
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let schema =
            json!({ "properties": { "a": { "properties": { "b": { "type": "string" } } } } });
        assert!(
            matches!(compare(&schema, &json!({ "a": { "b": 3 } })), Answer::Settings { path, .. } if path == ".a.b")
        );
        assert!(matches!(
            compare(&json!({ "type": "none" }), &json!({})),
            Answer::Schema(_)
        ));
    }
}
