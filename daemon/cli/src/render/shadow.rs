//! Shadow policies and their reports.

use tradewind_core::{
    shadow::{Cost, Latency, Pick},
    units::MicroUsd,
};

use crate::output::{Mood, Mood::Plain, Output};
use tradewind_api::ShadowPolicy;

pub(crate) fn list(out: &Output, all: &[ShadowPolicy]) -> String {
    if all.is_empty() {
        return "no shadow policies".to_owned();
    }
    let rows = all.iter().map(|p| {
        let (record, report) = (&p.shadow.record, &p.report);
        let failures = report.faults + report.refused;
        [
            out.cell(&record.name, Plain),
            out.cell(&record.namespace, Plain),
            out.cell(record.component.short(), Plain),
            out.cell(report.seen, Plain),
            out.cell(
                report.differing,
                if report.differing > 0 {
                    Mood::Busy
                } else {
                    Plain
                },
            ),
            out.cell(
                format!("{}/h", money(report.hourly_difference_micro_usd)),
                Plain,
            ),
            out.cell(failures, if failures > 0 { Mood::Bad } else { Plain }),
            out.cell(report.dropped, Plain),
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
    out.table(
        [
            "NAME",
            "NAMESPACE",
            "DIGEST",
            "DECISIONS",
            "DIFFERING",
            "DIFFERENCE",
            "FAILURES",
            "DROPPED",
            "NOTE",
        ],
        rows,
    )
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
        record.since,
        record.by.as_str()
    )];
    let note = note(p);
    parts.extend((!note.is_empty()).then_some(note));
    parts.push(format!(
        "{} decisions seen, {} answered, {} of them differ; {} refused, {} faults, {} dropped",
        report.seen,
        report.compared,
        report.differing,
        report.refused,
        report.faults,
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
            let micros = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| format!("{n} µs"));
            [
                out.cell(name, Plain),
                out.cell(cost.hourly, Plain),
                out.cell(cost.estimated, Plain),
                out.cell(cost.unplaced, Plain),
                out.cell(micros(latency.p50_micros), Plain),
                out.cell(micros(latency.p99_micros), Plain),
            ]
        };
        let rows = [
            row("live", &report.live, &report.live_latency),
            row("shadow", &report.shadow, &report.shadow_latency),
        ];
        parts.push(out.table(
            ["", "PER HOUR", "ESTIMATED", "UNPLACED", "P50", "P99"],
            rows,
        ));
        parts.push(format!(
            "the shadow's choices cost {} per hour and {} over the estimate",
            money(report.hourly_difference_micro_usd),
            money(report.estimated_difference_micro_usd)
        ));
    }
    if !report.examples.is_empty() {
        let rows = report.examples.iter().map(|d| {
            [
                out.cell(format!("{}/{}", d.deployment, d.task), Plain),
                out.cell(picks(&d.live), Plain),
                out.cell(format!("{}/h", d.live_cost.hourly), Plain),
                out.cell(picks(&d.shadow), Plain),
                out.cell(format!("{}/h", d.shadow_cost.hourly), Plain),
                out.cell(
                    d.decision
                        .as_ref()
                        .map_or_else(|| "-".to_owned(), ToString::to_string),
                    Plain,
                ),
            ]
        });
        parts.push(out.table(["TASK", "LIVE", "COST", "SHADOW", "COST", "DECISION"], rows));
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

/// Signed micro-USD.
fn money(micros: i64) -> String {
    let amount = MicroUsd(micros.unsigned_abs());
    match micros.signum() {
        -1 => format!("-{amount}"),
        1 => format!("+{amount}"),
        _ => amount.to_string(),
    }
}
