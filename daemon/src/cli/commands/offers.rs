//! `offers` and `assess`.

use reqwest::Method;
use tradewind_core::{assess::Report, view::OffersView};

use super::{about, read};
use crate::{
    cli::{Context, Error, args::Files, render},
    client::Body,
};

pub async fn list(context: &Context, provider: Option<String>) -> Result<(), Error> {
    let query: Vec<_> = provider.map(|p| ("provider", p)).into_iter().collect();
    let view: OffersView = context.client.get(&["v1", "offers"], &query).await?;
    context.output.show(&view, |out| render::offers::offers(out, &view))
}

pub async fn assess(context: &Context, files: Files) -> Result<(), Error> {
    let mut reports: Vec<Report> = Vec::new();
    for document in read(&files.files)? {
        let file = document.file.clone();
        let report = context.client.send(Method::POST, &["v1", "assessments"], &[], Body::Manifest(document)).await;
        reports.push(report.map_err(about(file))?);
    }
    context.output.show_all(&reports, |out| reports.iter().map(|r| render::offers::report(out, r)).collect::<Vec<_>>().join("\n\n"))
}
