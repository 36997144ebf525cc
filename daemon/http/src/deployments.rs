//! `/v1/deployments`: list, read, write, delete, plan.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{
    Accepted, DeploymentDiff, DeploymentSummary, DeploymentView, Outcome, Page, PlanView, Status,
};
use tradewind_controller::Filter;
use tradewind_core::{
    identity::Role,
    list::{Cursor, OneOf, Selector, Sort, Window},
    names::{DeploymentName, Namespace},
    store::Revision,
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    etag::{self, Known},
    extract::{Condition, ManifestBody, Path, Query, Streaming},
    namespaced,
    paging::{self, Fields, Here},
    sse::{self, Message},
    watching::{self, Asked},
};

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Name {
    pub name: DeploymentName,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only this namespace. Default: all that the token reaches.
    namespace: Option<Namespace>,
    /// Only those with this status, or with one of several between commas.
    status: Option<OneOf<Status>>,
    /// Only those whose labels are so, such as `app=web,!legacy`. Default: whatever they are.
    selector: Option<Selector>,
    /// The order: `namespace`, `name`, `status`, `ready`, `replicas`, `hourlyCost`, `createdAt`, several between commas; `-` before one for the
    /// highest first. Default: by namespace and name. A cursor goes with its order.
    sort: Option<Sort<DeploymentSummary>>,
    /// Only these fields of each item, between commas, such as `name,status`. Default: all.
    fields: Option<Fields>,
    /// At most so many on a page. Default 500, at most 1000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page begins: the `next` of the page before. Default: with the first.
    cursor: Option<Cursor<DeploymentSummary>>,
    /// True: server-sent events in place of pages. `put` has a summary, `delete` the name of one that is gone or left the filter, `bookmark`
    /// a revision up to which everything has been told. The header `Accept: text/event-stream` does the same.
    #[serde(default)]
    watch: bool,
    /// Of a watch: only what changes after this revision, which a list, a bookmark or an event's id has told. The header `Last-Event-ID` goes
    /// before it. Default: everything that is there, then a bookmark, then what changes. 410 when what changed since is not known any more.
    after: Option<Revision>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InNamespace {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    pub namespace: Namespace,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GetQuery {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// True: server-sent events named `deployment`, one for each change, until it is `gone`. The header `Accept: text/event-stream` does the same.
    #[serde(default)]
    follow: bool,
}

/// Where a manifest goes that is sent along.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForManifest {
    /// The namespace of a manifest that names none. Default: `default`. One that names another is refused.
    #[serde(rename = "namespace")]
    _namespace: Option<Namespace>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PutDeploymentQuery {
    /// The namespace of a manifest that names none. Default: `default`. One that names another is refused.
    #[serde(rename = "namespace")]
    _namespace: Option<Namespace>,
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
    let filter = Filter {
        scope: caller.scope().clone(),
        namespace: q.namespace,
        status: q.status,
        selector: q.selector.unwrap_or_default(),
    };
    let asked = Asked {
        watch: q.watch,
        after: q.after,
        streaming,
        cursor: q.cursor.as_ref(),
        arranged: q.sort.is_some() || q.fields.is_some(),
    };
    if let Some(after) = asked.of()? {
        let events = app.controller.follow_list(filter, after)?;
        return watching::answer(&app, &caller.identity, events).await;
    }
    let revision = app.controller.shown_revision();
    let page = app
        .controller
        .list(&filter, &Window::new(q.limit, q.cursor).sorted(q.sort)?)
        .await;
    Ok(here
        .page(page.items, page.next)
        .at_revision(revision)
        .only(q.fields)?
        .into_response())
}

pub(crate) fn list_docs(op: TransformOperation) -> TransformOperation {
    op.id("listDeployments")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("deployments")
        .summary("List or watch deployments, by namespace and name")
        .response::<200, Json<Page<DeploymentSummary>>>()
        .with(paging::linked)
        .with(watching::described::<DeploymentSummary>)
}

pub(crate) async fn get(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    Query(query): Query<GetQuery>,
    caller: Caller,
    streaming: Streaming,
    known: Known,
) -> Result<Response, Error> {
    let view = find(&app, &query.namespace, &name)?;
    if query.follow || streaming.accepted {
        return follow(app, &caller, query.namespace, name, view).await;
    }
    etag::answer(view.summary.generation, &view, &known)
}

pub(crate) fn get_docs(op: TransformOperation) -> TransformOperation {
    op.id("getDeployment")
        .with(needs(Role::Viewer, Reach::Query))
        .tag("deployments")
        .summary("Read or follow a deployment")
        .description(
            "The `ETag` changes whenever the answer does. Sent back as `If-Match` it writes only if nobody has written since: there its generation \
             counts alone, whatever has become of the status. As `If-None-Match` it spares an answer that is the same.",
        )
        .response::<200, Json<DeploymentView>>()
        .with(
            sse::Told::default()
                .event::<DeploymentView>("deployment")
                .described(),
        )
}

fn find(app: &App, namespace: &Namespace, name: &DeploymentName) -> Result<DeploymentView, Error> {
    app.controller
        .get(namespace, name)
        .ok_or_else(|| Error::NotFound {
            what: "deployment",
            name: name.to_string(),
        })
}

/// A view of each state that could be seen; states that pass too quickly are skipped.
async fn follow(
    app: App,
    caller: &Caller,
    namespace: Namespace,
    name: DeploymentName,
    first: DeploymentView,
) -> Result<Response, Error> {
    struct Following {
        app: App,
        namespace: Namespace,
        name: DeploymentName,
        last: Option<DeploymentView>,
        first: Option<DeploymentView>,
        ended: bool,
    }
    let start = Following {
        app: app.clone(),
        namespace,
        name,
        last: None,
        first: Some(first),
        ended: false,
    };
    let messages = stream::try_unfold(start, |mut at| async move {
        if at.ended {
            return Ok(None);
        }
        loop {
            let now = match at.first.take() {
                Some(first) => Some(first),
                None => at.app.controller.get(&at.namespace, &at.name),
            };
            if now.is_none() {
                at.ended = true;
                return Ok(Some((
                    Message {
                        id: None,
                        name: "gone",
                        data: None,
                    },
                    at,
                )));
            }
            if now != at.last {
                at.last.clone_from(&now);
                return Ok(Some((
                    Message {
                        id: None,
                        name: "deployment",
                        data: now,
                    },
                    at,
                )));
            }
            // A change between `get` and `changed` may go unnoticed: look again before long in any case.
            let changed = at.app.controller.changed(&at.namespace, &at.name);
            if let Ok(result) = tokio::time::timeout(LOOK_AGAIN, changed).await {
                match result {
                    Err(tradewind_controller::Error::NotFound { .. }) | Ok(()) => {}
                    Err(e) => return Err(Error::from(e)),
                }
            }
        }
    });
    sse::response(&app, &caller.identity, messages).await
}

const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(500);

pub(crate) async fn put(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    Query(query): Query<PutDeploymentQuery>,
    caller: Caller,
    condition: Condition,
    ManifestBody(manifest): ManifestBody,
) -> Result<Response, Error> {
    if manifest.metadata.name != name {
        return Err(Error::NameMismatch {
            manifest: manifest.metadata.name.to_string(),
            path: name.to_string(),
        });
    }
    let generation = expected(&app, condition, &manifest.metadata.namespace, &name)?;
    let put = match query.dry_run {
        true => app.controller.try_put(&manifest, generation),
        false => {
            app.controller
                .put(&caller.actor, manifest, generation)
                .await
        }
    };
    let accepted = put.map_err(|e| match (condition, e) {
        (Condition::Generation(0), tradewind_controller::Error::Generation { .. }) => Error::Exists,
        (_, e) => e.into(),
    })?;
    if query.dry_run {
        return Ok(Json(accepted).into_response());
    }
    accepted_response(accepted)
}

pub(crate) fn put_docs(op: TransformOperation) -> TransformOperation {
    op.id("putDeployment")
        .with(needs(Role::Operator, Reach::Manifest))
        .tag("deployments")
        .summary("Create or change a deployment")
        .description(
            "The body is the manifest; its name must be the one in the path. `If-Match: ETAG` guards against changes by others, \
             `If-None-Match: *` against overwriting. An equal manifest changes nothing and answers 200, and so does a dry run, with \
             the outcome that there would be.",
        )
        .with(accepted)
}

pub(crate) async fn delete(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    Query(query): Query<InNamespace>,
    caller: Caller,
    condition: Condition,
) -> Result<Response, Error> {
    let generation = expected(&app, condition, &query.namespace, &name)?;
    accepted_response(
        app.controller
            .delete(&caller.actor, &query.namespace, &name, generation)
            .await?,
    )
}

pub(crate) fn delete_docs(op: TransformOperation) -> TransformOperation {
    op.id("deleteDeployment")
        .with(needs(Role::Operator, Reach::Query))
        .tag("deployments")
        .summary("Delete a deployment")
        .description(
            "It is gone once reading it answers 404: everything that runs for it is removed first.",
        )
        .with(accepted)
}

pub(crate) async fn plan(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    Query(_): Query<ForManifest>,
    ManifestBody(manifest): ManifestBody,
) -> Result<Json<PlanView>, Error> {
    if manifest.metadata.name != name {
        return Err(Error::NameMismatch {
            manifest: manifest.metadata.name.to_string(),
            path: name.to_string(),
        });
    }
    Ok(Json(app.controller.plan(manifest).await?.into()))
}

pub(crate) fn plan_docs(op: TransformOperation) -> TransformOperation {
    op.id("planDeployment")
        .with(needs(Role::Viewer, Reach::Manifest))
        .tag("deployments")
        .summary("What a manifest would change, where, what it costs and why")
        .description(
            "Changes nothing. The body is the manifest; its name must be the one in the path.",
        )
}

pub(crate) async fn diff(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    Query(_): Query<ForManifest>,
    ManifestBody(manifest): ManifestBody,
) -> Result<Json<DeploymentDiff>, Error> {
    if manifest.metadata.name != name {
        return Err(Error::NameMismatch {
            manifest: manifest.metadata.name.to_string(),
            path: name.to_string(),
        });
    }
    Ok(Json(app.controller.diff(manifest)))
}

pub(crate) fn diff_docs(op: TransformOperation) -> TransformOperation {
    op.id("diffDeployment")
        .with(needs(Role::Viewer, Reach::Manifest))
        .tag("deployments")
        .summary("What differs between a manifest and the one that the deployment has")
        .description(
            "Changes nothing, and decides nothing. The body is the manifest; its name must be the one in the path. Defaults are filled in \
             on both sides.",
        )
}

/// The generation that the controller shall insist on.
pub(super) fn expected(
    app: &App,
    condition: Condition,
    namespace: &Namespace,
    name: &DeploymentName,
) -> Result<Option<u64>, Error> {
    match condition {
        Condition::None => Ok(None),
        Condition::Generation(n) => Ok(Some(n)),
        // Whatever it is at now: a change in between is refused like any other.
        Condition::Exists => match app.controller.get(namespace, name) {
            Some(view) => Ok(Some(view.summary.generation)),
            None => Err(tradewind_controller::Error::Generation {
                what: "deployment",
                name: name.to_string(),
                expected: 1,
                actual: 0,
            }
            .into()),
        },
    }
}

/// For the documentation of a route that answers with that.
pub(super) fn accepted(op: TransformOperation) -> TransformOperation {
    op.response_with::<202, Json<Accepted>, _>(|response| {
        response.description("It was taken, and is being carried out.")
    })
    .response_with::<200, Json<Accepted>, _>(|response| {
        response.description("There is nothing to be done.")
    })
}

pub(super) fn accepted_response(accepted: Accepted) -> Result<Response, Error> {
    let status = if accepted.outcome == Outcome::Unchanged {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let location = namespaced::address(&accepted.namespace, &accepted.name);
    let header = |name: HeaderName, text: String| {
        HeaderValue::try_from(text)
            .map(|v| (name, v))
            .map_err(|e| Error::Encode(e.into()))
    };
    let headers = [
        header(header::LOCATION, location)?,
        header(header::ETAG, etag::of_generation(accepted.generation))?,
    ];
    Ok((status, headers, Json(accepted)).into_response())
}
