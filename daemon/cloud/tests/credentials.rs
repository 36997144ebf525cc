//! Credentials of the `http` capability against servers that verify them: signatures, tokens, assertions. And what must never show: values.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/sigv4.rs"]
mod sigv4;

use std::{
    collections::{BTreeMap, VecDeque},
    io::Write,
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use parking_lot::Mutex;
use rsa::{RsaPrivateKey, pkcs8::EncodePrivateKey, pkcs8::LineEnding, traits::PublicKeyParts};
use serde_json::{Value, json};
use sigv4::{Received, verify};
use tradewind_cloud::http::{Client, Options};
use tradewind_core::{
    capability::{Http, HttpRequest, HttpResponse},
    failure::{Failure, FailureKind},
    grant::{
        AwsSigv4, CredentialGrant, CredentialSource, GoogleServiceAccount, HttpGrant, Injection,
        Oauth2,
    },
    names::Namespace,
    units::{Bytes as Size, Millis},
};

const CLIENT_SECRET: &str = "canary/client+secret=1";
const AWS_SECRET: &str = "canaryAwsSecret/K7MDENG+bPxRfiCY";
const SESSION: &str = "canarySession//token==";
const EMAIL: &str = "daemon@project.iam.gserviceaccount.com";

/// What the server knows, does and has seen.
#[derive(Default)]
struct Cloud {
    client_secret: String,
    /// Tokens that are good.
    good: Vec<String>,
    given: u32,
    /// Seconds.
    life: Value,
    /// Answers of the token endpoint that come before it does its work.
    refusals: VecDeque<Response>,
    /// Requests by their method, with a good token or signature.
    served: Vec<String>,
    /// Those without.
    refused: Vec<String>,
    last: Option<(String, HeaderMap, Bytes)>,
    slow: bool,
}

type Shared = Arc<Mutex<Cloud>>;

struct Bench {
    client: Client,
    cloud: Shared,
    port: u16,
    folder: tempfile::TempDir,
    server: tokio::task::JoinHandle<()>,
}

/// One key for all tests: making it takes a moment.
fn key() -> &'static RsaPrivateKey {
    static KEY: OnceLock<RsaPrivateKey> = OnceLock::new();
    KEY.get_or_init(|| RsaPrivateKey::new(&mut Chance, 2048).unwrap())
}

/// The machine's own randomness.
struct Chance;

impl rsa::rand_core::RngCore for Chance {
    fn next_u32(&mut self) -> u32 {
        rsa::rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rsa::rand_core::impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, out: &mut [u8]) {
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), out).unwrap();
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for Chance {}

