//! The grant of the capability `containers`.

use serde::{Deserialize, Serialize};

/// Containers of an engine that speaks the Docker Engine API (dockerd, podman).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ContainersGrant {
    /// The engine's Unix socket, as an absolute path.
    #[serde(default = "ContainersGrant::default_socket")]
    pub socket: String,
    /// Images that may be run: names, or patterns with `*` (`registry.example.com/team/*`). `["*"]` for any.
    pub images: Vec<String>,
}

impl ContainersGrant {
    fn default_socket() -> String {
        "/var/run/docker.sock".to_owned()
    }
}
