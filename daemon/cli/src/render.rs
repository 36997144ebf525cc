//! Views as text for people. Pure: values in, text out.

pub(crate) mod assess;
pub(crate) mod audit;
pub(crate) mod canary;
pub(crate) mod decision;
pub(crate) mod deployment;
pub(crate) mod explain;
pub(crate) mod namespace;
pub(crate) mod offers;
pub(crate) mod plan;
pub(crate) mod plans;
pub(crate) mod plugin;
pub(crate) mod regions;
pub(crate) mod replacement;
pub(crate) mod revision;
pub(crate) mod shadow;
pub(crate) mod stream;
pub(crate) mod token;

use tradewind_api::Status;
use tradewind_core::{
    units::{Bytes, Millis},
    workload::{Endpoint, Phase, Protocol},
};

use super::output::Mood;

fn status_mood(status: Status) -> Mood {
    match status {
        Status::Running | Status::Idle | Status::Completed => Mood::Good,
        Status::Pending | Status::Progressing | Status::Deleting => Mood::Busy,
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
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() || text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
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

fn known(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// To the second, the minute or the hour, whichever is fine enough.
fn age(age: Millis) -> String {
    let grain = match age.0 {
        0..1_000 => return "now".to_owned(),
        1_000..3_600_000 => 1_000,
        3_600_000..172_800_000 => 60_000,
        _ => 3_600_000,
    };
    Millis(age.0 / grain * grain).to_string().replace(' ', "")
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
        for (millis, text) in [
            (0, "now"),
            (900, "now"),
            (12_345, "12s"),
            (3_725_000, "1h2m"),
            (200_000_000, "2days7h"),
        ] {
            assert_eq!(age(Millis(millis)), text);
        }
    }
}
