//! Shadow policies and their reports.

use tradewind_core::shadow::{Cost, Latency, Pick};

use super::micros;
use crate::output::{Column, Mood, Mood::Plain, Output, Table, counted, signed};
use tradewind_api::ShadowPolicy;

pub(crate) fn table(out: &Output, all: &[ShadowPolicy]) -> Table {
    let rows = all.iter().map(|p| {
        let (record, report) = (&p.shadow.record, &p.report);
        let failures = report.faults + report.refused;
        [
            out.cell(&record.name, Plain),
            out.cell(&record.namespace, Plain),
            out.cell(record.component.short(), Plain),
            out.cell(report.seen, Plain).key(report.seen as f64),
            out.cell(
                report.differing,
                if report.differing > 0 {
                    Mood::Busy
                } else {
                    Plain
                },
            )
            .key(report.differing as f64),
            out.cell(
                format!("{}/h", signed(report.hourly_difference_micro_usd)),
                Plain,
            )
            .key(report.hourly_difference_micro_usd as f64),
            out.cell(failures, if failures > 0 { Mood::Bad } else { Plain })
                .key(failures as f64),
            out.cell(report.dropped, Plain).key(report.dropped as f64),
            out.cell(
                note(p),
                if report.suspended || p.shadow.failure.is_some() {
                    Mood::Bad
                } else {
                    Plain
                },
            ),
        ]
    });
    let columns = [
        Column::new("NAME").key(),
        Column::new("NAMESPACE").key(),
        Column::new("DIGEST").wide(),
        Column::new("DECISIONS").right().spare(),
        Column::new("DIFFERING").right(),
        Column::new("DIFFERENCE").right(),
        Column::new("FAILURES").right(),
        Column::new("DROPPED").right().wide(),
        Column::new("NOTE").sentence().filled(),
    ];
    let name = |p: &ShadowPolicy| {
        let record = &p.shadow.record;
        out.name(&record.namespace, &record.name)
    };
    Table::new(columns, rows)
        .named(all.iter().map(name))
        .or("no shadow policies")
}

fn note(p: &ShadowPolicy) -> String {
    match (&p.shadow.failure, p.report.suspended) {
        (Some(why), _) => format!("does not load any more: {why}"),
        (None, true) => "suspended: it failed too often".to_owned(),
        (None, false) => String::new(),
    }
}

pub(crate) fn one(out: &Output, p: &ShadowPolicy) -> String {
    let (record, report) = (&p.shadow.record, &p.report);
    let mut parts = vec![format!(
        "shadow policy \"{}\" of namespace \"{}\" since {}, started by {}",
        record.name,
        record.namespace,
        out.at(record.since),
        record.by.as_str()
    )];
    let note = note(p);
    parts.extend((!note.is_empty()).then_some(note));
    parts.push(format!(
        "{} seen, {} answered, {} of them differ; {} refused, {}, {} dropped",
        counted(report.seen, "decision", "decisions"),
        report.compared,
        report.differing,
        report.refused,
        counted(report.faults, "fault", "faults"),
        report.dropped
    ));
    parts.extend(
        report
            .last_fault
            .iter()
            .map(|why| format!("last failure: {why}")),
    );
    if report.compared > 0 {
        let row = |name: &str, cost: &Cost, latency: &Latency| {
            let time = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), micros);
            [
                out.cell(name, Plain),
                out.money(cost.hourly),
                out.money(cost.estimated),
                out.cell(cost.unplaced, Plain),
                out.cell(time(latency.p50_micros), Plain),
                out.cell(time(latency.p99_micros), Plain),
            ]
        };
        let rows = [
            row("live", &report.live, &report.live_latency),
            row("shadow", &report.shadow, &report.shadow_latency),
        ];
        parts.push(out.table(
            [
                Column::new("POLICY"),
                Column::new("PER HOUR").right(),
                Column::new("ESTIMATED").right(),
                Column::new("UNPLACED").right(),
                Column::new("P50").right(),
                Column::new("P99").right(),
            ],
            rows,
        ));
        parts.push(format!(
            "the shadow's choices cost {} per hour and {} over the estimate",
            signed(report.hourly_difference_micro_usd),
            signed(report.estimated_difference_micro_usd)
        ));
    }
    if !report.examples.is_empty() {
        let rows = report.examples.iter().map(|d| {
            [
                out.cell(format!("{}/{}", d.deployment, d.task), Plain),
                out.cell(picks(&d.live), Plain),
                out.rate(d.live_cost.hourly),
                out.cell(picks(&d.shadow), Plain),
                out.rate(d.shadow_cost.hourly),
                out.cell(
                    d.decision
                        .as_ref()
                        .map_or_else(|| "-".to_owned(), ToString::to_string),
                    Plain,
                ),
            ]
        });
        parts.push(out.table(
            [
                Column::new("TASK").key(),
                Column::new("LIVE"),
                Column::new("COST").right(),
                Column::new("SHADOW"),
                Column::new("COST").right(),
                Column::new("DECISION").spare(),
            ],
            rows,
        ));
    }
    parts.join("\n")
}

fn picks(picks: &[Pick]) -> String {
    if picks.is_empty() {
        return "no place".to_owned();
    }
    let one = |p: &Pick| format!("{} × {}/{} {}", p.replicas, p.provider, p.region, p.offer);
    picks.iter().map(one).collect::<Vec<_>>().join(", ")
}
