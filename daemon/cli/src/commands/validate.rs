//! `validate`: what the daemon checks of a manifest by itself, without a daemon.

use serde::Serialize;
use tradewind_api::problem::{Kind, Problem};
use tradewind_core::names::{NameError, Namespace};
use tradewind_manifest::Invalid;

use super::files;
use crate::{
    Error, Globals, Output,
    args::Files,
    client::{Document, Origin},
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    file: String,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<tradewind_manifest::Problem>,
}

pub(crate) async fn run(globals: &Globals, args: &Files) -> Result<(), Error> {
    let namespace = match &globals.namespace {
        None => None,
        Some(name) => Some(
            name.parse::<Namespace>()
                .map_err(|e: NameError| Error::Argument {
                    what: "--namespace",
                    value: name.clone(),
                    rule: e.rule.to_owned(),
                })?,
        ),
    };
    let (mut sheet, mut errors) = (Vec::new(), Vec::new());
    let output = Output::new(globals);
    let documents = files::read_alone(globals, &output, &args.files, &args.reading).await?;
    let count = documents.len();
    for document in documents {
        let checked = check(&document, namespace.as_ref());
        let problems = match &checked {
            Ok(_) => Vec::new(),
            Err(invalid) => invalid.problems.clone(),
        };
        sheet.push(Checked {
            file: document.origin.to_string(),
            valid: checked.is_ok(),
            name: checked.ok(),
            problems: problems.clone(),
        });
        if !problems.is_empty() {
            errors.push(refused(document.origin, problems));
        }
    }
    output.show(&sheet, |_| {
        let valid = sheet.iter().filter(|one| one.valid);
        let lines = valid.map(|one| {
            format!(
                "{}: {} is valid",
                one.file,
                one.name.as_deref().unwrap_or_default()
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    match errors.len() {
        0 => Ok(()),
        1 if count == 1 => Err(errors.remove(0)),
        wrong => Err(Error::Several {
            summary: format!("{wrong} of {count} files are not valid"),
            errors,
        }),
    }
}

/// What it is, and its name.
fn check(document: &Document, namespace: Option<&Namespace>) -> Result<String, Invalid> {
    let (text, format) = (&document.bytes, document.format);
    if tradewind_manifest::kind(text, format).as_deref() == Some("Namespace") {
        let document = tradewind_manifest::parse_namespace(text, format)?;
        return Ok(format!("namespace \"{}\"", document.metadata.name));
    }
    let manifest = match namespace {
        Some(namespace) => tradewind_manifest::parse_in(text, format, namespace)?,
        None => tradewind_manifest::parse(text, format)?,
    };
    Ok(format!("deployment \"{}\"", manifest.metadata.name))
}

/// The error of a text that is not what it should be.
pub(super) fn refused(origin: Origin, problems: Vec<tradewind_manifest::Problem>) -> Error {
    let kind = Kind::InvalidManifest;
    let problem = Problem {
        kind,
        title: kind.title().to_owned(),
        status: 422,
        detail: "the manifest is not valid".to_owned(),
        instance: None,
        request: None,
        problems,
        causes: Vec::new(),
        remedy: None,
    };
    Error::File {
        origin,
        problem: Box::new(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &'static str) -> Document {
        Document {
            origin: Origin::of(std::path::Path::new("m.yaml")),
            format: tradewind_manifest::Format::Yaml,
            bytes: text.as_bytes().into(),
        }
    }

    #[test]
    fn every_problem_has_its_place() {
        let bad = document(
            "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: web}\nspec:\n  services:\n    web:\n      \
             comand: [a]\n      replicas: -1\n",
        );
        let problems = check(&bad, None).unwrap_err().problems;
        let lines: Vec<_> = problems.iter().filter_map(|p| p.line).collect();
        assert!(lines.contains(&7) && lines.contains(&8), "{problems:?}");
        assert_eq!(refused(bad.origin, problems).exit_code(), 4);
    }

    #[test]
    fn both_kinds_of_documents_are_known() {
        let web = "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: web, namespace: team}\nspec: {services: {web: {command: [a]}}}\n";
        assert_eq!(check(&document(web), None).unwrap(), "deployment \"web\"");
        let other = "other".parse().unwrap();
        assert!(check(&document(web), Some(&other)).is_err());
        let team = "apiVersion: tradewind.dev/v1\nkind: Namespace\nmetadata: {name: team}\nspec: {budget: {hourly: \"1\"}}\n";
        assert_eq!(check(&document(team), None).unwrap(), "namespace \"team\"");
    }
}
