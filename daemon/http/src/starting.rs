//! What the API answers while the daemon starts: that it lives, and how far it is. Everything else is to be asked again in a moment.

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tradewind_config::Config;

use super::{Error, guard, health, request_id, server};
use crate::{Listener, readiness, tls::Certificate};

/// Answers on this listener until `until` is cancelled, and gives it back then. Connections that nobody has accepted yet wait in it.
pub async fn answer(
    listener: Listener,
    config: &Config,
    certificate: Option<Certificate>,
    progress: watch::Receiver<readiness::Reason>,
    until: CancellationToken,
) -> Listener {
    let router = router(config, progress);
    server::serve_for_now(listener, router, config, certificate, until).await
}

fn router(config: &Config, progress: watch::Receiver<readiness::Reason>) -> Router {
    let transport = guard::Transport::of(config);
    let machine = move |request: Request, next: Next| async move {
        guard::check(request.headers(), request.uri(), transport)?;
        Ok::<Response, Error>(next.run(request).await)
    };
    Router::new()
        .route("/healthz", get(health::alive))
        .fallback(not_yet)
        .layer(middleware::from_fn(machine))
        .layer(middleware::map_response(close))
        .layer(middleware::from_fn(guard::harden))
        .layer(middleware::from_fn(request_id::name))
        .with_state(progress)
}

async fn not_yet(State(progress): State<watch::Receiver<readiness::Reason>>) -> Error {
    Error::Starting {
        progress: progress.borrow().clone(),
    }
}

/// The next request shall find the daemon itself.
async fn close(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::StatusCode};
    use tower::ServiceExt;
    use tradewind_api::problem::{Kind, Problem};

    use super::*;

    #[tokio::test]
    async fn it_lives_and_says_how_far_it_is() {
        let config = Config::defaults("/nowhere".into(), "cheapest".parse().unwrap());
        let (_tell, progress) = watch::channel("the daemon is starting: 3 of 10".into());
        let router = router(&config, progress);
        let ask = async |path: &str| {
            let request = Request::get(path).header(header::HOST, "127.0.0.1");
            let request = request.body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap()
        };
        assert_eq!(ask("/healthz").await.status(), StatusCode::OK);
        for path in ["/readyz", "/v1/deployments", "/nothing"] {
            let answer = ask(path).await;
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
            let body = axum::body::to_bytes(answer.into_body(), 1 << 20)
                .await
                .unwrap();
            let problem: Problem = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem.kind, Kind::Starting);
            assert_eq!(problem.detail, "the daemon is starting: 3 of 10");
        }
    }
}
