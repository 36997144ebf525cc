//! Pretended replicas: what is remembered of an allocation, and what the clock makes of it.

use serde::{Deserialize, Serialize};
use tradewind_plugin_sdk::{
    Error, Offer,
    types::{
        Allocation, Endpoint, Exposure, Health, LogChunk, LogLine, LogQuery, Observation, Output,
        Phase, Port, PriceUnit, Protocol, Replica, Run,
    },
    units::Span,
};

use crate::{Place, Settings};

/// What is remembered of an allocation. Fields are only ever added, with a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct State {
    /// Of this form: 1.
    version: u32,
    /// The offer's id.
    pub(crate) offer: String,
    region: String,
    size: String,
    /// When each replica began, in milliseconds since the epoch.
    began: Vec<u64>,
    /// Milliseconds until a replica is ready.
    ready_after: u64,
    /// Of a job: milliseconds that it runs.
    runs_for: Option<u64>,
    exit_code: i32,
    /// Names the workload: another one means that replicas begin anew.
    workload: u64,
    /// Name, protocol, number, exposure.
    ports: Vec<(String, u8, u16, u8)>,
}

/// What a workload may say to this provider under its extension `simulated`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Extension {
    /// How long a job runs.
    duration: Option<Span>,
    /// With what it ends.
    exit_code: i32,
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
    pub(crate) fn next(
        allocation: &Allocation,
        prior: Option<Self>,
        offer: &Offer,
        settings: &Settings,
        now: u64,
    ) -> Result<Self, Error> {
        let extension = extension(allocation)?;
        let workload = fingerprint(allocation);
        let kept = prior
            .filter(|prior| prior.workload == workload)
            .map_or_else(Vec::new, |prior| prior.began);
        let began = kept
            .into_iter()
            .chain(std::iter::repeat(now))
            .take(allocation.replicas as usize)
            .collect();
        let duration = extension
            .duration
            .or(settings.job_duration)
            .unwrap_or(Span::seconds(10));
        let runs_for = matches!(allocation.workload.run, Run::Job(_))
            .then(|| (duration.millis() as f64 / offer.performance) as u64);
        Ok(Self {
            version: 1,
            offer: offer.id.clone(),
            region: offer.region.clone(),
            size: offer.size.clone(),
            began,
            ready_after: if offer.time_to_ready.is_nan() {
                0
            } else {
                offer.time_to_ready as u64
            },
            runs_for,
            exit_code: extension.exit_code,
            workload,
            ports: allocation
                .workload
                .ports
                .iter()
                .map(|port| {
                    (
                        port.name.clone(),
                        port.protocol as u8,
                        number(port),
                        port.exposure as u8,
                    )
                })
                .collect(),
        })
    }

    pub(crate) fn place<'a>(&'a self, allocation: &'a str) -> Place<'a> {
        Place {
            region: &self.region,
            size: &self.size,
            allocation,
        }
    }

    pub(crate) fn observation(
        &self,
        allocation: &str,
        instance: &str,
        now: u64,
        offer: Option<&Offer>,
    ) -> Observation {
        let replicas: Vec<Replica> = (0..)
            .zip(&self.began)
            .map(|(index, began)| self.replica(allocation, index, *began, now))
            .collect();
        let any = |phase: Phase| replicas.iter().any(|replica| replica.phase == phase);
        let phase = [Phase::Starting, Phase::Running, Phase::Failed]
            .into_iter()
            .find(|phase| any(*phase));
        let phase = phase.unwrap_or(if replicas.is_empty() {
            Phase::Gone
        } else {
            Phase::Succeeded
        });
        let live = replicas
            .iter()
            .filter(|replica| matches!(replica.phase, Phase::Starting | Phase::Running))
            .count() as u64;
        let metered = offer
            .filter(|offer| offer.price_unit == PriceUnit::Instance)
            .map(|offer| offer.price.saturating_mul(live));
        let host = format!(
            "{allocation}.{}.{instance}.example",
            if self.region.is_empty() {
                "global"
            } else {
                &self.region
            }
        );
        Observation {
            allocation: allocation.to_owned(),
            phase,
            endpoints: if phase == Phase::Running {
                self.endpoints(&host)
            } else {
                Vec::new()
            },
            replicas,
            message: "simulated: nothing really runs".to_owned(),
            conditions: Vec::new(),
            state: None,
            metered_cost: metered,
        }
    }

    fn replica(&self, allocation: &str, index: u32, began: u64, now: u64) -> Replica {
        let ready = began.saturating_add(self.ready_after);
        let ends = self.runs_for.map(|length| ready.saturating_add(length));
        let ended = ends.filter(|ends| now >= *ends);
        let phase = match ended {
            Some(_) if self.exit_code == 0 => Phase::Succeeded,
            Some(_) => Phase::Failed,
            None if now >= ready => Phase::Running,
            None => Phase::Starting,
        };
        let running = phase == Phase::Running;
        Replica {
            index,
            id: format!("sim-{allocation}-{index}"),
            phase,
            health: if running {
                Health::Healthy
            } else {
                Health::Unknown
            },
            endpoints: if running {
                self.endpoints(&address(allocation, index))
            } else {
                Vec::new()
            },
            message: if phase == Phase::Failed {
                format!("ended with status {}", self.exit_code)
            } else {
                String::new()
            },
            restarts: 0,
            started_at: (now >= ready).then_some(ready),
            ended_at: ended,
            exit_code: ended.map(|_| self.exit_code),
            usage: None,
        }
    }

    fn endpoints(&self, host: &str) -> Vec<Endpoint> {
        let endpoint = |(name, protocol, number, exposure): &(String, u8, u16, u8)| Endpoint {
            port: name.clone(),
            protocol: PROTOCOLS
                .get(usize::from(*protocol))
                .copied()
                .unwrap_or(Protocol::Tcp),
            host: host.to_owned(),
            number: *number,
            exposure: EXPOSURES
                .get(usize::from(*exposure))
                .copied()
                .unwrap_or(Exposure::Public),
        };
        self.ports.iter().map(endpoint).collect()
    }

    pub(crate) fn logs(&self, query: &LogQuery, now: u64) -> LogChunk {
        let wanted = |replica: u32| query.replica.is_none_or(|only| only == replica);
        let mut lines: Vec<LogLine> = Vec::new();
        for (replica, began) in (0..)
            .zip(&self.began)
            .filter(|(replica, _)| wanted(*replica))
        {
            let mut say = |time: u64, text: &str| {
                if time <= now {
                    lines.push(LogLine {
                        replica,
                        output: Output::Stdout,
                        time: Some(time),
                        text: text.to_owned(),
                    });
                }
            };
            let ready = began.saturating_add(self.ready_after);
            say(*began, "simulated: starting");
            say(ready, "simulated: running");
            if let Some(length) = self.runs_for {
                say(
                    ready.saturating_add(length),
                    &format!("simulated: ended with status {}", self.exit_code),
                );
            }
        }
        lines.sort_by_key(|line| line.time);
        let seen = query
            .after
            .as_ref()
            .and_then(|cursor| cursor.parse::<usize>().ok());
        let skip = seen.unwrap_or_else(|| lines.len().saturating_sub(query.tail as usize));
        let next = Some(lines.len().to_string());
        LogChunk {
            lines: lines.into_iter().skip(skip).collect(),
            next,
        }
    }
}

fn extension(allocation: &Allocation) -> Result<Extension, Error> {
    let Some(found) = allocation
        .workload
        .extensions
        .iter()
        .find(|entry| entry.key == "simulated")
    else {
        return Ok(Extension::default());
    };
    serde_json::from_str(&found.value)
        .map_err(|error| Error::invalid(error.to_string()).field("workload.extensions.simulated"))
}

fn number(port: &Port) -> u16 {
    let usual = match port.protocol {
        Protocol::Https => 443,
        Protocol::Http => 80,
        _ => 9000,
    };
    port.published
        .unwrap_or(if port.number == 0 { usual } else { port.number })
}

/// An address that no machine has: one of the ranges set apart for documentation (RFC 5737).
fn address(allocation: &str, index: u32) -> String {
    let lot = allocation.bytes().fold(u64::from(index), |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    let range = ["192.0.2", "198.51.100", "203.0.113"];
    format!(
        "{}.{}",
        range.get((lot % 3) as usize).unwrap_or(&"192.0.2"),
        1 + lot / 3 % 254
    )
}

/// The same for the same workload (FNV-1a of everything in it).
fn fingerprint(allocation: &Allocation) -> u64 {
    format!("{:?}", allocation.workload)
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
}
