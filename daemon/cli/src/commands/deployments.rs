//! `get` and `describe`.

use serde::Serialize;
use tradewind_api::{DecisionView, DeploymentSummary, DeploymentView, EventView, Page};
use tradewind_core::manifest::Manifest;

use super::{lists, shown};
use crate::{
    Context, Error,
    args::{self, Form},
    client::Client,
    output::Table,
    render,
};

const EVENTS: usize = 10;
/// Orders of `get` in which the daemon sorts alike. What costs nothing comes last in a table, and first where the lowest comes first.
const SORTED: [(&str, &str); 3] = [
    ("name", "name"),
    ("-name", "-name"),
    ("-cost", "-hourlyCost"),
];

/// Everything `describe` tells.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Description {
    pub(crate) deployment: DeploymentView,
    pub(crate) decision: Option<DecisionView>,
    pub(crate) events: Vec<EventView>,
}

pub(super) async fn list(context: &Context, args: args::Deployments) -> Result<(), Error> {
    let (list, table) = listed(context, &context.client, &args).await?;
    context.output.list(&list, &table)
}

/// What `get` lists, and the table of it.
pub(super) async fn listed(
    context: &Context,
    client: &Client,
    args: &args::Deployments,
) -> Result<(Page<DeploymentSummary>, Table), Error> {
    let mut query = context.namespace();
    query.extend(
        args.status
            .as_ref()
            .map(|status| ("status", status.to_string())),
    );
    query.extend(
        args.selector
            .as_ref()
            .map(|selector| ("selector", selector.to_string())),
    );
    let path = ["v1", "deployments"];
    let mut list: Page<DeploymentSummary> = match args.shown.sent_sorted(&args.paging, &SORTED) {
        Some(sort) => {
            query.push(("sort", sort.to_owned()));
            let mut first = lists::first(client, &path, query, args.paging.clone()).await?;
            // It goes with the order, which is another one for those who go on.
            first.next = None;
            first
        }
        None => {
            let paging = args.shown.paging(&args.paging);
            lists::read_from(client, &path, query, paging).await?
        }
    };
    let table = shown::arrange(&mut list.items, &args.shown, &args.paging, |list| {
        render::deployment::table(&context.output, list)
    })?;
    Ok((list, table))
}

pub(super) async fn get(context: &Context, names: &[String], manifest: bool) -> Result<(), Error> {
    let mut views = Vec::new();
    for name in names {
        let view: DeploymentView = context
            .client
            .get(&["v1", "deployments", name], &context.namespace())
            .await?;
        views.push(view);
    }
    if manifest {
        let manifests: Vec<&Manifest> = views.iter().map(|v| &v.manifest).collect();
        return manifests_only(context, &manifests);
    }
    if *context.output.form() == Form::Csv {
        let summaries: Vec<_> = views.iter().map(|v| v.summary.clone()).collect();
        let of_them = render::deployment::table(&context.output, &summaries);
        return context.output.list(&views, &of_them);
    }
    context
        .output
        .show_all(&views, |out| match views.as_slice() {
            [view] => render::deployment::one(out, view),
            views => {
                let summaries: Vec<_> = views.iter().map(|v| v.summary.clone()).collect();
                out.draw(&render::deployment::table(out, &summaries))
            }
        })
}

/// Prints manifests as `apply` takes them: as YAML, one document each, unless JSON is asked for.
fn manifests_only(context: &Context, manifests: &[&Manifest]) -> Result<(), Error> {
    if *context.output.form() == Form::Json {
        return context.output.show_all(manifests, |_| String::new());
    }
    let texts = manifests.iter().map(|m| render::diff::yaml(*m));
    let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
    context.output.text(&texts.join("---\n"))
}

pub(super) async fn describe(context: &Context, name: &str) -> Result<(), Error> {
    let namespace = context.namespace();
    let deployment: DeploymentView = context
        .client
        .get(&["v1", "deployments", name], &namespace)
        .await?;
    let mut query = namespace.clone();
    query.extend([("deployment", name.to_owned()), ("limit", "1".to_owned())]);
    let decisions: Page<DecisionView> = context.client.get(&["v1", "decisions"], &query).await?;
    let mut query = namespace;
    query.push(("limit", EVENTS.to_string()));
    let events: Page<EventView> = context
        .client
        .get(&["v1", "deployments", name, "events"], &query)
        .await?;
    let description = Description {
        deployment,
        decision: decisions.items.into_iter().next(),
        events: events.items,
    };
    context.output.show(&description, |out| {
        render::deployment::describe(out, &description)
    })
}
