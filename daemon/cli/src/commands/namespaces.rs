//! `namespace list|show|set|delete`: limits, usage and spending.

use reqwest::Method;
use tradewind_api::{NamespaceOutcome, NamespaceSummary, NamespaceView, Page};

use super::{about, files, lists, shown};
use crate::{
    Context, Error,
    args::NamespaceCommand,
    client::{self, Body, Document},
    render,
};

pub(super) async fn run(context: &Context, command: NamespaceCommand) -> Result<(), Error> {
    let client = &context.client;
    match command {
        NamespaceCommand::List(args) => {
            let mut query = context.namespace();
            query.extend(
                args.selector
                    .map(|selector| ("selector", selector.to_string())),
            );
            let paging = args.shown.paging(&args.paging);
            let mut list: Page<NamespaceSummary> =
                lists::read(context, &["v1", "namespaces"], query, paging).await?;
            let table = shown::arrange(&mut list.items, &args.shown, &args.paging, |list| {
                render::namespace::table(&context.output, list)
            })?;
            context.output.list(&list, &table)
        }
        NamespaceCommand::Show { name } => {
            named(context, &name)?;
            let view: NamespaceView = client.get(&["v1", "namespaces", &name], &[]).await?;
            context
                .output
                .show(&view, |out| render::namespace::one(out, &view))
        }
        NamespaceCommand::Set(given) => {
            let documents = files::read(context, &given.files, &given.reading).await?;
            for document in documents
                .iter()
                .filter(|_| context.globals.namespace.is_some())
            {
                let outcome = put(context, document.clone(), true)
                    .await
                    .map_err(about(document.origin.clone()))?;
                named(context, outcome.name.as_str())?;
            }
            files::check(context, &documents, async |document| {
                put(context, document, true).await
            })
            .await?;
            let outcomes = files::carry_out(context, documents, async |document| {
                put(context, document, false).await
            })
            .await?;
            context.output.show_all(&outcomes, |_| {
                outcomes
                    .iter()
                    .map(render::namespace::outcome)
                    .collect::<Vec<_>>()
                    .join("\n")
            })
        }
        NamespaceCommand::Delete { name } => {
            named(context, &name)?;
            let outcome: NamespaceOutcome = client
                .send(
                    Method::DELETE,
                    &["v1", "namespaces", &name],
                    &[],
                    Body::Empty,
                )
                .await?;
            context.output.show(&outcome, |_| {
                format!("namespace \"{name}\" has no limits any more")
            })
        }
    }
}

async fn put(
    context: &Context,
    document: Document,
    dry: bool,
) -> Result<NamespaceOutcome, client::Error> {
    let name = document.name();
    let query: Vec<(&str, String)> = dry
        .then(|| ("dryRun", "true".to_owned()))
        .into_iter()
        .collect();
    context
        .client
        .send(
            Method::PUT,
            &["v1", "namespaces", name.as_str()],
            &query,
            Body::Manifest(document),
        )
        .await
}

/// The namespace is named twice where `--namespace` is given as well.
fn named(context: &Context, name: &str) -> Result<(), Error> {
    match &context.globals.namespace {
        Some(other) if other != name => {
            let rule =
                format!("the command is about the namespace \"{name}\": leave --namespace out");
            Err(Error::Argument {
                what: "--namespace",
                value: other.clone(),
                rule,
            })
        }
        _ => Ok(()),
    }
}
