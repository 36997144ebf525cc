//! Grants: the operator's permission for a plugin instance to use a capability, with limits. Nothing is open by default.

mod aws;
mod containers;
mod http;
mod kubernetes;
pub mod pattern;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    aws::{AwsChain, AwsCredentials, AwsGrant},
    containers::{ContainersGrant, RegistryGrant, RegistrySource},
    http::{AwsSigv4, CredentialGrant, GoogleServiceAccount, HttpGrant, Injection, Oauth2},
    kubernetes::KubernetesGrant,
};
use crate::units::Bytes;

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

/// Processes on the daemon's machine, run as the daemon's user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProcessGrant {
    /// Programs that may be run, as written in the workload: a name, an absolute path, or a pattern with `*` (`/usr/bin/*`). `["*"]` for any.
    pub commands: Vec<String>,
    /// Absolute folders in which a working folder may lie. Empty: only the private one.
    #[serde(default)]
    pub directories: Vec<String>,
    /// Fixed port numbers that may be asked for, as inclusive ranges. Host-chosen ports are always allowed.
    #[serde(default)]
    pub ports: Vec<PortRange>,
    /// Processor cores to promise in all, in millicores. Default: the machine's.
    #[serde(default)]
    pub cpu: Option<crate::units::MilliCpu>,
    /// Memory to promise in all. Default: the machine's.
    #[serde(default)]
    pub memory: Option<Bytes>,
    /// The most processes at once.
    #[serde(default = "ProcessGrant::default_processes")]
    pub processes: u32,
    /// Kept output per process; the oldest half goes when it is full.
    #[serde(default = "ProcessGrant::default_log_size")]
    pub log_size: Bytes,
    /// Secrets that may be passed to processes, by name: read from files of that name in the daemon's secrets folder.
    #[serde(default)]
    pub secrets: Vec<String>,
}

impl ProcessGrant {
    fn default_processes() -> u32 {
        2000
    }
    fn default_log_size() -> Bytes {
        Bytes(8 << 20)
    }
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
