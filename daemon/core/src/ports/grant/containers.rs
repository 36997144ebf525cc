//! The grant of the capability `containers`.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CredentialSource, Entry, PortRange, Spaces, spaces::for_namespace};
use crate::base::{
    names::Namespace,
    units::{Bytes, MilliCpu},
};

/// Containers of an engine that speaks the Docker Engine API (dockerd, podman).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ContainersGrant {
    /// The engine's Unix socket, as an absolute path.
    #[serde(default = "ContainersGrant::default_socket")]
    pub socket: String,
    /// Images that may be run, as written in the workload: names, or patterns in which `*` stands for any characters of one segment between
    /// slashes (`registry.example.com/team/*`). `["*"]` for any.
    pub images: Vec<Entry>,
    /// Whether the engine may pull granted images from their registries. Default: only those that it has are run.
    #[serde(default)]
    pub pull: bool,
    /// Credentials for registries that ask for one.
    #[serde(default)]
    pub registries: Vec<RegistryGrant>,
    /// Secrets that may be passed to containers, by name: files of the daemon's secrets folder, a namespace's own first.
    #[serde(default)]
    pub secrets: Vec<Entry>,
    /// Numbers that ports may be published under, as inclusive ranges. Numbers chosen by the engine are always allowed.
    #[serde(default)]
    pub ports: Vec<PortRange>,
    /// The machine's address that ports with the exposure `public` are published on. Default: none may be.
    #[serde(default)]
    pub public_address: Option<IpAddr>,
    /// Whether containers may use the network of the engine's machine.
    #[serde(default)]
    pub host_network: bool,
    /// Paths of the engine's machine that may be mounted, as absolute patterns in which `*` stands for any characters of one segment between
    /// slashes. Not what lies below them.
    #[serde(default)]
    pub host_paths: Vec<Entry>,
    /// Whether containers may have all rights on the engine's machine.
    #[serde(default)]
    pub privileged: bool,
    /// Processor cores to promise in all, in millicores. Default: the machine's.
    #[serde(default)]
    pub cpu: Option<MilliCpu>,
    /// Memory to promise in all. Default: the machine's.
    #[serde(default)]
    pub memory: Option<Bytes>,
    /// The most containers at once.
    #[serde(default = "ContainersGrant::default_containers")]
    pub containers: u32,
    /// Kept output per container.
    #[serde(default = "ContainersGrant::default_log_size")]
    pub log_size: Bytes,
    /// For whose workloads these limits are.
    #[serde(skip)]
    pub namespace: Option<Namespace>,
}

/// What a registry asks for before it gives an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RegistryGrant {
    /// As images begin with it: `registry.example.com`, `registry.example.com:5000`.
    pub host: String,
    /// A value of the form `user:password`.
    pub source: CredentialSource,
    /// For whose workloads images are pulled with it. Default: those of every namespace.
    #[serde(default, skip_serializing_if = "Spaces::is_all")]
    pub namespaces: Spaces,
}

/// A registry that the daemon itself asks what tags name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RegistrySource {
    /// The host, as images begin with it: `registry.example.com`, `registry.example.com:5000`,
    /// `docker.io`.
    pub host: String,
    /// Where the login comes from, a value of the form `user:password`: as in `credentials`, or
    /// `{ credential = "NAME" }` for one of those. Default: the registry is asked without a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<CredentialSource>,
}

impl ContainersGrant {
    /// What workloads of one namespace may have of it; none: nobody knows for whom it is asked, and what is for some is left out.
    pub fn for_namespace(&self, namespace: Option<&Namespace>) -> Self {
        Self {
            images: for_namespace(&self.images, namespace),
            registries: self
                .registries
                .iter()
                .filter(|r| r.namespaces.admits_known(namespace))
                .cloned()
                .collect(),
            secrets: for_namespace(&self.secrets, namespace),
            ports: PortRange::for_namespace(&self.ports, namespace),
            host_paths: for_namespace(&self.host_paths, namespace),
            namespace: namespace.cloned(),
            ..self.clone()
        }
    }

    fn default_socket() -> String {
        "/var/run/docker.sock".to_owned()
    }
    fn default_containers() -> u32 {
        1000
    }
    fn default_log_size() -> Bytes {
        Bytes(8 << 20)
    }
}
