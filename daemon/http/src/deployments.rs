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
use tradewind_api::{Accepted, DeploymentSummary, DeploymentView, Outcome, PlanView, Status};
use tradewind_controller::Filter;
use tradewind_core::{
    identity::Role,
    list::{Cursor, OneOf, Selector, Window},
    names::{DeploymentName, Namespace},
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::{Condition, ManifestBody, Path, Query, Streaming},
    openapi,
    paging::{Here, Paged},
    sse::{self, Message},
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
    /// At most so many on a page. Default 500, at most 1000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page begins: out of the link of the page before. Default: with the first.
    cursor: Option<Cursor<DeploymentSummary>>,
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
) -> Paged<Vec<DeploymentSummary>> {
    let filter = Filter {
        scope: caller.scope().clone(),
        namespace: q.namespace,
        status: q.status,
        selector: q.selector.unwrap_or_default(),
    };
    let page = app
        .controller
        .list(&filter, &Window::new(q.limit, q.cursor))
        .await;
    here.page(page.items, page.next)
}

pub(crate) fn list_docs(op: TransformOperation) -> TransformOperation {
    op.id("listDeployments")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("deployments")
        .summary("List deployments, by namespace and name")
}

pub(crate) async fn get(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    Query(query): Query<GetQuery>,
    caller: Caller,
    streaming: Streaming,
) -> Result<Response, Error> {
    let view = find(&app, &query.namespace, &name)?;
    if query.follow || streaming.accepted {
        return follow(app, &caller, query.namespace, name, view).await;
    }
    let tag = HeaderValue::try_from(format!("\"{}\"", view.summary.generation))
        .map_err(|e| Error::Encode(e.into()))?;
    Ok(([(header::ETAG, tag)], Json(view)).into_response())
}

pub(crate) fn get_docs(op: TransformOperation) -> TransformOperation {
    op.id("getDeployment")
        .with(needs(Role::Viewer, Reach::Query))
        .tag("deployments")
        .summary("Read or follow a deployment")
        .description("The `ETag` is the generation: send it back as `If-Match` to write only if nothing has changed.")
        .response::<200, Json<DeploymentView>>()
        .with(openapi::or_stream)
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
            "The body is the manifest; its name must be the one in the path. `If-Match: GENERATION` guards against changes by others, \
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
    let location = format!(
        "/v1/deployments/{}?namespace={}",
        accepted.name, accepted.namespace
    );
    let header = |name: HeaderName, text: String| {
        HeaderValue::try_from(text)
            .map(|v| (name, v))
            .map_err(|e| Error::Encode(e.into()))
    };
    let headers = [
        header(header::LOCATION, location)?,
        header(header::ETAG, format!("\"{}\"", accepted.generation))?,
    ];
    Ok((status, headers, Json(accepted)).into_response())
}
