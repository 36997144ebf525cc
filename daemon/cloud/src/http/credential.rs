//! Credentials: found for a host, read from their source, put into a request's headers as the grant says. Values leave this module in
//! headers marked as sensitive and in the redaction of the answer; they must not reach a message or a log.

mod assertion;
mod endpoint;
mod sigv4;
mod tokens;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use tradewind_core::{
    failure::Failure,
    grant::{CredentialGrant, HttpGrant, Injection},
    names::InstanceName,
};
use tradewind_credentials::Secret;
use url::Host;
use zeroize::Zeroizing;

pub(super) use self::tokens::Tokens;
use super::{Client, Outgoing, allow::Pattern, redact::Redaction};

/// The credential of that name, if it may go to that host.
pub(super) fn find<'a>(
    grant: &'a HttpGrant,
    name: &str,
    host: &Host<String>,
    port: u16,
    usual: u16,
) -> Result<&'a CredentialGrant, Failure> {
    let Some(credential) = grant.credentials.iter().find(|c| c.name == name) else {
        return Err(Failure::denied(format!(
            "the credential \"{}\" is not granted",
            name.escape_debug()
        ))
        .field("credential")
        .remedy("add it to credentials in [grants.http] of the instance file"));
    };
    let fits = |text: &String| Pattern::parse(text).is_some_and(|p| p.allows(host, port, usual));
    if credential.hosts.is_empty() || credential.hosts.iter().any(fits) {
        return Ok(credential);
    }
    Err(Failure::denied(format!(
        "the credential \"{name}\" is not for the host \"{host}\""
    ))
    .field("credential")
    .remedy("add the host to hosts of the credential in [grants.http] of the instance file"))
}

/// Whether a header belongs to a credential, so that no guest may set it.
pub(super) fn owns(credential: &CredentialGrant, header: &HeaderName) -> bool {
    match &credential.inject {
        Injection::Header(name) => {
            HeaderName::from_bytes(name.as_bytes()).is_ok_and(|own| own == header)
        }
        Injection::AwsSigv4(_) => *header == AUTHORIZATION || sigv4::HEADERS.contains(header),
        Injection::Bearer
        | Injection::Basic
        | Injection::Oauth2(_)
        | Injection::GoogleServiceAccount(_) => *header == AUTHORIZATION,
    }
}

/// The token that went into a request.
pub(super) struct Used {
    pub(super) token: Secret,
    /// It was there before this request: it may have been taken back since, and another one be good.
    pub(super) kept: bool,
}

/// Puts a credential into a request, and its values into the redaction. Tells of the token, where there is one.
pub(super) async fn authorize(
    client: &Client,
    owner: &InstanceName,
    grant: &HttpGrant,
    credential: &CredentialGrant,
    request: &mut Outgoing,
    redaction: &mut Redaction,
) -> Result<Option<Used>, Failure> {
    let (name, source) = (&credential.name, &credential.source);
    let one = |header: HeaderName, text: Zeroizing<String>| {
        sensitive(credential, &text).map(|value| vec![(header, value)])
    };
    let bearer = |token: &str| one(AUTHORIZATION, Zeroizing::new(format!("Bearer {token}")));
    let mut used = None;
    let headers = match &credential.inject {
        Injection::Bearer => {
            let value = client.credentials().line(name, source).await?;
            redaction.add(value.expose().as_bytes());
            bearer(value.expose())?
        }
        Injection::Basic => {
            let value = client.credentials().line(name, source).await?;
            let password = value
                .expose()
                .split_once(':')
                .map_or("", |(_, password)| password);
            [value.expose(), password]
                .into_iter()
                .for_each(|value| redaction.add(value.as_bytes()));
            one(
                AUTHORIZATION,
                Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(value.expose()))),
            )?
        }
        Injection::Header(header) => {
            let header = HeaderName::from_bytes(header.as_bytes())
                .map_err(|_| failed(credential, "its grant names a header that is none"))?;
            let value = client.credentials().line(name, source).await?;
            redaction.add(value.expose().as_bytes());
            one(header, Zeroizing::new(value.expose().to_owned()))?
        }
        Injection::AwsSigv4(scope) => {
            let value = client.credentials().text(name, source).await?;
            let keys =
                sigv4::Keys::parse(value.expose()).map_err(|reason| failed(credential, &reason))?;
            [Some(&keys.secret), keys.session.as_ref()]
                .into_iter()
                .flatten()
                .for_each(|value| redaction.add(value.as_bytes()));
            sigv4::sign(&keys, scope, request).map_err(|reason| failed(credential, &reason))?
        }
        Injection::Oauth2(_) | Injection::GoogleServiceAccount(_) => {
            let value = client.credentials().text(name, source).await?;
            let (token, kept) = client
                .tokens()
                .get(client, owner, grant, credential, &value)
                .await?;
            used = Some(Used {
                token: token.clone(),
                kept,
            });
            [
                value.expose().lines().next().unwrap_or_default(),
                token.expose(),
            ]
            .into_iter()
            .for_each(|value| redaction.add(value.as_bytes()));
            bearer(token.expose())?
        }
    };
    for (name, value) in headers {
        request.headers.insert(name, value);
    }
    Ok(used)
}

fn sensitive(credential: &CredentialGrant, text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        failed(
            credential,
            "its value has characters that no header may have",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn failed(credential: &CredentialGrant, reason: &str) -> Failure {
    Failure::denied(format!(
        "the credential \"{}\" can't be used: {reason}",
        credential.name
    ))
    .field("credential")
}
