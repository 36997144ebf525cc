//! What is remembered of an allocation between calls. A later version must read it: fields are only added, with defaults.

use serde::{Deserialize, Serialize};
use tradewind_plugin_sdk::types::{Exposure, Port, Protocol};

/// An allocation as the last apply left it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) version: u32,
    pub(crate) region: String,
    /// Of the workload and the size: members of another one are out of date.
    pub(crate) spec: String,
    /// The host's token of the last apply.
    pub(crate) token: String,
    pub(crate) replicas: u32,
    pub(crate) members: Vec<Member>,
    #[serde(default)]
    pub(crate) ports: Vec<Wired>,
}

/// The instance of one replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) index: u32,
    pub(crate) id: String,
    /// The token it was created with; "" where that isn't known.
    pub(crate) token: String,
    /// The how-manieth instance under one token of the host.
    pub(crate) turn: u32,
    /// By the cloud's clock.
    pub(crate) created_at: u64,
    /// Since when it is known, by ours.
    pub(crate) since: u64,
}

/// A port whose endpoint is to be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wired {
    name: String,
    protocol: u8,
    exposure: u8,
}

const PROTOCOLS: [Protocol; 5] = [Protocol::Tcp, Protocol::Udp, Protocol::Http, Protocol::Https, Protocol::Grpc];
const EXPOSURES: [Exposure; 3] = [Exposure::Local, Exposure::Internal, Exposure::Public];

impl State {
    pub(crate) fn member(&self, index: u32) -> Option<&Member> {
        self.members.iter().find(|member| member.index == index)
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.members.iter().any(|member| member.id == id)
    }
}

impl Wired {
    pub(crate) fn of(port: &Port) -> Self {
        Self { name: port.name.clone(), protocol: port.protocol as u8, exposure: port.exposure as u8 }
    }

    /// The port's name, its protocol and who may reach it.
    pub(crate) fn told(&self) -> (String, Protocol, Exposure) {
        let protocol = PROTOCOLS.into_iter().find(|p| *p as u8 == self.protocol).unwrap_or(Protocol::Tcp);
        let exposure = EXPOSURES.into_iter().find(|e| *e as u8 == self.exposure).unwrap_or(Exposure::Internal);
        (self.name.clone(), protocol, exposure)
    }
}
