//! Offers, and the assessment: every term of C = c·R·T in a table.

use tradewind_core::{
    assess::{OfferReport, Report, TaskReport},
    offer::PriceUnit,
    view::{OffersView, ProviderFailure},
};

use super::{age, decision, known, number, place, size, stream};
use crate::cli::output::{Mood, Mood::Plain, Output};

fn unit(unit: PriceUnit) -> &'static str {
    match unit {
        PriceUnit::Instance => "instance",
        PriceUnit::Cpu => "cpu",
        PriceUnit::CpuMemory => "cpu x GiB",
    }
}

fn capacity(capacity: Option<u32>) -> String {
    capacity.map_or_else(|| "-".to_owned(), |n| n.to_string())
}

pub fn offers(out: &Output, view: &OffersView) -> String {
    let mut parts = Vec::new();
    if view.offers.is_empty() {
        parts.push("no offers".to_owned());
    } else {
        let rows = view.offers.iter().map(|o| {
            let accelerator = if o.accelerator_count > 0 { format!("{} x {}", o.accelerator_count, o.accelerator) } else { "-".to_owned() };
            let name = if o.spot { format!("{} (spot)", o.size) } else { o.size.clone() };
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
        let header =
            ["PLACE", "ZONE", "SIZE", "CPU", "MEMORY", "GPU", "PRICE/H", "CAPACITY", "PERF", "AVAIL", "LATENCY ms", "SOURCE", "AGE"];
        parts.push(out.table(header, rows));
    }
    parts.extend(failures(&view.failures));
    parts.join("\n\n")
}

fn failures(items: &[ProviderFailure]) -> Option<String> {
    let lines: Vec<String> = items.iter().map(|f| format!("no offers of \"{}\": {}", f.provider, stream::failure(&f.failure))).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// c, R, T and C of every candidate; C under both models of R; the choice marked.
pub fn report(out: &Output, report: &Report) -> String {
    let mut parts: Vec<String> = report.tasks.iter().map(|t| task(out, t)).collect();
    parts.extend(failures(&report.failures));
    parts.join("\n\n")
}

fn task(out: &Output, task: &TaskReport) -> String {
    let mut lines = vec![format!(
        "{}: {} x ({} cpu, {}) for {}; costs are for one replica, C = c x R x T",
        task.task, task.replicas, task.cpu, task.memory, task.duration
    )];
    let header = [
        "",
        "PLACE",
        "SIZE",
        "CPU",
        "MEMORY",
        "c/h",
        "R cpu",
        "R cpu*GiB",
        "T h",
        "C cpu",
        "C cpu*GiB",
        "C",
        "PERF",
        "AVAIL",
        "LATENCY ms",
        "CAPACITY",
        "SOURCE",
        "AGE",
    ];
    if task.offers.is_empty() {
        lines.push("no offer satisfies every constraint".to_owned());
    } else {
        lines.push(out.table(header, task.offers.iter().map(|o| row(out, task, o))));
    }
    for choice in &task.choice {
        let place = place(&choice.provider, &choice.region);
        lines.push(format!("* \"{}\" would choose {place} {} ({} replicas)", choice.policy, choice.size, choice.replicas));
    }
    if let Some(unplaced) = &task.unplaced {
        lines.push(format!("not placed: {unplaced}"));
    }
    lines.extend(decision::excluded(&task.excluded));
    lines.join("\n")
}

fn row(out: &Output, task: &TaskReport, o: &OfferReport) -> [comfy_table::Cell; 18] {
    let chosen = task.choice.iter().any(|c| c.provider == o.provider && c.offer == o.offer);
    let mood = if chosen { Mood::Good } else { Plain };
    let plain = |text: String| out.cell(text, Plain);
    [
        out.cell(if chosen { "*" } else { "" }, mood),
        out.cell(place(&o.provider, &o.region), mood),
        plain(if o.spot { format!("{} (spot)", o.size) } else { o.size.clone() }),
        plain(o.cpu.to_string()),
        plain(size(o.memory)),
        plain(o.unit_price.to_string()),
        plain(number(o.by_cpu.units)),
        plain(number(o.by_cpu_memory.units)),
        plain(number(o.hours)),
        plain(o.by_cpu.cost.to_string()),
        plain(o.by_cpu_memory.cost.to_string()),
        plain(o.cost.to_string()),
        plain(number(o.performance)),
        plain(known(o.availability)),
        plain(known(o.latency)),
        plain(capacity(o.capacity)),
        plain(o.source.clone()),
        plain(age(o.age)),
    ]
}
