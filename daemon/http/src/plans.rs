//! `/v1/plans`: store, list, read, compare, approve, reject, apply, delete.

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
use tradewind_api::{Comment, Page, PlanSummary, StoredPlanView};
use tradewind_controller::{Draft, Filter, ListNow, WholeList};
use tradewind_core::{
    identity::Role,
    list::{Cursor, Listed, OneOf, Selector, Sort, Window},
    names::{Namespace, PlanId},
    plan::stored::PlanStatus,
    store::Revision,
    units::Millis,
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    deployments::{InNamespace, accepted, accepted_response},
    extract::{ManifestBody, OptionalJson, Path, Query, Streaming},
    paging::{self, Fields, Here},
    watching::{self, Asked},
};

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Id {
    pub id: PlanId,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only this namespace. Default: all that the token reaches.
    namespace: Option<Namespace>,
    /// Only those with this status, or with one of several between commas.
    status: Option<OneOf<PlanStatus>>,
    /// Only those whose manifest's labels are so, such as `app=web,!legacy`. Default: whatever they are.
    selector: Option<Selector>,
    /// The order: `id`, `namespace`, `deployment`, `status`, `createdAt`, `expiresAt`, `hourlyAfter`, several between commas; `-` before one for
    /// the highest first. Default: the newest first. A cursor goes with its order.
    sort: Option<Sort<PlanSummary>>,
    /// Only these fields of each item, between commas, such as `id,status`. Default: all.
    fields: Option<Fields>,
    /// At most so many on a page. Default 500, at most 1000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page begins: out of the link of the page before. Default: with the first.
    cursor: Option<Cursor<PlanSummary>>,
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
pub(crate) struct CreateQuery {
    /// The namespace of a manifest that names none. Default: `default`. One that names another is refused.
    #[serde(rename = "namespace")]
    _namespace: Option<Namespace>,
    /// Its name in its namespace. Default: it is drawn.
    name: Option<PlanId>,
    /// Plan to delete the deployment that the manifest names.
    #[serde(default)]
    delete: bool,
    /// How long it can be applied, such as `2h`. Default: the setting `plans.expiry`.
    expires_in: Option<Millis>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Against {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
    /// Another plan: the answer says what differs from it.
    against: Option<PlanId>,
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
    let filter = Filter {
        scope: caller.scope().clone(),
        namespace: q.namespace,
        status: q.status,
        selector: q.selector.unwrap_or_default(),
    };
    if let Some(after) = asked.of()? {
        let plans = Plans {
            app: app.clone(),
            filter,
        };
        let followed = app.lists.plans.clone();
        let events = followed
            .follow(plans, app.controller.clone(), after)
            .await?;
        return watching::answer(&app, &caller.identity, events).await;
    }
    let revision = app.controller.shown_revision();
    let page = app
        .controller
        .plans(&filter, &Window::new(q.limit, q.cursor).sorted(q.sort)?)
        .await?;
    app.lists.plans.sent(&page.items);
    Ok(here
        .page(page.items, page.next)
        .at_revision(revision)
        .only(q.fields)?
        .into_response())
}

pub(crate) fn list_docs(op: TransformOperation) -> TransformOperation {
    op.id("listPlans")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("plans")
        .summary("List stored plans, the newest first")
        .response::<200, Json<Page<PlanSummary>>>()
        .with(paging::linked)
        .with(watching::described::<PlanSummary>)
}

pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<CreateQuery>,
    ManifestBody(manifest): ManifestBody,
) -> Result<Response, Error> {
    let draft = Draft {
        manifest,
        deletes: query.delete,
        id: query.name,
        expires_in: query.expires_in,
    };
    let plan = app.controller.store_plan(&caller.actor, draft).await?;
    let location = format!(
        "/v1/plans/{}?namespace={}",
        plan.summary.id, plan.summary.namespace
    );
    let location = HeaderValue::try_from(location).map_err(|e| Error::Encode(e.into()))?;
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(plan),
    )
        .into_response())
}

pub(crate) fn create_docs(op: TransformOperation) -> TransformOperation {
    op.id("createPlan")
        .with(needs(Role::Operator, Reach::Manifest))
        .tag("plans")
        .summary("Plan what a manifest would lead to, and store the plan")
        .description("It is bound to what it was made from: the deployment's generation and replicas, the plugins' digests, the quotes.")
        .response::<201, Json<StoredPlanView>>()
}

