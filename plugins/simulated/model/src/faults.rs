//! What shall go wrong, and how it does.

use serde::Deserialize;
use tradewind_plugin_sdk::{Error, ErrorKind, host::Clock, types::Allocation, units::Span};

/// One thing that goes wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    operation: Operation,
    kind: Kind,
    /// Only there. Of no effect on `check` and `offers`, which are about the whole cloud.
    region: Option<String>,
    /// Only for this size.
    size: Option<String>,
    /// Only this share of the allocations, 0 … 1: always the same ones.
    share: Option<f64>,
    message: Option<String>,
    /// The cloud's own code.
    code: Option<String>,
    /// With `throttled`.
    retry_after: Option<Span>,
    /// With `slow`: how long.
    delay: Option<Span>,
}

/// An operation of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Is it usable?
    Check,
    /// What is on sale?
    Offers,
    /// Create or change.
    Apply,
    /// What became of it?
    Observe,
    /// Remove.
    Destroy,
    /// Output.
    Logs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Invalid,
    Denied,
    OutOfCapacity,
    Quota,
    Throttled,
    Unavailable,
    NotFound,
    Internal,
    /// It works, later.
    Slow,
    /// It never answers.
    Hang,
    /// The plugin itself breaks down.
    Trap,
}

/// What an operation is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place<'a> {
    /// "" for the whole cloud.
    pub region: &'a str,
    /// "" for any.
    pub size: &'a str,
    /// "" for none.
    pub allocation: &'a str,
}

impl<'a> Place<'a> {
    /// Where an allocation shall go.
    pub fn of(allocation: &'a Allocation) -> Self {
        Self {
            region: &allocation.offer.region,
            size: &allocation.offer.size,
            allocation: &allocation.id,
        }
    }
}

pub(crate) fn meet(
    faults: &[Fault],
    operation: Operation,
    place: Place<'_>,
    clock: &impl Clock,
    deadline: u64,
) -> Result<(), Error> {
    faults
        .iter()
        .filter(|fault| fault.operation == operation && fault.is_about(place))
        .try_for_each(|fault| fault.happen(clock, deadline))
}

impl Fault {
    fn is_about(&self, place: Place<'_>) -> bool {
        let fits =
            |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        let chosen = self
            .share
            .is_none_or(|share| place.allocation.is_empty() || lot(place.allocation) < share);
        fits(&self.region, place.region) && fits(&self.size, place.size) && chosen
    }

    fn happen(&self, clock: &impl Clock, deadline: u64) -> Result<(), Error> {
        let text = |kind: &str| {
            self.message
                .clone()
                .unwrap_or_else(|| format!("simulated fault: {kind}"))
        };
        let kind = match self.kind {
            Kind::Slow => {
                wait(
                    clock,
                    self.delay
                        .unwrap_or(Span::seconds(1))
                        .millis()
                        .min(deadline.saturating_mul(2)),
                );
                return Ok(());
            }
            Kind::Hang => {
                wait(clock, u64::MAX);
                return Ok(());
            }
            Kind::Trap => trap(&text("trap")),
            Kind::Throttled => {
                return Err(self.coded(Error::throttled(text("throttled"), self.retry_after)));
            }
            Kind::Invalid => (ErrorKind::Invalid, "invalid"),
            Kind::Denied => (ErrorKind::Denied, "denied"),
            Kind::OutOfCapacity => (ErrorKind::OutOfCapacity, "out of capacity"),
            Kind::Quota => (ErrorKind::Quota, "quota"),
            Kind::Unavailable => (ErrorKind::Unavailable, "unavailable"),
            Kind::NotFound => (ErrorKind::NotFound, "not found"),
            Kind::Internal => (ErrorKind::Internal, "internal"),
        };
        Err(self.coded(Error::new(kind.0, text(kind.1))))
    }

    fn coded(&self, error: Error) -> Error {
        match &self.code {
            Some(code) => error.code(code),
            None => error,
        }
    }
}

/// Busy, because a guest has no other way to wait; the host's deadline ends it where it takes too long.
fn wait(clock: &impl Clock, millis: u64) {
    let began = clock.monotonic();
    while clock.monotonic().saturating_sub(began) / 1_000_000 < millis {
        std::hint::spin_loop();
    }
}

#[allow(clippy::panic, reason = "breaking down is what was asked for")]
fn trap(message: &str) -> ! {
    panic!("{message}")
}

/// A number from 0 to 1 that is always the same for the same name (FNV-1a).
fn lot(name: &str) -> f64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    // FNV's upper bits are the better mixed ones, after one more multiplication.
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use tradewind_plugin_sdk::testing::Clock;

    use super::*;

    fn fault(text: &str) -> Vec<Fault> {
        vec![serde_json::from_str(text).unwrap()]
    }

    #[test]
    fn faults_happen_where_they_are_asked_for() {
        let faults = fault(
            r#"{"operation":"apply","kind":"throttled","region":"eu","retry-after":"3s","code":"RequestLimitExceeded"}"#,
        );
        let clock = Clock::at(0);
        let at = |operation, region| {
            meet(
                &faults,
                operation,
                Place {
                    region,
                    size: "s",
                    allocation: "a",
                },
                &clock,
                1000,
            )
        };
        let error = at(Operation::Apply, "eu").unwrap_err();
        assert_eq!(
            (error.kind, error.retry_after, error.code.as_deref()),
            (
                ErrorKind::Throttled,
                Some(3000),
                Some("RequestLimitExceeded")
            )
        );
        assert!(at(Operation::Apply, "us").is_ok() && at(Operation::Observe, "eu").is_ok());
    }

    #[test]
    fn slow_is_late_and_a_share_hits_about_as_many() {
        let clock = Clock::at(0);
        meet(
            &fault(r#"{"operation":"offers","kind":"slow","delay":"2s"}"#),
            Operation::Offers,
            Place::default(),
            &clock,
            60_000,
        )
        .unwrap();
        assert!(tradewind_plugin_sdk::host::Clock::now(&clock) >= 2000);
        let faults = fault(r#"{"operation":"apply","kind":"quota","share":0.3}"#);
        let names: Vec<String> = (0..1000).map(|i| format!("web-{i}")).collect();
        let hit = names
            .iter()
            .filter(|name| {
                faults[0].is_about(Place {
                    region: "eu",
                    size: "s",
                    allocation: name,
                })
            })
            .count();
        assert!((200..400).contains(&hit), "{hit}");
    }
}
