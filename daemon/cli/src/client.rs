//! The client of the HTTP API: sends, receives, and turns every failure into one `Error`. It must not print.

mod download;
mod origin;
mod session;
mod sse;
mod trust;

use std::{error::Error as _, path::PathBuf, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{self, HeaderValue},
    redirect::Policy,
};
use serde::de::DeserializeOwned;
use tradewind_core::{identity::Secret, units::Instant};
use tradewind_manifest::Format;
use url::{Host, Url};

use tradewind_api::problem::{Kind, Problem};

use crate::starting::Wait;

pub(crate) use download::fetch;
pub(crate) use origin::{Origin, Places};
pub(crate) use session::Socket;
pub(crate) use sse::Event;
pub(crate) use trust::{Trust, seen_fingerprint};

/// A request that gave no answer to work with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the daemon at {server} can't be reached")]
    Unreachable { server: Url, source: reqwest::Error },
    /// The daemon said no, and why.
    #[error("{}", if .0.detail.is_empty() { &.0.title } else { &.0.detail })]
    Refused(Box<Problem>),
    #[error(
        "the answer of {server} can't be understood: is it a Tradewind daemon of this version?"
    )]
    Nonsense {
        server: Url,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the server can't be \"{value}\": use a URL such as http://127.0.0.1:7180")]
    Server { value: String },
    #[error("\"{server}\" is another machine, and a token is not sent to it in clear: use https")]
    Clear { server: Url },
    #[error("\"{}\" holds no certificates to trust", path.display())]
    Authority {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("no connection can be encrypted")]
    Tls(#[source] rustls::Error),
    #[error("the http client can't be made")]
    Build(#[source] reqwest::Error),
}

impl Error {
    /// Why no encrypted connection came about, where that is what failed.
    pub(crate) fn handshake(&self) -> Option<&rustls::Error> {
        let Self::Unreachable { source, .. } = self else {
            return None;
        };
        let mut next = Some(source as &(dyn std::error::Error + 'static));
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            // What an I/O error was made from is not among its sources.
            let wrapped = error
                .downcast_ref::<std::io::Error>()
                .and_then(std::io::Error::get_ref);
            next = match wrapped {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }
}

/// A manifest as it will be sent.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub origin: Origin,
    pub format: Format,
    pub bytes: Bytes,
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    server: Url,
    http: reqwest::Client,
    token: Option<HeaderValue>,
}

/// The parameter that names a namespace.
const NAMESPACE: &str = "namespace";
const DEFAULT_NAMESPACE: &str = "default";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the daemon's streams are ever silent.
const SILENCE: Duration = Duration::from_secs(45);
/// Whether a daemon is ready is known at once.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Plans and assessments wait for clouds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

// === impl Client ===

impl Client {
    /// # Errors
    /// A server that is not an HTTP URL, or a token that would travel in clear.
    pub(crate) fn new(server: &str, token: Option<&Secret>, trust: &Trust) -> Result<Self, Error> {
        let url = Url::parse(server)
            .ok()
            .filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        let server = url.ok_or_else(|| Error::Server {
            value: server.to_owned(),
        })?;
        // The API is on this machine: a proxy from the environment must not come between.
        let http = trust
            .apply(reqwest::Client::builder())?
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(Error::Build)?;
        if token.is_some() && server.scheme() == "http" && !is_this_machine(&server) {
            return Err(Error::Clear { server });
        }
        let token = token
            .and_then(|t| HeaderValue::try_from(format!("Bearer {}", t.expose())).ok())
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        Ok(Self {
            server,
            http,
            token,
        })
    }

    /// A JSON answer.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, Error> {
        self.json(self.about(Method::GET, path, query)).await
    }

    /// A JSON answer of this moment: a daemon that is starting is not waited for.
    pub(crate) async fn probe<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Error> {
        let request = self.request(Method::GET, path).timeout(PROBE_TIMEOUT);
        let response = self.answer_now(request).await?;
        self.parse(response).await
    }

    /// When the server says that it answers. None: it does not say.
    pub(crate) async fn date(&self, path: &[&str]) -> Result<Option<Instant>, Error> {
        let request = self.request(Method::GET, path).timeout(ANSWER_TIMEOUT);
        let response = self.answer(request).await?;
        let date = response.headers().get(header::DATE);
        Ok(date.and_then(|date| http_date(date.to_str().ok()?)))
    }

    /// Sends a body (or none) and reads a JSON answer.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Body,
    ) -> Result<T, Error> {
        self.json(self.carrying(method, path, query, body)).await
    }

    /// Sends a body if the object is at this generation still, and reads a JSON answer.
    pub(crate) async fn send_at<T: DeserializeOwned>(
        &self,
        generation: u64,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Body,
    ) -> Result<T, Error> {
        let request = self.carrying(method, path, query, body);
        self.json(request.header(header::IF_MATCH, format!("\"{generation}\"")))
            .await
    }

    /// Sends a body (or none) and reads an answer that is text.
    pub(crate) async fn text(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Body,
    ) -> Result<String, Error> {
        let response = self
            .answer(
                self.carrying(method, path, query, body)
                    .timeout(ANSWER_TIMEOUT),
            )
            .await?;
        response.text().await.map_err(|e| self.unreachable(e))
    }

    fn carrying(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Body,
    ) -> RequestBuilder {
        let request = match &body {
            // Its own namespace counts, where none is given beside it.
            Body::Manifest(_) if !query.iter().any(|(name, _)| *name == NAMESPACE) => {
                self.request(method, path).query(query)
            }
            _ => self.about(method, path, query),
        };
        match body {
            Body::Empty => request,
            Body::Json(value) => request.json(&value),
            Body::Component(bytes) => request
                .header(header::CONTENT_TYPE, "application/wasm")
                .body(bytes),
            Body::Manifest(document) => request
                .header(header::CONTENT_TYPE, document.content_type())
                .body(document.bytes),
        }
    }

    /// Opens a stream of server-sent events.
    pub(crate) async fn follow(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<impl Stream<Item = Result<Event, Error>> + Unpin + use<>, Error> {
        let request = self
            .about(Method::GET, path, query)
            .header(header::ACCEPT, "text/event-stream");
        let response = self.answer(request).await?;
        let server = self.server.clone();
        let bytes = response
            .bytes_stream()
            .map_err(move |source| Error::Unreachable {
                server: server.clone(),
                source,
            });
        // A daemon that lives says so every few seconds: a connection that is silent is cut, though nobody has said it.
        let heard = stream::unfold(bytes.boxed(), |mut bytes| async move {
            let next = tokio::time::timeout(SILENCE, bytes.next())
                .await
                .ok()
                .flatten()?;
            Some((next, bytes))
        });
        Ok(sse::events(heard).boxed())
    }

    /// Sends a request whose answer is bytes, as they come.
    pub(crate) async fn download(
        &self,
        method: Method,
        path: &[&str],
    ) -> Result<impl Stream<Item = Result<Bytes, Error>> + Unpin + use<>, Error> {
        let response = self.answer(self.request(method, path)).await?;
        let server = self.server.clone();
        Ok(response
            .bytes_stream()
            .map_err(move |source| Error::Unreachable {
                server: server.clone(),
                source,
            })
            .boxed())
    }

    /// A request about a deployment names the namespace in its path: proxies and logs see it there.
    fn about(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> RequestBuilder {
        let ["v1", "deployments", rest @ ..] = path else {
            return self.request(method, path).query(query);
        };
        let named = query.iter().find(|(name, _)| *name == NAMESPACE);
        let namespace = match named {
            Some((_, namespace)) => namespace.as_str(),
            // The list of all that the token reaches.
            None if rest.is_empty() => return self.request(method, path).query(query),
            None => DEFAULT_NAMESPACE,
        };
        let path = [&["v1", "namespaces", namespace, "deployments"], rest].concat();
        let others: Vec<_> = query
            .iter()
            .filter(|(name, _)| *name != NAMESPACE)
            .collect();
        self.request(method, &path).query(&others)
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.server.clone();
        // Only URLs that can't be a base refuse this, and `new` has none of those.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, token.clone()),
            None => request,
        }
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let response = self.answer(request.timeout(ANSWER_TIMEOUT)).await?;
        self.parse(response).await
    }

    async fn parse<T: DeserializeOwned>(&self, response: Response) -> Result<T, Error> {
        let bytes = response.bytes().await.map_err(|e| self.unreachable(e))?;
        serde_json::from_slice(&bytes).map_err(|e| self.nonsense(e))
    }

    /// The response, if it is a success. A daemon that is starting is asked again.
    async fn answer(&self, request: RequestBuilder) -> Result<Response, Error> {
        let mut wait = Wait::default();
        let mut request = request;
        loop {
            let again = request.try_clone();
            match (self.answer_now(request).await, again) {
                (Err(Error::Refused(problem)), Some(again))
                    if problem.kind == Kind::Starting && wait.goes_on(&problem.detail).await =>
                {
                    request = again;
                }
                (answer, _) => return answer,
            }
        }
    }

    /// The same, whatever the daemon is about.
    async fn answer_now(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|e| self.unreachable(e))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let bytes = response.bytes().await.map_err(|e| self.unreachable(e))?;
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(Error::Refused(Box::new(problem))),
            Err(_) => Err(self.nonsense(format!("it answered {status} without saying why"))),
        }
    }

    fn unreachable(&self, source: reqwest::Error) -> Error {
        Error::Unreachable {
            server: self.server.clone(),
            source: source.without_url(),
        }
    }

    fn nonsense(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Nonsense {
            server: self.server.clone(),
            source: source.into(),
        }
    }
}

/// The one form of dates that servers write: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Instant> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let words: Vec<&str> = text.split(' ').collect();
    let [_, day, month, year, time, "GMT"] = words.as_slice() else {
        return None;
    };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    format!("{year}-{month:02}-{day}T{time}Z").parse().ok()
}

