//! `assess`: of manifests, or of a shape.

use reqwest::Method;
use tradewind_core::assess::Report;

use super::{about, files};
use crate::{
    Context, Error,
    args::{Assess, Form},
    client::Body,
    render,
};

const PATH: [&str; 2] = ["v1", "assessments"];

pub(super) async fn run(context: &Context, args: Assess) -> Result<(), Error> {
    if context.output.form() == Form::Html {
        return pages(context, args).await;
    }
    let reports = reports(context, &args).await?;
    context.output.show_all(&reports, |out| {
        reports
            .iter()
            .map(|r| render::assess::report(out, r))
            .collect::<Vec<_>>()
            .join("\n\n")
    })
}

/// A page is one document: several manifests would make several.
async fn pages(context: &Context, args: Assess) -> Result<(), Error> {
    if args.files.len() > 1 {
        let value = format!("{} files", args.files.len());
        return Err(Error::Argument {
            what: "--file",
            value,
            rule: "a page is about one manifest: give one".to_owned(),
        });
    }
    let query = [("format", "html".to_owned())];
    let page = match files::read(context, &args.files)?.pop() {
        Some(document) => {
            let file = document.file.clone();
            let query = [context.namespace(), query.to_vec()].concat();
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

async fn reports(context: &Context, args: &Assess) -> Result<Vec<Report>, Error> {
    if args.files.is_empty() {
        return Ok(vec![
            context.client.get(&PATH, &shape(context, args)).await?,
        ]);
    }
    let documents = files::read(context, &args.files)?;
    let query = context.namespace();
    let ask = async |document| {
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