pub(crate) async fn get(
    State(app): State<App>,
    Path(Id { id }): Path<Id>,
    Query(query): Query<Against>,
) -> Result<Json<StoredPlanView>, Error> {
    Ok(Json(
        app.controller
            .stored_plan(&query.namespace, &id, query.against.as_ref())
            .await?,
    ))
}

pub(crate) fn get_docs(op: TransformOperation) -> TransformOperation {
    op.id("getPlan")
        .with(needs(Role::Viewer, Reach::Query))
        .tag("plans")
        .summary("Read a stored plan, and what differs from another one")
}

pub(crate) async fn approve(
    State(app): State<App>,
    caller: Caller,
    Path(Id { id }): Path<Id>,
    Query(query): Query<InNamespace>,
    OptionalJson(body): OptionalJson<Comment>,
) -> Result<Json<StoredPlanView>, Error> {
    let comment = body.unwrap_or_default().comment;
    Ok(Json(
        app.controller
            .review_plan(&caller.actor, &query.namespace, &id, true, comment)
            .await?,
    ))
}

pub(crate) fn approve_docs(op: TransformOperation) -> TransformOperation {
    op.id("approvePlan")
        .with(needs(Role::Approver, Reach::Query))
        .tag("plans")
        .summary("Let somebody else's plan go ahead")
        .description("Nobody approves a plan of their own.")
}

pub(crate) async fn reject(
    State(app): State<App>,
    caller: Caller,
    Path(Id { id }): Path<Id>,
    Query(query): Query<InNamespace>,
    OptionalJson(body): OptionalJson<Comment>,
) -> Result<Json<StoredPlanView>, Error> {
    let comment = body.unwrap_or_default().comment;
    Ok(Json(
        app.controller
            .review_plan(&caller.actor, &query.namespace, &id, false, comment)
            .await?,
    ))
}

pub(crate) fn reject_docs(op: TransformOperation) -> TransformOperation {
    op.id("rejectPlan")
        .with(needs(Role::Approver, Reach::Query))
        .tag("plans")
        .summary("Refuse a plan for good")
}

pub(crate) async fn apply(
    State(app): State<App>,
    caller: Caller,
    Path(Id { id }): Path<Id>,
    Query(query): Query<InNamespace>,
) -> Result<Response, Error> {
    accepted_response(
        app.controller
            .apply_plan(&caller.actor, &query.namespace, &id)
            .await?,
    )
}

pub(crate) fn apply_docs(op: TransformOperation) -> TransformOperation {
    op.id("applyPlan")
        .with(needs(Role::Operator, Reach::Query))
        .tag("plans")
        .summary("Carry a plan out as it is")
        .description("Refused when anything that it was made from has moved, with the list of what has; nothing is changed then.")
        .with(accepted)
}

pub(crate) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(Id { id }): Path<Id>,
    Query(query): Query<InNamespace>,
) -> Result<Json<StoredPlanView>, Error> {
    Ok(Json(
        app.controller
            .delete_plan(&caller.actor, &query.namespace, &id)
            .await?,
    ))
}

pub(crate) fn delete_docs(op: TransformOperation) -> TransformOperation {
    op.id("deletePlan")
        .with(needs(Role::Operator, Reach::Query))
        .tag("plans")
        .summary("Delete a stored plan")
}

/// The plans, as one reader may follow them.
struct Plans {
    app: App,
    filter: Filter<PlanStatus>,
}

impl Plans {
    fn may_know(&self, namespace: &Namespace) -> bool {
        let Filter {
            scope,
            namespace: one,
            ..
        } = &self.filter;
        scope.admits(namespace) && one.as_ref().is_none_or(|one| one == namespace)
    }

    fn wants(&self, plan: &PlanSummary) -> bool {
        let Filter {
            status, selector, ..
        } = &self.filter;
        self.may_know(&plan.namespace)
            && selector.admits(&plan.labels)
            && status.as_ref().is_none_or(|wanted| wanted.has(plan.status))
    }
}

impl WholeList for Plans {
    type Item = PlanSummary;

    async fn read(&self) -> Result<ListNow<PlanSummary>, tradewind_controller::Error> {
        let (filter, window) = (Filter::all(), Window::whole());
        let all = self.app.controller.plans(&filter, &window).await?.items;
        let shown = all
            .iter()
            .filter(|plan| self.wants(plan))
            .cloned()
            .collect();
        Ok(ListNow { all, shown })
    }

    fn may_know(&self, (_, namespace, _): &<PlanSummary as Listed>::Key) -> Option<bool> {
        Some(self.may_know(namespace))
    }

    fn is_stored(&self) -> bool {
        true
    }
}
