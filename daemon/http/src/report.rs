//! The assessment as one page: tables and charts, nothing to load, no script. Every text that comes from outside is escaped by the
//! template. Pure: a report in, HTML out.

mod chart;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use tradewind_core::{
    assess::{
        Alternative, Basis, Bill, ChoiceReport, Difference, Figure, More, OfferReport, Report,
        TaskReport,
    },
    offer::PriceUnit,
    units::{MicroUsd, Millis},
};

use chart::Bar;

/// Charts show so many offers; the tables show all.
const SHOWN: usize = 20;

const STYLE: &str = include_str!("report/style.css");

/// The page.
pub(crate) fn html(title: &str, report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Assessment of " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Assessment of " (title) }
                    p { "What every cloud would cost and how it performs, at " (report.at) "." }
                    p.note { "Costs are C = c·R·T: unit price × resource units × hours." }
                }
                (totals(report))
                @for task in &report.tasks { (self::task(task)) }
                @if !report.failures.is_empty() {
                    section {
                        h2 { "No offers" }
                        ul { @for f in &report.failures { li { strong { (f.provider) } ": " (f.failure.message) } } }
                    }
                }
            }
        }
    };
    page.into_string()
}

fn task(task: &TaskReport) -> Markup {
    html! {
        section {
            h2 { (heading(task)) }
            p { (task.replicas) " × (" (task.cpu) " CPU, " (task.memory) ") for " (span(task.duration)) }
            @for choice in &task.choice {
                p.choice { "Policy " strong { (choice.policy) } " would choose " strong { (place(&choice.provider, &choice.region)) " " (choice.size) }
                    " for " (choice.replicas) @if choice.replicas == 1 { " replica" } @else { " replicas" }
                    @if let Some(why) = why(task, choice) { ": " (why) } "." }
            }
            @if let Some(why) = &task.unplaced { p.bad { "Not placed: " (why) } }
            @if task.offers.is_empty() {
                p.bad { "No offer satisfies every constraint." }
            } @else {
                (benefit(task))
                div.charts { (cost_chart(task)) (quality_charts(task)) }
                (cost_table(task))
                (quality_table(task))
            }
            @if !task.excluded.is_empty() {
                h3 { "Excluded" }
                ul { @for e in &task.excluded { li { (e.offers) @if e.offers == 1 { " offer: " } @else { " offers: " } (e.reason) } } }
            }
        }
    }
}

/// The task, and where its target is.
fn heading(task: &TaskReport) -> String {
    match &task.target {
        Some(target) => format!("{} at {target}", task.task),
        None => task.task.to_string(),
    }
}

/// What speaks for a choice, as far as the figures of this page tell it.
fn why(task: &TaskReport, choice: &ChoiceReport) -> Option<String> {
    let is_chosen = |o: &&OfferReport| o.provider == choice.provider && o.offer == choice.offer;
    let chosen = task.offers.iter().find(is_chosen)?;
    let others = task.offers.len() - 1;
    let cheaper = task.offers.iter().filter(|o| o.cost < chosen.cost).count();
    let next = task
        .offers
        .iter()
        .filter(|o| !is_chosen(o))
        .map(|o| o.cost)
        .min();
    Some(match (others, cheaper, next) {
        (0, ..) => "it is the only candidate".to_owned(),
        (_, 0, Some(next)) if next == chosen.cost => format!(
            "none of {} candidates costs less than its {} for one replica",
            task.offers.len(),
            money(chosen.cost)
        ),
        (_, 0, next) => {
            let beside = next.map_or_else(String::new, |next| {
                format!("; the next one costs {}", money(next))
            });
            format!(
                "it costs the least of {} candidates, {} for one replica{beside}",
                task.offers.len(),
                money(chosen.cost)
            )
        }
        (_, n, _) => format!(
            "{n} of {} candidates {} less than its {} for one replica, and other things counted for more",
            task.offers.len(),
            if n == 1 { "costs" } else { "cost" },
            money(chosen.cost)
        ),
    })
}

/// What the choices for all tasks cost together, and the cheapest and the best ones.
fn totals(report: &Report) -> Markup {
    let add = |sum: Bill, bill: &Bill| Bill {
        hourly: sum.hourly.saturating_add(bill.hourly),
        estimate: sum.estimate.saturating_add(bill.estimate),
        monthly: sum.monthly.saturating_add(bill.monthly),
    };
    let sum = |of: fn(&TaskReport) -> Option<&Bill>| {
        let bills: Option<Vec<&Bill>> = report.tasks.iter().map(of).collect();
        bills.map(|bills| bills.into_iter().fold(Bill::default(), add))
    };
    let rows = [
        ("The choices", sum(|t| t.benefit.chosen.as_ref())),
        (
            "The cheapest",
            sum(|t| t.benefit.cheapest.as_ref().map(|a| &a.bill)),
        ),
        (
            "The best quality",
            sum(|t| t.benefit.best_quality.as_ref().map(|a| &a.bill)),
        ),
    ];
    html! {
        @if report.tasks.len() > 1 {
            section {
                h2 { "All " (report.tasks.len()) " tasks together" }
                div.wide { table {
                    thead { tr { th {} th.n { "per hour" } th.n { "estimate" } th.n { "per month" } } }
                    tbody { @for (what, bill) in &rows {
                        tr {
                            th scope="row" { (what) }
                            @match bill {
                                Some(bill) => { td.n { (money(bill.hourly)) } td.n { (money(bill.estimate)) } td.n { (money(bill.monthly)) } }
                                None => td colspan="3" { "not known of every task" }
                            }
                        }
                    } }
                } }
            }
        }
    }
}

