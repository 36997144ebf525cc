//! The API over a real listener, with the real controller, plugin host and state below it.

use std::{collections::BTreeSet, time::Duration};

use aide::axum::routing::get_with;
use axum::routing::get;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tradewind_api::problem::{CONTENT_TYPE, Kind, Problem};
use tradewind_config::{ADMIN_FILE, Effective, Overrides};
use tradewind_core::identity::Role;
use tradewind_http::{
    App, Listener,
    access::{Reach, needs},
    readiness::Readiness,
    router_with,
};

use crate::serve::{self, Parts};

/// Every route of the API: method and path. What is added to the router is added here. Those of deployments have a second form.
const ROUTES: [(&str, &str); 80] = [
    ("post", "/v1/deployments/{name}/diff"),
    ("post", "/v1/deployments/{name}/restart"),
    ("post", "/v1/deployments/{name}/pause"),
    ("post", "/v1/deployments/{name}/resume"),
    ("get", "/v1/usage"),
    ("get", "/v1/deployments"),
    ("get", "/v1/deployments/{name}"),
    ("put", "/v1/deployments/{name}"),
    ("delete", "/v1/deployments/{name}"),
    ("post", "/v1/deployments/{name}/plan"),
    ("get", "/v1/deployments/{name}/revisions"),
    ("get", "/v1/deployments/{name}/revisions/{generation}"),
    ("post", "/v1/deployments/{name}/rollback"),
    ("post", "/v1/deployments/{name}/run"),
    ("post", "/v1/deployments/{name}/promote"),
    ("post", "/v1/deployments/{name}/abort"),
    ("post", "/v1/deployments/{name}/metrics"),
    ("post", "/v1/deployments/{name}/scale"),
    ("post", "/v1/deployments/{name}/wake"),
    ("get", "/v1/regions"),
    ("get", "/v1/deployments/{name}/logs"),
    ("get", "/v1/deployments/{name}/exec"),
    ("get", "/v1/deployments/{name}/port-forward"),
    ("get", "/v1/deployments/{name}/download"),
    ("get", "/v1/deployments/{name}/upload"),
    ("get", "/v1/places/{provider}"),
    ("put", "/v1/places/{provider}/cordon"),
    ("delete", "/v1/places/{provider}/cordon"),
    ("put", "/v1/places/{provider}/drain"),
    ("get", "/v1/deployments/{name}/events"),
    ("get", "/v1/namespaces"),
    ("get", "/v1/namespaces/{name}"),
    ("put", "/v1/namespaces/{name}"),
    ("delete", "/v1/namespaces/{name}"),
    ("get", "/v1/replacements"),
    ("get", "/v1/offers"),
    ("post", "/v1/assessments"),
    ("get", "/v1/assessments"),
    ("get", "/v1/decisions"),
    ("get", "/v1/decisions/{id}"),
    ("post", "/v1/decisions/{id}/replay"),
    ("get", "/v1/deployments/{name}/explain"),
    ("get", "/v1/plans"),
    ("post", "/v1/plans"),
    ("get", "/v1/plans/{id}"),
    ("delete", "/v1/plans/{id}"),
    ("post", "/v1/plans/{id}/approve"),
    ("post", "/v1/plans/{id}/reject"),
    ("post", "/v1/plans/{id}/apply"),
    ("get", "/v1/plugins"),
    ("post", "/v1/plugins/reload"),
    ("get", "/v1/plugins/{name}"),
    ("post", "/v1/plugins/{name}/rollback"),
    ("get", "/v1/plugins/{name}/canary"),
    ("post", "/v1/plugins/{name}/canary"),
    ("delete", "/v1/plugins/{name}/canary"),
    ("post", "/v1/plugins/{name}/canary/promote"),
    ("get", "/v1/shadows"),
    ("post", "/v1/shadows"),
    ("get", "/v1/shadows/{name}"),
    ("delete", "/v1/shadows/{name}"),
    ("post", "/v1/shadows/{name}/promote"),
    ("get", "/v1/events"),
    ("post", "/v1/backup"),
    ("get", "/v1/audit"),
    ("get", "/v1/audit/head"),
    ("post", "/v1/audit/verify"),
    ("get", "/v1/tokens"),
    ("post", "/v1/tokens"),
    ("delete", "/v1/tokens/{name}"),
    ("get", "/v1/whoami"),
    ("get", "/v1/schema/manifest"),
    ("get", "/v1/config"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/problems/{kind}"),
    // Outside the document: what the router answers by itself.
    ("head", "/healthz"),
    ("head", "/v1/deployments"),
];

/// The same with the canonical paths of deployments.
fn routes() -> Vec<(&'static str, String)> {
    let own = ROUTES
        .iter()
        .map(|(method, path)| (*method, (*path).to_owned()));
    let canonical = ROUTES.iter().filter_map(|(method, path)| {
        let end = path.strip_prefix("/v1/deployments")?;
        Some((
            *method,
            format!("/v1/namespaces/{{namespace}}/deployments{end}"),
        ))
    });
    own.chain(canonical).collect()
}

const JOB: &str = "apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: a}\nspec:\n  jobs:\n    j: {command: [/bin/true]}\n";

/// A daemon without plugins, and a client for it.
struct Api {
    base: String,
    http: reqwest::Client,
    app: App,
    parts: Parts,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Api {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(
            &file,
            "[api]\nmax-body = \"64Ki\"\nbody-timeout = \"200ms\"\nstreams = 1\ndrain = \"20s\"\n",
        )
        .unwrap();
        let overrides = Overrides {
            config: Some(file),
            listen: Some("127.0.0.1:0".into()),
            data: Some(folder.path().join("data")),
            ..Default::default()
        };
        let config = Effective::load(&overrides, |_| None).unwrap().config;
        serve::make_folders(&config).unwrap();
        let parts = serve::start(&config, &serve::Beginning::new("", config.data.clone()))
            .await
            .unwrap();
        let readiness = Readiness::starting();
        let app = App::new(
            parts.handles(),
            config,
            readiness,
            CancellationToken::new(),
            None,
        );
        // A handler with a defect, beside the real ones.
        let router = router_with(app.clone(), |routes| {
            let defect = get_with(defect, |op| op.with(needs(Role::Viewer, Reach::Any)));
            routes
                .api_route("/v1/defect", defect)
                .route("/v1/undeclared", get(whoever))
        });
        let listener = Listener::bind(app.config.listen).await.unwrap();
        let base = format!("http://{}", listener.address());
        let server = tokio::spawn(tradewind_http::serve(listener, router, app.clone()));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let token = tradewind_config::read_secret(&app.config.data.join(ADMIN_FILE)).unwrap();
        let bearer = (
            header::AUTHORIZATION,
            format!("Bearer {}", token.expose()).parse().unwrap(),
        );
        let http = reqwest::Client::builder()
            .no_proxy()
            .default_headers([bearer].into_iter().collect())
            .build()
            .unwrap();
        Self {
            base,
            http,
            app,
            parts,
            server,
            _folder: folder,
        }
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        self.http.request(method, format!("{}{path}", self.base))
    }

    fn put(&self, name: &str, body: &'static str) -> RequestBuilder {
        self.request("put", &format!("/v1/deployments/{name}"))
            .header(header::CONTENT_TYPE, "application/yaml")
            .body(body)
    }

    async fn stop(self) {
        self.app.stopping.cancel();
        self.server.await.unwrap().unwrap();
        serve::drain(self.parts).await;
    }
}

async fn defect() -> &'static str {
    panic!("on purpose")
}