async fn serve(State(cloud): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let path = parts.uri.path().to_owned();
    if path == "/token" {
        let slow = cloud.lock().slow;
        if slow {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        return token(&cloud, &parts.method, &parts.headers, &body);
    }
    let mut cloud = cloud.lock();
    cloud.last = Some((parts.uri.to_string(), parts.headers.clone(), body.clone()));
    let authorization = parts
        .headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let good = if let Some(service) = path
        .strip_prefix("/aws/")
        .and_then(|rest| rest.split('/').next())
    {
        let received = Received {
            method: parts.method.as_str(),
            path: &path,
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            body: &body,
        };
        verify(AWS_SECRET, service, "eu-north-1", &received)
    } else {
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        if cloud.good.iter().any(|good| good == token) {
            Ok(())
        } else {
            Err("no good token".to_owned())
        }
    };
    match good {
        Ok(()) => {
            cloud.served.push(parts.method.to_string());
            // An echo, in a header and in the body: what a careless server may do.
            (
                [("x-echo", authorization.clone())],
                format!("echo {authorization} {}", String::from_utf8_lossy(&body)),
            )
                .into_response()
        }
        Err(reason) => {
            cloud.refused.push(parts.method.to_string());
            (StatusCode::UNAUTHORIZED, reason).into_response()
        }
    }
}

fn token(cloud: &Shared, method: &Method, headers: &HeaderMap, body: &[u8]) -> Response {
    let mut cloud = cloud.lock();
    if let Some(response) = cloud.refusals.pop_front() {
        return response;
    }
    assert_eq!(
        (method, &headers["content-type"]),
        (
            &Method::POST,
            &HeaderValue::from_static("application/x-www-form-urlencoded")
        )
    );
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
    let refused = |error: &str| {
        let description = format!(
            "no such client, and {} was sent\nmore",
            form.get("client_secret").cloned().unwrap_or_default()
        );
        (
            StatusCode::UNAUTHORIZED,
            json!({"error": error, "error_description": description}).to_string(),
        )
            .into_response()
    };
    match form["grant_type"].as_str() {
        "client_credentials" => {
            if form["client_id"] != "client"
                || form["client_secret"] != cloud.client_secret
                || form["scope"] != "all of.it"
            {
                return refused("invalid_client");
            }
        }
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
            let public = key().to_public_key();
            let public = DecodingKey::from_rsa_raw_components(
                &public.n().to_bytes_be(),
                &public.e().to_bytes_be(),
            );
            let mut rules = Validation::new(Algorithm::RS256);
            let host = headers["host"].to_str().unwrap();
            rules.set_audience(&[format!("http://{host}/token")]);
            rules.set_issuer(&[EMAIL]);
            rules.set_required_spec_claims(&["exp", "aud", "iss"]);
            let Ok(told) = jsonwebtoken::decode::<Value>(&form["assertion"], &public, &rules)
            else {
                return refused("invalid_grant");
            };
            let life = told.claims["exp"].as_u64().unwrap() - told.claims["iat"].as_u64().unwrap();
            assert_eq!(
                (life, &told.claims["scope"], told.header.kid.as_deref()),
                (3600, &json!("scope.one scope.two"), Some("key-1"))
            );
        }
        other => panic!("{other}"),
    }
    cloud.given += 1;
    let token = format!("canary-token-{}", cloud.given);
    cloud.good.push(token.clone());
    json!({"access_token": token, "token_type": "Bearer", "expires_in": cloud.life})
        .to_string()
        .into_response()
}

