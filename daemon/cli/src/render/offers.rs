//! Offers.

use tradewind_api::OffersView;
use tradewind_core::{failure::ProviderFailure, offer::PriceUnit};

use super::{age, known, number, place, size, stream};
use crate::output::{Mood::Plain, Output};

fn unit(unit: PriceUnit) -> &'static str {
    match unit {
        PriceUnit::Instance => "instance",
        PriceUnit::Cpu => "cpu",
        PriceUnit::CpuMemory => "cpu x GiB",
    }
}

pub(super) fn capacity(capacity: Option<u32>) -> String {
    capacity.map_or_else(|| "-".to_owned(), |n| n.to_string())
}

pub(crate) fn offers(out: &Output, view: &OffersView) -> String {
    let mut parts = Vec::new();
    if view.offers.is_empty() {
        parts.push("no offers".to_owned());
    } else {
        let rows = view.offers.iter().map(|o| {
            let accelerator = if o.accelerator_count > 0 {
                format!("{} x {}", o.accelerator_count, o.accelerator)
            } else {
                "-".to_owned()
            };
            let name = if o.spot {
                format!("{} (spot)", o.size)
            } else {
                o.size.clone()
            };
            [
                out.cell(place(&o.provider, &o.region), Plain),
                out.cell(&o.zone, Plain),
                out.cell(name, Plain),
                out.cell(o.cpu, Plain),
                out.cell(size(o.memory), Plain),
                out.cell(accelerator, Plain),
                out.cell(format!("{} per {}", o.price, unit(o.price_unit)), Plain),
                out.cell(capacity(o.capacity), Plain),
                out.cell(number(o.performance), Plain),
                out.cell(known(o.availability), Plain),
                out.cell(known(o.latency), Plain),
                out.cell(&o.source, Plain),
                out.cell(age(o.age), Plain),
            ]
        });
        let header = [
            "PLACE",
            "ZONE",
            "SIZE",
            "CPU",
            "MEMORY",
            "GPU",
            "PRICE/H",
            "CAPACITY",
            "PERF",
            "AVAIL",
            "LATENCY ms",
            "SOURCE",
            "AGE",
        ];
        parts.push(out.table(header, rows));
    }
    parts.extend(failures(&view.failures));
    parts.join("\n\n")
}

pub(super) fn failures(items: &[ProviderFailure]) -> Option<String> {
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
