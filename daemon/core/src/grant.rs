//! Grants: the operator's permission for a plugin instance to use a capability, with limits. Nothing is open by default.

mod aws;
mod containers;
mod http;
mod kubernetes;
pub mod pattern;
mod process;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    aws::{AwsChain, AwsCredentials, AwsGrant},
    containers::{ContainersGrant, RegistryGrant, RegistrySource},
    http::{AwsSigv4, CredentialGrant, GoogleServiceAccount, HttpGrant, Injection, Oauth2},
    kubernetes::KubernetesGrant,
    process::{ProcessGrant, TEMPORARY, UserRange},
};

/// The capabilities lent to one plugin instance: the `[grants]` of its instance file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Grants {
    pub process: Option<ProcessGrant>,
    pub http: Option<HttpGrant>,
    pub containers: Option<ContainersGrant>,
    pub kubernetes: Option<KubernetesGrant>,
    pub aws: Option<AwsGrant>,
    /// Not lent to the plugin: what the daemon itself may do with the addresses that it reports.
    pub probe: Option<ProbeGrant>,
}

/// An inclusive range of port numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PortRange {
    pub from: u16,
    pub to: u16,
}

/// Health checks that the daemon makes of the endpoints this instance reports, where its cloud does not know how a replica is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProbeGrant {
    /// `*` for all public addresses; `vm.example.com` or `*.example.com` for public ones of these names; `10.0.0.0/8` or an address for
    /// exactly those, private ones included. Link-local and metadata addresses never.
    pub hosts: Vec<String>,
}

/// Where a credential's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum CredentialSource {
    /// An environment variable of the daemon.
    Env(String),
    /// A file, read anew each time: its first line, or all of it where the credential is a document.
    File(String),
    /// What a program prints, likewise, asked for again after five minutes or a refusal. The program and its arguments; no shell.
    Command(Vec<String>),
    /// A value that `tradewind credential seal` has stored in the data folder, by its name.
    Sealed(String),
    /// A credential of the daemon's own settings (`[credentials]`), by its name there.
    Credential(String),
}

impl std::fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(variable) => write!(f, "environment variable {variable}"),
            Self::File(path) => write!(f, "file {path}"),
            // Its arguments may be nobody's business.
            Self::Command(words) => write!(f, "program {}", words.first().map_or("", String::as_str)),
            Self::Sealed(name) => write!(f, "sealed {name}"),
            Self::Credential(name) => write!(f, "credential {name}"),
        }
    }
}
