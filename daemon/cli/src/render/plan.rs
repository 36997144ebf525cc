//! A plan: what would change, what it costs, and why.

use tradewind_api::{ChangeView, PlanView};
use tradewind_core::plan::preview::ChangeAction;

use super::{decision, place};
use crate::output::{Mood, Output};

pub(crate) fn plan(out: &Output, plan: &PlanView) -> String {
    let mut parts = vec![format!(
        "deployment \"{}\" in \"{}\": {}",
        plan.name,
        plan.namespace,
        summary(plan)
    )];
    if !plan.changes.is_empty() {
        parts.push(out.table(
            ["", "TASK", "PLACE", "SIZE", "REPLICAS", "PER HOUR", "WHY"],
            plan.changes.iter().map(|c| row(out, c)),
        ));
    }
    for s in &plan.scales {
        let place = s
            .target
            .as_ref()
            .map(|t| format!(" at {t}"))
            .unwrap_or_default();
        parts.push(format!(
            "{}{place} follows its load: {} now, {} to {}",
            s.task, s.replicas, s.min, s.max
        ));
    }
    for u in &plan.unplaced {
        let how = if u.never {
            "can never be placed"
        } else {
            "not placed"
        };
        parts.push(format!("{how}: {} of {}: {}", u.replicas, u.task, u.reason));
    }
    parts.extend(decision::unanswered(&plan.unanswered));
    parts.extend(
        plan.warnings
            .iter()
            .map(|warning| format!("warning: {warning}")),
    );
    parts.push(format!(
        "cost per hour {} -> {}, for the estimated durations {}",
        plan.hourly_before, plan.hourly_after, plan.estimated_cost
    ));
    parts.extend(plan.certificate.map(|c| c.to_string()));
    if let Some(policy) = &plan.policy {
        parts.push(format!("decided by {policy}"));
    }
    parts.extend(plan.reasons.iter().map(|r| decision::reason(out, r)));
    parts.join("\n")
}

fn summary(plan: &PlanView) -> String {
    let count = |action| plan.changes.iter().filter(|c| c.action == action).count();
    let actions = [
        ChangeAction::Create,
        ChangeAction::Resize,
        ChangeAction::Update,
        ChangeAction::Destroy,
    ];
    let texts: Vec<String> = actions
        .into_iter()
        .map(|a| (a, count(a)))
        .filter(|(_, n)| *n > 0)
        .map(|(a, n)| format!("{n} to {}", a.as_str()))
        .collect();
    let without: u32 = plan.unplaced.iter().map(|u| u.replicas).sum();
    match (texts.is_empty(), without) {
        (true, 0) => "nothing would change".to_owned(),
        (true, _) => format!("{without} without a place"),
        (false, 0) => texts.join(", "),
        (false, _) => format!("{}, {without} without a place", texts.join(", ")),
    }
}

fn row(out: &Output, c: &ChangeView) -> [comfy_table::Cell; 7] {
    let (sign, mood) = match c.action {
        ChangeAction::Create => ("+ create", Mood::Good),
        ChangeAction::Resize => ("~ resize", Mood::Busy),
        ChangeAction::Update => ("~ update", Mood::Busy),
        ChangeAction::Keep => ("= keep", Mood::Plain),
        ChangeAction::Destroy => ("- destroy", Mood::Bad),
    };
    let change = |before: String, after: String| {
        if before == after {
            after
        } else {
            format!("{before} -> {after}")
        }
    };
    [
        out.cell(sign, mood),
        out.cell(&c.task, Mood::Plain),
        out.cell(place(&c.provider, &c.region), Mood::Plain),
        out.cell(&c.size, Mood::Plain),
        out.cell(
            change(c.replicas_before.to_string(), c.replicas_after.to_string()),
            Mood::Plain,
        ),
        out.cell(
            change(c.hourly_before.to_string(), c.hourly_after.to_string()),
            Mood::Plain,
        ),
        out.cell(&c.why, Mood::Plain),
    ]
}