async fn whoever() -> &'static str {
    "whoever asks"
}

async fn problem(request: RequestBuilder) -> (Problem, Response) {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await.unwrap();
    assert_eq!(
        headers.get(header::CONTENT_TYPE).map(|v| v.as_bytes()),
        Some(CONTENT_TYPE.as_bytes()),
        "{status} {bytes:?}"
    );
    let problem: Problem = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(problem.status, status.as_u16());
    let mut head = http::Response::new("");
    (*head.status_mut(), *head.headers_mut()) = (status, headers);
    (problem, head.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_describes_exactly_what_is_there() {
    let api = Api::start().await;
    let document: Value = api
        .request("get", "/openapi.json")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1"),
        "{}",
        document["openapi"]
    );
    let mut described = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert((method.clone(), path.clone()));
            assert!(
                ids.insert(
                    operation["operationId"]
                        .as_str()
                        .unwrap_or("defect")
                        .to_owned()
                ),
                "two operations with the id of {method} {path}"
            );
            assert!(
                operation["responses"]
                    .as_object()
                    .is_some_and(|r| r.keys().any(|k| k.starts_with('2') || k == "101")),
                "{method} {path}: {operation}"
            );
            let named: Vec<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|p| p["name"].as_str())
                .collect();
            for part in path
                .split('/')
                .filter_map(|s| s.strip_prefix('{').and_then(|s| s.strip_suffix('}')))
            {
                assert!(
                    named.contains(&part),
                    "{method} {path} does not describe {part}"
                );
            }
        }
    }
    described.remove(&("get".to_owned(), "/v1/defect".to_owned()));
    let wanted: BTreeSet<_> = routes()
        .into_iter()
        .filter(|(m, _)| *m != "head")
        .map(|(m, p)| (m.to_owned(), p))
        .collect();
    assert_eq!(described, wanted);
    // No reference leads nowhere.
    let text = document.to_string();
    for reference in text
        .split("\"$ref\":\"#")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
    {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    for (method, path) in routes() {
        let answer = api
            .request(
                method,
                &path
                    .replace("{namespace}", "default")
                    .replace("{name}", "a")
                    .replace("{kind}", "conflict")
                    .replace("{id}", "d-1")
                    .replace("{generation}", "1"),
            )
            .send()
            .await
            .unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        assert!(!body.contains("in this API"), "{method} {path}: {body}");
        assert!(
            !status.is_server_error() || path == "/readyz",
            "{method} {path}: {status} {body}"
        );
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_is_told_as_a_problem() {
    let api = Api::start().await;
    let big = "x".repeat(100_000);
    let stuck = reqwest::Body::wrap_stream(futures::stream::pending::<
        Result<bytes::Bytes, std::io::Error>,
    >());
    let cases = [
        (api.request("get", "/v2"), 404, Kind::NotFound),
        (
            api.request("patch", "/v1/deployments"),
            405,
            Kind::InvalidRequest,
        ),
        (
            api.request("get", "/v1/deployments/none"),
            404,
            Kind::NotFound,
        ),
        (
            api.request("get", "/v1/deployments/No_Name"),
            400,
            Kind::InvalidRequest,
        ),
        (
            api.request("get", "/v1/deployments?colour=red"),
            400,
            Kind::InvalidRequest,
        ),
        (api.request("get", "/v1/plugins/none"), 404, Kind::NotFound),
        (
            api.request("post", "/v1/plugins/none/rollback"),
            404,
            Kind::NotFound,
        ),
        (
            api.request("post", "/v1/plugins/none/rollback")
                .body("{]")
                .header(header::CONTENT_TYPE, "application/json"),
            400,
            Kind::InvalidRequest,
        ),
        (api.request("get", "/v1/decisions/d-1"), 404, Kind::NotFound),
        (
            api.request("get", "/v1/events")
                .header("last-event-id", "x")
                .header(header::ACCEPT, "text/event-stream"),
            400,
            Kind::InvalidRequest,
        ),
        (api.put("b", JOB), 422, Kind::InvalidManifest),
        (
            api.put("a", "kind: [").header("if-match", "0"),
            400,
            Kind::InvalidRequest,
        ),
        (api.put("a", "spec: {}"), 422, Kind::InvalidManifest),
        (
            api.request("put", "/v1/deployments/a")
                .header(header::CONTENT_TYPE, "text/plain")
                .body(JOB),
            415,
            Kind::InvalidRequest,
        ),
        (api.put("a", "").body(big), 413, Kind::InvalidRequest),
        (api.put("a", "").body(stuck), 408, Kind::InvalidRequest),
        (
            api.put("a", JOB).header("if-match", "\"3\""),
            412,
            Kind::GenerationMismatch,
        ),
        (
            api.put("a", JOB)
                .header(header::ORIGIN, "http://evil.example"),
            403,
            Kind::Forbidden,
        ),
        (
            api.request("get", "/v1/deployments")
                .header(header::HOST, "evil.example"),
            403,
            Kind::Forbidden,
        ),
        (api.request("get", "/v1/defect"), 500, Kind::Internal),
        (api.request("get", "/v1/undeclared"), 403, Kind::Forbidden),
        (
            api.request("get", "/v1/deployments")
                .header(header::AUTHORIZATION, "Bearer tw_x"),
            401,
            Kind::Unauthenticated,
        ),
        (
            api.request("get", "/v1/deployments")
                .body("x".repeat(100_000)),
            413,
            Kind::InvalidRequest,
        ),
        (
            api.request("post", "/v1/deployments/a/scale"),
            400,
            Kind::InvalidRequest,
        ),
        (
            api.request("get", "/v1/deployments/none/logs?after=none"),
            400,
            Kind::InvalidRequest,
        ),
        (
            api.request("delete", "/v1/tokens/none"),
            404,
            Kind::NotFound,
        ),
        (
            api.request("delete", "/v1/tokens/admin"),
            409,
            Kind::Conflict,
        ),
        (api.request("get", "/readyz"), 503, Kind::Unavailable),
    ];
    for (request, status, kind) in cases {
        let (problem, response) = problem(request).await;
        assert_eq!(
            (problem.status, problem.kind),
            (status, kind),
            "{}",
            problem.detail
        );
        assert_eq!(
            response.headers().contains_key(header::ALLOW),
            status == 405
        );
        assert_eq!(
            response.headers().contains_key(header::RETRY_AFTER),
            status == 503
        );
    }
    // Nothing of that was kept, and the daemon goes on.
    let list: Value = api
        .request("get", "/v1/deployments")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(list["items"], Value::Array(vec![]));
    api.app.readiness.ready();
    assert_eq!(
        api.request("get", "/readyz").send().await.unwrap().status(),
        200
    );
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_written_once_per_change() {
    let api = Api::start().await;
    let created = api
        .put("a", JOB)
        .header("if-none-match", "*")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            created.status(),
            created.headers()[header::ETAG].to_str().unwrap()
        ),
        (StatusCode::ACCEPTED, "\"1\"")
    );
    let location = created.headers()[header::LOCATION]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        api.put("a", JOB).send().await.unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(
        problem(api.put("a", JOB).header("if-none-match", "*"))
            .await
            .0
            .status,
        412
    );
    let read = api.request("get", &location).send().await.unwrap();
    let tag = read.headers()[header::ETAG].to_str().unwrap().to_owned();
    assert!(tag.starts_with("\"1-"), "{tag}");
    let view: Value = read.json().await.unwrap();
    assert_eq!(
        (view["name"].as_str(), view["generation"].as_u64()),
        (Some("a"), Some(1))
    );
    let metrics = api
        .request("get", "/metrics")
        .header("accept", "application/openmetrics-text")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let line = "tradewind_http_requests_total{method=\"PUT\",route=\"/v1/deployments/{name}\",status=\"202\"} 1";
    assert!(
        metrics.contains(line)
            && metrics.contains("tradewind_deployments{namespace=")
            && metrics.ends_with("# EOF\n"),
        "{metrics}"
    );
    assert_eq!(
        api.request("delete", &location)
            .header("if-match", tag)
            .send()
            .await
            .unwrap()
            .status(),
        StatusCode::ACCEPTED
    );
    api.stop().await;
}

/// Every list takes the same parameters, and says of a bad one which it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_parameter_of_a_list_is_named_with_its_value() {
    let api = Api::start().await;
    let document: Value = api
        .request("get", "/openapi.json")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let mut lists = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let parameters = item["get"]["parameters"].as_array().into_iter().flatten();
        let named: Vec<&str> = parameters.filter_map(|p| p["name"].as_str()).collect();
        if !named.contains(&"cursor") {
            continue;
        }
        lists += 1;
        assert!(named.contains(&"limit"), "{path}: {named:?}");
        assert!(
            item["get"]["responses"]["200"]["headers"]["Link"].is_object(),
            "{path}"
        );
        let cases = [
            ("cursor", "bm9uc2Vuc2U", "no cursor"),
            ("limit", "0", "whole number from 1"),
            ("status", "odd", "use "),
            ("selector", "a==b=c", "key="),
        ];
        for (name, value, rule) in cases.into_iter().filter(|(name, ..)| named.contains(name)) {
            let request = api.request(
                "get",
                &format!(
                    "{}?{name}={value}",
                    path.replace("{namespace}", "default")
                        .replace("{name}", "a")
                ),
            );
            let (problem, _) = problem(request).await;
            assert_eq!(
                (problem.status, problem.kind),
                (400, Kind::InvalidRequest),
                "{path} {name}"
            );
            let told = problem.detail.contains(name)
                && problem.detail.contains(value)
                && problem.detail.contains(rule);
            assert!(told, "{path} {name}: {}", problem.detail);
        }
    }
    assert_eq!(lists, 18);
    api.stop().await;
}

/// Streams are bounded, and end when the daemon stops: they must not hold the drain up.
#[tokio::test(flavor = "multi_thread")]
async fn open_streams_end_with_the_daemon() {
    let api = Api::start().await;
    api.put("a", JOB).send().await.unwrap();
    let follow = || {
        api.request("get", "/v1/events")
            .header(header::ACCEPT, "text/event-stream")
    };
    let mut stream = follow().send().await.unwrap();
    assert_eq!(stream.headers()[header::CONTENT_TYPE], "text/event-stream");
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(
        String::from_utf8_lossy(&first).contains("event: event"),
        "{first:?}"
    );
    assert_eq!(problem(follow()).await.0.status, 503);
    let rest = tokio::spawn(async move { while stream.chunk().await.unwrap().is_some() {} });
    tokio::time::timeout(Duration::from_secs(15), api.stop())
        .await
        .expect("the open stream held the drain up");
    rest.await.unwrap();
}