fn is_this_machine(server: &Url) -> bool {
    match server.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// What a request carries.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Empty,
    Json(serde_json::Value),
    /// A plugin's component.
    Component(Bytes),
    Manifest(Document),
}

// === impl Document ===

impl Document {
    fn content_type(&self) -> &'static str {
        match self.format {
            Format::Json => "application/json",
            Format::Yaml => "application/yaml",
        }
    }

    /// Whether it says itself to which namespace it belongs.
    pub(crate) fn names_namespace(&self) -> bool {
        tradewind_manifest::names_namespace(&self.bytes, self.format)
    }

    /// The name that belongs into the request's path. The daemon alone judges the document, so one without a readable name is sent under
    /// a stand-in, and what comes back says what is wrong with it.
    pub(crate) fn name(&self) -> String {
        tradewind_manifest::name(&self.bytes, self.format)
            .filter(|name| {
                name.parse::<tradewind_core::names::DeploymentName>()
                    .is_ok()
            })
            .unwrap_or_else(|| "manifest".to_owned())
    }
}

// === impl Error ===

impl Error {
    /// Whether the certificate that the server shows is nobody's whom the client trusts.
    pub(crate) fn is_untrusted(&self) -> bool {
        matches!(self.handshake(), Some(rustls::Error::InvalidCertificate(_)))
    }

    /// Whether it is HTTP that was spoken to, and something else that answered.
    pub(crate) fn is_not_http(&self) -> bool {
        let Self::Unreachable { server, source } = self else {
            return false;
        };
        if server.scheme() != "http" || source.is_connect() || source.is_timeout() {
            return false;
        }
        let mut next = source.source();
        while let Some(error) = next {
            let text = error.to_string();
            if [
                "invalid HTTP version parsed",
                "connection closed before message completed",
            ]
            .iter()
            .any(|said| text.contains(said))
            {
                return true;
            }
            next = error.source();
        }
        false
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(p) if matches!(p.kind, Kind::NotFound | Kind::Gone))
    }
}