fn benefit(task: &TaskReport) -> Markup {
    let benefit = &task.benefit;
    let row = |what: &str, place: String, bill: &Bill, more: Option<&More>| {
        html! {
            tr {
                th scope="row" { (what) }
                td { (place) }
                td.n { (money(bill.hourly)) } td.n { (money(bill.estimate)) } td.n { (money(bill.monthly)) }
                td.n { @if let Some(more) = more { (difference(more.hourly)) } }
                td.n { @if let Some(more) = more { (difference(more.estimate)) } }
                td.n { @if let Some(more) = more { (difference(more.monthly)) } }
            }
        }
    };
    let at = |a: &Alternative| {
        format!("{} {}", place(&a.provider, &a.region), a.size)
            .trim_end()
            .to_owned()
    };
    let chosen_at = task
        .choice
        .iter()
        .map(|c| format!("{} {}", place(&c.provider, &c.region), c.size))
        .collect::<Vec<_>>()
        .join(", ");
    html! {
        h3 { "Costs and benefits" }
        div.wide { table {
            thead { tr {
                th { "All replicas" } th { "Place" } th.n { "per hour" } th.n { "estimate" } th.n { "per month" }
                th.n { "± per hour" } th.n { "± estimate" } th.n { "± per month" }
            } }
            tbody {
                @if let Some(chosen) = &benefit.chosen { (row("The choice", chosen_at, chosen, None)) }
                @for (what, alternative) in [("The cheapest", &benefit.cheapest), ("The best quality", &benefit.best_quality)] {
                    @if let Some(a) = alternative { (row(what, at(a), &a.bill, benefit.chosen.as_ref().map(|_| &a.more))) }
                }
            }
        } }
    }
}

fn cost_chart(task: &TaskReport) -> Markup {
    let bars = shown(task).map(|o| Bar {
        label: named(o),
        value: o.total.estimate.usd(),
        text: money(o.total.estimate),
        strong: is_chosen(task, o),
        faint: false,
    });
    chart::bars(
        "Cost by place, all replicas for the estimate",
        &bars.collect::<Vec<_>>(),
    )
}

