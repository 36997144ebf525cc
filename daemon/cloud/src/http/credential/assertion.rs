//! Assertions of a Google service account: its key file, and what is signed with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use tradewind_core::grant::GoogleServiceAccount;
use zeroize::{Zeroize, Zeroizing};

/// Token endpoints that need not be named in a grant.
const OWN: [&str; 3] = [
    "https://oauth2.googleapis.com/token",
    "https://www.googleapis.com/oauth2/v4/token",
    "https://accounts.google.com/o/oauth2/token",
];
/// As long as such an assertion may be good for.
const LIFE: Duration = Duration::from_secs(3600);

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.private_key.zeroize();
    }
}

/// A service account's key.
pub(super) struct Key {
    file: KeyFile,
    /// Where its assertions go.
    pub(super) endpoint: String,
}

#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: Option<String>,
    #[serde(default)]
    token_uri: Option<String>,
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

impl Key {
    /// Reads a key file. No message quotes it.
    pub(super) fn parse(text: &str, account: &GoogleServiceAccount) -> Result<Self, String> {
        let file: KeyFile = serde_json::from_str(text)
            .map_err(|_| "its value is not the JSON of a service account's key file".to_owned())?;
        let told = file.token_uri.as_deref().unwrap_or(OWN[0]);
        let endpoint = match &account.token_url {
            Some(granted) => granted.clone(),
            None if OWN.contains(&told) => told.to_owned(),
            None => return Err("its key names a token endpoint that is neither Google's own nor the token-url of its grant".to_owned()),
        };
        Ok(Self { file, endpoint })
    }

    /// A signed assertion that this account asks for a token: a JSON web token of RS256 (RFC 7515, RFC 7518 section 3.3). Takes milliseconds of
    /// processor time.
    pub(super) fn assertion(&self, scope: &str) -> Result<Zeroizing<String>, String> {
        let key = rsa_key(&self.file.private_key).ok_or_else(|| {
            "its private_key is no RSA key in PEM of 2048 bits or more".to_owned()
        })?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let claims = Claims {
            iss: &self.file.client_email,
            scope,
            aud: &self.endpoint,
            iat: now.as_secs(),
            exp: now.saturating_add(LIFE).as_secs(),
        };
        let header = Header {
            typ: "JWT",
            alg: "RS256",
            kid: self.file.private_key_id.as_deref(),
        };
        let failed = |_| "nothing can be signed with its private_key".to_owned();
        let encoded = |json: Result<Vec<u8>, serde_json::Error>| {
            json.map(|bytes| URL_SAFE_NO_PAD.encode(bytes))
                .map_err(|e| e.to_string())
        };
        let signed = format!(
            "{}.{}",
            encoded(serde_json::to_vec(&header))?,
            encoded(serde_json::to_vec(&claims))?
        );
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )
        .map_err(failed)?;
        Ok(Zeroizing::new(format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(signature)
        )))
    }
}

/// Both forms that keys come in: Google's files have PKCS #8.
fn rsa_key(pem: &str) -> Option<RsaKeyPair> {
    match PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).ok(),
        _ => None,
    }
}
