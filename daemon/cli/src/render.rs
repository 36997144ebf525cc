//! Views as text for people. Pure: values in, text out.

pub(crate) mod assess;
pub(crate) mod audit;
pub(crate) mod canary;
pub(crate) mod decision;
pub(crate) mod deployment;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod namespace;
pub(crate) mod offers;
pub(crate) mod plan;
pub(crate) mod plans;
pub(crate) mod plugin;
pub(crate) mod progress;
pub(crate) mod regions;
pub(crate) mod replacement;
pub(crate) mod revision;
pub(crate) mod rollout;
pub(crate) mod shadow;
pub(crate) mod stream;
pub(crate) mod token;
pub(crate) mod top;

use tradewind_api::Status;
use tradewind_core::{
    units::{Bytes, MicroUsd, Millis},
    workload::{Endpoint, Phase, Protocol},
};

use super::output::{self, Cell, Mood, Output, counted, short};

fn status_mood(status: Status) -> Mood {
    match status {
        Status::Running | Status::Idle | Status::Completed => Mood::Good,
        Status::Pending | Status::Waiting | Status::Progressing | Status::Deleting => Mood::Busy,
        Status::Degraded | Status::Failed => Mood::Bad,
    }
}

fn phase_mood(phase: Phase) -> Mood {
    match phase {
        Phase::Running | Phase::Succeeded => Mood::Good,
        Phase::Pending | Phase::Starting | Phase::Stopping => Mood::Busy,
        Phase::Failed => Mood::Bad,
        Phase::Gone => Mood::Plain,
    }
}

/// `provider/region`, or the provider alone.
pub fn place(provider: &impl std::fmt::Display, region: &str) -> String {
    if region.is_empty() {
        provider.to_string()
    } else {
        format!("{provider}/{region}")
    }
}

/// A URL where the protocol has one.
fn endpoint(endpoint: &Endpoint) -> String {
    let host = if endpoint.host.contains(':') {
        format!("[{}]", endpoint.host)
    } else {
        endpoint.host.clone()
    };
    let scheme = match endpoint.protocol {
        Protocol::Http => "http",
        Protocol::Https => "https",
        Protocol::Grpc => "grpc",
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{scheme}://{host}:{}", endpoint.number)
}

/// At most four decimals, none that are zero.
pub fn number(value: f64) -> String {
    output::number(value)
}

/// Two decimals, up to four where the amount is small.
pub fn money(amount: MicroUsd) -> String {
    output::money(amount)
}

/// `30d 10h`: with all that it has, down to the second.
pub fn span(length: Millis) -> String {
    output::span(length)
}

/// As it was written if that is short, else in GiB.
fn size(bytes: Bytes) -> String {
    let exact = bytes.to_string();
    if exact.len() <= 6 {
        exact
    } else {
        format!("{:.1}Gi", bytes.gib())
    }
}

/// A cell with a number, if it is known.
fn known(out: &Output, value: Option<f64>) -> Cell {
    value.map_or_else(|| dash(out), |value| out.number(value))
}

/// A cell for what is not known, or does not exist.
fn dash(out: &Output) -> Cell {
    out.cell("-", Mood::Plain)
}

/// A cell with how old something is.
fn age(out: &Output, age: Millis) -> Cell {
    out.cell(short(age), Mood::Plain).key(age.0 as f64)
}

/// Milliseconds in the unit that is read most easily: `12 ms`, `1.5 s`.
fn millis(value: f64) -> String {
    if value < 1_000.0 {
        format!("{} ms", number(value))
    } else {
        format!("{} s", number((value / 100.0).round() / 10.0))
    }
}

/// Microseconds in the unit that is read most easily: `250 µs`, `1.2 ms`.
fn micros(value: u64) -> String {
    if value < 1_000 {
        format!("{value} µs")
    } else {
        millis((value as f64 / 100.0).round() / 10.0)
    }
}

/// `1 replica`, `2 replicas`.
pub(crate) fn replicas(number: u32) -> String {
    counted(number, "replica", "replicas")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.25, "0.25"),
            (2.0 / 3.0, "0.6667"),
            (100.0, "100"),
            (-0.00001, "0"),
        ] {
            assert_eq!(number(value), text);
        }
        let texts = [millis(12.5), millis(1_540.0), micros(999), micros(1_240)];
        assert_eq!(texts, ["12.5 ms", "1.5 s", "999 µs", "1.2 ms"]);
        assert_eq!(
            [replicas(1), replicas(2_000)],
            ["1 replica", "2,000 replicas"]
        );
    }
}
