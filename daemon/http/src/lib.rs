//! The HTTP API: one file per resource. Handlers translate between requests and handles; they must not touch the engine, a cloud or
//! the database.
#![warn(missing_docs)]

pub mod identity;
pub mod readiness;
mod report;
pub mod tls;

pub mod access;
mod assessments;
mod audit;
mod auth;
mod backup;
mod canary;
mod config;
mod decisions;
mod deployments;
mod encoding;
mod error;
mod etag;
mod events;
mod explain;
mod extract;
mod guard;
mod health;
mod json;
mod logs;
mod metrics;
mod namespaced;
mod namespaces;
mod offers;
mod openapi;
mod paging;
mod places;
mod plans;
mod plugins;
mod problems;
mod refusals;
mod regions;
mod replacements;
mod replay;
mod request_id;
mod request_log;
mod rerun;
mod restart;
mod revisions;
mod scale;
mod schema;
mod server;
mod sessions;
mod shadows;
mod sse;
pub mod starting;
mod tokens;
mod usage;
mod watching;

use std::{any::Any, sync::Arc};

use aide::axum::{
    ApiRouter,
    routing::{ApiMethodRouter, delete_with, get_with, post_with, put_with},
};
use axum::{
    Router,
    http::{Method, Uri},
    middleware,
    response::{IntoResponse, Response},
};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tradewind_controller as controller;

use crate::{readiness::Readiness, tls::Certificate};
use tradewind_config::Config;

pub use error::Error;
pub use server::{Listener, serve};

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

