//! Registries as they are met: with logins, with tokens from elsewhere, without the header, and silent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use tradewind_cloud::registry::Client;
use tradewind_core::{
    capability::Registries,
    failure::FailureKind,
    grant::{CredentialSource, RegistrySource},
    names::Digest,
};
use tradewind_credentials::Credentials;

const MANIFEST: &str = r#"{"schemaVersion":2}"#;
/// `me:secret`.
const BASIC: &str = "Basic bWU6c2VjcmV0";

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Open,
    /// Without the header that tells the digest.
    Bare,
    Basic,
    Bearer,
}

/// Answers as a registry of this kind does at this address, and keeps what it was asked.
async fn answer(State((kind, address)): State<(Kind, Arc<str>)>, request: Request) -> Response {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let (path, query, given) = (
        request.uri().path(),
        request.uri().query().unwrap_or_default(),
        header("authorization"),
    );
    let refused = |challenge: String| {
        Response::builder()
            .status(401)
            .header("www-authenticate", challenge)
            .body(Body::empty())
            .unwrap()
    };
    if path == "/token" {
        assert_eq!(
            (given.as_str(), query),
            (BASIC, "service=here&scope=repository%3Ateam%2Fweb%3Apull")
        );
        return Response::new(Body::from(r#"{"access_token":"abc"}"#));
    }
    match kind {
        Kind::Basic if given != BASIC => return refused("Basic realm=\"tests\"".to_owned()),
        Kind::Bearer if given != "Bearer abc" => {
            return refused(format!(
                "Bearer realm=\"http://{address}/token\",service=\"here\",scope=\"repository:team/web:pull\""
            ));
        }
        _ => {}
    }
    assert!(header("accept").contains("application/vnd.oci.image.index.v1+json"));
    if path != "/v2/team/web/manifests/1" {
        return Response::builder().status(404).body(Body::empty()).unwrap();
    }
    let response = Response::builder();
    let response = if kind == Kind::Bare {
        response
    } else {
        response.header("docker-content-digest", Digest::of(b"told").to_string())
    };
    response.body(Body::from(MANIFEST)).unwrap()
}

/// Its address, and a client that knows it.
async fn registry(kind: Kind, login: bool) -> (String, Client) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = Router::new()
        .fallback(answer)
        .with_state((kind, Arc::from(address.as_str())));
    tokio::spawn(axum::serve(listener, app).into_future());
    (address.clone(), client(&address, login))
}

fn client(host: &str, login: bool) -> Client {
    let named = BTreeMap::from([(
        "me".to_owned(),
        CredentialSource::Command(vec!["echo".to_owned(), "me:secret".to_owned()]),
    )]);
    let source = login.then(|| CredentialSource::Credential("me".to_owned()));
    Client::new(
        "tests",
        vec![RegistrySource {
            host: host.to_owned(),
            source,
        }],
        Credentials::new(named),
    )
    .unwrap()
}

#[tokio::test]
async fn every_kind_of_registry_tells_what_a_tag_names() {
    for (kind, wanted) in [
        (Kind::Open, Digest::of(b"told")),
        (Kind::Bare, Digest::of(MANIFEST.as_bytes())),
        (Kind::Basic, Digest::of(b"told")),
        (Kind::Bearer, Digest::of(b"told")),
    ] {
        let (address, client) = registry(kind, true).await;
        let image = format!("{address}/team/web:1");
        assert!(
            client.knows(&image)
                && !client.knows("team/web:1")
                && !client.knows("other.example.com/team/web:1")
        );
        assert_eq!(client.digest(&image).await.unwrap(), wanted);
    }
}

#[tokio::test]
async fn what_a_registry_does_not_tell_is_told_with_its_cause() {
    let (address, client) = registry(Kind::Basic, false).await;
    let failure = client
        .digest(&format!("{address}/team/web:1"))
        .await
        .unwrap_err();
    assert!(
        failure.kind == FailureKind::Denied
            && failure
                .remedy
                .as_deref()
                .is_some_and(|r| r.contains("[[registries]]")),
        "{failure:?}"
    );
    let (address, client) = registry(Kind::Open, false).await;
    assert_eq!(
        client
            .digest(&format!("{address}/team/web:2"))
            .await
            .unwrap_err()
            .kind,
        FailureKind::NotFound
    );

    let gone = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let client = self::client(&gone, false);
    let image = format!("{gone}/team/web:1");
    assert_eq!(
        client.digest(&image).await.unwrap_err().kind,
        FailureKind::Unavailable
    );
    assert!(
        client
            .digest(&image)
            .await
            .unwrap_err()
            .message
            .contains("has not answered lately"),
        "nobody waits for it again at once"
    );
}
