//! `/v1/namespaces`: limits, usage and spending: list, read, write, delete.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{NamespaceOutcome, NamespaceSummary, NamespaceView, Outcome, Page};
use tradewind_controller::{ListNow, WholeList};
use tradewind_core::{
    identity::{Role, Scope},
    list::{Cursor, Selector, Sort, Window},
    names::Namespace,
    store::Revision,
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    etag::{self, Known},
    extract::{Condition, NamespaceBody, Path, Query, Streaming},
    paging::{self, Fields, Here},
    watching::{self, Asked},
};

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Name {
    pub name: Namespace,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only this namespace. Default: all that the token reaches.
    namespace: Option<Namespace>,
    /// Only those whose labels are so, such as `team=red`. Default: whatever they are.
    selector: Option<Selector>,
    /// The order: `name`, `spend.hourly`, `spend.thisMonth`, `heldBack`, several between commas; `-` before one for the highest first. Default:
    /// by name. A cursor goes with its order.
    sort: Option<Sort<NamespaceSummary>>,
    /// Only these fields of each item, between commas, such as `name,spend.hourly`. Default: all.
    fields: Option<Fields>,
    /// At most so many on a page. Default 500, at most 1000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page begins: out of the link of the page before. Default: with the first.
    cursor: Option<Cursor<NamespaceSummary>>,
    /// True: server-sent events in place of pages, as of deployments: `put` has an item, `delete` the name of one that is gone or left the
    /// filter, `bookmark` a revision up to which everything has been told. The header `Accept: text/event-stream` does the same.
    #[serde(default)]
    watch: bool,
    /// Of a watch: only what changes after this revision. The header `Last-Event-ID` goes before it. Default: everything that is there, then a
    /// bookmark, then what changes. 410 when what changed since is not known any more.
    after: Option<Revision>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PutNamespaceQuery {
    /// True: everything is checked, and nothing is changed.
    #[serde(default)]
    dry_run: bool,
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    here: Here,
    Query(q): Query<ListQuery>,
    streaming: Streaming,
) -> Result<Response, Error> {
    let asked = Asked {
        watch: q.watch,
        after: q.after,
        streaming,
        cursor: q.cursor.as_ref(),
        arranged: q.sort.is_some() || q.fields.is_some(),
    };
    let selector = q.selector.unwrap_or_default();
    if let Some(after) = asked.of()? {
        let namespaces = Namespaces {
            app: app.clone(),
            scope: caller.scope().clone(),
            namespace: q.namespace,
            selector,
        };
        let followed = app.lists.namespaces.clone();
        let events = followed
            .follow(namespaces, app.controller.clone(), after)
            .await?;
        return watching::answer(&app, &caller.identity, events).await;
    }
    let window = Window::new(q.limit, q.cursor).sorted(q.sort)?;
    let revision = app.controller.shown_revision();
    let page = app
        .controller
        .namespaces(caller.scope(), q.namespace.as_ref(), &selector, &window);
    app.lists.namespaces.sent(&page.items);
    Ok(here
        .page(page.items, page.next)
        .at_revision(revision)
        .only(q.fields)?
        .into_response())
}

pub(crate) fn list_docs(op: TransformOperation) -> TransformOperation {
    op.id("listNamespaces")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("namespaces")
        .summary("List the namespaces, by name")
        .description("Those with limits and those with deployments. Any other exists as well, without limits.")
        .response::<200, Json<Page<NamespaceSummary>>>()
        .with(paging::linked)
        .with(watching::described::<NamespaceSummary>)
}

pub(crate) async fn get(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    known: Known,
) -> Result<Response, Error> {
    let Some(view) = app.controller.namespace(&name) else {
        return Err(Error::NotFound {
            what: "namespace",
            name: name.to_string(),
        });
    };
    etag::answer(view.generation, &view, &known)
}

pub(crate) fn get_docs(op: TransformOperation) -> TransformOperation {
    op.id("getNamespace")
        .with(needs(Role::Viewer, Reach::Path))
        .tag("namespaces")
        .summary("Read a namespace: limits, usage, spending, and who is held back")
        .description(
            "The `ETag` changes whenever the answer does. Sent back as `If-Match` it writes only if nobody has written its limits since.",
        )
        .response::<200, Json<NamespaceView>>()
}

pub(crate) async fn put(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    Query(query): Query<PutNamespaceQuery>,
    caller: Caller,
    condition: Condition,
    NamespaceBody(manifest): NamespaceBody,
) -> Result<Response, Error> {
    if manifest.metadata.name != name {
        return Err(Error::NameMismatch {
            manifest: manifest.metadata.name.to_string(),
            path: name.to_string(),
        });
    }
    let generation = expected(&app, condition, &name)?;
    let put = match query.dry_run {
        true => app.controller.try_put_namespace(&manifest, generation),
        false => {
            app.controller
                .put_namespace(&caller.actor, manifest, generation)
                .await
        }
    };
    let outcome = put.map_err(|e| match (condition, e) {
        (Condition::Generation(0), tradewind_controller::Error::Generation { .. }) => Error::Exists,
        (_, e) => e.into(),
    })?;
    let created = outcome.outcome == Outcome::Created && !query.dry_run;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((
        status,
        [(header::ETAG, tag(outcome.generation)?)],
        Json(outcome),
    )
        .into_response())
}

pub(crate) fn put_docs(op: TransformOperation) -> TransformOperation {
    op.id("putNamespace")
        .with(needs(Role::Admin, Reach::All))
        .tag("namespaces")
        .summary("Set the limits of a namespace")
        .description(
            "The body is the namespace's document; its name must be the one in the path. `If-Match: ETAG` guards against changes by \
             others, `If-None-Match: *` against overwriting. Equal limits change nothing.",
        )
        .response::<201, Json<NamespaceOutcome>>()
        .response::<200, Json<NamespaceOutcome>>()
}

pub(crate) async fn delete(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    caller: Caller,
    condition: Condition,
) -> Result<Json<NamespaceOutcome>, Error> {
    let generation = expected(&app, condition, &name)?;
    Ok(Json(
        app.controller
            .delete_namespace(&caller.actor, &name, generation)
            .await?,
    ))
}

pub(crate) fn delete_docs(op: TransformOperation) -> TransformOperation {
    op.id("deleteNamespace")
        .with(needs(Role::Admin, Reach::All))
        .tag("namespaces")
        .summary("Remove the limits of a namespace")
        .description("Refused while it has deployments. What it has spent is kept.")
}

/// The generation that the controller shall insist on.
fn expected(app: &App, condition: Condition, name: &Namespace) -> Result<Option<u64>, Error> {
    match condition {
        Condition::None => Ok(None),
        Condition::Generation(n) => Ok(Some(n)),
        Condition::Exists => match app
            .controller
            .namespace(name)
            .map(|v| v.generation)
            .filter(|g| *g > 0)
        {
            Some(generation) => Ok(Some(generation)),
            None => {
                let (what, name) = ("namespace", name.to_string());
                Err(tradewind_controller::Error::Generation {
                    what,
                    name,
                    expected: 1,
                    actual: 0,
                }
                .into())
            }
        },
    }
}

fn tag(generation: u64) -> Result<HeaderValue, Error> {
    HeaderValue::try_from(format!("\"{generation}\"")).map_err(|e| Error::Encode(e.into()))
}

/// The namespaces, as one reader may follow them.
struct Namespaces {
    app: App,
    scope: Scope,
    namespace: Option<Namespace>,
    selector: Selector,
}

impl Namespaces {
    fn may_know(&self, name: &Namespace) -> bool {
        self.scope.admits(name) && self.namespace.as_ref().is_none_or(|one| one == name)
    }
}

impl WholeList for Namespaces {
    type Item = NamespaceSummary;

    async fn read(&self) -> Result<ListNow<NamespaceSummary>, tradewind_controller::Error> {
        let everything = (Selector::default(), Window::whole());
        let (selector, window) = &everything;
        let all = self
            .app
            .controller
            .namespaces(&Scope::All, None, selector, window)
            .items;
        let wanted =
            |s: &&NamespaceSummary| self.may_know(&s.name) && self.selector.admits(&s.labels);
        let shown = all.iter().filter(wanted).cloned().collect();
        Ok(ListNow { all, shown })
    }

    fn may_know(&self, name: &Namespace) -> Option<bool> {
        Some(self.may_know(name))
    }

    /// What they have spent is not.
    fn is_stored(&self) -> bool {
        true
    }
}
