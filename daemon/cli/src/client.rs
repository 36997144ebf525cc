//! The client of the HTTP API: sends, receives, and turns every failure into one `Error`. It must not print.

mod pages;
mod sse;
mod trust;

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use reqwest::{
    Method, RequestBuilder, Response,
    header::{self, HeaderValue},
    redirect::Policy,
};
use serde::de::DeserializeOwned;
use tradewind_core::identity::Secret;
use tradewind_manifest::Format;
use url::{Host, Url};

use tradewind_api::problem::{Kind, Problem};

pub(crate) use sse::Event;
pub(crate) use trust::Trust;

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

/// A manifest as it will be sent: the bytes untouched.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// Where it came from, for messages: a path, or `-`.
    pub file: PathBuf,
    pub bytes: Bytes,
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    server: Url,
    http: reqwest::Client,
    token: Option<HeaderValue>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the daemon's streams are ever silent.
const SILENCE: Duration = Duration::from_secs(45);
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
        self.json(self.request(Method::GET, path).query(query))
            .await
    }

    /// One page of a list, and the cursor of the next one.
    pub(crate) async fn page<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<(T, Option<String>), Error> {
        let response = self
            .answer(
                self.request(Method::GET, path)
                    .query(query)
                    .timeout(ANSWER_TIMEOUT),
            )
            .await?;
        let links = response
            .headers()
            .get_all(header::LINK)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let next = links.flat_map(pages::next).next();
        Ok((self.parse(response).await?, next))
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
        let request = self.request(method, path).query(query);
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
            .request(Method::GET, path)
            .query(query)
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

    /// The response, if it is a success.
    async fn answer(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|e| self.unreachable(e))?;
        let status = response.status();
        if status.is_success() {
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
    fn is_json(&self) -> bool {
        self.file
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("json"))
    }

    fn content_type(&self) -> &'static str {
        if self.is_json() {
            "application/json"
        } else {
            "application/yaml"
        }
    }

    /// The name that belongs into the request's path. The daemon alone judges the document, so one without a readable name is sent under
    /// a stand-in, and what comes back says what is wrong with it.
    pub(crate) fn name(&self) -> String {
        let format = if self.is_json() {
            Format::Json
        } else {
            Format::Yaml
        };
        tradewind_manifest::name(&self.bytes, format)
            .filter(|name| {
                name.parse::<tradewind_core::names::DeploymentName>()
                    .is_ok()
            })
            .unwrap_or_else(|| "manifest".to_owned())
    }
}

// === impl Error ===

impl Error {
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(p) if p.kind == Kind::NotFound)
    }
}
