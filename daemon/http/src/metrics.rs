//! `/metrics`: counts and times of requests as they happen; everything else as it is when asked.

mod controller;
mod process;
mod text;

use std::{sync::atomic::AtomicU64, time::Instant};

use aide::transform::TransformOperation;
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text as open_metrics},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tradewind_api::PluginState;
use tradewind_controller::DeploymentMeasure;
use tradewind_core::{
    identity::{Role, Scope},
    list::{Selector, Window},
    place_health::Circuit,
    units::MicroUsd,
};

use super::{
    App, Error,
    access::{Reach, needs},
    auth,
    openapi::Raw,
    refusals::{self, Refusals},
    request_log,
};

/// Seconds.
const BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: String,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByNamespace {
    namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPlugin {
    plugin: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPlace {
    provider: String,
    region: String,
}

/// What is counted between two questions.
pub(crate) struct Metrics {
    /// When the daemon began, in seconds since 1970.
    started: f64,
    registry: Registry,
    requests: Family<Outcome, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    restarts: controller::Restarts,
}

impl Metrics {
    pub(crate) fn new(refusals: &Refusals) -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let seconds =
            Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        registry.register(
            "tradewind_http_requests",
            "HTTP requests by route and status",
            requests.clone(),
        );
        registry.register(
            "tradewind_http_request_seconds",
            "Time until the head of the response, by route",
            seconds.clone(),
        );
        registry.register(
            "tradewind_http_refused",
            "Refused requests and connections by reason",
            refusals.counts.clone(),
        );
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            started: since_1970.map_or(0.0, |since| since.as_secs_f64()),
            registry,
            requests,
            seconds,
            restarts: controller::Restarts::default(),
        }
    }
}

/// Counts and times every request. Requests that match no route share one label.
pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let method = match request.method().as_str() {
        known @ ("GET" | "PUT" | "POST" | "DELETE" | "HEAD") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let path = request.uri().path().to_owned();
    let address = auth::address(&request);
    let started = Instant::now();
    let response = next.run(request).await;
    let took = started.elapsed();
    let status = response.status().as_u16();
    request_log::write(app.config.log.requests, &method, &path, took, &response);
    refusals::trace(&app, &response, address, &method, &route);
    app.metrics
        .requests
        .get_or_create(&Outcome {
            method: method.clone(),
            route: route.clone(),
            status,
        })
        .inc();
    app.metrics
        .seconds
        .get_or_create(&Route { method, route })
        .observe(took.as_secs_f64());
    response
}

pub(crate) async fn get(State(app): State<App>, headers: HeaderMap) -> Result<Response, Error> {
    let mut out = String::new();
    let deployments = app.controller.deployment_measures().await;
    render(&app, &deployments, &mut out).map_err(|e| Error::Encode(e.into()))?;
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let (content_type, out) = text::form(accept.unwrap_or_default(), out);
    Ok(([(header::CONTENT_TYPE, content_type)], out).into_response())
}

pub(crate) fn docs(op: TransformOperation) -> TransformOperation {
    op.id("getMetrics")
        .with(needs(Role::Viewer, Reach::All))
        .tag("meta")
        .summary("Metrics in the text format of Prometheus")
        .description("With `Accept: application/openmetrics-text` in that of OpenMetrics.")
        .with(Raw::<true>::answer("text/plain", "The metrics."))
}

fn regions(app: &App, now: &mut Registry) {
    let open = Family::<ByPlace, Gauge>::default();
    let errors = Family::<ByPlace, Gauge<f64, AtomicU64>>::default();
    let calls = Family::<ByPlace, Gauge>::default();
    let waiting = Family::<ByPlace, Gauge>::default();
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    for region in app.controller.regions(&Scope::All).items {
        let label = ByPlace {
            provider: region.provider.to_string(),
            region: region.region,
        };
        open.get_or_create(&label)
            .set(i64::from(region.circuit != Circuit::Closed));
        errors.get_or_create(&label).set(region.error_rate);
        calls.get_or_create(&label).set(count(region.calls));
        waiting.get_or_create(&label).set(count(region.waiting));
    }
    now.register(
        "tradewind_region_circuit_open",
        "1 while calls to a region are held back",
        open,
    );
    now.register(
        "tradewind_region_error_rate",
        "Share of recent calls without an answer, by region",
        errors,
    );
    now.register(
        "tradewind_region_calls",
        "Calls under way that change something, by region",
        calls,
    );
    now.register(
        "tradewind_region_calls_waiting",
        "Calls that wait for their turn, by region",
        waiting,
    );
}