impl Bench {
    async fn new() -> Self {
        let cloud = Cloud {
            client_secret: CLIENT_SECRET.to_owned(),
            life: json!(3600),
            ..Cloud::default()
        };
        let cloud: Shared = Arc::new(Mutex::new(cloud));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().fallback(serve).with_state(cloud.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let folder = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir()
            .unwrap();
        let options = Options {
            user_agent: "test".to_owned(),
            secrets: folder.path().join("secrets"),
        };
        let bench = Self {
            client: Client::new(&options, Default::default()).unwrap(),
            cloud,
            port,
            folder,
            server,
        };
        bench.write("client", CLIENT_SECRET);
        bench.write("aws", &format!("AKIDEXAMPLE:{AWS_SECRET}:{SESSION}"));
        bench.write("google", &bench.key_file(&bench.url("/token")));
        bench
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn write(&self, name: &str, text: &str) -> CredentialSource {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        CredentialSource::File(path.display().to_string())
    }

    fn key_file(&self, token_uri: &str) -> String {
        let pem = key().to_pkcs8_pem(LineEnding::LF).unwrap();
        let file = json!({
            "type": "service_account", "client_email": EMAIL, "private_key_id": "key-1", "private_key": pem.as_str(), "token_uri": token_uri,
        });
        serde_json::to_string_pretty(&file).unwrap()
    }

    fn grant(&self) -> HttpGrant {
        let file = |name: &str| {
            CredentialSource::File(self.folder.path().join(name).display().to_string())
        };
        let credential = |name: &str, source: &str, inject| CredentialGrant {
            name: name.to_owned(),
            hosts: Vec::new(),
            source: file(source),
            inject,
        };
        let oauth = Oauth2 {
            token_url: self.url("/token"),
            client_id: "client".to_owned(),
            scope: "all of.it".to_owned(),
        };
        let google = GoogleServiceAccount {
            scope: "scope.one scope.two".to_owned(),
            token_url: Some(self.url("/token")),
        };
        let aws = |service: &str| {
            Injection::AwsSigv4(AwsSigv4 {
                service: service.to_owned(),
                region: "eu-north-1".to_owned(),
            })
        };
        HttpGrant {
            hosts: vec![format!("127.0.0.1:{}", self.port)],
            methods: ["GET", "POST", "PUT", "DELETE"].map(str::to_owned).to_vec(),
            plain_http: true,
            private_addresses: true,
            credentials: vec![
                credential("oauth", "client", Injection::Oauth2(oauth)),
                credential("google", "google", Injection::GoogleServiceAccount(google)),
                credential("ecs", "aws", aws("ecs")),
                credential("s3", "aws", aws("s3")),
            ],
            secrets: Vec::new(),
            response_size: Size(1 << 20),
            timeout: Millis(10_000),
            namespace: None,
        }
    }

    fn request(&self, method: &str, path: &str, credential: &str) -> HttpRequest {
        HttpRequest {
            method: method.to_owned(),
            url: self.url(path),
            headers: Vec::new(),
            body: Vec::new(),
            credential: Some(credential.to_owned()),
            timeout: None,
        }
    }

    async fn send(&self, method: &str, credential: &str) -> Result<HttpResponse, Failure> {
        self.ask(&self.grant(), self.request(method, "/thing", credential))
            .await
    }

    async fn ask(&self, grant: &HttpGrant, request: HttpRequest) -> Result<HttpResponse, Failure> {
        self.client
            .send(&"web".parse().unwrap(), grant, request)
            .await
    }

    fn with<T>(&self, act: impl FnOnce(&mut Cloud) -> T) -> T {
        act(&mut self.cloud.lock())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn text(response: &HttpResponse) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

// === AWS ===

/// Of the published descriptions: the examples for the object store, and the one for listing users.
#[test]
fn the_verifier_agrees_with_the_published_examples() {
    let s3 = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let iam = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let in_s3 = |names: &str, signature: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders={names},Signature={signature}"
        )
    };
    let of_iam = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7".to_owned();
    let host = ("host", "examplebucket.s3.amazonaws.com");
    let at = ("x-amz-date", "20130524T000000Z");
    let hash = ("x-amz-content-sha256", empty);
    type Case<'a> = (
        &'a str,
        &'a str,
        &'a str,
        &'a str,
        &'a str,
        Vec<(&'static str, &'a str)>,
        &'a str,
        String,
    );
    let cases: Vec<Case<'_>> = vec![
        (
            s3,
            "s3",
            "GET",
            "/test.txt",
            "",
            vec![host, at, hash, ("range", "bytes=0-9")],
            "",
            in_s3(
                "host;range;x-amz-content-sha256;x-amz-date",
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
        ),
        (
            s3,
            "s3",
            "PUT",
            "/test%24file.text",
            "",
            vec![
                host,
                at,
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                (
                    "x-amz-content-sha256",
                    "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
                ),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            "Welcome to Amazon S3.",
            in_s3(
                "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
        ),
        (
            s3,
            "s3",
            "GET",
            "/",
            "lifecycle",
            vec![host, at, hash],
            "",
            in_s3(
                "host;x-amz-content-sha256;x-amz-date",
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
        ),
        (
            s3,
            "s3",
            "GET",
            "/",
            "max-keys=2&prefix=J",
            vec![host, at, hash],
            "",
            in_s3(
                "host;x-amz-content-sha256;x-amz-date",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ),
        (
            iam,
            "iam",
            "GET",
            "/",
            "Action=ListUsers&Version=2010-05-08",
            vec![
                ("host", "iam.amazonaws.com"),
                ("x-amz-date", "20150830T123600Z"),
                (
                    "content-type",
                    "application/x-www-form-urlencoded; charset=utf-8",
                ),
            ],
            "",
            of_iam,
        ),
    ];
    for (secret, service, method, path, query, headers, body, authorization) in cases {
        let mut all: HeaderMap = headers
            .into_iter()
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))
            .collect();
        all.insert("authorization", authorization.parse().unwrap());
        let received = Received {
            method,
            path,
            query,
            headers: &all,
            body: body.as_bytes(),
        };
        verify(secret, service, "us-east-1", &received).unwrap();
        verify("another", service, "us-east-1", &received).unwrap_err();
        verify(
            secret,
            service,
            "us-east-1",
            &Received {
                path: "/other",
                ..received
            },
        )
        .unwrap_err();
    }
}

#[tokio::test]
async fn requests_are_signed_whole_for_the_service_and_region_of_the_grant() {
    let bench = Bench::new().await;
    let grant = bench.grant();
    for (method, path, credential, body) in [
        ("GET", "/aws/ecs/", "ecs", ""),
        (
            "POST",
            "/aws/ecs/?Action=Run&B=2&A=1&empty&blank=a%20b%2Bc",
            "ecs",
            r#"{"cluster":"x"}"#,
        ),
        ("GET", "/aws/ecs/a%20b/c%2Fd/%C3%BC", "ecs", ""),
        (
            "PUT",
            "/aws/s3/folder//a%20b/./%C3%BC.txt?versioning",
            "s3",
            "content",
        ),
        ("DELETE", "/aws/s3/x?tag=%7e~", "s3", ""),
    ] {
        let mut request = bench.request(method, path, credential);
        request.body = body.as_bytes().to_vec();
        request.headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-amz-target".to_owned(), "Service.Action".to_owned()),
            ("x-spaces".to_owned(), "a   b".to_owned()),
        ];
        let answer = bench.ask(&grant, request).await.unwrap();
        assert_eq!(answer.status, 200, "{method} {path}: {}", text(&answer));
        let (_, headers, _) = bench.with(|cloud| cloud.last.take()).unwrap();
        assert_eq!(headers["x-amz-security-token"], SESSION);
    }
    // What the signature brings is the host's alone.
    for header in [
        "Authorization",
        "X-Amz-Date",
        "X-Amz-Security-Token",
        "X-Amz-Content-Sha256",
    ] {
        let mut request = bench.request("GET", "/aws/ecs/", "ecs");
        request.headers = vec![(header.to_owned(), "mine".to_owned())];
        assert_eq!(
            bench.ask(&grant, request).await.unwrap_err().kind,
            FailureKind::Denied,
            "{header}"
        );
    }
    // Rotated: in the other form, at the next request; a wrong one is told to the guest as the service tells it.
    bench.write("aws", &json!({"Version": 1, "AccessKeyId": "AKID", "SecretAccessKey": AWS_SECRET, "SessionToken": SESSION}).to_string());
    assert_eq!(
        bench
            .ask(&grant, bench.request("GET", "/aws/ecs/", "ecs"))
            .await
            .unwrap()
            .status,
        200
    );
    bench.write("aws", "AKID:another-secret");
    assert_eq!(
        bench
            .ask(&grant, bench.request("GET", "/aws/ecs/", "ecs"))
            .await
            .unwrap()
            .status,
        401
    );
    bench.write("aws", "nothing of use");
    let failure = bench
        .ask(&grant, bench.request("GET", "/aws/ecs/", "ecs"))
        .await
        .unwrap_err();
    assert!(
        failure.kind == FailureKind::Denied && failure.message.contains("KEY_ID:SECRET"),
        "{failure}"
    );
}

// === tokens ===

#[tokio::test]
async fn a_token_is_asked_for_once_and_kept_until_shortly_before_its_end() {
    for credential in ["oauth", "google"] {
        let bench = Bench::new().await;
        bench.with(|cloud| cloud.slow = true);
        let many = futures::future::join_all((0..8).map(|_| bench.send("GET", credential))).await;
        assert!(
            many.iter()
                .all(|answer| answer.as_ref().is_ok_and(|a| a.status == 200)),
            "{credential}: {many:?}"
        );
        assert_eq!(bench.send("POST", credential).await.unwrap().status, 200);
        assert_eq!(
            bench.with(|cloud| cloud.given),
            1,
            "{credential}: one for all"
        );
        // Another instance with the same credential has a token of its own.
        let other = bench
            .client
            .send(
                &"other".parse().unwrap(),
                &bench.grant(),
                bench.request("GET", "/", credential),
            )
            .await;
        assert_eq!(
            (other.unwrap().status, bench.with(|cloud| cloud.given)),
            (200, 2)
        );
    }
    // A life of nothing: each request asks anew. Some write the number as a text.
    let bench = Bench::new().await;
    bench.with(|cloud| cloud.life = json!("0"));
    for given in 1..4 {
        assert_eq!(bench.send("GET", "oauth").await.unwrap().status, 200);
        assert_eq!(bench.with(|cloud| cloud.given), given);
    }
}

#[tokio::test]
async fn a_rotated_secret_and_a_changed_grant_get_another_token() {
    let bench = Bench::new().await;
    bench.send("GET", "oauth").await.unwrap();
    bench.write("client", "canary-next-secret\nsecond line");
    bench.with(|cloud| cloud.client_secret = "canary-next-secret".to_owned());
    assert_eq!(
        (
            bench.send("GET", "oauth").await.unwrap().status,
            bench.with(|cloud| cloud.given)
        ),
        (200, 2)
    );
    bench.send("GET", "google").await.unwrap();
    bench.write(
        "google",
        &bench.key_file("https://oauth2.googleapis.com/token"),
    );
    assert_eq!(
        (
            bench.send("GET", "google").await.unwrap().status,
            bench.with(|cloud| cloud.given)
        ),
        (200, 4),
        "the grant's endpoint"
    );
    let mut grant = bench.grant();
    let Injection::Oauth2(oauth) = &mut grant.credentials[0].inject else {
        panic!()
    };
    oauth.client_id = "another".to_owned();
    let failure = bench
        .ask(&grant, bench.request("GET", "/", "oauth"))
        .await
        .unwrap_err();
    assert_eq!(
        (failure.kind, failure.code.as_deref()),
        (FailureKind::Denied, Some("invalid_client"))
    );
}

#[tokio::test]
async fn a_refused_token_is_dropped_and_only_what_may_be_repeated_is_repeated() {
    for (method, again) in [
        ("GET", true),
        ("PUT", true),
        ("DELETE", true),
        ("POST", false),
    ] {
        let bench = Bench::new().await;
        bench.send("GET", "oauth").await.unwrap();
        bench.with(|cloud| {
            cloud.good.clear();
            cloud.served.clear();
        });
        let answer = bench.send(method, "oauth").await.unwrap();
        let (served, refused) = bench.with(|cloud| (cloud.served.len(), cloud.refused.len()));
        assert_eq!(
            (answer.status, served, refused),
            if again { (200, 1, 1) } else { (401, 0, 1) },
            "{method}"
        );
        // Whatever became of that one, the next has a new token.
        assert_eq!(
            (
                bench.send(method, "oauth").await.unwrap().status,
                bench.with(|cloud| cloud.given)
            ),
            (200, 2),
            "{method}"
        );
    }
    // A token that is new and refused: another one would be no better.
    let bench = Bench::new().await;
    bench.with(|cloud| cloud.life = json!(3600));
    let mut grant = bench.grant();
    grant.credentials[0].hosts = vec![format!("127.0.0.1:{}", bench.port)];
    let request = bench.request("GET", "/aws/never-signed", "oauth");
    let answer = bench.ask(&grant, request).await.unwrap();
    assert_eq!(
        (
            answer.status,
            bench.with(|cloud| (cloud.given, cloud.refused.len()))
        ),
        (401, (1, 1))
    );
}

#[tokio::test]
async fn what_a_token_endpoint_refuses_is_told_with_its_kind() {
    let bench = Bench::new().await;
    let answers: Vec<(Response, FailureKind, Option<&str>)> = vec![
        (
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], "").into_response(),
            FailureKind::Throttled,
            None,
        ),
        (
            (StatusCode::BAD_GATEWAY, "").into_response(),
            FailureKind::Unavailable,
            None,
        ),
        (
            (StatusCode::OK, "<html>").into_response(),
            FailureKind::Unavailable,
            None,
        ),
        (
            Redirect::temporary("/thing").into_response(),
            FailureKind::Denied,
            None,
        ),
        (
            (StatusCode::BAD_REQUEST, r#"{"error":"invalid_scope"}"#).into_response(),
            FailureKind::Denied,
            Some("invalid_scope"),
        ),
    ];
    for (response, kind, code) in answers {
        let shown = format!("{response:?}");
        bench.with(|cloud| cloud.refusals.push_back(response));
        let failure = bench.send("GET", "oauth").await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.code.as_deref()),
            (kind, code),
            "{shown}: {failure}"
        );
        assert_eq!(
            failure.retry_after,
            (kind == FailureKind::Throttled).then_some(Millis(7000))
        );
        assert!(failure.message.contains("\"oauth\""), "{failure}");
    }
    assert!(
        bench.with(|cloud| cloud.last.is_none()),
        "nothing was sent without a token, and no redirect followed"
    );
    assert_eq!(
        bench.send("GET", "oauth").await.unwrap().status,
        200,
        "a failure is not kept"
    );
    // An endpoint that hangs takes no longer than the grant allows.
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut grant = HttpGrant {
        timeout: Millis(200),
        ..bench.grant()
    };
    let Injection::Oauth2(oauth) = &mut grant.credentials[0].inject else {
        panic!()
    };
    oauth.token_url = format!("http://{}/token", hanging.local_addr().unwrap());
    let failure = bench
        .ask(&grant, bench.request("GET", "/", "oauth"))
        .await
        .unwrap_err();
    assert_eq!(
        (failure.kind, failure.code.as_deref()),
        (FailureKind::Unavailable, Some("deadline-exceeded"))
    );
}

