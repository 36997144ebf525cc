//! Several files at once: all are read and checked before the first has an effect, and where something goes wrong every file has its line on
//! standard output. A single file needs no list: its error says all.

mod prepare;
mod sources;

use std::path::PathBuf;

use serde::Serialize;
use tradewind_api::{Accepted, NamespaceOutcome, Outcome};
use tradewind_manifest::Problem;

use super::about;
use crate::{
    Context, Error, Globals, Output,
    args::Reading,
    client::{self, Document, Origin},
};
use prepare::Preparation;
pub(super) use sources::{find, is_url};

/// What became of one file.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    pub file: String,
    /// `created`, `updated`, `unchanged`, `set`, `planned`, `stored`, `assessed`; `refused`, `unreadable`, `not-tried`.
    pub outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Of what was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Told>,
}

/// What went wrong with it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    pub message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What is printed of all.
#[derive(Debug, Serialize)]
struct Sheet<'a> {
    files: &'a [Line],
}

/// Something that a daemon answers about a file's content.
pub(super) trait Receipt {
    /// Without the file.
    fn line(&self) -> Line;
}

// === impl Line ===

impl Line {
    fn of(origin: &Origin, outcome: &'static str) -> Self {
        Self {
            file: origin.to_string(),
            outcome,
            ..Self::default()
        }
    }

    fn received(origin: &Origin, receipt: &impl Receipt) -> Self {
        Self {
            file: origin.to_string(),
            ..receipt.line()
        }
    }

