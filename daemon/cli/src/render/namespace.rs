//! Namespaces: the list, and one with its limits, its spending and who is held back.

use tradewind_api::{
    HeldTask, NamespaceOutcome, NamespaceSummary, NamespaceView, Outcome, UsageView,
};
use tradewind_core::{budget::HeldKind, manifest::namespace::Document};

use super::{money, size};
use crate::output::{Cell, Column, Mood, Mood::Plain, Output, Table};

pub(crate) fn table(out: &Output, items: &[NamespaceSummary]) -> Table {
    let rows = items.iter().map(|n| {
        [
            out.cell(&n.name, Plain),
            out.count(n.usage.deployments),
            out.count(n.usage.replicas),
            out.rate(n.spend.hourly),
            out.money(n.spend.this_month),
            out.money(n.spend.forecast),
            out.cell(if n.limited { "yes" } else { "no" }, Plain),
            out.cell(
                n.held_back,
                if n.held_back > 0 { Mood::Busy } else { Plain },
            )
            .key(n.held_back.into()),
        ]
    });
    let columns = [
        Column::new("NAMESPACE").key(),
        Column::new("DEPLOYMENTS").right(),
        Column::new("REPLICAS").right(),
        Column::new("COST").right(),
        Column::new("THIS MONTH").right(),
        Column::new("FORECAST").right().spare(),
        Column::new("LIMITS").wide(),
        Column::new("HELD BACK").right(),
    ];
    Table::new(columns, rows)
        .named(items.iter().map(|n| n.name.to_string()))
        .or("no namespaces")
}

pub(crate) fn one(out: &Output, view: &NamespaceView) -> String {
    let spend = &view.spend;
    let mut parts = vec![format!(
        "namespace \"{}\", {}",
        view.name,
        generation(view.generation)
    )];
    parts.push(out.table(
        [
            Column::new("WHAT"),
            Column::new("USED").right(),
            Column::new("LIMIT").right(),
        ],
        usage(out, &view.usage, view),
    ));
    let months: Vec<String> = spend
        .months
        .iter()
        .map(|m| format!("{:<17} {}", m.month, money(m.spent)))
        .collect();
    let mut money = vec![
        format!("spent this hour   {}", money(spend.this_hour)),
        format!("spent this month  {}", money(spend.this_month)),
        format!("forecast          {}", money(spend.forecast)),
    ];
    money.extend(months);
    parts.push(money.join("\n"));
    if let Some(document) = &view.manifest {
        parts.extend(rules(document));
    }
    if !view.held_back.is_empty() {
        parts.push(format!("Held back\n{}", held(out, &view.held_back)));
    }
    parts.join("\n\n")
}

fn generation(generation: u64) -> String {
    if generation == 0 {
        "no limits".to_owned()
    } else {
        format!("limits at generation {generation}")
    }
}

fn usage(out: &Output, used: &UsageView, view: &NamespaceView) -> Vec<[Cell; 3]> {
    fn limit<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "-".to_owned(), |v| v.to_string())
    }
    let spec = view.manifest.as_ref().map(|m| &m.spec);
    let (quota, budget) = (spec.map(|s| &s.quota), spec.and_then(|s| s.budget.as_ref()));
    let cores = super::number(used.cpu_milli as f64 / 1000.0);
    let rows = [
        (
            "per hour",
            money(view.spend.hourly),
            limit(budget.and_then(|b| b.hourly).map(money)),
        ),
        (
            "per month (forecast)",
            money(view.spend.forecast),
            limit(budget.and_then(|b| b.monthly).map(money)),
        ),
        ("cpu", cores, limit(quota.and_then(|q| q.cpu))),
        (
            "memory",
            size(used.memory),
            limit(quota.and_then(|q| q.memory)),
        ),
        (
            "accelerators",
            used.accelerators.to_string(),
            limit(quota.and_then(|q| q.accelerators)),
        ),
        (
            "replicas",
            used.replicas.to_string(),
            limit(quota.and_then(|q| q.replicas)),
        ),
        (
            "allocations",
            used.allocations.to_string(),
            limit(quota.and_then(|q| q.allocations)),
        ),
        (
            "deployments",
            used.deployments.to_string(),
            limit(quota.and_then(|q| q.deployments)),
        ),
    ];
    rows.map(|(what, used, limit)| {
        [
            out.cell(what, Plain),
            out.cell(used, Plain),
            out.cell(limit, Plain),
        ]
    })
    .into()
}

fn rules(document: &Document) -> Option<String> {
    let actions = document.spec.budget.as_ref().map(|b| {
        let words: Vec<&str> = b.on_exceeded.0.iter().map(|a| a.as_str()).collect();
        format!("when exceeded  {}", words.join(", then "))
    });
    let policy = document
        .spec
        .policy
        .as_ref()
        .map(|p| format!("policy         {p}"));
    let lines: Vec<String> = actions.into_iter().chain(policy).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn held(out: &Output, tasks: &[HeldTask]) -> String {
    let mood = |kind| {
        if kind == HeldKind::Queued {
            Mood::Busy
        } else {
            Mood::Bad
        }
    };
    let rows = tasks.iter().map(|t| {
        [
            out.cell(&t.deployment, Plain),
            out.cell(&t.held.task, Plain),
            out.cell(t.held.kind.as_str(), mood(t.held.kind)),
            out.cell(format!("{}/{}", t.held.replicas, t.held.wanted), Plain),
            out.ago(t.held.since),
            out.cell(&t.held.reason, Plain),
        ]
    });
    out.table(
        [
            Column::new("DEPLOYMENT").key(),
            Column::new("TASK"),
            Column::new("STATE").key(),
            Column::new("REPLICAS").right(),
            Column::new("SINCE").spare(),
            Column::new("REASON").sentence(),
        ],
        rows,
    )
}

pub(crate) fn outcome(outcome: &NamespaceOutcome) -> String {
    let done = match outcome.outcome {
        Outcome::Unchanged => "unchanged",
        _ => "set",
    };
    format!(
        "limits of namespace \"{}\" {done} (generation {})",
        outcome.name, outcome.generation
    )
}
