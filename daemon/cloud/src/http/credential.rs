//! Credentials: found for a host, read from their source, put into a header. A value never leaves this module but in a header marked
//! as sensitive; it must not reach a message or a log.

use std::path::Path;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use tradewind_core::{
    failure::Failure,
    grant::{CredentialGrant, CredentialSource, HttpGrant, Injection},
};
use url::Host;

use super::allow::Pattern;

/// The longest value taken from a file, in bytes.
const LONGEST: u64 = 64 << 10;

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
pub(super) async fn inject(credential: &CredentialGrant) -> Result<(HeaderName, HeaderValue), Failure> {
    let failed =
        |reason: &str| Failure::denied(format!("the credential \"{}\" can't be used: {reason}", credential.name)).field("credential");
    let name = header(credential).ok_or_else(|| failed("its grant names a header that is none"))?;
    let value = match &credential.source {
        CredentialSource::Env(variable) => {
            std::env::var(variable).map_err(|_| failed(&format!("the daemon's environment variable \"{variable}\" is not set")))?
        }
        CredentialSource::File(path) => first_line(Path::new(path)).await.map_err(|reason| failed(&format!("its file {reason}")))?,
    };
    if value.is_empty() {
        return Err(failed("its value is empty"));
    }
    let text = match &credential.inject {
        Injection::Bearer => format!("Bearer {value}"),
        Injection::Basic => format!("Basic {}", BASE64_STANDARD.encode(&value)),
        Injection::Header(_) => value,
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| failed("its value has characters that no header may have"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

async fn first_line(path: &Path) -> Result<String, &'static str> {
    use tokio::io::AsyncReadExt;
    if !path.is_absolute() {
        return Err("is not given by an absolute path");
    }
    let file = tokio::fs::File::open(path).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => "does not exist",
        std::io::ErrorKind::PermissionDenied => "may not be read by the daemon",
        _ => "can't be opened",
    })?;
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).await.map_err(|_| "can't be read as text")?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