fn render(app: &App, listed: &[DeploymentMeasure], out: &mut String) -> std::fmt::Result {
    open_metrics::encode_registry(out, &app.metrics.registry)?;
    // What others know is asked for anew each time, so that nothing stale is shown.
    let mut now = Registry::default();
    let most = usize::try_from(app.config.api.metric_deployments).unwrap_or(usize::MAX);
    controller::deployments(listed, most, &app.metrics.restarts, &mut now);
    controller::work(&app.controller.measures(), &mut now);
    process::process(app.metrics.started, (app.store_bytes)(), &mut now);
    namespaces(app, &mut now);
    let calls = Family::<ByPlugin, Counter>::default();
    let failures = Family::<ByPlugin, Counter>::default();
    let instances = app.plugins.list().into_iter();
    for plugin in instances.filter(|plugin| plugin.state != PluginState::Removed) {
        let label = ByPlugin {
            plugin: plugin.instance.to_string(),
        };
        calls.get_or_create(&label).inc_by(plugin.statistics.calls);
        failures
            .get_or_create(&label)
            .inc_by(plugin.statistics.failures);
    }
    now.register("tradewind_plugin_calls", "Plugin calls by instance", calls);
    now.register(
        "tradewind_plugin_call_failures",
        "Failed plugin calls by instance",
        failures,
    );
    regions(app, &mut now);
    let connections = Gauge::<i64>::default();
    connections.set(i64::try_from(app.crowd.count()).unwrap_or(i64::MAX));
    now.register(
        "tradewind_http_connections",
        "Open connections of the API",
        connections,
    );
    if let Some(certificate) = &app.certificate {
        let ends = Gauge::<i64>::default();
        ends.set(i64::try_from(certificate.facts().ends.0 / 1000).unwrap_or(i64::MAX));
        now.register(
            "tradewind_tls_certificate_expiry_seconds",
            "When the certificate of the API ends, in seconds since 1970",
            ends,
        );
    }
    let dropped = Counter::<u64>::default();
    dropped.inc_by((app.log_lines_dropped)());
    now.register(
        "tradewind_log_lines_dropped",
        "Lines of the daemon's log that standard error did not take",
        dropped,
    );
    open_metrics::encode_registry(out, &now)?;
    open_metrics::encode_eof(out)
}

/// What the namespaces cost, in US dollars, and how many of their tasks wait.
fn namespaces(app: &App, registry: &mut Registry) {
    let (hourly, month, forecast) = (Family::default(), Family::default(), Family::default());
    let held = Family::<ByNamespace, Gauge>::default();
    let dollars = |family: &Family<ByNamespace, Gauge<f64, AtomicU64>>,
                   label: &ByNamespace,
                   amount: MicroUsd| {
        family.get_or_create(label).set(amount.usd());
    };
    for namespace in app
        .controller
        .namespaces(&Scope::All, None, &Selector::default(), &Window::whole())
        .items
    {
        let label = ByNamespace {
            namespace: namespace.name.to_string(),
        };
        dollars(&hourly, &label, namespace.spend.hourly);
        dollars(&month, &label, namespace.spend.this_month);
        dollars(&forecast, &label, namespace.spend.forecast);
        held.get_or_create(&label)
            .set(i64::from(namespace.held_back));
    }
    registry.register(
        "tradewind_namespace_hourly_usd",
        "What runs now costs per hour",
        hourly,
    );
    registry.register(
        "tradewind_namespace_month_usd",
        "Spent in the present month",
        month,
    );
    registry.register(
        "tradewind_namespace_forecast_usd",
        "Forecast for the present month",
        forecast,
    );
    registry.register(
        "tradewind_namespace_held_back",
        "Tasks that have fewer replicas than they want",
        held,
    );
}