#[tokio::test]
async fn token_endpoints_keep_to_the_grants_addresses() {
    let bench = Bench::new().await;
    let to = |url: &str| {
        let mut grant = bench.grant();
        let Injection::Oauth2(oauth) = &mut grant.credentials[0].inject else {
            panic!()
        };
        url.clone_into(&mut oauth.token_url);
        grant
    };
    let port = bench.port;
    // The request itself goes to a public name, so that only the endpoint is private; nothing is ever sent there.
    let public = |grant: HttpGrant| HttpGrant {
        private_addresses: false,
        hosts: vec!["cloud.test".to_owned()],
        ..grant
    };
    let request = || HttpRequest {
        url: "https://cloud.test/".to_owned(),
        ..bench.request("GET", "/", "oauth")
    };
    for url in [
        format!("http://127.0.0.1:{port}/token"),
        format!("http://localhost:{port}/token"),
        format!("http://[::1]:{port}/token"),
        format!("http://[::ffff:127.0.0.1]:{port}/token"),
        format!("http://2130706433:{port}/token"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[fd00:ec2::254]/token".to_owned(),
        "http://[64:ff9b::a9fe:a9fe]/token".to_owned(),
        "http://100.100.100.200/token".to_owned(),
    ] {
        let failure = bench.ask(&public(to(&url)), request()).await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.code.as_deref()),
            (FailureKind::Denied, Some("private-address")),
            "{url}: {failure}"
        );
    }
    for (grant, word) in [
        (
            HttpGrant {
                plain_http: false,
                ..public(to("http://login.test/token"))
            },
            "without TLS",
        ),
        (public(to("ftp://login.test/token")), "neither https"),
        (
            public(to("https://user:word@login.test/token")),
            "user or password",
        ),
        (public(to("nowhere")), "not a URL"),
    ] {
        let failure = bench.ask(&grant, request()).await.unwrap_err();
        assert!(failure.message.contains(word), "{failure}");
    }
    // A key can't send the assertion anywhere but to Google or where the grant says.
    let mut grant = bench.grant();
    let Injection::GoogleServiceAccount(account) = &mut grant.credentials[1].inject else {
        panic!()
    };
    account.token_url = None;
    let failure = bench
        .ask(&grant, bench.request("GET", "/", "google"))
        .await
        .unwrap_err();
    assert!(
        failure.kind == FailureKind::Denied && failure.message.contains("token-url"),
        "{failure}"
    );
    assert_eq!(bench.with(|cloud| cloud.given), 0);
    // Naming an endpoint does not open it to the guest.
    let guest = HttpRequest {
        credential: None,
        ..bench.request("POST", "/token", "oauth")
    };
    let elsewhere = HttpGrant {
        hosts: vec!["cloud.test".to_owned()],
        ..bench.grant()
    };
    assert_eq!(
        bench.ask(&elsewhere, guest).await.unwrap_err().kind,
        FailureKind::Denied
    );
}

