//! `/v1/plugins`: which providers and policies are loaded, their versions, and how to change them.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{OddFiles, Plugin, PluginState, PluginView, ReloadReport, Rollback};
use tradewind_core::{
    event::{Event, Reason, Severity},
    identity::{Role, Scope},
    list::{Cursor, OneOf, Page, Sort, Window},
    names::{InstanceName, Namespace},
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::{OptionalJson, Path, Query},
    paging::{Fields, Here, Paged},
};

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct Instance {
    name: InstanceName,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only instances that this namespace may use. Default: all that a namespace of the token may.
    namespace: Option<Namespace>,
    /// Only those with this status, or with one of several between commas.
    status: Option<OneOf<PluginState>>,
    /// The order: `instance`, `state`, several between commas; `-` before one for the highest first. Default: by instance. A cursor goes with
    /// its order.
    sort: Option<Sort<PluginView>>,
    /// Only these fields of each item, between commas, such as `instance,state`. Default: all.
    fields: Option<Fields>,
    /// At most so many on a page. Default 500, at most 1000; more counts as that.
    limit: Option<NonZeroU32>,
    /// Where the page begins: out of the link of the page before. Default: with the first.
    cursor: Option<Cursor<PluginView>>,
}

pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    here: Here,
    Query(q): Query<ListQuery>,
) -> Result<Paged<PluginView, OddFiles>, Error> {
    let plugins = app.plugins.list_for(&within(&caller, q.namespace));
    let plugins = plugins
        .into_iter()
        .filter(|plugin| q.status.as_ref().is_none_or(|s| s.has(plugin.state)));
    let page = Page::of(plugins, &Window::new(q.limit, q.cursor).sorted(q.sort)?);
    let plugins: Vec<_> = page
        .items
        .into_iter()
        .map(|view| shown(&caller, view))
        .collect();
    let problems = if administers(&caller) {
        app.plugins.problems()
    } else {
        Vec::new()
    };
    here.page(plugins, page.next)
        .beside(OddFiles { problems })
        .only(q.fields)
}

/// One namespace, which the gate has checked, or all that the caller reaches.
pub(super) fn within(caller: &Caller, namespace: Option<Namespace>) -> Scope {
    namespace.map_or_else(|| caller.scope().clone(), |name| Scope::Only([name].into()))
}

/// Grants, settings, earlier versions and refusals are for those who write instance files.
fn administers(caller: &Caller) -> bool {
    caller.scope().is_all() && caller.identity.role() == Role::Admin
}

fn shown(caller: &Caller, view: PluginView) -> PluginView {
    if administers(caller) {
        view
    } else {
        view.outline()
    }
}

pub(crate) fn list_docs(op: TransformOperation) -> TransformOperation {
    op.id("listPlugins")
        .with(needs(Role::Viewer, Reach::Filtered))
        .tag("plugins")
        .summary("List plugin instances, by name")
        .description("Files that belong to none are on every page.")
}

pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(Instance { name }): Path<Instance>,
) -> Result<Json<Plugin>, Error> {
    let degraded = app.controller.degraded(&name);
    let found = app
        .plugins
        .inspect_for(&name, caller.scope())
        .map(|plugin| Plugin {
            plugin: shown(&caller, plugin),
            degraded,
        });
    found.map(Json).ok_or_else(|| Error::NotFound {
        what: "plugin instance",
        name: name.to_string(),
    })
}

pub(crate) fn get_docs(op: TransformOperation) -> TransformOperation {
    op.id("getPlugin")
        .with(needs(Role::Viewer, Reach::Any))
        .tag("plugins")
        .summary("Read a plugin instance: its versions, grants, calls, and what was refused and why")
        .description(
            "Of those that are open to a namespace of the token. Whoever is no admin of all namespaces sees what it is, how it is, and what may \
             be used of it.",
        )
}

pub(crate) async fn reload(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<ReloadReport>, Error> {
    let report = app.plugins.reconcile().await?;
    app.controller
        .note(asked(
            &caller,
            Reason::PluginsReloaded,
            "the plugin folder was read again".to_owned(),
            None,
        ))
        .await;
    Ok(Json(report))
}

/// Who asked for it. What became of the plugins is told by the plugin host.
fn asked(caller: &Caller, reason: Reason, message: String, plugin: Option<InstanceName>) -> Event {
    Event {
        plugin,
        ..Event::new(Severity::Info, reason, &caller.actor, message)
    }
}

pub(crate) fn reload_docs(op: TransformOperation) -> TransformOperation {
    op.id("reloadPlugins")
        .with(needs(Role::Admin, Reach::All))
        .tag("plugins")
        .summary("Compare the plugin folder with what is loaded, now")
        .description("Answers when everything that changed is active or refused.")
}

pub(crate) async fn rollback(
    State(app): State<App>,
    caller: Caller,
    Path(Instance { name }): Path<Instance>,
    OptionalJson(body): OptionalJson<Rollback>,
) -> Result<Json<PluginView>, Error> {
    let view = app
        .plugins
        .rollback(name.clone(), body.unwrap_or_default().digest)
        .await?;
    let serves = view
        .identity
        .as_ref()
        .map_or_else(|| "nothing serves".to_owned(), |i| format!("{i} serves"));
    app.controller
        .note(asked(&caller, Reason::PluginRolledBack, serves, Some(name)))
        .await;
    Ok(Json(view))
}

pub(crate) fn rollback_docs(op: TransformOperation) -> TransformOperation {
    op.id("rollbackPlugin")
        .with(needs(Role::Admin, Reach::All))
        .tag("plugins")
        .summary("Go back to an earlier version of a plugin instance")
        .description("It serves, also after a restart, until the plugin folder changes.")
}
