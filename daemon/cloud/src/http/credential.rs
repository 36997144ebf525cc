//! Credentials: found for a host, read from their source, put into a header. A value never leaves this module but in a header marked
//! as sensitive; it must not reach a message or a log.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use tradewind_core::{
    failure::Failure,
    grant::{CredentialGrant, HttpGrant, Injection},
};
use tradewind_credentials::Credentials;
use url::Host;
use zeroize::Zeroizing;

use super::allow::Pattern;

/// The credential of that name, if it may go to that host.
pub(super) fn find<'a>(
    grant: &'a HttpGrant,
    name: &str,
    host: &Host<String>,
    port: u16,
    usual: u16,
) -> Result<&'a CredentialGrant, Failure> {
    let Some(credential) = grant.credentials.iter().find(|c| c.name == name) else {
        return Err(Failure::denied(format!("the credential \"{}\" is not granted", name.escape_debug()))
            .field("credential")
            .remedy("add it to credentials in [grants.http] of the instance file"));
    };
    let fits = |text: &String| Pattern::parse(text).is_some_and(|p| p.allows(host, port, usual));
    if credential.hosts.is_empty() || credential.hosts.iter().any(fits) {
        return Ok(credential);
    }
    Err(Failure::denied(format!("the credential \"{name}\" is not for the host \"{host}\""))
        .field("credential")
        .remedy("add the host to hosts of the credential in [grants.http] of the instance file"))
}

/// The header a credential travels in; none when the grant names one that can't be.
pub(super) fn header(credential: &CredentialGrant) -> Option<HeaderName> {
    match &credential.inject {
        Injection::Bearer | Injection::Basic => Some(AUTHORIZATION),
        Injection::Header(name) => HeaderName::from_bytes(name.as_bytes()).ok(),
    }
}

/// Reads the value and makes the header of it.
pub(super) async fn inject(credentials: &Credentials, credential: &CredentialGrant) -> Result<(HeaderName, HeaderValue), Failure> {
    let failed =
        |reason: &str| Failure::denied(format!("the credential \"{}\" can't be used: {reason}", credential.name)).field("credential");
    let name = header(credential).ok_or_else(|| failed("its grant names a header that is none"))?;
    let value = credentials.line(&credential.name, &credential.source).await?;
    let text = Zeroizing::new(match &credential.inject {
        Injection::Bearer => format!("Bearer {}", value.expose()),
        Injection::Basic => format!("Basic {}", BASE64_STANDARD.encode(value.expose())),
        Injection::Header(_) => value.expose().to_owned(),
    });
    let mut value = HeaderValue::from_str(&text).map_err(|_| failed("its value has characters that no header may have"))?;
    value.set_sensitive(true);
    Ok((name, value))
}
