//! Why an offer is no candidate, for people and for counting.

use std::fmt;

use super::{Spread, recorded::Measure};
use crate::base::{
    names::{Actor, InstanceName},
    units::{Bytes, Instant, MicroUsd, MilliCpu, Millis},
};

/// Why an offer is no candidate. The text is the same for every offer that fails the same way, so that reasons can be counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exclusion {
    /// The constraints leave this provider out.
    Provider(InstanceName),
    /// This provider can't do what the task needs.
    Feature(InstanceName, &'static str),
    /// The constraints leave its region out.
    Region,
    /// It lacks this label with this value.
    Label(String, String),
    /// It may be taken back at any time, and the constraints do not allow that.
    Spot,
    /// It has fewer cores than these.
    Cpu(MilliCpu),
    /// It has less memory than this.
    Memory(Bytes),
    /// It has less local disk than this.
    Disk(Bytes),
    /// It has not these accelerators.
    Accelerator(String),
    /// A replica costs more per hour than this.
    Price(MicroUsd),
    /// A job of this estimate would take longer there than it may.
    Deadline(Millis),
    /// Those of the same word are elsewhere.
    Affinity(String, Spread),
    /// Another of the same word is there.
    AntiAffinity(String, Spread),
    /// It is full.
    Capacity,
    /// The price was quoted longer ago than quotes are good for.
    Stale(Millis),
    /// The region has been silent for so long that what ran there counts as lost.
    Lost(InstanceName, String),
    /// It is left alone for a while after a failure.
    CoolingDown {
        /// Until when.
        until: Instant,
        /// The failure that led to it.
        cause: String,
    },
    /// The region has not answered lately.
    CircuitOpen {
        /// The provider instance.
        provider: InstanceName,
        /// The region.
        region: String,
        /// When a call tries again.
        until: Instant,
        /// The failure that led to it.
        cause: String,
    },
    /// The region has said when to come again.
    Throttled {
        /// The provider instance.
        provider: InstanceName,
        /// The region.
        region: String,
        /// When calls may go again.
        until: Instant,
    },
    /// The provider has refused its credentials or permissions.
    Degraded {
        /// The provider instance.
        provider: InstanceName,
        /// What it said.
        cause: String,
    },
    /// The provider has refused what is to run, or has no room for it. `lasting`: it can never run it.
    Refused {
        /// The provider instance.
        provider: InstanceName,
        /// What it said.
        cause: String,
        /// It can never run it as it is.
        lasting: bool,
    },
    /// A port of the provider's machine is taken. `own`: by another replica of the same task.
    Port {
        /// The provider instance.
        provider: InstanceName,
        /// The port.
        number: u16,
        /// Another replica of the same task has it.
        own: bool,
    },
    /// Somebody has closed the place to new replicas.
    Cordoned {
        /// `provider`, or `provider/region`.
        place: String,
        /// Who cordoned it.
        by: Actor,
        /// Since when.
        since: Instant,
        /// Why. Empty: nobody said.
        reason: String,
    },
    /// It has failed there too often.
    Left {
        /// The last failure there.
        cause: String,
    },
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider(name) => write!(
                f,
                "provider \"{name}\" is not among the placement's providers"
            ),
            Self::Feature(name, what) => write!(f, "provider \"{name}\" does not run {what}"),
            Self::Region => f.write_str("the region is not among the placement's regions"),
            Self::Label(key, value) => write!(f, "the label {key}={value} is missing"),
            Self::Spot => f.write_str("spot offers are not allowed (placement.spot)"),
            Self::Cpu(need) => write!(f, "fewer cores than {need}"),
            Self::Memory(need) => write!(f, "less memory than {need}"),
            Self::Disk(need) => write!(f, "less disk than {need}"),
            Self::Accelerator(need) => write!(f, "no {need}"),
            Self::Price(max) => write!(f, "costs more than {max} per hour (placement.maxPrice)"),
            Self::Deadline(most) => write!(f, "takes longer than {most} there (deadline)"),
            Self::Affinity(word, over) => {
                write!(
                    f,
                    "not in the {} where the other tasks with affinity \"{word}\" are (placement.affinity)",
                    over.word()
                )
            }
            Self::AntiAffinity(word, over) => {
                write!(
                    f,
                    "another task with the anti-affinity \"{word}\" is in the {} (placement.antiAffinity)",
                    over.word()
                )
            }
            Self::Capacity => f.write_str("no capacity left"),
            Self::Stale(ttl) => write!(f, "the quote is older than {ttl} (controller.quote-ttl)"),
            Self::Lost(provider, region) => {
                write!(
                    f,
                    "region \"{region}\" of provider \"{provider}\" counts as lost until it answers again"
                )
            }
            Self::CoolingDown { until, cause } => {
                write!(f, "cooling down until {until} because of {cause}")
            }
            Self::CircuitOpen {
                provider,
                region,
                until,
                cause,
            } => {
                write!(
                    f,
                    "the circuit to {} is open until {until}: {cause}",
                    place(provider, region)
                )
            }
            Self::Throttled {
                provider,
                region,
                until,
            } => write!(f, "{} throttles until {until}", place(provider, region)),
            Self::Degraded { provider, cause } => {
                write!(f, "provider \"{provider}\" is degraded: {cause}")
            }
            Self::Cordoned {
                place,
                by,
                since,
                reason,
            } => {
                let why = if reason.is_empty() { "" } else { ": " };
                write!(
                    f,
                    "\"{place}\" is cordoned by {by} since {since}{why}{reason} (`tradewind uncordon {place}` lifts it)"
                )
            }
            Self::Left { cause } => write!(f, "it has failed there too often: {cause}"),
            Self::Refused {
                provider, cause, ..
            } => write!(f, "provider \"{provider}\" refuses it: {cause}"),
            Self::Port {
                provider,
                number,
                own: false,
            } => write!(
                f,
                "the port \"{number}\" is taken on the machine of \"{provider}\""
            ),
            Self::Port {
                provider,
                number,
                own: true,
            } => {
                write!(
                    f,
                    "the machine of \"{provider}\" has the port \"{number}\" once, and another replica of the task has it"
                )
            }
        }
    }
}

