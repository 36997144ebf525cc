//! One line of the log for each request. The query is left out, as it may hold what nobody shall find in a log.

use std::time::Duration;

use axum::response::Response;

use super::auth::Asker;

/// What machines ask all the time.
const OFTEN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// At `info` where the setting `log.requests` says so. The span around it has the request's id.
pub(crate) fn write(wanted: bool, method: &str, path: &str, took: Duration, response: &Response) {
    let status = response.status().as_u16();
    let millis = (took.as_secs_f64() * 1e6).round() / 1e3;
    let token = response
        .extensions()
        .get::<Asker>()
        .map(|asker| tracing::field::display(asker.0.name().clone()));
    // Levels are fixed where a line is written.
    if wanted && !OFTEN.contains(&path) {
        tracing::info!(method, path, status, millis, token, "request answered");
    } else {
        tracing::debug!(method, path, status, millis, token, "request answered");
    }
}
