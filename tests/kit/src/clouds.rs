//! Clouds that exist in a test's process alone, behind HTTP APIs whose shapes are those of the published descriptions. What they have in
//! common is here: a server with a thread of its own, a token endpoint, requests that go wrong on demand, and what was sent.
//!
//! Let a cloud outlive the daemon (declare it first): the daemon removes what it runs when it is dropped.

pub mod azure;
pub mod gcp;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    thread::JoinHandle,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// A request as a cloud gets it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    /// Decoded.
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What a cloud answers.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Value,
}

/// How a request goes wrong.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// Nothing happens, and this is answered.
    Instead(Reply),
    /// Nothing happens, and the connection breaks.
    LostBefore,
    /// It happens, and the connection breaks.
    LostAfter,
}

/// Requests that go wrong: the next `times` of this method whose path contains this.
#[derive(Debug, Clone)]
pub struct Fault {
    pub method: Method,
    pub path: String,
    pub times: u32,
    pub trouble: Trouble,
}

/// The rules of a cloud.
pub trait Rules: Send + 'static {
    fn answer(&mut self, now: u64, asked: &Asked) -> Reply;
}

/// A cloud that is served. Stopped when dropped.
pub struct Served<R> {
    pub address: String,
    inner: Arc<Mutex<Inner<R>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Inner<R> {
    rules: R,
    faults: Vec<Fault>,
    sent: Vec<Asked>,
}

impl Reply {
    pub fn json(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn form(&self) -> BTreeMap<String, String> {
        decode(&String::from_utf8_lossy(&self.body))
    }

    pub fn header(&self, name: header::HeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

fn decode(text: &str) -> BTreeMap<String, String> {
    reqwest::Url::parse(&format!("http://form/?{text}"))
        .map(|url| url.query_pairs().into_owned().collect())
        .unwrap_or_default()
}

/// Milliseconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

impl<R: Rules> Served<R> {
    /// Serves a cloud, which is told where.
    pub fn start(rules: impl FnOnce(&str) -> R) -> Result<Self> {
        let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        listener.set_nonblocking(true)?;
        let address = format!("http://{}", listener.local_addr()?);
        let inner = Arc::new(Mutex::new(Inner {
            rules: rules(&address),
            faults: Vec::new(),
            sent: Vec::new(),
        }));
        let router = Router::new().fallback(serve::<R>).with_state(inner.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        // A thread of its own: tests wait for daemons without yielding.
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                    return;
                };
                tokio::select! {
                    _ = axum::serve(listener, router) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self {
            address,
            inner,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        self.address.trim_start_matches("http://")
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut R) -> T) -> T {
        act(&mut self.inner.lock().rules)
    }

    /// Lets something go wrong from now on.
    pub fn fault(&self, method: Method, path: &str, times: u32, trouble: Trouble) {
        self.inner.lock().faults.push(Fault {
            method,
            path: path.to_owned(),
            times,
            trouble,
        });
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.inner.lock().faults.clear();
    }

    /// Everything that was asked so far.
    pub fn sent(&self) -> Vec<Asked> {
        self.inner.lock().sent.clone()
    }
}

impl<R> Drop for Served<R> {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve<R: Rules>(State(inner): State<Arc<Mutex<Inner<R>>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 4 << 20).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let asked = Asked {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: decode(parts.uri.query().unwrap_or_default()),
        headers: parts.headers,
        body,
    };
    match inner.lock().answer(&asked) {
        Some(reply) => {
            let mut response = Response::new(if reply.body.is_null() {
                Body::empty()
            } else {
                Body::from(reply.body.to_string())
            });
            *response.status_mut() =
                StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            for (name, value) in reply.headers {
                if let Ok(value) = value.parse() {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
        // Headers, and then nothing but the end of the connection.
        None => Body::from_stream(futures::stream::iter([Err::<Bytes, _>(
            std::io::Error::other("lost"),
        )]))
        .into_response(),
    }
}

impl<R: Rules> Inner<R> {
    fn answer(&mut self, asked: &Asked) -> Option<Reply> {
        self.sent.push(asked.clone());
        let fits = |fault: &&mut Fault| {
            fault.times > 0 && fault.method == asked.method && asked.path.contains(&fault.path)
        };
        let trouble = self.faults.iter_mut().find(fits).map(|fault| {
            fault.times -= 1;
            fault.trouble.clone()
        });
        match trouble {
            Some(Trouble::Instead(reply)) => Some(reply),
            Some(Trouble::LostBefore) => None,
            Some(Trouble::LostAfter) => {
                self.rules.answer(now(), asked);
                None
            }
            None => Some(self.rules.answer(now(), asked)),
        }
    }
}

/// The tokens that a cloud has given out, and until when each is good.
#[derive(Debug, Default)]
pub struct Tokens {
    given: BTreeMap<String, u64>,
    /// Seconds that a token is good for.
    pub life: u64,
}

impl Tokens {
    pub fn living(life: u64) -> Self {
        Self {
            life,
            ..Self::default()
        }
    }

    /// A new one, as a token endpoint answers it.
    pub fn give(&mut self, now: u64) -> Reply {
        let token = format!("canary-token-{}-{}", self.given.len(), now);
        self.given.insert(token.clone(), now + self.life * 1000);
        Reply::json(
            200,
            json!({"token_type": "Bearer", "expires_in": self.life, "access_token": token}),
        )
    }

    /// Whether a request bears one that is good.
    pub fn admits(&self, now: u64, asked: &Asked) -> bool {
        let token = asked.header(header::AUTHORIZATION).strip_prefix("Bearer ");
        token
            .and_then(|token| self.given.get(token))
            .is_some_and(|until| now < *until)
    }

    /// None is good any more.
    pub fn revoke(&mut self) {
        self.given.values_mut().for_each(|until| *until = 0);
    }

    pub fn all(&self) -> Vec<String> {
        self.given.keys().cloned().collect()
    }
}

/// The files below a folder whose bytes contain this text.
pub fn files_with(folder: &std::path::Path, text: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_with(&path, text)?);
        } else if path.is_file()
            && std::fs::read(&path).is_ok_and(|bytes| {
                bytes
                    .windows(text.len())
                    .any(|window| window == text.as_bytes())
            })
        {
            found.push(path.display().to_string());
        }
    }
    Ok(found)
}