/// One chart for each figure that is known of some offer.
fn quality_charts(task: &TaskReport) -> Markup {
    type Chart = (&'static str, fn(&OfferReport) -> &Figure, fn(f64) -> String);
    let charts: [Chart; 5] = [
        (
            "Availability (higher is better)",
            |o| &o.quality.availability,
            percent,
        ),
        (
            "Failed starts (lower is better)",
            |o| &o.quality.failure_rate,
            percent,
        ),
        (
            "Time to ready (lower is better)",
            |o| &o.quality.time_to_ready,
            millis,
        ),
        ("Latency (lower is better)", |o| &o.quality.latency, millis),
        (
            "Performance (higher is better)",
            |o| &o.quality.performance,
            number,
        ),
    ];
    html! {
        @for (title, pick, write) in charts {
            @let bars: Vec<Bar> = shown(task).filter_map(|o| {
                let figure = pick(o);
                let value = figure.value?;
                let measured = figure.basis == Basis::Measured;
                let text = format!("{} {}", write(value), figure.basis.as_str());
                Some(Bar { label: named(o), value, text, strong: is_chosen(task, o), faint: measured })
            }).collect();
            @if !bars.is_empty() { (chart::bars(title, &bars)) }
        }
    }
}

fn cost_table(task: &TaskReport) -> Markup {
    // What a price per instance would be per core or per GiB says nothing.
    let models = task
        .offers
        .iter()
        .any(|o| o.price_unit != PriceUnit::Instance);
    let egress = task.offers.iter().any(|o| o.egress_hourly.0 > 0);
    let zones = task.offers.iter().any(|o| !o.zone.is_empty());
    html! {
        h3 { "Cost" }
        div.wide { table {
            thead { tr {
                th { "Place" } @if zones { th { "Zone" } } th { "Size" } th.n { "C" } th.n { "All replicas" }
                th.n { "c per hour" } th.n { "R" } th.n { "T hours" }
                @if models { th.n { "C by CPU" } th.n { "C by CPU·GiB" } }
                @if egress { th.n { "Egress per hour" } }
                th.n { "CPU" } th.n { "Memory" } th.n { "Capacity" } th { "Source" } th { "Age" }
            } }
            tbody { @for o in &task.offers {
                tr.chosen[is_chosen(task, o)] {
                    th scope="row" { (place(&o.provider, &o.region)) }
                    @if zones { td { (o.zone) } } td { (o.size) @if o.spot { " (spot)" } }
                    td.n { strong { (money(o.cost)) } } td.n { (money(o.total.estimate)) }
                    td.n { (money(o.unit_price)) (unit(o.price_unit)) } td.n { (number(o.units)) } td.n { (number(o.hours)) }
                    @if models {
                        td.n { (money(o.by_cpu.cost)) span.basis { " R " (number(o.by_cpu.units)) } }
                        td.n { (money(o.by_cpu_memory.cost)) span.basis { " R " (number(o.by_cpu_memory.units)) } }
                    }
                    @if egress { td.n { (money(o.egress_hourly)) } }
                    td.n { (o.cpu) } td.n { (o.memory) }
                    td.n { @if let Some(n) = o.capacity { (n) } } td { (o.source) } td { (age(o.age)) }
                }
            } }
        } }
        p.note { "Costs are for one replica unless a column says otherwise. The marked row is the choice." }
    }
}

fn quality_table(task: &TaskReport) -> Markup {
    let carbon = task.offers.iter().any(|o| o.carbon.is_some());
    html! {
        h3 { "Quality" }
        div.wide { table.figures {
            thead { tr {
                th { "Place" } th { "Size" } th { "Availability" } th { "Failed starts" } th { "Time to ready" } th { "Latency" } th { "Performance" }
                @if carbon { th.n { "g CO₂ per kWh" } }
            } }
            tbody { @for o in &task.offers {
                @let q = &o.quality;
                tr.chosen[is_chosen(task, o)] {
                    th scope="row" { (place(&o.provider, &o.region)) } td { (o.size) }
                    td { (figure(&q.availability, percent)) } td { (figure(&q.failure_rate, percent)) } td { (figure(&q.time_to_ready, millis)) }
                    td { (figure(&q.latency, millis)) } td { (figure(&q.performance, number)) }
                    @if carbon { td.n { @if let Some(carbon) = o.carbon { (number(carbon)) } } }
                }
            } }
        } }
        p.note { "Quoted by the provider, or measured here on what was bought. Policies see what is quoted, and what was measured where nothing is." }
    }
}

fn figure(figure: &Figure, write: fn(f64) -> String) -> Markup {
    html! {
        @if let Some(q) = &figure.quoted { div { (write(q.value)) " " span.basis { "quoted, " (age(q.age)) } } }
        @if let Some(m) = &figure.measured {
            div { (write(m.value)) @if let Some(p95) = m.p95 { " (p95 " (write(p95)) ")" } " "
                span.basis { "measured, " (m.samples) @if m.samples == 1 { " sample, " } @else { " samples, " } (age(m.age)) } }
        } @else if figure.basis == Basis::Measured {
            @if let Some(value) = figure.value { div { (write(value)) " " span.basis { "measured lately" } } }
        }
        @if figure.basis == Basis::Unknown { span.basis { "unknown" } }
    }
}

fn shown(task: &TaskReport) -> impl Iterator<Item = &OfferReport> {
    task.offers.iter().take(SHOWN)
}

fn is_chosen(task: &TaskReport, o: &OfferReport) -> bool {
    task.choice
        .iter()
        .any(|c| c.provider == o.provider && c.offer == o.offer)
}

fn place(provider: &impl std::fmt::Display, region: &str) -> String {
    if region.is_empty() {
        provider.to_string()
    } else {
        format!("{provider}/{region}")
    }
}

fn named(o: &OfferReport) -> String {
    format!("{} {}", place(&o.provider, &o.region), o.size)
        .trim_end()
        .to_owned()
}

/// Of what a price is, where it is not of the whole instance.
fn unit(unit: PriceUnit) -> &'static str {
    match unit {
        PriceUnit::Instance => "",
        PriceUnit::Cpu => "/CPU",
        PriceUnit::CpuMemory => "/CPU·GiB",
    }
}

fn money(amount: MicroUsd) -> String {
    amount.brief()
}

/// With its sign. No difference has none.
fn difference(Difference(micros): Difference) -> String {
    let amount = money(MicroUsd(micros.unsigned_abs()));
    match micros.signum() {
        -1 => format!("−{amount}"),
        1 => format!("+{amount}"),
        _ => "same".to_owned(),
    }
}

/// `30 d 10 h`: the two largest units that it has.
fn span(length: Millis) -> String {
    let mut ms = length.0;
    let mut parts = Vec::new();
    for (unit, name) in [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ] {
        if ms / unit > 0 {
            parts.push(format!("{} {name}", ms / unit));
        }
        ms %= unit;
    }
    parts.truncate(2);
    if parts.is_empty() {
        format!("{ms} ms")
    } else {
        parts.join(" ")
    }
}

/// At most four decimals, none that are zero.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn percent(share: f64) -> String {
    format!("{}%", number(share * 100.0))
}

fn millis(value: f64) -> String {
    if value < 1_000.0 {
        format!("{} ms", number(value))
    } else {
        format!("{:.1} s", value / 1_000.0)
    }
}

fn age(age: Millis) -> String {
    match age.0 / 1_000 {
        0 => "now".to_owned(),
        seconds @ 1..120 => format!("{seconds} s ago"),
        seconds @ 120..7_200 => format!("{} min ago", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
