//! AWS Signature Version 4 as a server checks it, written from the published description and independent of what signs.

use std::fmt::Write as _;

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};

/// A request as it came in.
pub(crate) struct Received<'a> {
    pub(crate) method: &'a str,
    /// As on the wire, without the query.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

fn encode(text: &[u8], slash: bool) -> String {
    text.iter().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || (slash && *byte == b'/') {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn decode(text: &str) -> Vec<u8> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let pair = text
            .get(at + 1..at + 3)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (bytes[at], pair) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

fn canonical_query(query: &str) -> String {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (encode(&decode(name), false), encode(&decode(value), false))
    };
    let mut pairs: Vec<_> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(pair)
        .collect();
    pairs.sort();
    pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&")
}

/// Whether the request was signed with this key for this service and region.
pub(crate) fn verify(
    secret: &str,
    service: &str,
    region: &str,
    request: &Received<'_>,
) -> Result<(), String> {
    let header = |name: &str| {
        request
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let authorization = header("authorization").ok_or("no authorization")?;
    let fields = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or("another algorithm")?;
    let field = |name: &str| {
        fields
            .split(", ")
            .flat_map(|f| f.split(','))
            .find_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let (signed, signature) = (
        field("SignedHeaders").ok_or("no SignedHeaders")?,
        field("Signature").ok_or("no Signature")?,
    );
    let date = header("x-amz-date").ok_or("no x-amz-date")?;
    let scope = format!("{}/{region}/{service}/aws4_request", &date[..8]);
    if !field("Credential").is_some_and(|credential| credential.ends_with(&format!("/{scope}"))) {
        return Err(format!("not in the scope {scope}"));
    }
    if !signed.split(';').any(|name| name == "host") {
        return Err("the host is not signed".to_owned());
    }
    for name in request
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-amz-"))
    {
        if !signed.split(';').any(|signed| signed == name.as_str()) {
            return Err(format!("{name} is not signed"));
        }
    }
    let headers = signed.split(';').map(|name| {
        let value = header(name).ok_or_else(|| format!("{name} was signed and has not come"))?;
        Ok(format!(
            "{name}:{}\n",
            value.split_whitespace().collect::<Vec<_>>().join(" ")
        ))
    });
    let headers = headers.collect::<Result<String, String>>()?;
    let digest = hex(&Sha256::digest(request.body));
    if service == "s3" && header("x-amz-content-sha256") != Some(&digest) {
        return Err("x-amz-content-sha256 is not the body's".to_owned());
    }
    // The object store takes the path as it came, all others encode it once more.
    let path = if service == "s3" {
        request.path.to_owned()
    } else {
        encode(request.path.as_bytes(), true)
    };
    let canonical = format!(
        "{}\n{path}\n{}\n{headers}\n{signed}\n{digest}",
        request.method,
        canonical_query(request.query)
    );
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex(&Sha256::digest(&canonical))
    );
    let key = [&date[..8], region, service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
            hmac(&key, part.as_bytes())
        });
    let expected = hex(&hmac(&key, to_sign.as_bytes()));
    if expected == signature {
        Ok(())
    } else {
        Err(format!(
            "the signature is {signature} and not {expected}, of\n{canonical}"
        ))
    }
}
