//! `assess`: of manifests, or of a shape.

use reqwest::Method;
use tradewind_core::assess::Report;

use super::{about, files};
use crate::{
    Context, Error,
    args::{Assess, Form},
    client::{Body, Document},
    render,
};

const PATH: [&str; 2] = ["v1", "assessments"];

/// The exit code where a task has no place, as `plan` has it.
const NOWHERE: u8 = 4;

pub(super) async fn run(context: &Context, args: Assess) -> Result<u8, Error> {
    if *context.output.form() == Form::Html {
        return pages(context, args).await.map(|()| 0);
    }
    let reports = reports(context, &args).await?;
    context.output.show_all(&reports, |out| {
        reports
            .iter()
            .map(|r| render::assess::report(out, r))
            .collect::<Vec<_>>()
            .join("\n\n")
    })?;
    let mut tasks = reports.iter().flat_map(|report| &report.tasks);
    Ok(if tasks.any(|task| task.offers.is_empty()) {
        NOWHERE
    } else {
        0
    })
}

/// A page is one document: several manifests would make several.
async fn pages(context: &Context, args: Assess) -> Result<(), Error> {
    let query = [("format", "html".to_owned())];
    let documents = read(context, &args).await?;
    if documents.len() > 1 {
        return Err(several(documents.len()));
    }
    let page = match documents.into_iter().next() {
        Some(document) => {
            let file = document.origin.clone();
            let query = [context.namespace_of(&document), query.to_vec()].concat();
            context
                .client
                .text(Method::POST, &PATH, &query, Body::Manifest(document))
                .await
                .map_err(about(file))?
        }
        None => {
            context
                .client
                .text(
                    Method::GET,
                    &PATH,
                    &[shape(context, &args), query.to_vec()].concat(),
                    Body::Empty,
                )
                .await?
        }
    };
    context.output.text(&page)
}

/// No manifest where a shape was given.
async fn read(context: &Context, args: &Assess) -> Result<Vec<Document>, Error> {
    if args.files.is_empty() {
        return Ok(Vec::new());
    }
    files::read(context, &args.files, &args.reading).await
}

fn several(count: usize) -> Error {
    Error::Argument {
        what: "--file",
        value: format!("{count} manifests"),
        rule: "a page is about one manifest: give one".to_owned(),
    }
}

async fn reports(context: &Context, args: &Assess) -> Result<Vec<Report>, Error> {
    if args.files.is_empty() {
        return Ok(vec![
            context.client.get(&PATH, &shape(context, args)).await?,
        ]);
    }
    let documents = read(context, args).await?;
    let ask = async |document: Document| {
        let query = context.namespace_of(&document);
        context
            .client
            .send(Method::POST, &PATH, &query, Body::Manifest(document))
            .await
    };
    files::ask(context, documents, "assessed", ask).await
}

/// The daemon judges the values.
fn shape(context: &Context, args: &Assess) -> Vec<(&'static str, String)> {
    let text = |value: &Option<String>| value.clone();
    let pairs = [
        ("namespace", context.namespace.clone()),
        ("cpu", text(&args.cpu)),
        ("memory", text(&args.memory)),
        ("accelerator", text(&args.accelerator)),
        ("accelerators", args.accelerators.map(|n| n.to_string())),
        ("replicas", args.replicas.map(|n| n.to_string())),
        ("hours", args.hours.map(|n| n.to_string())),
        ("egress", text(&args.egress)),
        ("spot", args.spot.then(|| "true".to_owned())),
    ];
    pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}
