//! AWS Signature Version 4 over a whole request: method, address, headers, body.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign as signed,
    },
    sign::v4,
};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use tradewind_core::grant::AwsSigv4;
use zeroize::Zeroizing;

use super::super::Outgoing;

/// What a signature brings with it, besides `Authorization`.
pub(super) const HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-amz-date"),
    HeaderName::from_static("x-amz-security-token"),
    HeaderName::from_static("x-amz-content-sha256"),
];

/// A key of an account.
pub(super) struct Keys {
    id: String,
    pub(super) secret: Zeroizing<String>,
    pub(super) session: Option<Zeroizing<String>>,
}

/// What a `credential_process` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl Keys {
    /// Reads `KEY_ID:SECRET[:SESSION]` or the JSON of a `credential_process`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.trim_start().starts_with('{') {
            // The parser's own message may quote the text.
            let printed: Printed = serde_json::from_str(text).map_err(|_| {
                "its value is no JSON with \"AccessKeyId\" and \"SecretAccessKey\"".to_owned()
            })?;
            let (secret, session) = (
                Zeroizing::new(printed.secret_access_key),
                printed.session_token.map(Zeroizing::new),
            );
            return Ok(Self {
                id: printed.access_key_id,
                secret,
                session,
            });
        }
        let mut parts = text
            .lines()
            .next()
            .unwrap_or_default()
            .splitn(3, ':')
            .map(str::trim);
        match (parts.next(), parts.next()) {
            (Some(id), Some(secret)) if !id.is_empty() && !secret.is_empty() => Ok(Self {
                id: id.to_owned(),
                secret: Zeroizing::new(secret.to_owned()),
                session: parts
                    .next()
                    .filter(|session| !session.is_empty())
                    .map(|session| Zeroizing::new(session.to_owned())),
            }),
            _ => Err("its value is not of the form KEY_ID:SECRET".to_owned()),
        }
    }
}

/// The headers that sign this request at this moment.
pub(super) fn sign(
    keys: &Keys,
    scope: &AwsSigv4,
    request: &Outgoing,
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    at(SystemTime::now(), keys, scope, request)
}

fn at(
    now: SystemTime,
    keys: &Keys,
    scope: &AwsSigv4,
    request: &Outgoing,
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let session = keys.session.as_ref().map(|session| session.to_string());
    let identity = Credentials::new(
        keys.id.as_str(),
        keys.secret.as_str(),
        session,
        None,
        "grant",
    )
    .into();
    let mut settings = SigningSettings::default();
    if scope.service == "s3" {
        // The object store takes paths as they are, and wants the body's digest in a header.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&scope.region)
        .name(&scope.service)
        .time(now)
        .settings(settings)
        .build()
        .map_err(|_| "its grant lacks the service or the region".to_owned())?
        .into();
    let unsignable = |_| "this request can't be signed".to_owned();
    let headers = request
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable = SignableRequest::new(
        request.method.as_str(),
        request.url.as_str(),
        headers,
        SignableBody::Bytes(&request.body),
    );
    let (instructions, _) = signed(signable.map_err(unsignable)?, &params)
        .map_err(unsignable)?
        .into_parts();
    let header = |(name, value): (&str, &str)| {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    };
    instructions
        .headers()
        .map(header)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| "its value has characters that no header may have".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::{HeaderMap, Method, header::AUTHORIZATION};

    use super::*;

    /// Of the published suite: the same key and moment for all, with the signatures that come of them.
    #[test]
    fn requests_are_signed_as_the_published_examples() {
        let keys = Keys::parse("AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n").unwrap();
        let scope = AwsSigv4 {
            service: "service".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let moment = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        for (method, url, body, signature) in [
            (
                "GET",
                "https://example.amazonaws.com/",
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                "https://example.amazonaws.com/",
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "GET",
                "https://example.amazonaws.com/?Param2=value2&Param1=value1",
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "POST",
                "https://example.amazonaws.com/?Param1=value1",
                "",
                "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            ),
        ] {
            let request = Outgoing {
                method: Method::from_bytes(method.as_bytes()).unwrap(),
                url: url.parse().unwrap(),
                headers: HeaderMap::new(),
                body: body.as_bytes().to_vec(),
            };
            let headers: HeaderMap = at(moment, &keys, &scope, &request)
                .unwrap()
                .into_iter()
                .collect();
            let told = headers[AUTHORIZATION].to_str().unwrap();
            assert!(
                told.ends_with(&format!("Signature={signature}")),
                "{method} {url}: {told}"
            );
            assert!(
                told.contains("Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"),
                "{told}"
            );
            assert_eq!(headers["x-amz-date"], "20150830T123600Z");
        }
    }

    #[test]
    fn keys_are_read_in_both_forms_and_what_is_neither_is_not_quoted() {
        let told = |text: &str| {
            Keys::parse(text).map(|keys| {
                (
                    keys.id,
                    keys.secret.to_string(),
                    keys.session.map(|s| s.to_string()),
                )
            })
        };
        assert_eq!(
            told("id:secret").unwrap(),
            ("id".to_owned(), "secret".to_owned(), None)
        );
        assert_eq!(
            told("id:secret:to:ken\n").unwrap(),
            (
                "id".to_owned(),
                "secret".to_owned(),
                Some("to:ken".to_owned())
            )
        );
        let printed = r#"{"Version": 1, "AccessKeyId": "id", "SecretAccessKey": "secret", "SessionToken": "token", "Expiration": "2030-01-01T00:00:00Z"}"#;
        assert_eq!(
            told(printed).unwrap(),
            (
                "id".to_owned(),
                "secret".to_owned(),
                Some("token".to_owned())
            )
        );
        for text in [
            "hidden",
            ":hidden",
            "hidden:",
            "{\"AccessKeyId\": \"hidden\"}",
            "{hidden",
        ] {
            assert!(!told(text).unwrap_err().contains("hidden"));
        }
    }
}
