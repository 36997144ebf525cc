//! `diff`: manifests against what runs, and revisions against each other.

use reqwest::Method;
use tradewind_api::{DeploymentDiff, DeploymentView, Page, RevisionMark, RevisionView};

use super::files;
use crate::{
    Context, Error,
    args::{DIFFERENT, Diff},
    client::{self, Body, Document},
    render,
};

pub(super) async fn run(context: &Context, args: Diff) -> Result<u8, Error> {
    match args.name {
        None => manifests(context, &args).await,
        Some(ref name) => revisions(context, name, &args).await,
    }
}

async fn manifests(context: &Context, args: &Diff) -> Result<u8, Error> {
    let documents = files::read(context, &args.files, &args.reading).await?;
    let names: Vec<String> = documents.iter().map(|d| d.origin.to_string()).collect();
    let diffs = files::ask(context, documents, "compared", async |document| {
        ask(context, document).await
    })
    .await?;
    let mut texts = Vec::new();
    for (file, diff) in names.iter().zip(&diffs) {
        let name = format!("{}/{}", diff.namespace, diff.name);
        let from = match diff.generation {
            Some(n) => format!("{name} generation {n}"),
            None => format!("{name} (not there)"),
        };
        let before = diff.before.as_ref().map(render::diff::yaml).transpose()?;
        let after = render::diff::yaml(&diff.after)?;
        let before = before.unwrap_or_default();
        texts.push(render::diff::unified(
            &context.output,
            (&from, &before),
            (file, &after),
        ));
    }
    let different = diffs.iter().any(|d| !d.fields.is_empty());
    context.output.show_all(&diffs, |_| texts.concat())?;
    Ok(if different { DIFFERENT } else { 0 })
}

async fn ask(context: &Context, document: Document) -> Result<DeploymentDiff, client::Error> {
    let name = document.name();
    let path = ["v1", "deployments", name.as_str(), "diff"];
    context
        .client
        .send(
            Method::POST,
            &path,
            &context.namespace_of(&document),
            Body::Manifest(document),
        )
        .await
}

async fn revisions(context: &Context, name: &str, args: &Diff) -> Result<u8, Error> {
    let (from, to) = match (args.from, args.to) {
        (Some(from), Some(to)) => (from, to),
        (Some(from), None) => (from, current(context, name).await?),
        (None, Some(to)) => (current(context, name).await?, to),
        (None, None) => last_two(context, name).await?,
    };
    let read = async |generation: u64, query: &[(&str, String)]| {
        let generation = generation.to_string();
        let path = ["v1", "deployments", name, "revisions", &generation];
        context.client.get::<RevisionView>(&path, query).await
    };
    let mut query = context.namespace();
    let old = read(from, &query).await?;
    query.push(("against", from.to_string()));
    let new = read(to, &query).await?;
    let (before, after) = (
        render::diff::yaml(&old.manifest)?,
        render::diff::yaml(&new.manifest)?,
    );
    let (from, to) = (format!("revision {from}"), format!("revision {to}"));
    context.output.show(&new, |out| {
        render::diff::unified(out, (&from, &before), (&to, &after))
    })?;
    let different = args.exit_code && old.manifest != new.manifest;
    Ok(if different { DIFFERENT } else { 0 })
}

async fn current(context: &Context, name: &str) -> Result<u64, Error> {
    let view: DeploymentView = context
        .client
        .get(&["v1", "deployments", name], &context.namespace())
        .await?;
    Ok(view.summary.generation)
}

/// The revision before the current one, and the current one; of a single one twice that.
async fn last_two(context: &Context, name: &str) -> Result<(u64, u64), Error> {
    let mut query = context.namespace();
    query.push(("limit", "2".to_owned()));
    let path = ["v1", "deployments", name, "revisions"];
    let marks: Page<RevisionMark> = context.client.get(&path, &query).await?;
    match marks.items.as_slice() {
        [new, old, ..] => Ok((old.generation, new.generation)),
        [only] => Ok((only.generation, only.generation)),
        [] => current(context, name).await.map(|n| (n, n)),
    }
}
