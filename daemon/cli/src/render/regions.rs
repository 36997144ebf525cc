//! Regions: how each has been doing, what is left alone and why.

use std::collections::BTreeSet;

use tradewind_api::{CordonView, RegionView, RegionsView};
use tradewind_core::{place_health::Circuit, units::Millis};

use super::{dash, millis, place, stream};
use crate::output::{Cell, Column, Mood, Mood::Plain, Output, Table};

pub(crate) fn table(out: &Output, regions: &[RegionView]) -> Table {
    let columns = [
        Column::new("PLACE").key(),
        Column::new("STATUS").key(),
        Column::new("CIRCUIT").key(),
        Column::new("SINCE").spare(),
        Column::new("ERRORS").right(),
        Column::new("LATENCY").right(),
        Column::new("READY AFTER").right(),
        Column::new("CALLS").right().wide(),
        Column::new("WAITING").right().wide(),
        Column::new("CAUSE").sentence().filled(),
    ];
    let names = regions.iter().map(|r| place(&r.provider, &r.region));
    Table::new(columns, regions.iter().map(|r| row(out, r)))
        .named(names)
        .or("no regions")
}

/// What stands below the table: what is left alone, and until when.
pub(crate) fn notes(out: &Output, view: &RegionsView) -> String {
    let mut parts = Vec::new();
    let mut told = BTreeSet::new();
    for cordon in view.items.iter().flat_map(|r| &r.cordons) {
        // One of a whole provider stands at each of its regions.
        if told.insert(&cordon.place) {
            parts.push(cordoned(out, cordon));
        }
    }
    for region in &view.items {
        let place = place(&region.provider, &region.region);
        parts.extend(region.cooling.iter().map(|c| {
            format!(
                "{place}: {} cools down until {}: {}",
                c.what,
                out.at(c.until),
                c.cause
            )
        }));
    }
    parts.extend(view.beside.degraded.iter().map(|d| {
        format!(
            "provider \"{}\" is degraded since {}: {} (next check at {})",
            d.provider,
            out.at(d.since),
            stream::failure(&d.cause),
            out.at(d.next_check)
        )
    }));
    parts.join("\n")
}

/// How a place stands that is closed by these: what goes on counts most.
fn standing(cordons: &[CordonView]) -> (&'static str, Mood) {
    let mut states = cordons.iter().map(CordonView::state);
    let drained = |state| matches!(state, "drained");
    match (cordons.is_empty(), states.clone().any(|s| s == "draining")) {
        (true, _) => ("open", Plain),
        (false, true) => ("draining", Mood::Busy),
        (false, false) if states.any(drained) => ("drained", Mood::Bad),
        (false, false) => ("cordoned", Mood::Bad),
    }
}

/// Who closed a place, and what opens it.
fn cordoned(out: &Output, cordon: &CordonView) -> String {
    let place = &cordon.place;
    let why = match cordon.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let drain = match &cordon.drain {
        None => String::new(),
        Some(drain) => match (drain.drained_at, drain.deadline) {
            (Some(at), _) => format!(", drained at {}", out.at(at)),
            (None, Some(end)) => format!(", draining until {}", out.at(end)),
            (None, None) => ", draining".to_owned(),
        },
    };
    format!(
        "{place} is cordoned by {} since {}{drain}{why} (`tradewind uncordon {place}` opens it)",
        cordon.by,
        out.at(cordon.since)
    )
}

fn row(out: &Output, region: &RegionView) -> [Cell; 10] {
    let (circuit, mood) = match region.circuit {
        Circuit::Closed => ("closed", Plain),
        Circuit::Open => ("open", Mood::Bad),
        Circuit::HalfOpen => ("half-open", Mood::Busy),
    };
    let time = |value: Option<Millis>| {
        let cell = |ms: Millis| out.cell(millis(ms.0 as f64), Plain).key(ms.0 as f64);
        value.map_or_else(|| dash(out), cell)
    };
    let (status, status_mood) = standing(&region.cordons);
    let cause = region.cause.as_ref().map_or("-", |c| c.message.as_str());
    [
        out.cell(place(&region.provider, &region.region), Plain),
        out.cell(status, status_mood),
        out.cell(circuit, mood),
        region
            .since
            .map_or_else(|| dash(out), |since| out.ago(since)),
        out.cell(format!("{:.0}%", region.error_rate * 100.0), Plain)
            .key(region.error_rate),
        time(region.latency),
        time(region.time_to_ready),
        out.count(region.calls as u64),
        out.count(region.waiting as u64),
        out.cell(cause, Plain),
    ]
}
