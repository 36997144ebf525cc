//! Outbound HTTP against a real server on loopback: what the grant allows, and every way around it that is known.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Redirect},
    routing::{any, get},
};
use parking_lot::Mutex;
use tradewind_cloud::http::{Client, Options};
use tradewind_core::{
    capability::{Http, HttpRequest, HttpResponse},
    failure::{Failure, FailureKind},
    grant::{CredentialGrant, CredentialSource, HttpGrant, Injection},
    units::{Bytes, Millis},
};

struct Bench {
    client: Client,
    port: u16,
    /// What the server got: an answer would not show it.
    got: Arc<Mutex<Vec<String>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Bench {
    async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let got = Arc::new(Mutex::new(Vec::new()));
        let record = got.clone();
        let echo = move |method: Method, uri: Uri, headers: HeaderMap, body: String| async move {
            let headers: Vec<String> = headers
                .iter()
                .map(|(n, v)| format!("{n}={}", v.to_str().unwrap()))
                .collect();
            let told = format!("{method} {uri} [{}] {body}", headers.join("|"));
            record.lock().push(told.clone());
            told
        };
        let endless = || async {
            Body::from_stream(futures::stream::repeat_with(|| {
                Ok::<_, std::io::Error>(vec![0u8; 4096])
            }))
            .into_response()
        };
        let router = Router::new()
            .route("/redirect", get(|| async { Redirect::temporary("/echo") }))
            .route(
                "/elsewhere",
                get(|uri: Uri| async move { Redirect::temporary(uri.query().unwrap_or_default()) }),
            )
            .route(
                "/packed",
                get(|| async { ([("content-encoding", "gzip")], PACKED.to_vec()) }),
            )
            .route("/endless", get(endless))
            .route("/never", get(std::future::pending::<StatusCode>))
            .route(
                "/teapot",
                get(|| async { (StatusCode::IM_A_TEAPOT, [("x-kind", "pot")], "short") }),
            )
            .fallback(any(echo));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let options = Options {
            user_agent: "tradewind-test".to_owned(),
            secrets: "/nowhere".into(),
        };
        let client = Client::new(&options, Default::default()).unwrap();
        Self {
            client,
            port,
            got,
            server,
        }
    }

    fn grant(&self) -> HttpGrant {
        HttpGrant {
            hosts: vec![
                format!("127.0.0.1:{}", self.port),
                format!("localhost:{}", self.port),
            ],
            methods: ["GET", "POST"].map(str::to_owned).to_vec(),
            plain_http: true,
            private_addresses: true,
            credentials: Vec::new(),
            secrets: Vec::new(),
            response_size: Bytes(1 << 20),
            timeout: Millis(10_000),
            namespace: None,
        }
    }

    fn request(&self, path: &str) -> HttpRequest {
        HttpRequest {
            method: "GET".to_owned(),
            url: format!("http://127.0.0.1:{}{path}", self.port),
            headers: Vec::new(),
            body: Vec::new(),
            credential: None,
            timeout: None,
        }
    }