// === what must not show ===

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_value_shows_in_answers_failures_logs_or_debug_output() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For this process: requests go out from other threads' tasks, too.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let bench = Bench::new().await;
    bench.write("secrets/db/password", "canary \"database\" password\n");
    let grant = HttpGrant {
        secrets: vec!["db".into()],
        namespace: Some(Namespace::default_namespace()),
        ..bench.grant()
    };
    let pem = key().to_pkcs8_pem(LineEnding::LF).unwrap();
    let private = pem.lines().nth(1).unwrap().to_owned();
    let mut shown = String::new();
    for credential in ["oauth", "google", "ecs", "s3"] {
        let path = if ["ecs", "s3"].contains(&credential) {
            format!("/aws/{credential}/")
        } else {
            "/".to_owned()
        };
        let mut request = bench.request("PUT", &path, credential);
        request.headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        request.body = br#"{"password":"{{secret:db/password}}"}"#.to_vec();
        let answer = bench.ask(&grant, request).await.unwrap();
        assert_eq!(answer.status, 200, "{}", text(&answer));
        let (_, headers, body) = bench.with(|cloud| cloud.last.take()).unwrap();
        assert_eq!(
            body, r#"{"password":"canary \"database\" password"}"#,
            "it arrives"
        );
        assert_eq!(headers["accept-encoding"], "identity");
        assert!(
            text(&answer).contains("[redacted]"),
            "the echo: {}",
            text(&answer)
        );
        shown.push_str(&format!(
            "{answer:?} {} {:?}",
            text(&answer),
            answer.headers
        ));
        // Another request of the same grant, which looks where the value was put.
        let mut request = bench.request("PUT", &path, credential);
        request.body = br#"{"password":"canary \"database\" password"}"#.to_vec();
        shown.push_str(text(&bench.ask(&grant, request).await.unwrap()));
    }
    bench.with(|cloud| cloud.client_secret = "another".to_owned());
    bench.write("client", "canary-wrong-secret");
    let failure = bench
        .ask(&grant, bench.request("GET", "/", "oauth"))
        .await
        .unwrap_err();
    assert!(
        failure.message.contains("[redacted] was sent"),
        "the endpoint's echo: {failure}"
    );
    shown.push_str(&format!("{failure:?} {failure}"));
    bench.write(
        "google",
        &bench
            .key_file("https://elsewhere.test/token")
            .replace("BEGIN PRIVATE KEY", "BEGIN NOTHING"),
    );
    shown.push_str(&format!(
        "{:?}",
        bench
            .ask(&grant, bench.request("GET", "/", "google"))
            .await
            .unwrap_err()
    ));
    shown.push_str(&format!("{grant:?}"));
    let logged = String::from_utf8_lossy(&lines.0.lock()).into_owned();
    assert!(
        logged.contains("an outbound request failed"),
        "the log was captured"
    );
    for value in [
        "canary-token",
        CLIENT_SECRET,
        "canary%2Fclient",
        AWS_SECRET,
        SESSION,
        "canary-wrong-secret",
        "database",
        &private,
    ] {
        assert!(!shown.contains(value), "{value} is shown: {shown}");
        let line = logged.lines().find(|line| line.contains(value));
        assert!(line.is_none(), "{value} is logged: {line:?}");
    }
}

