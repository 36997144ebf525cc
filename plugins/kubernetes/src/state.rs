//! What is remembered of an allocation between calls. A later version must read it: fields are only added, with defaults.

use serde::{Deserialize, Serialize};
use tradewind_plugin_sdk::{host::Reference, types::Protocol};

use crate::names;

/// An allocation as the last apply left it. Everything is named after the allocation, so that kinds are enough to find it again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct State {
    pub(crate) version: u32,
    pub(crate) namespace: String,
    pub(crate) work: Work,
    /// Kinds of the objects beside the Deployment or the Jobs.
    pub(crate) beside: Vec<Beside>,
    pub(crate) ports: Vec<Wired>,
    /// The most replicas that an autoscaler may make of it.
    pub(crate) autoscaled: Option<u32>,
    /// The name of what the allocations of its task share in the mesh.
    pub(crate) mesh: Option<String>,
    /// The image that its pods are made of.
    pub(crate) image: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Work {
    Service { replicas: u32 },
    Jobs { replicas: u32 },
}

impl Default for Work {
    fn default() -> Self {
        Self::Service { replicas: 0 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Beside {
    Service,
    PublicService,
    Autoscaler,
    DisruptionBudget,
    Config,
    Secret,
}

/// A port as callers reach it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wired {
    pub(crate) name: String,
    pub(crate) protocol: String,
    /// Inside the pod.
    pub(crate) number: u16,
    /// Of the service.
    pub(crate) published: u16,
    pub(crate) public: bool,
}

impl Beside {
    pub(crate) const ALL: [Self; 6] = [
        Self::Service,
        Self::PublicService,
        Self::Autoscaler,
        Self::DisruptionBudget,
        Self::Config,
        Self::Secret,
    ];

    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Service | Self::PublicService => "Service",
            Self::Autoscaler => "HorizontalPodAutoscaler",
            Self::DisruptionBudget => "PodDisruptionBudget",
            Self::Config => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    pub(crate) fn name(self, allocation: &str) -> String {
        match self {
            Self::PublicService => names::public(allocation),
            _ => allocation.to_owned(),
        }
    }
}

impl State {
    /// Every object of the allocation alone.
    pub(crate) fn objects(&self, allocation: &str) -> Vec<Reference> {
        let reference = |kind: &str, name: String| Reference {
            kind: kind.to_owned(),
            namespace: self.namespace.clone(),
            name,
        };
        let mut all = match self.work {
            Work::Service { .. } => vec![reference("Deployment", allocation.to_owned())],
            Work::Jobs { replicas } => (0..replicas)
                .map(|index| reference("Job", names::job(allocation, index)))
                .collect(),
        };
        all.extend(
            self.beside
                .iter()
                .map(|one| reference(one.kind(), one.name(allocation))),
        );
        all
    }
}

pub(crate) fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Http => "http",
        Protocol::Https => "https",
        Protocol::Grpc => "grpc",
    }
}

impl Wired {
    pub(crate) fn protocol(&self) -> Protocol {
        match self.protocol.as_str() {
            "udp" => Protocol::Udp,
            "http" => Protocol::Http,
            "https" => Protocol::Https,
            "grpc" => Protocol::Grpc,
            _ => Protocol::Tcp,
        }
    }
}
