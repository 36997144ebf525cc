//! Registries of images, asked which image a tag names, behind the `Registries` port. Only those that the operator names are asked, over TLS
//! except on this machine, by the API of the OCI distribution specification. It must not know who asks, or what becomes of the answer.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use http::{HeaderValue, Method, StatusCode, header};
use parking_lot::Mutex;
use reqwest::{Response, redirect};
use serde::Deserialize;
use tradewind_core::{
    capability::Registries,
    failure::{Failure, FailureKind},
    grant::RegistrySource,
    image::Reference,
    names::Digest,
};
use tradewind_credentials::Credentials;
use url::Url;

use crate::http::Error;

/// The most that one question may take, with all that it needs.
const PATIENCE: Duration = Duration::from_secs(5);
/// A registry that has not answered is left alone for so long: deployments don't wait for it one after the other.
const PAUSE: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const LARGEST: usize = 4 << 20;
/// A list of images for several architectures comes before the image for one.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
const DIGEST: &str = "docker-content-digest";

/// Asks the registries of the daemon's settings. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    registries: Vec<RegistrySource>,
    credentials: Credentials,
    /// Those that have not answered, and since when.
    silent: Mutex<HashMap<String, Instant>>,
}

/// What a registry asks for before it answers.
#[derive(Debug, PartialEq)]
enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

impl Client {
    /// # Errors
    /// TLS can't be set up, for example because the machine has no root certificates.
    pub fn new(
        user_agent: &str,
        registries: Vec<RegistrySource>,
        credentials: Credentials,
    ) -> Result<Self, Error> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(user_agent)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy();
        let http = builder.timeout(PATIENCE).build().map_err(Error::SetUp)?;
        Ok(Self(Arc::new(Inner {
            http,
            registries,
            credentials,
            silent: Mutex::default(),
        })))
    }

    fn source(&self, image: &Reference) -> Option<&RegistrySource> {
        self.0
            .registries
            .iter()
            .find(|one| one.host == image.registry)
    }

    async fn ask(&self, image: &Reference, source: &RegistrySource) -> Result<Digest, Failure> {
        let url = manifest_url(image)?;
        let mut authorization = None;
        let mut response = self.send(Method::HEAD, &url, image, None).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let found = self.authorize(&response, image, source).await?;
            response = self.send(Method::HEAD, &url, image, Some(&found)).await?;
            authorization = Some(found);
        }
        check(&response, image)?;
        if let Some(told) = response
            .headers()
            .get(DIGEST)
            .and_then(|value| value.to_str().ok())
        {
            return told
                .parse()
                .map_err(|_| failed(image, "tells a digest that is none"));
        }
        // The specification leaves the header out; the digest is that of the document.
        let response = self
            .send(Method::GET, &url, image, authorization.as_ref())
            .await?;
        check(&response, image)?;
        Ok(Digest::of(&body(response, image).await?))
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        image: &Reference,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let request = self
            .0
            .http
            .request(method, url.clone())
            .header(header::ACCEPT, MANIFESTS);
        let request = authorization.into_iter().fold(request, |request, value| {
            request.header(header::AUTHORIZATION, value.clone())
        });
        request
            .send()
            .await
            .map_err(|error| failed(image, &format!("does not answer: {}", error.without_url())))
    }

    /// The header that a challenge asks for.
    async fn authorize(
        &self,
        response: &Response,
        image: &Reference,
        source: &RegistrySource,
    ) -> Result<HeaderValue, Failure> {
        let asked = response
            .headers()
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let challenge = asked
            .filter_map(Challenge::parse)
            .next()
            .ok_or_else(|| refused(image, "asks for a login of an unknown kind"))?;
        let basic = match &source.source {
            Some(known) => Some(self.basic(image, known).await?),
            None => None,
        };
        let (realm, service, scope) = match challenge {
            Challenge::Basic => return basic.ok_or_else(|| refused(image, "asks for a login")),
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => (realm, service, scope),
        };
        let mut url =
            Url::parse(&realm).map_err(|_| refused(image, "names no address for tokens"))?;
        if url.scheme() != "https" && !url.host_str().is_some_and(is_here) {
            return Err(refused(
                image,
                "wants its tokens to be asked for without TLS",
            ));
        }
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", image.repository));
        url.query_pairs_mut()
            .extend_pairs(service.iter().map(|service| ("service", service)))
            .append_pair("scope", &scope);
        let request = basic
            .into_iter()
            .fold(self.0.http.get(url), |request, value| {
                request.header(header::AUTHORIZATION, value)
            });
        let response = request
            .send()
            .await
            .map_err(|error| failed(image, &format!("gives no token: {}", error.without_url())))?;
        if !response.status().is_success() {
            return Err(refused(
                image,
                &format!("gives no token: status {}", response.status().as_u16()),
            ));
        }
        let token: Token = serde_json::from_slice(&body(response, image).await?)
            .map_err(|_| failed(image, "gives a token that is none"))?;
        secret_header(image, &format!("Bearer {}", token.token))
    }

    async fn basic(
        &self,
        image: &Reference,
        source: &tradewind_core::grant::CredentialSource,
    ) -> Result<HeaderValue, Failure> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let login = self
            .0
            .credentials
            .line(
                &format!("the credential of the registry \"{}\"", image.registry),
                source,
            )
            .await?;
        secret_header(image, &format!("Basic {}", STANDARD.encode(login.expose())))
    }

    /// Whether a registry is left alone for now.
    fn is_silent(&self, registry: &str) -> bool {
        let silent = self.0.silent.lock();
        silent
            .get(registry)
            .is_some_and(|since| since.elapsed() < PAUSE)
    }
}