    async fn send(&self, grant: &HttpGrant, request: HttpRequest) -> Result<HttpResponse, Failure> {
        self.client
            .send(&"web".parse().unwrap(), grant, request)
            .await
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn body(response: &HttpResponse) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

#[tokio::test]
async fn a_granted_request_arrives_and_any_status_is_an_answer() {
    let bench = Bench::new().await;
    let mut request = bench.request("/a%20b?q=1#part");
    (request.method, request.body) = ("POST".to_owned(), b"hello".to_vec());
    request.headers = vec![
        ("X-One".to_owned(), "1".to_owned()),
        ("accept".to_owned(), "text/plain".to_owned()),
    ];
    let answer = bench.send(&bench.grant(), request).await.unwrap();
    let text = body(&answer);
    assert!(
        text.starts_with("POST /a%20b?q=1 [") && text.ends_with("] hello"),
        "{text}"
    );
    assert!(
        text.contains("x-one=1")
            && text.contains("accept=text/plain")
            && text.contains("user-agent=tradewind-test"),
        "{text}"
    );
    let answer = bench
        .send(&bench.grant(), bench.request("/teapot"))
        .await
        .unwrap();
    assert_eq!((answer.status, body(&answer)), (418, "short"));
    assert!(
        answer
            .headers
            .contains(&("x-kind".to_owned(), "pot".to_owned()))
    );
    let answer = bench
        .send(&bench.grant(), bench.request("/redirect"))
        .await
        .unwrap();
    assert_eq!(answer.status, 307, "a redirect is not followed");
}

#[tokio::test]
async fn there_is_no_way_around_the_grant() {
    use FailureKind::{Denied, Invalid};
    let bench = Bench::new().await;
    let port = bench.port;
    let everything = HttpGrant {
        hosts: vec![
            "[::1]:*",
            "[::ffff:127.0.0.1]:*",
            "[fd00:ec2::254]:*",
            "127.0.0.1:*",
            "localhost:*",
            "169.254.169.254:*",
            "0.0.0.0:*",
        ]
        .into_iter()
        .map(str::to_owned)
        .collect(),
        ..bench.grant()
    };
    let public = HttpGrant {
        private_addresses: false,
        ..everything.clone()
    };
    let tls_only = HttpGrant {
        plain_http: false,
        ..bench.grant()
    };
    let listed = bench.grant();
    let to = |url: String| HttpRequest {
        url,
        ..bench.request("")
    };
    let here = |rest: &str| to(rest.replace("PORT", &port.to_string()));
    let with_header = |name: &str, value: &str| HttpRequest {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..bench.request("/")
    };
    let with_method = |method: &str| HttpRequest {
        method: method.to_owned(),
        ..bench.request("/")
    };
    let cases: Vec<(&HttpGrant, HttpRequest, FailureKind, &str)> = vec![
        (&listed, to("http://127.0.0.2/".to_owned()), Denied, "url"),
        (&listed, to("http://127.0.0.1/".to_owned()), Denied, "url"),
        (
            &listed,
            here("http://127.0.0.1.evil.test:PORT/"),
            Denied,
            "url",
        ),
        (
            &listed,
            here("http://[::ffff:127.0.0.1]:PORT/"),
            Denied,
            "url",
        ),
        (
            &listed,
            here("http://127.0.0.1:PORT@evil.test/"),
            Invalid,
            "url",
        ),
        (
            &listed,
            here("http://user:word@127.0.0.1:PORT/"),
            Invalid,
            "url",
        ),
        (
            &listed,
            here("http://evil.test\\@127.0.0.1:PORT/"),
            Invalid,
            "url",
        ),
        (
            &listed,
            here("http://evil.test/?@127.0.0.1:PORT/"),
            Denied,
            "url",
        ),
        (
            &listed,
            here("http://127.0.0.1:PORT/\r\nX-Evil: 1"),
            Invalid,
            "url",
        ),
        (&listed, here("http://127.0.0.1:PORT/a b"), Invalid, "url"),
        (&listed, here("ht\ttp://127.0.0.1:PORT/"), Invalid, "url"),
        (&listed, here("ftp://127.0.0.1:PORT/"), Invalid, "url"),
        (&listed, to("file:///etc/passwd".to_owned()), Invalid, "url"),
        (&listed, to("/relative".to_owned()), Invalid, "url"),
        (&listed, to(String::new()), Invalid, "url"),
        (&tls_only, bench.request("/"), Denied, "url"),
        (&public, bench.request("/"), Denied, "url"),
        (&public, here("http://localhost:PORT/"), Denied, "url"),
        (&public, here("http://2130706433:PORT/"), Denied, "url"),
        (&public, here("http://0x7f.0.0.1:PORT/"), Denied, "url"),
        (&public, here("http://0177.0.0.1:PORT/"), Denied, "url"),
        (&public, here("http://127.1:PORT/"), Denied, "url"),
        (&public, here("http://127.0.0.1.:PORT/"), Denied, "url"),
        (&public, here("http://①27.0.0.1:PORT/"), Denied, "url"),
        (&public, here("http://0.0.0.0:PORT/"), Denied, "url"),
        (&public, here("http://[::1]:PORT/"), Denied, "url"),
        (&public, here("http://[::ffff:7f00:1]:PORT/"), Denied, "url"),
        (
            &public,
            to("http://169.254.169.254/latest/meta-data/".to_owned()),
            Denied,
            "url",
        ),
        (
            &public,
            to("http://[fd00:ec2::254]/latest/".to_owned()),
            Denied,
            "url",
        ),
        (&listed, with_method("DELETE"), Denied, "method"),
        (&listed, with_method("get"), Denied, "method"),
        (
            &listed,
            with_method("GET /evil HTTP/1.1\r\n"),
            Invalid,
            "method",
        ),
        (
            &listed,
            with_header("Host", "evil.test"),
            Denied,
            "headers[0].key",
        ),
        (
            &listed,
            with_header("connection", "upgrade"),
            Denied,
            "headers[0].key",
        ),
        (
            &listed,
            with_header("Transfer-Encoding", "chunked"),
            Denied,
            "headers[0].key",
        ),
        (
            &listed,
            with_header("Content-Length", "0"),
            Denied,
            "headers[0].key",
        ),
        (
            &listed,
            with_header("Proxy-Authorization", "x"),
            Denied,
            "headers[0].key",
        ),
        (
            &listed,
            with_header("X-A\r\nX-B", "1"),
            Invalid,
            "headers[0].key",
        ),
        (
            &listed,
            with_header("X-A", "1\r\nX-B: 2"),
            Invalid,
            "headers[0].value",
        ),
        (&listed, with_header("", "1"), Invalid, "headers[0].key"),
        (
            &listed,
            HttpRequest {
                credential: Some("none".to_owned()),
                ..bench.request("/")
            },
            Denied,
            "credential",
        ),
    ];
    for (grant, request, kind, field) in cases {
        let shown = format!("{request:?}");
        match bench.send(grant, request).await {
            Err(failure) => assert_eq!(
                (failure.kind, failure.field.as_deref()),
                (kind, Some(field)),
                "{failure}: {shown}"
            ),
            Ok(answer) => panic!("answered {}: {shown}", answer.status),
        }
    }
    for never in ["CONNECT", "TRACE"] {
        let grant = HttpGrant {
            methods: vec![never.to_owned()],
            ..bench.grant()
        };
        assert_eq!(
            bench
                .send(&grant, with_method(never))
                .await
                .unwrap_err()
                .kind,
            Denied,
            "{never}"
        );
    }
    assert_eq!(
        bench
            .send(&everything, here("http://localhost:PORT/"))
            .await
            .unwrap()
            .status,
        200
    );
}

/// A gzip of 23 bytes whose trailer promises 4 GiB.
const PACKED: [u8; 23] = [
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 0x4c, 4, 0, 0x43, 0xbe, 0xb7, 0xe8, 0xff, 0xff, 0xff,
    0xff, 0,
];

/// Names and forms by which a host that hands out credentials, or this machine, is written; all of them are in the grant.
#[tokio::test]
async fn no_form_of_an_address_leads_to_metadata_or_to_this_machine() {
    let bench = Bench::new().await;
    let forms = [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0xa9.0xfe.0xa9.0xfe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "\u{ff11}\u{ff16}\u{ff19}.254.169.254",
        "169\u{3002}254\u{3002}169\u{3002}254",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[::a9fe:a9fe]",
        "[::ffff:0:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[fd00:ec2::254]",
        "[fd00:ec2:0:0::254]",
        "[fe80::a9fe:a9fe]",
        "100.100.100.200",
        "192.0.0.192",
        "127.0.0.1",
        "127.127.127.127",
        "017700000001",
        "localhost",
        "LOCALHOST",
        "[::]",
        "0",
        "255.255.255.255",
        "224.0.0.1",
    ];
    let grant = HttpGrant {
        hosts: forms.iter().map(|form| format!("{form}:*")).collect(),
        private_addresses: false,
        credentials: Vec::new(),
        ..bench.grant()
    };
    for form in forms {
        for scheme in ["http", "https"] {
            let request = HttpRequest {
                url: format!("{scheme}://{form}:{}/latest/meta-data/", bench.port),
                ..bench.request("")
            };
            let failure = bench.send(&grant, request).await.unwrap_err();
            assert_eq!(
                (failure.kind, failure.code.as_deref()),
                (FailureKind::Denied, Some("private-address")),
                "{scheme} {form}: {failure}"
            );
        }
    }
    assert_eq!(*bench.got.lock(), Vec::<String>::new());
}

/// Where an answer sends its reader is the guest's to ask for, under the grant.
#[tokio::test]
async fn an_answer_leads_nowhere_and_is_not_unpacked() {
    let (bench, other) = (Bench::new().await, Bench::new().await);
    for target in [
        format!("http://127.0.0.1:{}/", other.port),
        "http://169.254.169.254/latest/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        let answer = bench
            .send(
                &bench.grant(),
                bench.request(&format!("/elsewhere?{target}")),
            )
            .await
            .unwrap();
        assert_eq!(answer.status, 307);
        assert!(
            answer
                .headers
                .contains(&("location".to_owned(), target.clone())),
            "{answer:?}"
        );
    }
    assert_eq!(*other.got.lock(), Vec::<String>::new());
    let asked = bench.request("/echo");
    let answer = bench.send(&bench.grant(), asked).await.unwrap();
    assert!(
        !body(&answer).contains("accept-encoding"),
        "nothing asks for packed answers: {}",
        body(&answer)
    );
    let packed = bench
        .send(&bench.grant(), bench.request("/packed"))
        .await
        .unwrap();
    assert_eq!((packed.status, packed.body.as_slice()), (200, &PACKED[..]));
}

#[tokio::test]
async fn credentials_are_injected_for_their_hosts_and_shown_nowhere() {
    let bench = Bench::new().await;
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .tempdir()
        .unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "s3cret\nsecond line\n").unwrap();
    let credential = |name: &str, inject: Injection, hosts: &[String]| CredentialGrant {
        name: name.to_owned(),
        hosts: hosts.to_vec(),
        source: CredentialSource::File(path.display().to_string()),
        inject,
    };
    let mut grant = bench.grant();
    let here = format!("127.0.0.1:{}", bench.port);
    grant.credentials = vec![
        credential("bearer", Injection::Bearer, &[]),
        credential("basic", Injection::Basic, &[here]),
        credential("header", Injection::Header("X-Key".to_owned()), &[]),
        credential("elsewhere", Injection::Bearer, &["other.test".to_owned()]),
        CredentialGrant {
            source: CredentialSource::Env("TRADEWIND_TEST_UNSET".to_owned()),
            ..credential("unset", Injection::Bearer, &[])
        },
    ];
    let named = |name: &str| HttpRequest {
        credential: Some(name.to_owned()),
        ..bench.request("/")
    };
    for (name, header) in [
        ("bearer", "authorization=Bearer s3cret"),
        ("basic", "authorization=Basic czNjcmV0"),
        ("header", "x-key=s3cret"),
    ] {
        let answer = bench.send(&grant, named(name)).await.unwrap();
        let got = bench.got.lock().pop().unwrap();
        assert!(got.contains(header), "{got}");
        assert!(
            body(&answer).contains("[redacted]") && !body(&answer).contains("s3cret"),
            "an echo shows nothing: {}",
            body(&answer)
        );
    }
    let answer = bench.send(&grant, bench.request("/")).await.unwrap();
    assert!(!body(&answer).contains("s3cret"), "not without being named");
    for header in ["authorization", "x-key"] {
        let request = HttpRequest {
            headers: vec![(header.to_owned(), "mine".to_owned())],
            ..bench.request("/")
        };
        assert_eq!(
            bench.send(&grant, request).await.unwrap_err().kind,
            FailureKind::Denied,
            "{header}"
        );
    }
    for (name, word) in [
        ("elsewhere", "not for the host"),
        ("unset", "TRADEWIND_TEST_UNSET"),
    ] {
        let failure = bench.send(&grant, named(name)).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Denied);
        assert!(failure.message.contains(word), "{failure}");
    }
    // Not a header's characters: the reason is told, the value is not.
    std::fs::write(&path, "s3cret\u{7f}\n").unwrap();
    let failure = bench.send(&grant, named("bearer")).await.unwrap_err();
    assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        bench.send(&grant, named("bearer")).await.unwrap_err().kind,
        FailureKind::Denied,
        "read anew each time"
    );
}

