//! What is remembered of an allocation between calls. A later version must read it: fields are only added, with defaults.

use serde::{Deserialize, Serialize};

use crate::types::{Exposure, Port, Protocol};

/// An allocation as the last apply left it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The version of this form.
    pub version: u32,
    /// Where its instances are listed.
    #[serde(rename = "region")]
    pub place: String,
    /// Of the workload and the size: members of another one are out of date.
    pub spec: String,
    /// The host's token of the last apply.
    pub token: String,
    /// How many replicas the last apply asked for.
    pub replicas: u32,
    /// The instances that are known.
    pub members: Vec<Member>,
    /// The ports of the workload whose endpoints are told.
    #[serde(default)]
    pub ports: Vec<Wired>,
}

/// The instance of one replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The replica's index, from 0.
    pub index: u32,
    /// The cloud's name for the instance.
    pub id: String,
    /// The token it was created with; "" where that isn't known.
    pub token: String,
    /// The how-manieth instance under one token of the host.
    pub turn: u32,
    /// By the cloud's clock.
    pub created_at: u64,
    /// Since when it is known, by ours.
    pub since: u64,
}

/// A port whose endpoint is to be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wired {
    name: String,
    protocol: u8,
    exposure: u8,
    /// 0 where the cloud chooses it for each instance.
    #[serde(default)]
    number: u16,
}

const PROTOCOLS: [Protocol; 5] = [
    Protocol::Tcp,
    Protocol::Udp,
    Protocol::Http,
    Protocol::Https,
    Protocol::Grpc,
];
const EXPOSURES: [Exposure; 3] = [Exposure::Local, Exposure::Internal, Exposure::Public];

impl State {
    pub(super) fn member(&self, index: u32) -> Option<&Member> {
        self.members.iter().find(|member| member.index == index)
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.members.iter().any(|member| member.id == id)
    }
}

impl Wired {
    /// A port that instances serve under this number; 0 where the cloud chooses one.
    pub fn of(port: &Port, number: u16) -> Self {
        Self {
            name: port.name.clone(),
            protocol: port.protocol as u8,
            exposure: port.exposure as u8,
            number,
        }
    }

    pub(super) fn number(&self) -> Option<u16> {
        Some(self.number).filter(|number| *number != 0)
    }

    /// The port's name, its protocol and who may reach it.
    pub(super) fn told(&self) -> (String, Protocol, Exposure) {
        let protocol = PROTOCOLS
            .into_iter()
            .find(|p| *p as u8 == self.protocol)
            .unwrap_or(Protocol::Tcp);
        let exposure = EXPOSURES
            .into_iter()
            .find(|e| *e as u8 == self.exposure)
            .unwrap_or(Exposure::Internal);
        (self.name.clone(), protocol, exposure)
    }
}
