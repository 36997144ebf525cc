//! The assessment: every term of C = c·R·T in a table, the quality of every place, and what the choice costs against its alternatives.

use tradewind_core::assess::{Alternative, Basis, Bill, Figure, OfferReport, Report, TaskReport};

use super::{
    age, decision, known, number,
    offers::{capacity, failures},
    place, size,
};
use crate::output::{Mood, Mood::Plain, Output};

/// c, R, T and C of every candidate; C under both models of R; the choice marked.
pub(crate) fn report(out: &Output, report: &Report) -> String {
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
        lines.push(format!(
            "* \"{}\" would choose {place} {} ({} replicas)",
            choice.policy, choice.size, choice.replicas
        ));
    }
    if let Some(unplaced) = &task.unplaced {
        lines.push(format!("not placed: {unplaced}"));
    }
    lines.extend(benefit(task));
    if !task.offers.is_empty() {
        lines.push(String::new());
        lines.push(quality(out, task));
    }
    let reasons = task.excluded.iter().map(|e| (e.reason.as_str(), e.offers));
    lines.extend(decision::excluded(reasons));
    lines.join("\n")
}

fn row(out: &Output, task: &TaskReport, o: &OfferReport) -> [comfy_table::Cell; 18] {
    let chosen = task
        .choice
        .iter()
        .any(|c| c.provider == o.provider && c.offer == o.offer);
    let mood = if chosen { Mood::Good } else { Plain };
    let plain = |text: String| out.cell(text, Plain);
    [
        out.cell(if chosen { "*" } else { "" }, mood),
        out.cell(place(&o.provider, &o.region), mood),
        plain(if o.spot {
            format!("{} (spot)", o.size)
        } else {
            o.size.clone()
        }),
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

/// What the choice costs, and what the two alternatives that people ask about would.
fn benefit(task: &TaskReport) -> Vec<String> {
    let bill = |b: &Bill| {
        format!(
            "{} per hour, {} for the estimate, {} per month",
            b.hourly, b.estimate, b.monthly
        )
    };
    let chosen = task
        .benefit
        .chosen
        .map(|b| format!("the choice costs {}", bill(&b)));
    let alternative = |what: &str, a: &Option<Alternative>| {
        a.as_ref().map(|a| {
            let more = format!(
                "{} per hour, {} for the estimate, {} per month",
                a.more.hourly, a.more.estimate, a.more.monthly
            );
            format!(
                "{what} is {} {}: {} ({more})",
                place(&a.provider, &a.region),
                a.size,
                bill(&a.bill)
            )
        })
    };
    let alternatives = [
        alternative("the cheapest", &task.benefit.cheapest),
        alternative("the best quality", &task.benefit.best_quality),
    ];
    chosen
        .into_iter()
        .chain(alternatives.into_iter().flatten())
        .collect()
}

fn quality(out: &Output, task: &TaskReport) -> String {
    let rows = task.offers.iter().map(|o| {
        let q = &o.quality;
        [
            out.cell(place(&o.provider, &o.region), Plain),
            out.cell(&o.size, Plain),
            out.cell(figure(&q.availability), Plain),
            out.cell(figure(&q.failure_rate), Plain),
            out.cell(figure(&q.time_to_ready), Plain),
            out.cell(figure(&q.latency), Plain),
            out.cell(figure(&q.performance), Plain),
        ]
    });
    out.table(
        [
            "PLACE",
            "SIZE",
            "AVAILABILITY",
            "FAILED STARTS",
            "READY AFTER ms",
            "LATENCY ms",
            "PERFORMANCE",
        ],
        rows,
    )
}

/// A figure with what it stands on. What policies see comes first.
fn figure(figure: &Figure) -> String {
    let quoted = figure
        .quoted
        .map(|q| format!("{} quoted {}", number(q.value), age(q.age)));
    let measured = figure.measured.map(|m| {
        let tail = m
            .p95
            .map(|p| format!(" (p95 {})", number(p)))
            .unwrap_or_default();
        format!(
            "{}{tail} measured {}x, {}",
            number(m.value),
            m.samples,
            age(m.age)
        )
    });
    let lately = || {
        figure
            .value
            .filter(|_| figure.basis == Basis::Measured)
            .map(|v| format!("{} measured lately", number(v)))
    };
    let parts: Vec<String> = quoted.into_iter().chain(measured.or_else(lately)).collect();
    if parts.is_empty() {
        "-".to_owned()
    } else {
        parts.join("; ")
    }
}