    /// A file that something is wrong with.
    pub(super) fn failed(self, error: &Error) -> Self {
        let (problems, remedy) = match error {
            Error::File { problem, .. } | Error::Client(client::Error::Refused(problem)) => {
                (problem.problems.clone(), problem.remedy.clone())
            }
            _ => (Vec::new(), None),
        };
        let message = match error {
            Error::File { problem, .. } if !problem.detail.is_empty() => problem.detail.clone(),
            Error::File { problem, .. } => problem.title.clone(),
            // The reason is its cause.
            Error::Read { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        Self {
            error: Some(Told {
                message,
                problems,
                remedy,
            }),
            ..self
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{}: ", self.file);
        if let Some(name) = &self.name {
            let name = self
                .namespace
                .as_ref()
                .map_or(name.clone(), |namespace| format!("{namespace}/{name}"));
            text.push_str(&format!("{name} "));
        }
        text.push_str(&self.outcome.replace('-', " "));
        if let Some(generation) = self.generation {
            text.push_str(&format!(" (generation {generation})"));
        }
        if let Some(status) = &self.status {
            text.push_str(&format!(", {status}"));
        }
        if let Some(Told {
            message, problems, ..
        }) = &self.error
        {
            // Each problem has its place in what goes to standard error.
            let first = problems.first().map(|p| {
                if p.path.is_empty() {
                    p.message.clone()
                } else {
                    format!("{}: {}", p.path, p.message)
                }
            });
            let told = first
                .filter(|_| self.outcome == "refused")
                .unwrap_or_else(|| message.clone());
            text.push_str(&format!(": {told}"));
        }
        text
    }
}

impl Receipt for Accepted {
    fn line(&self) -> Line {
        Line {
            outcome: outcome(self.outcome),
            namespace: Some(self.namespace.to_string()),
            name: Some(self.name.to_string()),
            generation: Some(self.generation),
            ..Line::default()
        }
    }
}

impl Receipt for NamespaceOutcome {
    fn line(&self) -> Line {
        let outcome = if self.outcome == Outcome::Unchanged {
            "unchanged"
        } else {
            "set"
        };
        Line {
            outcome,
            name: Some(self.name.to_string()),
            generation: Some(self.generation),
            ..Line::default()
        }
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "created",
        Outcome::Updated => "updated",
        Outcome::Unchanged => "unchanged",
        Outcome::Deleting => "deleting",
    }
}

/// Reads every file before anything is sent: folders, patterns, URLs and standard input, each document of each file, with its variables
/// replaced and the overlays laid over it.
///
/// # Errors
/// What can't be read or put together; of several files all of it. `Argument` for what names no file.
pub(super) async fn read(
    context: &Context,
    files: &[PathBuf],
    reading: &Reading,
) -> Result<Vec<Document>, Error> {
    read_alone(&context.globals, &context.output, files, reading).await
}

/// The same without a daemon.
///
/// # Errors
/// As for `read`.
pub(super) async fn read_alone(
    globals: &Globals,
    output: &Output,
    files: &[PathBuf],
    reading: &Reading,
) -> Result<Vec<Document>, Error> {
    let preparation = Preparation::new(globals, reading).await?;
    let files = sources::find("--file", files, reading.recursive)?;
    let (mut documents, mut lines, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for file in &files {
        let read = match sources::load(globals, file).await {
            Ok((format, bytes)) => preparation.documents(file, format, bytes),
            Err(error) => Err(error),
        };
        match read {
            Ok(read) => {
                lines.extend(read.iter().map(|d| Line::of(&d.origin, "not-tried")));
                documents.extend(read);
            }
            Err(error) if files.len() == 1 => return Err(error),
            Err(error) => {
                let outcome = match &error {
                    Error::File { .. } => "refused",
                    _ => "unreadable",
                };
                lines.push(Line::of(&Origin::of(file), outcome).failed(&error));
                errors.push(error);
            }
        }
    }
    if !errors.is_empty() {
        return Err(sheet(output, &lines, errors, "nothing was tried"));
    }
    preparation.finish()?;
    Ok(documents)
}

/// Asks about every file what would become of it, and goes on only if none is refused and no two are about the same.
///
/// # Errors
/// Of several files all that are refused. Nothing has been changed.
pub(super) async fn check<T: Receipt>(
    context: &Context,
    documents: &[Document],
    ask: impl AsyncFn(Document) -> Result<T, client::Error>,
) -> Result<(), Error> {
    if documents.len() < 2 {
        return Ok(());
    }
    let (mut seen, mut lines, mut errors): (Vec<Line>, _, _) = (Vec::new(), Vec::new(), Vec::new());
    for document in documents {
        let origin = &document.origin;
        match ask(document.clone()).await.map_err(about(origin.clone())) {
            Ok(receipt) => {
                let line = Line::received(origin, &receipt);
                let twin = seen
                    .iter()
                    .find(|other| (&other.namespace, &other.name) == (&line.namespace, &line.name));
                let mut told = Line {
                    outcome: "not-tried",
                    generation: None,
                    ..line.clone()
                };
                if let Some(twin) = twin {
                    let rule = format!(
                        "\"{}\" is about \"{}\" already: give each once",
                        twin.file,
                        line.name.as_deref().unwrap_or_default()
                    );
                    let error = Error::Argument {
                        what: "--file",
                        value: line.file.clone(),
                        rule,
                    };
                    told = Line {
                        outcome: "refused",
                        ..told
                    }
                    .failed(&error);
                    errors.push(error);
                }
                seen.push(line);
                lines.push(told);
            }
            // Without a daemon there is no more to be found out.
            Err(error @ Error::Client(client::Error::Unreachable { .. })) => return Err(error),
            Err(error) => {
                lines.push(Line::of(origin, "refused").failed(&error));
                errors.push(error);
            }
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(sheet(
            &context.output,
            &lines,
            errors,
            "nothing was changed",
        ))
    }
}

/// Has every file carried out, one after the other.
///
/// # Errors
/// The first that is refused after all; of several files with a list of what was done before it, and what was not tried.
pub(super) async fn carry_out<T: Receipt>(
    context: &Context,
    documents: Vec<Document>,
    send: impl AsyncFn(Document) -> Result<T, client::Error>,
) -> Result<Vec<T>, Error> {
    let files: Vec<Origin> = documents
        .iter()
        .map(|document| document.origin.clone())
        .collect();
    let mut done: Vec<T> = Vec::new();
    for (document, file) in documents.into_iter().zip(&files) {
        match send(document).await.map_err(about(file.clone())) {
            Ok(receipt) => done.push(receipt),
            Err(error) if files.len() == 1 => return Err(error),
            Err(error) => {
                let mut lines: Vec<Line> = files
                    .iter()
                    .zip(&done)
                    .map(|(file, receipt)| Line::received(file, receipt))
                    .collect();
                lines.push(Line::of(file, "refused").failed(&error));
                lines.extend(
                    files
                        .iter()
                        .skip(lines.len())
                        .map(|file| Line::of(file, "not-tried")),
                );
                let summary = format!(
                    "{} of {} files were carried out before it",
                    done.len(),
                    files.len()
                );
                return Err(sheet(&context.output, &lines, vec![error], &summary));
            }
        }
    }
    Ok(done)
}

/// Asks about every file, and tells of all what is wrong with some. `outcome`: what is said of the others.
///
/// # Errors
/// All that are refused.
pub(super) async fn ask<T>(
    context: &Context,
    documents: Vec<Document>,
    outcome: &'static str,
    ask: impl AsyncFn(Document) -> Result<T, client::Error>,
) -> Result<Vec<T>, Error> {
    let single = documents.len() == 1;
    let (mut answers, mut lines, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for document in documents {
        let file = document.origin.clone();
        match ask(document).await.map_err(about(file.clone())) {
            Ok(answer) => {
                lines.push(Line::of(&file, outcome));
                answers.push(answer);
            }
            Err(error) if single => return Err(error),
            Err(error @ Error::Client(client::Error::Unreachable { .. })) => return Err(error),
            Err(error) => {
                lines.push(Line::of(&file, "refused").failed(&error));
                errors.push(error);
            }
        }
    }
    if errors.is_empty() {
        Ok(answers)
    } else {
        Err(sheet(
            &context.output,
            &lines,
            errors,
            "nothing was changed",
        ))
    }
}

/// Prints every file's line, and makes one error of all.
pub(super) fn sheet(output: &Output, lines: &[Line], errors: Vec<Error>, summary: &str) -> Error {
    sheet_of("files", output, lines, errors, summary)
}

/// The same for other things than files.
pub(super) fn sheet_of(
    what: &str,
    output: &Output,
    lines: &[Line],
    errors: Vec<Error>,
    summary: &str,
) -> Error {
    let printed = output.show(&Sheet { files: lines }, |_| {
        lines.iter().map(Line::text).collect::<Vec<_>>().join("\n")
    });
    let count = errors.len();
    match printed {
        Err(error) => error,
        Ok(()) => Error::Several {
            summary: format!("{count} of {} {what} failed: {summary}", lines.len()),
            errors,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_line_says_what_became_of_its_file() {
        let accepted = Accepted {
            namespace: "red".parse().unwrap(),
            name: "web".parse().unwrap(),
            generation: 3,
            outcome: Outcome::Updated,
        };
        let line = Line {
            status: Some("running".to_owned()),
            ..Line::received(&Origin::of(Path::new("a.yaml")), &accepted)
        };
        assert_eq!(
            line.text(),
            "a.yaml: red/web updated (generation 3), running"
        );
        assert_eq!(
            Line::of(&Origin::of(Path::new("b.yaml")), "not-tried").text(),
            "b.yaml: not tried"
        );
        let missing = Error::Read {
            path: "c.yaml".into(),
            source: std::io::Error::other("it is not there"),
        };
        let line = Line::of(&Origin::of(Path::new("c.yaml")), "unreadable").failed(&missing);
        assert_eq!(line.text(), "c.yaml: unreadable: it is not there");
        let json = serde_json::to_value(&line).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"file": "c.yaml", "outcome": "unreadable", "error": {"message": "it is not there"}})
        );
    }
}
