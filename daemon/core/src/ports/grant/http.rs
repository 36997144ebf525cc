//! The grant of the capability `http`: hosts, methods, credentials, secrets.

use serde::{Deserialize, Serialize};

use super::{CredentialSource, Entry};
use crate::base::{
    names::Namespace,
    units::{Bytes, Millis},
};

/// Outbound HTTP to listed hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpGrant {
    /// `host` or `host:port`; `*.example.com` for all below it. Port 443 (80 for http) when none is given; `:*` for any port.
    pub hosts: Vec<String>,
    /// Default: GET, HEAD, POST, PUT, PATCH, DELETE.
    #[serde(default = "HttpGrant::default_methods")]
    pub methods: Vec<String>,
    /// Whether `http` without TLS is allowed.
    #[serde(default)]
    pub plain_http: bool,
    /// Whether hosts may resolve to loopback, private, link-local and metadata addresses.
    #[serde(default)]
    pub private_addresses: bool,
    /// Credentials the guest may name.
    #[serde(default)]
    pub credentials: Vec<CredentialGrant>,
    /// Secrets whose values the host puts into bodies in place of `{{secret:NAME}}` and `{{secret:NAME/KEY}}`: read from files of that name
    /// in the daemon's secrets folder. They reach every host of this grant.
    #[serde(default)]
    pub secrets: Vec<Entry>,
    /// The most bytes of an answer's body.
    #[serde(default = "HttpGrant::default_response_size")]
    pub response_size: Bytes,
    /// The longest one request may take.
    #[serde(default = "HttpGrant::default_timeout")]
    pub timeout: Millis,
    /// For whose workloads a request is made.
    #[serde(skip)]
    pub namespace: Option<Namespace>,
}

impl HttpGrant {
    /// The same for workloads of one namespace. The secrets stay whole, for the values of all are looked for in what comes back; which may be
    /// sent goes by the namespace.
    pub fn for_namespace(&self, namespace: Option<&Namespace>) -> Self {
        Self {
            namespace: namespace.cloned(),
            ..self.clone()
        }
    }

    fn default_methods() -> Vec<String> {
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
            .map(str::to_owned)
            .to_vec()
    }
    fn default_response_size() -> Bytes {
        Bytes(8 << 20)
    }
    fn default_timeout() -> Millis {
        Millis::from_secs(30)
    }
}

/// A credential that the host injects, or signs with. Its value comes from the daemon's surroundings and stays there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CredentialGrant {
    /// The name the guest uses.
    pub name: String,
    /// Only for these of the grant's hosts; empty: all of them.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Where its value comes from.
    pub source: CredentialSource,
    /// How it gets into a request.
    pub inject: Injection,
}

/// How a credential enters a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Injection {
    /// `Authorization: Bearer VALUE`.
    Bearer,
    /// `Authorization: Basic …`, the value being `user:password`.
    Basic,
    /// The value as this header.
    Header(String),
    /// AWS Signature Version 4. The value is `KEY_ID:SECRET`, `KEY_ID:SECRET:SESSION_TOKEN`, or the JSON that a `credential_process` prints.
    AwsSigv4(AwsSigv4),
    /// A bearer token for which the value, a client's secret, is exchanged (OAuth 2.0 client credentials: RFC 6749, section 4.4).
    Oauth2(Oauth2),
    /// A bearer token for which a signed assertion is exchanged (RFC 7523). The value is a Google service account's key file, in JSON.
    GoogleServiceAccount(GoogleServiceAccount),
}

/// What requests are signed for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AwsSigv4 {
    /// As in the signature's scope: `s3`, `ecs`, `execute-api`.
    pub service: String,
    /// The region in the signature's scope.
    pub region: String,
}

/// Where a client gets its tokens, and who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Oauth2 {
    /// `https://login.microsoftonline.com/TENANT/oauth2/v2.0/token`. Naming it here is what grants it; guests can't reach it by that.
    pub token_url: String,
    /// The client's name at that server.
    pub client_id: String,
    /// `https://management.azure.com/.default`; empty: none is asked for.
    #[serde(default)]
    pub scope: String,
}

/// What tokens of a service account are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GoogleServiceAccount {
    /// Scopes with blanks between them.
    #[serde(default = "GoogleServiceAccount::default_scope")]
    pub scope: String,
    /// Default: the `token_uri` of the key, if that is one of Google's own.
    #[serde(default)]
    pub token_url: Option<String>,
}

impl GoogleServiceAccount {
    fn default_scope() -> String {
        "https://www.googleapis.com/auth/cloud-platform".to_owned()
    }
}