#[tokio::test]
async fn size_and_time_are_bounded() {
    let bench = Bench::new().await;
    let failure = bench
        .send(&bench.grant(), bench.request("/endless"))
        .await
        .unwrap_err();
    assert_eq!(
        (failure.kind, failure.code.as_deref()),
        (FailureKind::Denied, Some("response-too-large"))
    );
    let request = HttpRequest {
        timeout: Some(Millis(50)),
        ..bench.request("/never")
    };
    let failure = bench.send(&bench.grant(), request).await.unwrap_err();
    assert_eq!(
        (failure.kind, failure.code.as_deref()),
        (FailureKind::Unavailable, Some("deadline-exceeded"))
    );
    let short = HttpGrant {
        timeout: Millis(50),
        ..bench.grant()
    };
    let request = HttpRequest {
        timeout: Some(Millis(60_000)),
        ..bench.request("/never")
    };
    assert_eq!(
        bench
            .send(&short, request)
            .await
            .unwrap_err()
            .code
            .as_deref(),
        Some("deadline-exceeded")
    );
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let grant = HttpGrant {
        hosts: vec![format!("127.0.0.1:{port}")],
        ..bench.grant()
    };
    let failure = bench
        .send(
            &grant,
            HttpRequest {
                url: format!("http://127.0.0.1:{port}/?key=hidden"),
                ..bench.request("")
            },
        )
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(
        failure.message.contains("refused") && !failure.message.contains("hidden"),
        "{failure}"
    );
}
