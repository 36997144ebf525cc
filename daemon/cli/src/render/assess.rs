//! The assessment: the terms of C = c·R·T in a table, the quality of every place, and what the choice costs against its alternatives.

use tradewind_core::{
    assess::{Alternative, Basis, Bill, Difference, Figure, More, OfferReport, Report, TaskReport},
    offer::PriceUnit,
};

use super::{
    age, decision, known, millis, money, number,
    offers::{capacity, failures, latency, price, sized},
    place, replicas, size, span,
};
use crate::output::{Cell, Column, Mood, Mood::Plain, Output, short, signed};

/// c, R, T and C of every candidate; C under both models of R where one of them is a price's; the choice marked.
pub(crate) fn report(out: &Output, report: &Report) -> String {
    let mut parts: Vec<String> = report.tasks.iter().map(|t| task(out, t)).collect();
    parts.extend(failures(&report.failures));
    parts.join("\n\n")
}

fn task(out: &Output, task: &TaskReport) -> String {
    let mut lines = vec![format!(
        "{}: {} x ({} cpu, {}) for {}; costs are for one replica, C = c x R x T",
        task.task,
        task.replicas,
        task.cpu,
        task.memory,
        span(task.duration)
    )];
    if task.offers.is_empty() {
        lines.push("no offer satisfies every constraint".to_owned());
    } else {
        lines.push(costs(out, task));
    }
    for choice in &task.choice {
        let place = place(&choice.provider, &choice.region);
        lines.push(format!(
            "* \"{}\" would choose {place} {} ({})",
            choice.policy,
            choice.size,
            replicas(choice.replicas)
        ));
    }
    if let Some(unplaced) = &task.unplaced {
        lines.push(format!("not placed: {unplaced}"));
    }
    lines.extend(benefit(task));
    if task.offers.iter().any(is_known) {
        lines.push(String::new());
        lines.push(quality(out, task));
    }
    let reasons = task.excluded.iter().map(|e| (e.reason.as_str(), e.offers));
    lines.extend(decision::excluded(reasons));
    lines.join("\n")
}

fn costs(out: &Output, task: &TaskReport) -> String {
    // What a price per instance would be per core says nothing.
    let several_models = task
        .offers
        .iter()
        .any(|o| o.price_unit != PriceUnit::Instance);
    let columns = [
        Column::new(""),
        Column::new("PLACE").key(),
        Column::new("SIZE").key(),
        Column::new("CPU").right().spare(),
        Column::new("MEMORY").right().spare(),
        Column::new("c/h").right(),
        Column::new("R").right(),
        Column::new("R cpu").right().wide(),
        Column::new("R cpu*GiB").right().wide(),
        Column::new("T h").right(),
        Column::new("C cpu").right().shown_if(several_models),
        Column::new("C cpu*GiB").right().shown_if(several_models),
        Column::new("C").right().key(),
        Column::new("PERF").right().wide(),
        Column::new("AVAIL").right().wide(),
        Column::new("LATENCY").right().wide(),
        Column::new("CAPACITY").right().wide(),
        Column::new("SOURCE").wide(),
        Column::new("AGE").wide(),
    ];
    out.table(columns, task.offers.iter().map(|o| row(out, task, o)))
}

fn row(out: &Output, task: &TaskReport, o: &OfferReport) -> [Cell; 19] {
    let chosen = is_chosen(task, o);
    let mood = if chosen { Mood::Good } else { Plain };
    [
        out.cell(if chosen { "*" } else { "" }, mood),
        out.cell(place(&o.provider, &o.region), mood),
        out.cell(sized(&o.size, o.spot), Plain),
        out.cell(o.cpu, Plain),
        out.cell(size(o.memory), Plain),
        out.cell(price(o.unit_price, o.price_unit), Plain),
        out.number(o.units),
        out.number(o.by_cpu.units),
        out.number(o.by_cpu_memory.units),
        out.number(o.hours),
        out.money(o.by_cpu.cost),
        out.money(o.by_cpu_memory.cost),
        out.money(o.cost),
        out.number(o.performance),
        known(out, o.availability),
        latency(out, o.latency),
        capacity(out, o.capacity),
        out.cell(&o.source, Plain),
        age(out, o.age),
    ]
}

fn is_chosen(task: &TaskReport, o: &OfferReport) -> bool {
    task.choice
        .iter()
        .any(|c| c.provider == o.provider && c.offer == o.offer)
}

