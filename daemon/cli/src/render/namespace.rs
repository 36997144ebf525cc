//! Namespaces: the list, and one with its limits, its spending and who is held back.

use tradewind_api::{
    HeldTask, NamespaceOutcome, NamespaceSummary, NamespaceView, Outcome, UsageView,
};
use tradewind_core::{budget::HeldKind, manifest::namespace::Document};

use super::size;
use crate::output::{Mood, Mood::Plain, Output};

pub(crate) fn list(out: &Output, items: &[NamespaceSummary]) -> String {
    if items.is_empty() {
        return "no namespaces".to_owned();
    }
    let rows = items.iter().map(|n| {
        [
            out.cell(&n.name, Plain),
            out.cell(n.usage.deployments, Plain),
            out.cell(n.usage.replicas, Plain),
            out.cell(format!("{}/h", n.spend.hourly), Plain),
            out.cell(n.spend.this_month, Plain),
            out.cell(n.spend.forecast, Plain),
            out.cell(if n.limited { "yes" } else { "no" }, Plain),
            out.cell(
                n.held_back,
                if n.held_back > 0 { Mood::Busy } else { Plain },
            ),
        ]
    });
    out.table(
        [
            "NAMESPACE",
            "DEPLOYMENTS",
            "REPLICAS",
            "COST",
            "THIS MONTH",
            "FORECAST",
            "LIMITS",
            "HELD BACK",
        ],
        rows,
    )
}

pub(crate) fn one(out: &Output, view: &NamespaceView) -> String {
    let spend = &view.spend;
    let mut parts = vec![format!(
        "namespace \"{}\", {}",
        view.name,
        generation(view.generation)
    )];
    parts.push(out.table(["", "USED", "LIMIT"], usage(out, &view.usage, view)));
    let months: Vec<String> = spend
        .months
        .iter()
        .map(|m| format!("{}  {}", m.month, m.spent))
        .collect();
    let mut money = vec![
        format!("spent this hour   {}", spend.this_hour),
        format!("spent this month  {}", spend.this_month),
        format!("forecast          {}", spend.forecast),
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

fn usage(out: &Output, used: &UsageView, view: &NamespaceView) -> Vec<[comfy_table::Cell; 3]> {
    fn limit<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "-".to_owned(), |v| v.to_string())
    }
    let spec = view.manifest.as_ref().map(|m| &m.spec);
    let (quota, budget) = (spec.map(|s| &s.quota), spec.and_then(|s| s.budget.as_ref()));
    let cores = super::number(used.cpu_milli as f64 / 1000.0);
    let rows = [
        (
            "per hour",
            view.spend.hourly.to_string(),
            limit(budget.and_then(|b| b.hourly)),
        ),
        (
            "per month (forecast)",
            view.spend.forecast.to_string(),
            limit(budget.and_then(|b| b.monthly)),
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
            out.cell(t.held.since, Plain),
            out.cell(&t.held.reason, Plain),
        ]
    });
    out.table(
        ["DEPLOYMENT", "TASK", "STATE", "REPLICAS", "SINCE", "REASON"],
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
