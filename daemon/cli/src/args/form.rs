//! The forms of results that can be asked for.

use std::{ffi::OsStr, fmt, str::FromStr};

use clap::{
    Arg,
    builder::{PossibleValue, TypedValueParser},
};
use jsonpath_rust::{
    parser::{errors::JsonPathError, model::JpQuery, parse_json_path},
    query::js_path_process,
};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
    JsonPath(JsonPath),
    Csv,
    Html,
}

const FORMS: [(&str, &str); 8] = [
    ("table", "For people"),
    ("wide", "For people, with every column and exact times"),
    ("json", "For programs"),
    ("yaml", "For programs"),
    (
        "name",
        "A name a line: `NAMESPACE/NAME`; with `--namespace`, `NAME`",
    ),
    (
        "jsonpath=EXPR",
        "What the expression finds in the JSON form, a value a line, such as `jsonpath=$..name`",
    ),
    ("csv", "The columns of `wide`, of lists alone"),
    ("html", "A page with charts, of `assess` alone"),
];

/// A query of RFC 9535.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    query: JpQuery,
}

/// Reads a form; knows all of them for the help and for completion.
#[derive(Debug, Clone, Copy)]
pub(super) struct FormParser;

// === impl Form ===

impl Form {
    /// Whether lines are printed for people, not a form for programs.
    pub fn is_for_people(&self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Wide => "wide",
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Name => "name",
            Self::JsonPath(_) => "jsonpath",
            Self::Csv => "csv",
            Self::Html => "html",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Form {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "table" => Self::Table,
            "wide" => Self::Wide,
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            "csv" => Self::Csv,
            "html" => Self::Html,
            "jsonpath" => {
                return Err(
                    "the expression is missing: write jsonpath=EXPR, such as jsonpath=$..name"
                        .to_owned(),
                );
            }
            other => match other.strip_prefix("jsonpath=") {
                Some(expression) => Self::JsonPath(expression.parse()?),
                None => {
                    let names: Vec<&str> = FORMS.iter().map(|(name, _)| *name).collect();
                    return Err(format!("use one of {}", names.join(", ")));
                }
            },
        })
    }
}

// === impl JsonPath ===

impl JsonPath {
    /// What it finds, a value a line: texts as they are, everything else as JSON.
    pub(crate) fn lines(&self, value: &Value) -> String {
        let found = js_path_process(&self.query, value).unwrap_or_default();
        let line = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let lines: Vec<String> = found.into_iter().map(|found| line(found.val())).collect();
        lines.join("\n")
    }
}

impl FromStr for JsonPath {
    type Err = String;
    /// `$.items[*].name`; also `.items[*].name` and `{.items[*].name}`, as kubectl has it.
    fn from_str(text: &str) -> Result<Self, String> {
        let inner = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap_or(text);
        let added = if inner.starts_with('$') { "" } else { "$" };
        let left = text.len() - text.trim_start_matches('{').len();
        match parse_json_path(&format!("{added}{inner}")) {
            Ok(query) => Ok(Self { query }),
            Err(JsonPathError::PestError(error)) => {
                let (pest_line, column) = match error.line_col {
                    pest::error::LineColLocation::Pos(at)
                    | pest::error::LineColLocation::Span(at, _) => at,
                };
                let column = (column + left).saturating_sub(added.len()).max(1);
                let line = if pest_line > 1 {
                    format!("line {pest_line}, ")
                } else {
                    String::new()
                };
                Err(format!(
                    "the expression \"{text}\" is not JSONPath (RFC 9535) at {line}column {column}: write one such as $.items[*].name"
                ))
            }
            Err(error) => Err(format!(
                "the expression \"{text}\" is not JSONPath (RFC 9535): {error}"
            )),
        }
    }
}

// === impl FormParser ===

impl TypedValueParser for FormParser {
    type Value = Form;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Form, clap::Error> {
        let parse = |text: &str| text.parse::<Form>();
        parse.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = FORMS.map(|(name, help)| PossibleValue::new(name).help(help));
        Some(Box::new(values.into_iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_read_as_the_standard_and_as_kubectl_write_it() {
        let value = serde_json::json!({"items": [{"name": "a", "n": 1}, {"name": "b", "n": 2}]});
        for (text, found) in [
            ("$.items[*].name", "a\nb"),
            (".items[0].name", "a"),
            ("{.items[*].n}", "1\n2"),
            ("$.items[?@.n > 1].name", "b"),
            ("$.items[0]", "{\"n\":1,\"name\":\"a\"}"),
            ("$.none", ""),
        ] {
            assert_eq!(
                text.parse::<JsonPath>().unwrap().lines(&value),
                found,
                "{text}"
            );
        }
        for (text, place) in [("$.items[", "column 9"), ("{.items[x]}", "column 9")] {
            let refused = format!("jsonpath={text}").parse::<Form>().unwrap_err();
            assert!(refused.contains(place), "{refused}");
        }
        assert!("tabel".parse::<Form>().unwrap_err().contains("table, wide"));
        assert!("jsonpath".parse::<Form>().unwrap_err().contains("EXPR"));
    }
}
