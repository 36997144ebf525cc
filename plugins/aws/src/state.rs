//! What is remembered of an allocation between calls. A later version must read it: fields are only added, with defaults.

use serde::{Deserialize, Serialize};
use tradewind_plugin_sdk::types::{Exposure, Port, Protocol};

/// An allocation as the last apply left it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct State {
    pub(crate) version: u32,
    pub(crate) region: String,
    /// Of the workload and the size: members of another one are out of date.
    pub(crate) spec: String,
    /// The host's token of the last apply.
    pub(crate) token: String,
    pub(crate) replicas: u32,
    /// Whether they run to their end.
    #[serde(default)]
    pub(crate) job: bool,
    pub(crate) members: Vec<Member>,
    #[serde(default)]
    pub(crate) ports: Vec<Wired>,
    #[serde(default)]
    pub(crate) balancer: Option<Balancer>,
}

/// The instance of one replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Member {
    pub(crate) index: u32,
    pub(crate) id: String,
    /// How many instances of this replica the same attempt has lost.
    #[serde(default)]
    pub(crate) ordinal: u32,
    /// Since when it is known.
    pub(crate) since: u64,
    /// Since when a job's instance is seen to have ended by itself.
    #[serde(default)]
    pub(crate) ended: Option<u64>,
    /// What its job ended with, once that is known or given up.
    #[serde(default)]
    pub(crate) exit: Option<Exit>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Exit {
    Code(i32),
    /// Its console did not tell.
    Unknown,
}

/// A load balancer and what belongs to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Balancer {
    pub(crate) id: String,
    pub(crate) dns_name: String,
    pub(crate) groups: Vec<Group>,
}

/// The way of one port through it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Group {
    pub(crate) id: String,
    /// The port's name.
    pub(crate) port: String,
    /// Where instances answer.
    pub(crate) number: u16,
    /// Where callers come in.
    pub(crate) listens: u16,
}

/// A port with its number, whose endpoint is to be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Wired {
    pub(crate) name: String,
    pub(crate) number: u16,
    protocol: u8,
    exposure: u8,
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
    pub(crate) fn member(&self, index: u32) -> Option<&Member> {
        self.members.iter().find(|member| member.index == index)
    }
}

impl Member {
    pub(crate) fn new(index: u32, id: &str, ordinal: u32, since: u64) -> Self {
        Self {
            index,
            id: id.to_owned(),
            ordinal,
            since,
            ended: None,
            exit: None,
        }
    }
}

impl Wired {
    pub(crate) fn new(port: &Port, number: u16) -> Self {
        Self {
            name: port.name.clone(),
            number,
            protocol: port.protocol as u8,
            exposure: port.exposure as u8,
        }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        PROTOCOLS
            .into_iter()
            .find(|p| *p as u8 == self.protocol)
            .unwrap_or(Protocol::Tcp)
    }

    pub(crate) fn exposure(&self) -> Exposure {
        EXPOSURES
            .into_iter()
            .find(|e| *e as u8 == self.exposure)
            .unwrap_or(Exposure::Internal)
    }
}