#[async_trait]
impl Registries for Client {
    fn knows(&self, image: &str) -> bool {
        Reference::parse(image).is_some_and(|image| self.source(&image).is_some())
    }

    async fn digest(&self, image: &str) -> Result<Digest, Failure> {
        let parsed = Reference::parse(image);
        let parsed = parsed.ok_or_else(|| {
            Failure::invalid(format!("\"{}\" names no image", image.escape_debug()))
        })?;
        let Some(source) = self.source(&parsed) else {
            return Err(Failure::denied(format!(
                "no [[registries]] has the host \"{}\"",
                parsed.registry
            )));
        };
        if self.is_silent(&parsed.registry) {
            return Err(failed(&parsed, "has not answered lately"));
        }
        let asked = tokio::time::timeout(PATIENCE, self.ask(&parsed, source)).await;
        let answer = asked.unwrap_or_else(|_| {
            Err(failed(
                &parsed,
                &format!("has not answered within {} s", PATIENCE.as_secs()),
            ))
        });
        let mut silent = self.0.silent.lock();
        match &answer {
            Err(failure) if failure.kind == FailureKind::Unavailable => {
                silent.insert(parsed.registry, Instant::now());
            }
            _ => drop(silent.remove(&parsed.registry)),
        }
        answer
    }
}

impl Challenge {
    /// `Bearer realm="https://…",service="…",scope="…"`, or `Basic …`.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, parameters) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let value = |name: &str| {
            let begin = format!("{name}=\"");
            let at = parameters.find(&begin)?;
            parameters
                .get(at + begin.len()..)?
                .split('"')
                .next()
                .map(str::to_owned)
        };
        Some(Self::Bearer {
            realm: value("realm")?,
            service: value("service"),
            scope: value("scope"),
        })
    }
}

/// Whether a host is this machine, where engines do without TLS as well.
fn is_here(host: &str) -> bool {
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn manifest_url(image: &Reference) -> Result<Url, Failure> {
    let invalid = || {
        Failure::invalid(format!(
            "the registry \"{}\" is no host",
            image.registry.escape_debug()
        ))
    };
    let https = Url::parse(&format!("https://{}", image.api_host())).map_err(|_| invalid())?;
    let scheme = if https.host_str().is_some_and(is_here) {
        "http"
    } else {
        "https"
    };
    let text = format!(
        "{scheme}://{}/v2/{}/manifests/{}",
        image.api_host(),
        image.repository,
        image.tag
    );
    Url::parse(&text).map_err(|_| invalid())
}

fn check(response: &Response, image: &Reference) -> Result<(), Failure> {
    match response.status() {
        status if status.is_success() => Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(refused(image, "refuses the login"))
        }
        StatusCode::NOT_FOUND => Err(Failure::not_found(format!(
            "the registry \"{}\" has no image \"{}:{}\"",
            image.registry, image.repository, image.tag
        ))),
        status => Err(failed(
            image,
            &format!("answers with status {}", status.as_u16()),
        )),
    }
}

async fn body(mut response: Response, image: &Reference) -> Result<Vec<u8>, Failure> {
    let mut content = Vec::new();
    while let Some(piece) = response
        .chunk()
        .await
        .map_err(|error| failed(image, &format!("breaks off: {}", error.without_url())))?
    {
        if content.len() + piece.len() > LARGEST {
            return Err(failed(image, "answers with more than 4 MiB"));
        }
        content.extend_from_slice(&piece);
    }
    Ok(content)
}

fn secret_header(image: &Reference, text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| refused(image, "has a login that no header can hold"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn failed(image: &Reference, what: &str) -> Failure {
    Failure::unavailable(format!("the registry \"{}\" {what}", image.registry))
}

fn refused(image: &Reference, what: &str) -> Failure {
    Failure::denied(format!("the registry \"{}\" {what}", image.registry)).remedy(
        "give it a source with user:password in [[registries]] of the daemon's configuration",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let hub = r#"Bearer realm="https://auth.example.com/token",service="registry.example.com",scope="repository:library/web:pull""#;
        let owned = |text: &str| Some(text.to_owned());
        let bearer = Challenge::Bearer {
            realm: "https://auth.example.com/token".to_owned(),
            service: owned("registry.example.com"),
            scope: owned("repository:library/web:pull"),
        };
        assert_eq!(Challenge::parse(hub), Some(bearer));
        assert_eq!(
            Challenge::parse("Basic realm=\"tests\""),
            Some(Challenge::Basic)
        );
        assert!(
            Challenge::parse("Negotiate").is_none()
                && Challenge::parse("Bearer service=\"x\"").is_none()
        );
    }

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        let url = |image: &str| {
            manifest_url(&Reference::parse(image).unwrap())
                .unwrap()
                .to_string()
        };
        assert_eq!(
            url("web"),
            "https://registry-1.docker.io/v2/library/web/manifests/latest"
        );
        assert_eq!(
            url("registry.example.com:5000/team/web:2"),
            "https://registry.example.com:5000/v2/team/web/manifests/2"
        );
        assert_eq!(
            url("127.0.0.1:5000/web:1"),
            "http://127.0.0.1:5000/v2/web/manifests/1"
        );
        assert_eq!(
            url("localhost:5000/web:1"),
            "http://localhost:5000/v2/web/manifests/1"
        );
        assert!(url("localhost.example.com/web:1").starts_with("https:"));
    }
}
