//! Requests to the API server and their answers. It knows HTTP and how the API server says no, and nothing of what is asked for.

use std::sync::Arc;

use futures::Stream;
use http::{Method, StatusCode};
use kube::{client::Body, core::WatchEvent};
use serde::de::DeserializeOwned;
use tradewind_core::{
    failure::{Failure, FailureKind},
    grant::KubernetesGrant,
    units::Millis,
};

use crate::{
    connection::{Connection, Connections},
    failure,
};

/// Who is known to the API server as the writer of our fields.
pub(crate) const MANAGER: &str = "tradewind";
/// Answers with names, labels and times instead of whole objects.
pub(crate) const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
pub(crate) const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";

/// The cluster of a grant, for one call.
#[derive(Clone, Copy)]
pub(crate) struct Cluster<'a> {
    pub(crate) connections: &'a Connections,
    pub(crate) grant: &'a KubernetesGrant,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    accept: &'static str,
    content: &'static str,
    body: Vec<u8>,
    /// For messages: `apply Deployment "web"`.
    what: String,
}

pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
}

impl Request {
    fn new(method: Method, path: String, what: impl Into<String>) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            accept: JSON,
            content: JSON,
            body: Vec::new(),
            what: what.into(),
        }
    }

    pub(crate) fn get(path: String, what: impl Into<String>) -> Self {
        Self::new(Method::GET, path, what)
    }

    pub(crate) fn delete(path: String, what: impl Into<String>, body: Vec<u8>) -> Self {
        Self {
            body,
            ..Self::new(Method::DELETE, path, what)
        }
    }

    /// A server-side apply. JSON is YAML.
    pub(crate) fn apply(path: String, what: impl Into<String>, body: Vec<u8>) -> Self {
        Self {
            body,
            content: APPLY,
            ..Self::new(Method::PATCH, path, what)
        }
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    #[must_use]
    pub(crate) fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    fn http(&self) -> Result<http::Request<Body>, Failure> {
        let query: Vec<String> = self
            .query
            .iter()
            .map(|(name, value)| format!("{name}={}", escaped(value)))
            .collect();
        let uri = if query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, query.join("&"))
        };
        let mut request = http::Request::builder()
            .method(&self.method)
            .uri(uri)
            .header(http::header::ACCEPT, self.accept);
        if !self.body.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, self.content);
        }
        request.body(Body::from(self.body.clone())).map_err(|_| {
            Failure::internal(format!("the request to {} can't be written", self.what))
        })
    }
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::internal(format!(
                "the api server answered what is not understood: {error}"
            ))
            .code("bad-answer")
        })
    }
}

impl Cluster<'_> {
    /// Sends a request. A refused credential is renewed once, if there is a new one.
    ///
    /// # Errors
    /// What `failure` makes of the answer; `unavailable` within the grant's timeout when there is none.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, Failure> {
        let connection = self.connections.get(self.grant).await?;
        match self.once(&connection, &request).await {
            Err(failure) if failure.code.as_deref() == Some(failure::UNAUTHORIZED) => {
                self.connections.refused(self.grant, &connection).await;
                let renewed = self.connections.get(self.grant).await?;
                self.once(&renewed, &request).await
            }
            other => other,
        }
    }

    /// Follows a watch. Its beginning is bound by the grant's timeout, its length by what the request says.
    ///
    /// # Errors
    /// As `send`, without a second attempt.
    pub(crate) async fn events<T: Clone + DeserializeOwned + Send>(
        &self,
        request: &Request,
    ) -> Result<impl Stream<Item = Result<WatchEvent<T>, kube::Error>> + Send + use<T>, Failure>
    {
        let connection = self.connections.get(self.grant).await?;
        let (head, _) = request.http()?.into_parts();
        let begun = connection
            .client
            .request_events(http::Request::from_parts(head, Vec::new()));
        match tokio::time::timeout(self.grant.timeout.std(), begun).await {
            Ok(Ok(events)) => Ok(events),
            Ok(Err(error)) => Err(failure::unanswered(&error, &request.what)),
            Err(_) => Err(failure::late(self.grant.timeout, &request.what)),
        }
    }

    async fn once(
        &self,
        connection: &Arc<Connection>,
        request: &Request,
    ) -> Result<Answer, Failure> {
        let http = request.http()?;
        let work = async {
            let response = connection
                .client
                .send(http)
                .await
                .map_err(|error| failure::unanswered(&error, &request.what))?;
            let (head, body) = response.into_parts();
            let body = body
                .collect_bytes()
                .await
                .map_err(|error| failure::unanswered(&error, &request.what))?
                .to_vec();
            Ok((head, body))
        };
        let (head, body) = match tokio::time::timeout(self.grant.timeout.std(), work).await {
            Ok(result) => result?,
            Err(_) => return Err(failure::late(self.grant.timeout, &request.what)),
        };
        if head.status.is_success() {
            return Ok(Answer { body });
        }
        let retry_after = head
            .headers
            .get(http::header::RETRY_AFTER)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.trim().parse().ok());
        Err(failure::refused(
            head.status,
            &body,
            retry_after.map(Millis::from_secs),
            &request.what,
        ))
    }
}

/// Whether something of this namespace does not exist because the namespace does not.
pub(crate) fn without_namespace(failure: Failure, namespace: &str) -> Failure {
    if failure.kind == FailureKind::NotFound && failure.message.contains("namespaces ") {
        return Failure::denied(format!("the cluster has no namespace \"{namespace}\""))
            .field("namespace")
            .code(StatusCode::NOT_FOUND.as_str())
            .remedy(format!("create it: kubectl create namespace {namespace}"));
    }
    failure
}

/// A value of a query.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