/// Those who do what the API is asked for.
pub struct Handles {
    /// Deployments, namespaces, plans, decisions and events.
    pub controller: controller::Handle,
    /// Plugin instances, canaries and shadow policies.
    pub plugins: tradewind_wasm::Handle,
    /// Backups of the state.
    pub backup: tradewind_backup::Handle,
    /// The tokens, and who sends a request.
    pub identities: identity::Handle,
    /// Lines of the log that nobody could take, since the start.
    pub log_lines_dropped: fn() -> u64,
    /// The bytes that the state takes on disk.
    pub store_bytes: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// The parts of an `App`.
pub struct Inner {
    handles: Handles,
    /// The settings in force.
    pub config: Config,
    /// Whether the daemon can do its work.
    pub readiness: Readiness,
    /// Cancelled when the daemon begins to stop: streams end then.
    pub stopping: CancellationToken,
    /// None: it speaks plain HTTP.
    pub certificate: Option<Certificate>,
    metrics: metrics::Metrics,
    refusals: refusals::Refusals,
    /// Connections of the API.
    crowd: Arc<server::Crowd>,
    /// Requests of known senders, from their admission until their answer has been taken.
    in_flight: guard::Shares,
    /// Requests that are worked on.
    requests: guard::Shares,
    streams: guard::Shares,
    /// Requests that bring a component.
    uploads: guard::Shares,
    lists: watching::Lists,
}

impl std::ops::Deref for App {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl std::ops::Deref for Inner {
    type Target = Handles;
    fn deref(&self) -> &Handles {
        &self.handles
    }
}

impl App {
    /// Takes its limits from the settings. The limit of connections is also bounded by the files that the daemon may open.
    pub fn new(
        handles: Handles,
        config: Config,
        readiness: Readiness,
        stopping: CancellationToken,
        certificate: Option<Certificate>,
    ) -> Self {
        let connections = config.api.connections.min(connections_at_most());
        // The others are left to those that ask for the first time, and to probes.
        let in_flight =
            guard::Shares::new("api.connections", (connections - connections / 4).max(1));
        let requests = guard::Shares::new("api.concurrent", config.api.concurrent);
        let streams = guard::Shares::new(
            "api.streams",
            config.api.streams.min((connections / 2).max(1)),
        );
        // The others are left to the plugin folder.
        let uploads =
            guard::Shares::new("compile.concurrent", config.compile.concurrent.div_ceil(2));
        let crowd = Arc::new(server::Crowd::new(connections));
        let refusals = refusals::Refusals::default();
        let metrics = metrics::Metrics::new(&refusals);
        let lists = watching::Lists::at(handles.controller.shown_revision());
        let inner = Inner {
            handles,
            config,
            readiness,
            stopping,
            certificate,
            metrics,
            refusals,
            crowd,
            in_flight,
            requests,
            streams,
            uploads,
            lists,
        };
        Self {
            inner: Arc::new(inner),
        }
    }
}

/// Connections hold a descriptor each: most descriptors are left to the controller and what it starts.
fn connections_at_most() -> u32 {
    let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    open_files.map_or(u32::MAX, |files| {
        u32::try_from(files / 4).unwrap_or(u32::MAX).max(1)
    })
}

/// The routes of deployments, each in both forms.
fn of_deployments(mut router: ApiRouter<App>) -> ApiRouter<App> {
    let mut route = |end: &str, methods: &dyn Fn() -> ApiMethodRouter<App>| {
        let before = std::mem::replace(&mut router, ApiRouter::new());
        router = namespaced::both(before, end, methods);
    };
    route("", &|| get_with(deployments::list, deployments::list_docs));
    route("/{name}", &|| {
        get_with(deployments::get, deployments::get_docs)
            .merge(put_with(deployments::put, deployments::put_docs))
            .merge(delete_with(deployments::delete, deployments::delete_docs))
    });
    route("/{name}/plan", &|| {
        post_with(deployments::plan, deployments::plan_docs)
    });
    route("/{name}/diff", &|| {
        post_with(deployments::diff, deployments::diff_docs)
    });
    route("/{name}/explain", &|| get_with(explain::get, explain::docs));
    route("/{name}/metrics", &|| {
        post_with(scale::push, scale::push_docs)
    });
    route("/{name}/scale", &|| {
        post_with(scale::scale, scale::scale_docs)
    });
    route("/{name}/run", &|| post_with(rerun::create, rerun::docs));
    route("/{name}/restart", &|| {
        post_with(restart::create, restart::docs)
    });
    route("/{name}/pause", &|| {
        post_with(restart::pause, restart::pause_docs)
    });
    route("/{name}/resume", &|| {
        post_with(restart::resume, restart::resume_docs)
    });
    route("/{name}/wake", &|| post_with(scale::wake, scale::wake_docs));
    route("/{name}/revisions", &|| {
        get_with(revisions::list, revisions::list_docs)
    });
    route("/{name}/revisions/{generation}", &|| {
        get_with(revisions::get, revisions::get_docs)
    });
    route("/{name}/rollback", &|| {
        post_with(revisions::rollback, revisions::rollback_docs)
    });
    route("/{name}/promote", &|| {
        post_with(revisions::promote, revisions::promote_docs)
    });
    route("/{name}/abort", &|| {
        post_with(revisions::abort, revisions::abort_docs)
    });
    route("/{name}/exec", &|| {
        get_with(sessions::exec, sessions::exec_docs)
    });
    route("/{name}/port-forward", &|| {
        get_with(sessions::port_forward, sessions::port_forward_docs)
    });
    route("/{name}/download", &|| {
        get_with(sessions::download, sessions::download_docs)
    });
    route("/{name}/upload", &|| {
        get_with(sessions::upload, sessions::upload_docs)
    });
    route("/{name}/logs", &|| get_with(logs::get, logs::docs));
    route("/{name}/events", &|| {
        get_with(events::of_deployment, events::of_deployment_docs)
    });
    router
}

/// Every route, documented.
fn routes() -> ApiRouter<App> {
    let router = of_deployments(ApiRouter::new());
    router
        .api_route(
            "/v1/namespaces",
            get_with(namespaces::list, namespaces::list_docs),
        )
        .api_route(
            "/v1/namespaces/{name}",
            get_with(namespaces::get, namespaces::get_docs)
                .merge(put_with(namespaces::put, namespaces::put_docs))
                .merge(delete_with(namespaces::delete, namespaces::delete_docs)),
        )
        .api_route("/v1/offers", get_with(offers::list, offers::docs))
        .api_route("/v1/regions", get_with(regions::list, regions::docs))
        .api_route(
            "/v1/places/{provider}",
            get_with(places::get, places::get_docs),
        )
        .api_route(
            "/v1/places/{provider}/cordon",
            put_with(places::cordon, places::cordon_docs)
                .merge(delete_with(places::uncordon, places::uncordon_docs)),
        )
        .api_route(
            "/v1/places/{provider}/drain",
            put_with(places::drain, places::drain_docs),
        )
        .api_route(
            "/v1/assessments",
            post_with(assessments::create, assessments::docs)
                .merge(get_with(assessments::of_shape, assessments::of_shape_docs)),
        )
        .api_route(
            "/v1/replacements",
            get_with(replacements::list, replacements::docs),
        )
        .api_route(
            "/v1/decisions",
            get_with(decisions::list, decisions::list_docs),
        )
        .api_route(
            "/v1/decisions/{id}",
            get_with(decisions::get, decisions::get_docs),
        )
        .api_route(
            "/v1/decisions/{id}/replay",
            post_with(replay::create, replay::docs),
        )
        .api_route(
            "/v1/plans",
            get_with(plans::list, plans::list_docs)
                .merge(post_with(plans::create, plans::create_docs)),
        )
        .api_route(
            "/v1/plans/{id}",
            get_with(plans::get, plans::get_docs)
                .merge(delete_with(plans::delete, plans::delete_docs)),
        )
        .api_route(
            "/v1/plans/{id}/approve",
            post_with(plans::approve, plans::approve_docs),
        )
        .api_route(
            "/v1/plans/{id}/reject",
            post_with(plans::reject, plans::reject_docs),
        )
        .api_route(
            "/v1/plans/{id}/apply",
            post_with(plans::apply, plans::apply_docs),
        )
        .api_route("/v1/plugins", get_with(plugins::list, plugins::list_docs))
        .api_route(
            "/v1/plugins/reload",
            post_with(plugins::reload, plugins::reload_docs),
        )
        .api_route(
            "/v1/plugins/{name}",
            get_with(plugins::get, plugins::get_docs),
        )
        .api_route(
            "/v1/plugins/{name}/rollback",
            post_with(plugins::rollback, plugins::rollback_docs),
        )
        .api_route(
            "/v1/plugins/{name}/canary",
            get_with(canary::get, canary::get_docs)
                .merge(post_with(canary::start, canary::start_docs))
                .merge(delete_with(canary::abort, canary::abort_docs)),
        )
        .api_route(
            "/v1/plugins/{name}/canary/promote",
            post_with(canary::promote, canary::promote_docs),
        )
        .api_route(
            "/v1/shadows",
            get_with(shadows::list, shadows::list_docs)
                .merge(post_with(shadows::start, shadows::start_docs)),
        )
        .api_route(
            "/v1/shadows/{name}",
            get_with(shadows::get, shadows::get_docs)
                .merge(delete_with(shadows::stop, shadows::stop_docs)),
        )
        .api_route(
            "/v1/shadows/{name}/promote",
            post_with(shadows::promote, shadows::promote_docs),
        )
        .api_route("/v1/usage", get_with(usage::list, usage::docs))
        .api_route("/v1/events", get_with(events::all, events::all_docs))
        .api_route("/v1/backup", post_with(backup::create, backup::docs))
        .api_route("/v1/audit", get_with(audit::list, audit::list_docs))
        .api_route("/v1/audit/head", get_with(audit::head, audit::head_docs))
        .api_route(
            "/v1/audit/verify",
            post_with(audit::verify, audit::verify_docs),
        )
        .api_route(
            "/v1/tokens",
            get_with(tokens::list, tokens::list_docs)
                .merge(post_with(tokens::create, tokens::create_docs)),
        )
        .api_route(
            "/v1/tokens/{name}",
            delete_with(tokens::revoke, tokens::revoke_docs),
        )
        .api_route("/v1/whoami", get_with(tokens::whoami, tokens::whoami_docs))
        .api_route(
            "/v1/schema/manifest",
            get_with(schema::manifest, schema::docs),
        )
        .api_route("/v1/config", get_with(config::get, config::docs))
        .api_route("/healthz", get_with(health::alive, health::alive_docs))
        .api_route("/readyz", get_with(health::ready, health::ready_docs))
        .api_route("/metrics", get_with(metrics::get, metrics::docs))
        .api_route("/problems/{kind}", get_with(problems::get, problems::docs))
        .api_route("/openapi.json", get_with(openapi::get, openapi::docs))
}

/// The whole service: routes, fallbacks, and what guards them, outermost last.
pub fn router(app: App) -> Router {
    router_with(app, |routes| routes)
}

/// The same with routes beside its own, which are guarded as they are. One that is not documented belongs to nobody: it is refused.
pub fn router_with(app: App, beside: impl FnOnce(ApiRouter<App>) -> ApiRouter<App>) -> Router {
    let mut api = openapi::document();
    let router = beside(routes()).finish_api(&mut api);
    let gate = auth::Gate {
        app: app.clone(),
        table: Arc::new(access::Table::of(&api)),
    };
    router
        .fallback(no_route)
        .layer(middleware::from_fn(namespaced::into_query))
        .layer(openapi::extension(&api))
        .layer(middleware::from_fn_with_state(app.clone(), guard::slot))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            extract::limit_size,
        ))
        .layer(middleware::from_fn_with_state(gate, auth::admit))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            guard::local_only,
        ))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            metrics::observe,
        ))
        .layer(encoding::layer())
        .layer(middleware::from_fn(encoding::mark))
        .layer(middleware::from_fn(guard::harden))
        .layer(middleware::from_fn(request_id::name))
        .with_state(app)
}

async fn no_route(method: Method, uri: Uri) -> Error {
    Error::NoRoute {
        method: method.to_string(),
        path: uri.path().to_owned(),
    }
}

fn panicked(payload: Box<dyn Any + Send + 'static>) -> Response {
    let text = payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    tracing::error!(
        panic = text.as_deref().unwrap_or("without a message"),
        "a request handler panicked"
    );
    Error::Panic.into_response()
}

#[cfg(test)]
mod tests;