/// Whether anything is known of how good it is, but what every offer says of itself.
fn is_known(o: &OfferReport) -> bool {
    let q = &o.quality;
    [
        &q.availability,
        &q.failure_rate,
        &q.time_to_ready,
        &q.latency,
    ]
    .into_iter()
    .any(|figure| figure.value.is_some())
        || q.performance.measured.is_some()
        || o.performance != 1.0
}

/// What the choice costs, and what the two alternatives that people ask about would.
fn benefit(task: &TaskReport) -> Vec<String> {
    let chosen = task.benefit.chosen;
    let mut lines: Vec<String> = chosen
        .map(|b| format!("the choice costs {}", bill(&b)))
        .into_iter()
        .collect();
    // One choice at one place is the cheapest or the best itself.
    let is_choice = |a: &Alternative| {
        let taken = |c: &tradewind_core::assess::ChoiceReport| {
            c.provider == a.provider && c.offer == a.offer
        };
        !task.choice.is_empty() && task.choice.iter().all(taken)
    };
    let quality_is_known = task.offers.iter().any(is_known);
    let best = task.benefit.best_quality.as_ref();
    for (what, alternative) in [
        ("the cheapest", task.benefit.cheapest.as_ref()),
        ("the best quality", best.filter(|_| quality_is_known)),
    ] {
        match alternative {
            Some(a) if is_choice(a) => lines.push(format!("it is {what}")),
            Some(a) => lines.push(format!(
                "{what} is {} {}: {}{}",
                place(&a.provider, &a.region),
                a.size,
                bill(&a.bill),
                chosen.and_then(|_| more(&a.more)).unwrap_or_default()
            )),
            None => {}
        }
    }
    lines
}

fn bill(b: &Bill) -> String {
    let mut parts = vec![format!("{} per hour", money(b.hourly))];
    // A month's estimate is what a month costs.
    if b.estimate != b.monthly {
        parts.push(format!("{} for the estimate", money(b.estimate)));
    }
    parts.push(format!("{} per month", money(b.monthly)));
    parts.join(", ")
}

/// What differs from the choice; nothing where nothing does.
fn more(m: &More) -> Option<String> {
    let differs = |Difference(micros): Difference| micros != 0;
    let mut parts = Vec::new();
    if differs(m.hourly) {
        parts.push(format!("{} per hour", signed(m.hourly.0)));
    }
    if differs(m.estimate) && m.estimate != m.monthly {
        parts.push(format!("{} for the estimate", signed(m.estimate.0)));
    }
    if differs(m.monthly) {
        parts.push(format!("{} per month", signed(m.monthly.0)));
    }
    (!parts.is_empty()).then(|| format!(" ({})", parts.join(", ")))
}

fn quality(out: &Output, task: &TaskReport) -> String {
    let plain = |text: String| out.cell(text, Plain);
    let rows = task.offers.iter().map(|o| {
        let q = &o.quality;
        [
            plain(place(&o.provider, &o.region)),
            out.cell(&o.size, Plain),
            plain(figure(&q.availability, percent)),
            plain(figure(&q.failure_rate, percent)),
            plain(figure(&q.time_to_ready, millis)),
            plain(figure(&q.latency, millis)),
            plain(figure(&q.performance, number)),
        ]
    });
    out.table(
        [
            Column::new("PLACE").key(),
            Column::new("SIZE").key(),
            Column::new("AVAILABILITY").filled(),
            Column::new("FAILED STARTS").filled(),
            Column::new("READY AFTER").filled(),
            Column::new("LATENCY").filled(),
            Column::new("PERFORMANCE").spare(),
        ],
        rows,
    )
}

fn percent(share: f64) -> String {
    format!("{}%", number(share * 100.0))
}

/// A figure with what it stands on. What policies see comes first.
fn figure(figure: &Figure, write: fn(f64) -> String) -> String {
    let quoted = figure
        .quoted
        .map(|q| format!("{} quoted {} ago", write(q.value), short(q.age)));
    let measured = figure.measured.map(|m| {
        let tail = m
            .p95
            .map(|p| format!(" (p95 {})", write(p)))
            .unwrap_or_default();
        let times = match m.samples {
            1 => "once".to_owned(),
            n => format!("{n} times"),
        };
        format!(
            "{}{tail} measured {times}, {} ago",
            write(m.value),
            short(m.age)
        )
    });
    let lately = || {
        figure
            .value
            .filter(|_| figure.basis == Basis::Measured)
            .map(|v| format!("{} measured lately", write(v)))
    };
    let parts: Vec<String> = quoted.into_iter().chain(measured.or_else(lately)).collect();
    if parts.is_empty() {
        "-".to_owned()
    } else {
        parts.join("; ")
    }
}
