//! `/v1/shadows`: policies that see a namespace's decisions without effect, what they would have done, and how one becomes the real one.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{ShadowPolicy, ShadowStart, ShadowView};
use tradewind_core::{
    event::{Event, Reason, Severity},
    identity::Role,
    list::{Cursor, Page, Window},
    names::{InstanceName, Namespace},
};
use tradewind_wasm::ShadowError;

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::{Path, Query, Upload, component},
    paging::{Fields, Here, Paged},
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Of {
    /// Default: `default`.
    #[serde(default = "Namespace::default_namespace")]
    namespace: Namespace,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Only of this namespace. Default: of all that the token reaches.
    namespace: Option<Namespace>,
    /// Only these fields of each item, between commas, such as `name,report`. Default: all.
    fields: Option<Fields>,
    /// At most so many on a page. Default 500, at most 1000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page begins: out of the link of the page before. Default: with the first.
    cursor: Option<Cursor<ShadowView>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Name {
    name: InstanceName,
}

/// What a shadow's event tells.
fn event(caller: &Caller, reason: Reason, shadow: &ShadowView, message: String) -> Event {
    Event {
        namespace: Some(shadow.record.namespace.clone()),
        plugin: Some(shadow.record.name.clone()),
        ..Event::new(Severity::Info, reason, &caller.actor, message)
    }
}

/// A shadow of the namespace that the gate has checked.
fn find(app: &App, namespace: &Namespace, name: InstanceName) -> Result<ShadowView, Error> {
    let found = app
        .plugins
        .shadow(&name)
        .filter(|s| s.record.namespace == *namespace);
    found.ok_or(Error::Shadow(ShadowError::Unknown { name }))
}

async fn with_report(app: &App, shadow: ShadowView) -> Result<ShadowPolicy, Error> {
    let report = app
        .controller
        .shadow_report(&shadow.record.name, shadow.record.since)
        .await?;
    Ok(ShadowPolicy { shadow, report })
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    here: Here,
    Query(Which {
        namespace,
        fields,
        limit,
        cursor,
    }): Query<Which>,
) -> Result<Paged<ShadowPolicy>, Error> {
    let wanted = |s: &ShadowView| {
        let of = &s.record.namespace;
        caller.scope().admits(of) && namespace.as_ref().is_none_or(|n| n == of)
    };
    let mut all = Vec::new();
    let page = Page::of(
        app.plugins.shadows().into_iter().filter(wanted),
        &Window::new(limit, cursor),
    );
    for shadow in page.items {
        all.push(with_report(&app, shadow).await?);
    }
    here.page(all, page.next).only(fields)
}

pub(crate) fn list_docs(op: TransformOperation) -> TransformOperation {
    op.id("listShadows")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("plugins")
        .summary("List shadow policies by name, with what has come of them")
}

pub(crate) async fn start(
    State(app): State<App>,
    caller: Caller,
    Query(Of { namespace }): Query<Of>,
    Upload(ShadowStart {
        name,
        component: text,
        settings,
    }): Upload<ShadowStart>,
) -> Result<Response, Error> {
    let component = component(&app, text).await?;
    let start = tradewind_wasm::ShadowStart {
        name,
        namespace,
        component,
        text: settings,
        by: caller.actor.clone(),
    };
    let shadow = app.plugins.start_shadow(start).await?;
    let message = shadow
        .identity
        .as_ref()
        .map(|i| format!("{i} sees its decisions without effect"))
        .unwrap_or_default();
    app.controller
        .note(event(&caller, Reason::ShadowStarted, &shadow, message))
        .await;
    Ok((StatusCode::CREATED, Json(with_report(&app, shadow).await?)).into_response())
}

pub(crate) fn start_docs(op: TransformOperation) -> TransformOperation {
    op.id("startShadow")
        .with(needs(Role::Operator, Reach::Query))
        .tag("plugins")
        .summary("Have a policy see a namespace's decisions without effect")
        .description(
            "It passes the gates of a plugin and runs under the same limits. It sees what the namespace's tasks were decided on, after \
             that was decided, and survives a restart. The setting `api.uploads` says whether an operator may; by default an admin does it. One \
             component of a token is compiled at a time.",
        )
        .response::<201, Json<ShadowPolicy>>()
}

pub(crate) async fn get(
    State(app): State<App>,
    Path(Name { name }): Path<Name>,
    Query(Of { namespace }): Query<Of>,
) -> Result<Json<ShadowPolicy>, Error> {
    let shadow = find(&app, &namespace, name)?;
    Ok(Json(with_report(&app, shadow).await?))
}

pub(crate) fn get_docs(op: TransformOperation) -> TransformOperation {
    op.id("getShadow")
        .with(needs(Role::Viewer, Reach::Query))
        .tag("plugins")
        .summary("Read a shadow policy: the decisions that it would have made otherwise, what they cost, and how it did")
}

pub(crate) async fn promote(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(Of { namespace }): Query<Of>,
) -> Result<Json<ShadowPolicy>, Error> {
    let shadow = find(&app, &namespace, name.clone())?;
    let policy = with_report(&app, shadow).await?;
    // Each step can be repeated, so what breaks off here is ended by asking again.
    app.plugins.install_shadow(name.clone()).await?;
    app.controller
        .set_policy(&caller.actor, &namespace, &name)
        .await?;
    app.plugins.drop_shadow(name.clone()).await?;
    app.controller.forget_shadow(&name).await?;
    let message =
        format!("\"{name}\" is a plugin now, and the policy of deployments that name none");
    app.controller
        .note(event(
            &caller,
            Reason::ShadowPromoted,
            &policy.shadow,
            message,
        ))
        .await;
    Ok(Json(policy))
}

pub(crate) fn promote_docs(op: TransformOperation) -> TransformOperation {
    op.id("promoteShadow")
        .with(needs(Role::Admin, Reach::All))
        .tag("plugins")
        .summary("Make a shadow policy the one that its namespace uses")
        .description(
            "Its files go into the plugin folder, where it becomes a plugin as any other; then the namespace's `spec.policy` names it, for \
             deployments that name none. What runs stays where it is.",
        )
}

pub(crate) async fn stop(
    State(app): State<App>,
    caller: Caller,
    Path(Name { name }): Path<Name>,
    Query(Of { namespace }): Query<Of>,
) -> Result<Json<ShadowPolicy>, Error> {
    let shadow = find(&app, &namespace, name.clone())?;
    let policy = with_report(&app, shadow).await?;
    app.plugins.drop_shadow(name.clone()).await?;
    app.controller.forget_shadow(&name).await?;
    let message = format!(
        "after {} decisions, of which {} would have differed",
        policy.report.compared, policy.report.differing
    );
    app.controller
        .note(event(
            &caller,
            Reason::ShadowStopped,
            &policy.shadow,
            message,
        ))
        .await;
    Ok(Json(policy))
}

pub(crate) fn stop_docs(op: TransformOperation) -> TransformOperation {
    op.id("stopShadow")
        .with(needs(Role::Operator, Reach::Query))
        .tag("plugins")
        .summary("Forget a shadow policy")
        .description("The answer is its last report.")
}
