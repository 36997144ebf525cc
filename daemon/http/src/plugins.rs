//! `/v1/plugins`: which providers and policies are loaded, their versions, and how to change them.

use std::num::NonZeroU32;

use aide::transform::TransformOperation;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tradewind_api::{OddFiles, Page, Plugin, PluginState, PluginView, ReloadReport, Rollback};
use tradewind_controller::{ListNow, WholeList};
use tradewind_core::{
    event::{Event, Reason, Severity},
    identity::{Role, Scope},
    list::{self, Cursor, OneOf, Sort, Window},
    names::{InstanceName, Namespace},
    store::Revision,
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth::Caller,
    extract::{OptionalJson, Path, Query, Streaming},
    paging::{self, Fields, Here},
    watching::{self, Asked},
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
    /// True: server-sent events in place of pages, as of deployments: `put` has an item, `delete` the name of one that is gone or left the
    /// filter, `bookmark` a revision up to which everything has been told. The header `Accept: text/event-stream` does the same.
    #[serde(default)]
    watch: bool,
    /// Of a watch: only what changes after this revision. The header `Last-Event-ID` goes before it. Default: everything that is there, then a
    /// bookmark, then what changes. 410 when what changed since is not known any more.
    after: Option<Revision>,
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
    let instances = Instances {
        app: app.clone(),
        scope: within(&caller, q.namespace),
        status: q.status,
        administers: administers(&caller),
    };
    if let Some(after) = asked.of()? {
        let followed = app.lists.plugins.clone();
        let events = followed
            .follow(instances, app.controller.clone(), after)
            .await?;
        return watching::answer(&app, &caller.identity, events).await;
    }
    let revision = app.controller.shown_revision();
    let window = Window::new(q.limit, q.cursor).sorted(q.sort)?;
    let page = list::Page::of(instances.shown(), &window);
    app.lists.plugins.sent(&page.items);
    let problems = if administers(&caller) {
        app.plugins.problems()
    } else {
        Vec::new()
    };
    Ok(here
        .page(page.items, page.next)
        .at_revision(revision)
        .beside(OddFiles { problems })
        .only(q.fields)?
        .into_response())
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
        .response::<200, Json<Page<PluginView, OddFiles>>>()
        .with(paging::linked)
        .with(watching::described::<PluginView>)
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

/// The instances, as one reader may follow them.
struct Instances {
    app: App,
    scope: Scope,
    status: Option<OneOf<PluginState>>,
    administers: bool,
}

impl Instances {
    fn shown(&self) -> impl Iterator<Item = PluginView> {
        let wanted = |plugin: &PluginView| self.status.as_ref().is_none_or(|s| s.has(plugin.state));
        let plugins = self.app.plugins.list_for(&self.scope).into_iter();
        let shown = |view: PluginView| {
            if self.administers {
                view
            } else {
                view.outline()
            }
        };
        plugins.filter(wanted).map(shown)
    }
}

impl WholeList for Instances {
    type Item = PluginView;

    async fn read(&self) -> Result<ListNow<PluginView>, tradewind_controller::Error> {
        Ok(ListNow {
            all: self.app.plugins.list_for(&Scope::All),
            shown: self.shown().collect(),
        })
    }

    fn may_know(&self, _: &InstanceName) -> Option<bool> {
        self.scope.is_all().then_some(true)
    }

    fn is_stored(&self) -> bool {
        false
    }
}
