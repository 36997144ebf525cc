//! Outbound HTTP, behind the `Http` port: each request is held against its grant, then sent once, without redirects, proxies, cookies or
//! retries. It must not know what a request is for. Credentials and secrets are put in here, and taken out of what comes back.
//!
//! One case is sent twice: an idempotent request (RFC 9110, section 9.2.2) whose kept token is answered 401 is sent again with a new one. A
//! 401 says that nothing was done; but what is not idempotent would do harm where that was not true, so its guest gets the 401, and its next
//! request the new token.

mod address;
mod allow;
mod credential;
mod redact;
mod resolve;
mod secrets;

use std::{error::Error as _, net::IpAddr, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::redirect;
use tradewind_core::{
    capability::{Http, HttpRequest, HttpResponse},
    exhausted,
    failure::{Failure, FailureKind},
    grant::{CredentialGrant, HttpGrant},
    names::InstanceName,
    units::Bytes,
};
use tradewind_credentials::{Credentials, secrets::Granted};
use url::{Host, Url};

pub(crate) use self::address::is_private;
use self::{allow::Pattern, credential::Tokens, redact::Redaction};

const LONGEST_URL: usize = 16 << 10;
const MOST_HEADERS: usize = 128;
/// Headers that decide how a request travels: they are the host's alone.
const RESERVED: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];

/// What the client is given.
#[derive(Debug, Clone)]
pub struct Options {
    /// Sent where the guest sets none.
    pub user_agent: String,
    /// Where the values of workloads' secrets are.
    pub secrets: PathBuf,
}

/// Why a client can't be made.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the messages say what the variants and their fields mean"
)]
pub enum Error {
    #[error("the HTTP client can't be set up")]
    SetUp(#[source] reqwest::Error),
}

/// Sends requests for every instance. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    /// For grants without private addresses.
    public: reqwest::Client,
    /// For grants with them.
    any: reqwest::Client,
    credentials: Credentials,
    tokens: Tokens,
    secrets: PathBuf,
}

/// A request that has passed every check. It holds secret values later: never print it.
#[derive(Clone)]
struct Outgoing {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    /// # Errors
    /// TLS can't be set up, for example because the machine has no root certificates.
    pub fn new(options: &Options, credentials: Credentials) -> Result<Self, Error> {
        // Whoever was first has installed the same one or another one: any will do, none would panic at the first connection.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            reqwest::Client::builder()
                .user_agent(&options.user_agent)
                .redirect(redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .no_proxy()
        };
        let public = builder()
            .dns_resolver(resolve::PublicOnly)
            .build()
            .map_err(Error::SetUp)?;
        let any = builder().build().map_err(Error::SetUp)?;
        Ok(Self(Arc::new(Inner {
            public,
            any,
            credentials,
            tokens: Tokens::default(),
            secrets: options.secrets.clone(),
        })))
    }

    fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// The one that keeps to a grant's addresses.
    fn of(&self, grant: &HttpGrant) -> &reqwest::Client {
        if grant.private_addresses {
            &self.0.any
        } else {
            &self.0.public
        }
    }
}

#[async_trait]
impl Http for Client {
    async fn send(
        &self,
        owner: &InstanceName,
        grant: &HttpGrant,
        request: HttpRequest,
    ) -> Result<HttpResponse, Failure> {
        let limit = request
            .timeout
            .map_or(grant.timeout, |t| t.min(grant.timeout));
        let (outgoing, credential) = check(grant, request)?;
        let host = outgoing.url.host_str().unwrap_or_default().to_owned();
        // In a task of its own: a caller that gives up drops its wait, while the request, which may change something, goes on to its end.
        let exchange = self
            .clone()
            .exchange(owner.clone(), grant.clone(), credential, outgoing);
        let outcome = tokio::spawn(tokio::time::timeout(limit.std(), exchange)).await;
        let outcome = match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Failure::unavailable(format!(
                "\"{host}\" has not answered within {limit}"
            ))
            .code("deadline-exceeded")),
            Err(error) => Err(Failure::internal(format!(
                "the request failed inside the daemon: {error}"
            ))),
        };
        if let Err(failure) = &outcome {
            tracing::debug!(%owner, %host, %failure, "an outbound request failed");
        }
        outcome
    }
}

impl Client {
    async fn exchange(
        self,
        owner: InstanceName,
        grant: HttpGrant,
        credential: Option<CredentialGrant>,
        outgoing: Outgoing,
    ) -> Result<HttpResponse, Failure> {
        let (outgoing, mut redaction) = self.with_secrets(&grant, outgoing).await?;
        let Some(credential) = credential else {
            return self.once(&grant, outgoing, &redaction).await;
        };
        let mut authorized = outgoing.clone();
        let used = credential::authorize(
            &self,
            &owner,
            &grant,
            &credential,
            &mut authorized,
            &mut redaction,
        )
        .await?;
        let response = self.once(&grant, authorized, &redaction).await?;
        if response.status != StatusCode::UNAUTHORIZED.as_u16() {
            return Ok(response);
        }
        self.credentials().forget();
        let Some(used) = used else {
            return Ok(response);
        };
        self.tokens().forget(&owner, &credential, &used.token);
        if !used.kept || !outgoing.method.is_idempotent() {
            return Ok(response);
        }
        let mut again = outgoing;
        credential::authorize(
            &self,
            &owner,
            &grant,
            &credential,
            &mut again,
            &mut redaction,
        )
        .await?;
        self.once(&grant, again, &redaction).await
    }

