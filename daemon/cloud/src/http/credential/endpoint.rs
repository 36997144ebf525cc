//! A token endpoint (RFC 6749): asked with a form, through the same client and under the same rules of addresses as every request. That the
//! grant names it is what allows it; nothing follows a redirect from it.

use std::time::Duration;

use http::{StatusCode, header::RETRY_AFTER};
use serde::Deserialize;
use serde_json::Value;
use tradewind_core::{
    failure::{Failure, FailureKind},
    grant::{CredentialGrant, HttpGrant},
    units::{Bytes, Millis},
};
use tradewind_credentials::Secret;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::{
    super::{Client, explain, parse_url, reachable, read_body, redact::Redaction},
    tokens::Token,
};

const LARGEST_ANSWER: Bytes = Bytes(256 << 10);
/// A token whose life is not told.
const UNTOLD: Duration = Duration::from_secs(300);
const LONGEST_REASON: usize = 300;

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// Seconds; some write it as a text.
    #[serde(default)]
    expires_in: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refused {
    error: String,
    error_description: String,
}

/// Asks for a token. `hidden` is what must not come back in a reason.
///
/// # Errors
/// `denied` when the endpoint may not be asked or refuses, `throttled` and `unavailable` as it says.
pub(super) async fn ask(
    client: &Client,
    grant: &HttpGrant,
    credential: &CredentialGrant,
    url: &str,
    form: &[(&str, &str)],
    hidden: &str,
) -> Result<Token, Failure> {
    let about = |failure: Failure| Failure {
        message: format!(
            "the credential \"{}\" gets no token: {}",
            credential.name, failure.message
        ),
        ..failure
    };
    let url = parse_url(url).map_err(about)?;
    reachable(grant, &url).map_err(about)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let given = form.iter().filter(|(_, value)| !value.is_empty());
    let body = Zeroizing::new(
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(given)
            .finish(),
    );
    let request = client
        .of(grant)
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "application/json");
    let response = request
        .body(body.to_string())
        .send()
        .await
        .map_err(|error| about(explain(&error, &host)))?;
    let (status, wait) = (
        response.status(),
        response.headers().get(RETRY_AFTER).cloned(),
    );
    let content = Zeroizing::new(
        read_body(response, LARGEST_ANSWER, &host)
            .await
            .map_err(about)?,
    );
    if status.is_success() {
        let granted: Granted = serde_json::from_slice(&content).map_err(|_| {
            about(Failure::unavailable(format!(
                "\"{host}\" has answered with what is no token"
            )))
        })?;
        let told = granted.expires_in.as_u64().or_else(|| {
            granted
                .expires_in
                .as_str()
                .and_then(|text| text.trim().parse().ok())
        });
        return Ok(Token::new(
            Secret::from(granted.access_token),
            told.map_or(UNTOLD, Duration::from_secs),
        ));
    }
    let wait = wait.and_then(|value| {
        value
            .to_str()
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok())
    });
    Err(about(refusal(status, &host, &content, hidden).retry_after(
        wait.map(|seconds| Millis(seconds.saturating_mul(1000))),
    )))
}

fn refusal(status: StatusCode, host: &str, content: &[u8], hidden: &str) -> Failure {
    let told: Refused = serde_json::from_slice(content).unwrap_or_default();
    let mut redaction = Redaction::default();
    redaction.add(hidden.as_bytes());
    let reason = told.error_description.lines().next().unwrap_or_default();
    let reason = redaction
        .hide_text(reason.to_owned())
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_REASON)
        .collect::<String>();
    let code = redaction
        .hide_text(told.error)
        .chars()
        .filter(|c| c.is_ascii_graphic())
        .take(64)
        .collect::<String>();
    let told = [code.as_str(), reason.as_str()]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join(": ");
    let said = if told.is_empty() {
        "no reason given".to_owned()
    } else {
        told
    };
    let message = format!("\"{host}\" answers {}: {said}", status.as_u16());
    let failure = match status {
        StatusCode::TOO_MANY_REQUESTS => Failure::new(FailureKind::Throttled, message),
        status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => Failure::unavailable(message),
        status if status.is_redirection() => Failure::denied(format!("\"{host}\" answers {} with a redirect, which is not followed", status.as_u16()))
            .remedy("let token-url in [grants.http] of the instance file name the endpoint itself"),
        _ => Failure::denied(message)
            .field("credential")
            .remedy("see that the credential in [grants.http] of the instance file names the right client, and that its value is valid and has not expired"),
    };
    if code.is_empty() {
        failure
    } else {
        failure.code(code)
    }
}