#[tokio::test]
async fn a_packed_answer_in_which_nothing_can_be_found_is_not_passed_on() {
    let bench = Bench::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let packed = || async { ([("content-encoding", "gzip")], "\u{1f}packed") };
    let server = tokio::spawn(async move {
        axum::serve(listener, Router::new().fallback(packed))
            .await
            .unwrap()
    });
    let grant = HttpGrant {
        hosts: vec![format!("127.0.0.1:{port}")],
        ..bench.grant()
    };
    let request = HttpRequest {
        url: format!("http://127.0.0.1:{port}/"),
        ..bench.request("GET", "/", "oauth")
    };
    let failure = bench.ask(&grant, request.clone()).await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.code.as_deref()),
        (FailureKind::Denied, Some("packed-response"))
    );
    assert_eq!(
        bench
            .ask(
                &grant,
                HttpRequest {
                    credential: None,
                    ..request
                }
            )
            .await
            .unwrap()
            .status,
        200
    );
    let secrets = HttpGrant {
        secrets: vec!["db".into()],
        ..bench.grant()
    };
    let mut part = bench.request("GET", "/", "oauth");
    part.headers = vec![("Range".to_owned(), "bytes=3-".to_owned())];
    assert_eq!(
        bench.ask(&secrets, part).await.unwrap_err().kind,
        FailureKind::Denied
    );
    server.abort();
}