    /// Puts secrets into a body, and says what must not come back.
    async fn with_secrets(
        &self,
        grant: &HttpGrant,
        outgoing: Outgoing,
    ) -> Result<(Outgoing, Redaction), Failure> {
        let (folder, granted, namespace) = (
            self.0.secrets.clone(),
            grant.secrets.clone(),
            grant.namespace.clone(),
        );
        let work = move || {
            let Outgoing {
                method,
                url,
                headers,
                body,
            } = outgoing;
            let lent = Granted {
                capability: "http",
                secrets: &granted,
                namespace: namespace.as_ref(),
            };
            let body = secrets::fill(&folder, lent, &headers, body)?;
            Ok((
                Outgoing {
                    method,
                    url,
                    headers,
                    body,
                },
                secrets::known(&folder, &granted),
            ))
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| {
            Err(Failure::internal(format!(
                "the request failed inside the daemon: {error}"
            )))
        })
    }

    /// Sends a request, and takes out of the answer what must not come back.
    async fn once(
        &self,
        grant: &HttpGrant,
        outgoing: Outgoing,
        redaction: &Redaction,
    ) -> Result<HttpResponse, Failure> {
        let Outgoing {
            method,
            url,
            mut headers,
            body,
        } = outgoing;
        if !redaction.is_empty() {
            // In a packed answer nothing could be found.
            headers.insert(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            );
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let response = self
            .of(grant)
            .request(method, url)
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(|e| explain(&e, &host))?;
        let packed = response
            .headers()
            .get(header::CONTENT_ENCODING)
            .is_some_and(|value| value != "identity");
        let status = response.status().as_u16();
        let text = |value: &HeaderValue| {
            redaction.hide_text(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect();
        let body = read_body(response, grant.response_size, &host).await?;
        if packed && !redaction.is_empty() && !body.is_empty() {
            let message = format!(
                "\"{host}\" has packed its answer though it was told not to: values that must not come back can't be looked for"
            );
            return Err(Failure::denied(message).code("packed-response"));
        }
        Ok(HttpResponse {
            status,
            headers,
            body: redaction.hide(body),
        })
    }
}

/// The body of an answer, if it is no larger than that.
async fn read_body(
    mut response: reqwest::Response,
    most: Bytes,
    host: &str,
) -> Result<Vec<u8>, Failure> {
    let largest = usize::try_from(most.0).unwrap_or(usize::MAX);
    let mut content = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|e| explain(&e, host))? {
        if content.len().saturating_add(piece.len()) > largest {
            return Err(Failure::denied(format!(
                "the answer of \"{host}\" is larger than the {} bytes granted",
                most.0
            ))
            .code("response-too-large")
            .remedy("raise response-size in [grants.http] of the instance file"));
        }
        content.extend_from_slice(&piece);
    }
    Ok(content)
}

/// Holds a request against its grant.
fn check(
    grant: &HttpGrant,
    request: HttpRequest,
) -> Result<(Outgoing, Option<CredentialGrant>), Failure> {
    let method = method(grant, &request.method)?;
    let url = parse_url(&request.url)?;
    let (host, port, usual) = reachable(grant, &url)?;
    if !grant
        .hosts
        .iter()
        .any(|text| Pattern::parse(text).is_some_and(|p| p.allows(&host, port, usual)))
    {
        return Err(Failure::denied(format!(
            "the host \"{host}\" with port {port} is not granted"
        ))
        .field("url")
        .remedy(format!(
            "add \"{host}:{port}\" to hosts in [grants.http] of the instance file"
        )));
    }
    let credential = request
        .credential
        .as_deref()
        .map(|name| credential::find(grant, name, &host, port, usual))
        .transpose()?;
    let headers = headers(grant, &request.headers, credential.is_some())?;
    Ok((
        Outgoing {
            method,
            url,
            headers,
            body: request.body,
        },
        credential.cloned(),
    ))
}

/// Who an address leads to: host, port, and the scheme's own port. Names are looked up later, under the same rule.
fn reachable(grant: &HttpGrant, url: &Url) -> Result<(Host<String>, u16, u16), Failure> {
    let usual = match url.scheme() {
        "https" => 443,
        "http" if grant.plain_http => 80,
        "http" => {
            return Err(Failure::denied("http without TLS is not granted")
                .field("url")
                .remedy("use https, or set plain-http in [grants.http] of the instance file"));
        }
        other => {
            return Err(Failure::invalid(format!(
                "the scheme \"{other}\" is neither https nor http"
            ))
            .field("url"));
        }
    };
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Err(Failure::invalid("the address names no host").field("url"));
    };
    let host = allow::plain(host.to_owned());
    let literal = match &host {
        Host::Ipv4(v4) => Some(IpAddr::V4(*v4)),
        Host::Ipv6(v6) => Some(IpAddr::V6(*v6)),
        Host::Domain(_) => None,
    };
    if !grant.private_addresses && literal.is_some_and(address::is_private) {
        return Err(private(&host.to_string()));
    }
    Ok((host, port, usual))
}

fn method(grant: &HttpGrant, name: &str) -> Result<Method, Failure> {
    let shown = name.escape_debug();
    let method = Method::from_bytes(name.as_bytes())
        .map_err(|_| Failure::invalid(format!("\"{shown}\" is not a method")).field("method"))?;
    // A tunnel would carry anything anywhere, and an echo would show the credential.
    let never = method == Method::CONNECT || method == Method::TRACE;
    if never || !grant.methods.iter().any(|m| m == method.as_str()) {
        let failure =
            Failure::denied(format!("the method \"{shown}\" is not granted")).field("method");
        return Err(if never {
            failure
        } else {
            failure.remedy("add it to methods in [grants.http] of the instance file")
        });
    }
    Ok(method)
}

fn parse_url(text: &str) -> Result<Url, Failure> {
    let invalid = |message: String| Failure::invalid(message).field("url");
    if text.len() > LONGEST_URL {
        return Err(invalid(format!(
            "the address is longer than {LONGEST_URL} bytes"
        )));
    }
    // The parser would drop or turn these silently, and what is checked must be what was asked for.
    if let Some(c) = text
        .chars()
        .find(|c| c.is_control() || c.is_whitespace() || *c == '\\')
    {
        return Err(invalid(format!(
            "the address contains the character \"{}\": escape it",
            c.escape_debug()
        )));
    }
    let mut url =
        Url::parse(text).map_err(|e| invalid(format!("the address is not a URL: {e}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            "the address contains a user or password: name a credential instead".to_owned(),
        ));
    }
    url.set_fragment(None);
    Ok(url)
}

fn headers(
    grant: &HttpGrant,
    given: &[(String, String)],
    with_credential: bool,
) -> Result<HeaderMap, Failure> {
    if given.len() > MOST_HEADERS {
        return Err(Failure::invalid(format!(
            "{} headers are more than the {MOST_HEADERS} allowed",
            given.len()
        ))
        .field("headers"));
    }
    let mut headers = HeaderMap::new();
    for (i, (name, value)) in given.iter().enumerate() {
        let field = format!("headers[{i}]");
        let shown = name.escape_debug();
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            Failure::invalid(format!("\"{shown}\" is not a header's name"))
                .field(format!("{field}.key"))
        })?;
        // The value is not shown: it may be a secret of the guest's own.
        let value = HeaderValue::from_str(value).map_err(|_| {
            Failure::invalid(format!(
                "the value of the header \"{shown}\" has characters that no header may have"
            ))
            .field(format!("{field}.value"))
        })?;
        let of_credential = grant
            .credentials
            .iter()
            .any(|c| credential::owns(c, &parsed))
            || (with_credential && parsed == header::AUTHORIZATION);
        if parsed == header::RANGE && !grant.secrets.is_empty() {
            // Of half a value nobody could tell what it is.
            return Err(Failure::denied(
                "parts of answers can't be asked for where secrets are granted",
            )
            .field(format!("{field}.key")));
        }
        if RESERVED.contains(&parsed) || parsed.as_str().starts_with("proxy-") || of_credential {
            let reason = if of_credential {
                "belongs to a credential: name the credential instead"
            } else {
                "is set by the host alone"
            };
            return Err(Failure::denied(format!("the header \"{shown}\" {reason}"))
                .field(format!("{field}.key")));
        }
        headers.append(parsed, value);
    }
    Ok(headers)
}

fn private(host: &str) -> Failure {
    Failure::denied(format!(
        "the host \"{host}\" has a private address, which is not granted"
    ))
    .field("url")
    .code("private-address")
    .remedy(
        "set private-addresses in [grants.http] of the instance file if this host shall be reached",
    )
}

/// A failed exchange as a failure. The address stays out of it: its query may hold what is nobody's business.
fn explain(error: &reqwest::Error, host: &str) -> Failure {
    if let Some(own) = exhausted::out_of_files(error, &format!("\"{host}\" can't be asked")) {
        return own;
    }
    let mut source = error.source();
    let mut last = None;
    while let Some(inner) = source {
        if inner.is::<resolve::Private>() {
            return private(host);
        }
        last = Some(inner.to_string());
        source = inner.source();
    }
    let cause = last
        .unwrap_or_else(|| "the exchange broke off".to_owned())
        .to_lowercase();
    let what = if error.is_connect() {
        "can't be reached"
    } else {
        "has given no proper answer"
    };
    Failure::new(
        FailureKind::Unavailable,
        format!("\"{host}\" {what}: {}", cause.trim_end_matches('.')),
    )
}
