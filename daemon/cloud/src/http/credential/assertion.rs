//! Assertions of a Google service account: its key file, and what is signed with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use tradewind_core::grant::GoogleServiceAccount;
use zeroize::{Zeroize, Zeroizing};

/// Token endpoints that need not be named in a grant.
const OWN: [&str; 3] =
    ["https://oauth2.googleapis.com/token", "https://www.googleapis.com/oauth2/v4/token", "https://accounts.google.com/o/oauth2/token"];
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
        let file: KeyFile =
            serde_json::from_str(text).map_err(|_| "its value is not the JSON of a service account's key file".to_owned())?;
        let told = file.token_uri.as_deref().unwrap_or(OWN[0]);
        let endpoint = match &account.token_url {
            Some(granted) => granted.clone(),
            None if OWN.contains(&told) => told.to_owned(),
            None => return Err("its key names a token endpoint that is neither Google's own nor the token-url of its grant".to_owned()),
        };
        Ok(Self { file, endpoint })
    }

    /// A signed assertion that this account asks for a token. Takes milliseconds of processor time.
    pub(super) fn assertion(&self, scope: &str) -> Result<Zeroizing<String>, String> {
        let key =
            EncodingKey::from_rsa_pem(self.file.private_key.as_bytes()).map_err(|_| "its private_key is no RSA key in PEM".to_owned())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = Claims {
            iss: &self.file.client_email,
            scope,
            aud: &self.endpoint,
            iat: now.as_secs(),
            exp: now.saturating_add(LIFE).as_secs(),
        };
        let header = Header { kid: self.file.private_key_id.clone(), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, &claims, &key)
            .map(Zeroizing::new)
            .map_err(|_| "nothing can be signed with its private_key".to_owned())
    }
}
