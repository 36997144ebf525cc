//! Regions: how each has been doing, what is left alone and why.

use tradewind_api::{RegionView, RegionsView};
use tradewind_core::place_health::Circuit;

use super::{place, stream};
use crate::output::{Mood, Mood::Plain, Output};

pub(crate) fn regions(out: &Output, view: &RegionsView) -> String {
    let mut parts = Vec::new();
    if view.regions.is_empty() {
        parts.push("no regions".to_owned());
    } else {
        let header = [
            "PLACE",
            "CIRCUIT",
            "SINCE",
            "ERRORS",
            "LATENCY",
            "READY AFTER",
            "CALLS",
            "WAITING",
            "CAUSE",
        ];
        parts.push(out.table(header, view.regions.iter().map(|r| row(out, r))));
    }
    for region in &view.regions {
        let place = place(&region.provider, &region.region);
        parts.extend(region.cooling.iter().map(|c| {
            format!(
                "{place}: {} cools down until {}: {}",
                c.what, c.until, c.cause
            )
        }));
    }
    parts.extend(view.degraded.iter().map(|d| {
        format!(
            "provider \"{}\" is degraded since {}: {} (next check at {})",
            d.provider,
            d.since,
            stream::failure(&d.cause),
            d.next_check
        )
    }));
    parts.join("\n")
}

fn row(out: &Output, region: &RegionView) -> [comfy_table::Cell; 9] {
    let (circuit, mood) = match region.circuit {
        Circuit::Closed => ("closed", Plain),
        Circuit::Open => ("open", Mood::Bad),
        Circuit::HalfOpen => ("half-open", Mood::Busy),
    };
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    [
        out.cell(place(&region.provider, &region.region), Plain),
        out.cell(circuit, mood),
        out.cell(known(region.since.map(|s| s.to_string())), Plain),
        out.cell(format!("{:.0} %", region.error_rate * 100.0), Plain),
        out.cell(known(region.latency.map(|l| l.to_string())), Plain),
        out.cell(known(region.time_to_ready.map(|l| l.to_string())), Plain),
        out.cell(region.calls, Plain),
        out.cell(region.waiting, Plain),
        out.cell(
            known(region.cause.as_ref().map(|c| c.message.clone())),
            Plain,
        ),
    ]
}
