//! Offers.

use tradewind_api::OfferView;
use tradewind_core::{
    failure::ProviderFailure,
    offer::{NO_PRICE, PriceUnit},
    units::MicroUsd,
};

use super::{age, dash, known, money, place, size, stream};
use crate::output::{Cell, Column, Mood::Plain, Output, Table};

/// A price for an hour; of what, where it is not of the whole instance.
pub(super) fn price(price: MicroUsd, unit: PriceUnit) -> String {
    let price = money(price);
    match unit {
        PriceUnit::Instance => price,
        PriceUnit::Cpu => format!("{price}/cpu"),
        PriceUnit::CpuMemory => format!("{price}/cpu*GiB"),
    }
}

pub(super) fn capacity(out: &Output, capacity: Option<u32>) -> Cell {
    capacity.map_or_else(|| dash(out), |n| out.count(n.into()))
}

/// A size, and whether it is taken back at any time.
pub(super) fn sized(size: &str, spot: bool) -> String {
    if spot {
        format!("{size} (spot)")
    } else {
        size.to_owned()
    }
}

/// What the whole offer costs in an hour: what prices of several units have in common.
fn whole(o: &OfferView) -> f64 {
    let units = match o.price_unit {
        PriceUnit::Instance => 1.0,
        PriceUnit::Cpu => o.cpu.cores(),
        PriceUnit::CpuMemory => o.cpu.cores() * o.memory.gib(),
    };
    o.price.usd() * units + o.memory_price.usd() * o.memory.gib()
}

pub(crate) fn table(out: &Output, offers: &[OfferView]) -> Table {
    let rows = offers.iter().map(|o| {
        let accelerator = if o.accelerator_count > 0 {
            format!("{} x {}", o.accelerator_count, o.accelerator)
        } else {
            "-".to_owned()
        };
        [
            out.cell(place(&o.provider, &o.region), Plain),
            out.cell(&o.zone, Plain),
            out.cell(sized(&o.size, o.spot), Plain),
            out.cell(o.cpu, Plain).key(o.cpu.cores()),
            out.cell(size(o.memory), Plain).key(o.memory.0 as f64),
            out.cell(accelerator, Plain).key(o.accelerator_count.into()),
            out.cell(price(o.price, o.price_unit), Plain).key(whole(o)),
            capacity(out, o.capacity),
            out.number(o.performance),
            known(out, o.availability),
            latency(out, o.latency),
            out.cell(&o.source, Plain),
            age(out, o.age),
        ]
    });
    let columns = [
        Column::new("PLACE").key(),
        Column::new("ZONE").wide(),
        Column::new("SIZE").key(),
        Column::new("CPU").right(),
        Column::new("MEMORY").right(),
        Column::new("GPU").spare(),
        Column::new("PRICE/H").right().key(),
        Column::new("CAPACITY").right().wide(),
        Column::new("PERF").right().wide(),
        Column::new("AVAIL").right().wide(),
        Column::new("LATENCY").right().wide(),
        // That nobody has set a price is not to be overlooked.
        Column::new("SOURCE").shown_if(offers.iter().any(|o| o.source == NO_PRICE)),
        Column::new("AGE").wide(),
    ];
    let names = offers.iter().map(|o| format!("{}/{}", o.provider, o.id));
    Table::new(columns, rows).named(names).or("no offers")
}

pub(super) fn latency(out: &Output, millis: Option<f64>) -> Cell {
    millis.map_or_else(
        || dash(out),
        |ms| out.cell(super::millis(ms), Plain).key(ms),
    )
}

pub(crate) fn failures(items: &[ProviderFailure]) -> Option<String> {
    let lines: Vec<String> = items
        .iter()
        .map(|f| {
            format!(
                "no offers of \"{}\": {}",
                f.provider,
                stream::failure(&f.failure)
            )
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