impl Exclusion {
    /// The text without times, which differ from one look to the next.
    pub(super) fn lasting(&self) -> String {
        match self {
            Self::CoolingDown { cause, .. } => format!("cooling down because of {cause}"),
            Self::CircuitOpen {
                provider,
                region,
                cause,
                ..
            } => format!(
                "the circuit to {} is open: {cause}",
                place(provider, region)
            ),
            Self::Throttled {
                provider, region, ..
            } => format!("{} throttles", place(provider, region)),
            other => other.to_string(),
        }
    }

    /// Whether it holds as long as the manifest and the provider stay as they are.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Provider(_)
            | Self::Feature(..)
            | Self::Region
            | Self::Label(..)
            | Self::Spot
            | Self::Cpu(_)
            | Self::Memory(_)
            | Self::Disk(_)
            | Self::Accelerator(_)
            | Self::Deadline(_) => true,
            Self::Refused { lasting, .. } => *lasting,
            Self::Port { own, .. } => *own,
            // Prices, neighbours, what is left and how a place does change by themselves.
            Self::Price(_)
            | Self::Affinity(..)
            | Self::AntiAffinity(..)
            | Self::Capacity
            | Self::Stale(_)
            | Self::Lost(..)
            | Self::Left { .. }
            | Self::Cordoned { .. }
            | Self::CoolingDown { .. }
            | Self::CircuitOpen { .. }
            | Self::Throttled { .. }
            | Self::Degraded { .. } => false,
        }
    }

    /// Which property of the offer it is about.
    pub fn measure(&self) -> Measure {
        match self {
            Self::Provider(_) => Measure::Provider,
            Self::Region => Measure::Region,
            Self::Cpu(_) => Measure::Cpu,
            Self::Memory(_) => Measure::Memory,
            Self::Disk(_) => Measure::Disk,
            Self::Accelerator(_) => Measure::Accelerator,
            Self::Price(_) => Measure::Hourly,
            Self::Capacity => Measure::Capacity,
            Self::Stale(_) => Measure::Quote,
            _ => Measure::Nothing,
        }
    }
}

fn place(provider: &InstanceName, region: &str) -> String {
    if region.is_empty() {
        format!("\"{provider}\"")
    } else {
        format!("\"{provider}/{region}\"")
    }
}
