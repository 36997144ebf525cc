//! Every request has an id: the client's, or one made here. The response, the log, problems and events carry it.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;
use tradewind_controller::request;
use tradewind_core::names::RequestId;
use ulid::Ulid;

pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Takes or makes the id, and answers with it.
pub(crate) async fn name(request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(HEADER)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<RequestId>().ok());
    // One that is no id would be an odd thing to repeat in logs.
    let id = given.unwrap_or_else(|| RequestId::new(Ulid::r#gen()));
    let span = tracing::info_span!("request", %id);
    let value = HeaderValue::try_from(id.as_str());
    let mut response = request::scope(id, next.run(request)).instrument(span).await;
    if let Ok(value) = value {
        response.headers_mut().insert(HEADER, value);
    }
    response
}
