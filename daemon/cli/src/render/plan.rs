//! A plan: what would change, what it costs, and why.

use tradewind_api::{ChangeView, FieldChange, PlanView};
use tradewind_core::{
    plan::preview::{ChangeAction, Transition},
    units::MicroUsd,
};

use super::{decision, place};
use crate::output::{Cell, Column, Mood, Output};

pub(crate) fn plan(out: &Output, plan: &PlanView) -> String {
    let mut parts = vec![format!(
        "deployment \"{}\" in \"{}\": {}",
        plan.name,
        plan.namespace,
        summary(plan)
    )];
    parts.extend(plan.fields.iter().map(|f| field(out, f)));
    if !plan.changes.is_empty() {
        parts.push(out.table(
            [
                Column::new("ACTION").key(),
                Column::new("TASK").key(),
                Column::new("PLACE").key(),
                Column::new("SIZE").spare(),
                Column::new("REPLICAS").right(),
                Column::new("PER HOUR").right(),
                Column::new("WHY").sentence(),
            ],
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
    for s in &plan.schedules {
        let next = match s.next {
            Some(next) => format!("next {}", out.at(next)),
            None => "suspended".to_owned(),
        };
        parts.push(format!(
            "{} runs at \"{}\" ({}), {next}: it gets its place when a run begins",
            s.task, s.cron, s.time_zone
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
    parts.push(cost(plan));
    parts.extend(plan.certificate.map(|c| c.to_string()));
    if let Some(policy) = &plan.policy {
        parts.push(format!("decided by {policy}"));
    }
    parts.extend(plan.reasons.iter().map(|r| decision::reason(out, r)));
    parts.join("\n")
}

/// What becomes of the deployment. A plan that an earlier daemon stored says it allocation by allocation alone.
pub(crate) fn action(plan: &PlanView) -> ChangeAction {
    let all = |action| plan.changes.iter().all(|c| c.action == action);
    match plan.action {
        Some(action) => action,
        None if all(ChangeAction::Keep) => ChangeAction::Keep,
        None if all(ChangeAction::Create) => ChangeAction::Create,
        None if all(ChangeAction::Destroy) => ChangeAction::Destroy,
        None => ChangeAction::Update,
    }
}

/// The last line over all plans of a command.
pub(crate) fn total<'a>(plans: impl Iterator<Item = &'a PlanView> + Clone) -> String {
    let count = |wanted| plans.clone().filter(|p| action(p) == wanted).count();
    let sum = |amount: fn(&PlanView) -> MicroUsd| {
        plans
            .clone()
            .map(amount)
            .fold(MicroUsd(0), MicroUsd::saturating_add)
    };
    format!(
        "Plan: {} to create, {} to update, {} to delete; {} → {} per hour",
        count(ChangeAction::Create),
        count(ChangeAction::Update) + count(ChangeAction::Resize),
        count(ChangeAction::Destroy),
        sum(|p| p.hourly_before),
        sum(|p| p.hourly_after),
    )
}

fn cost(plan: &PlanView) -> String {
    let mut text = format!(
        "cost per hour {} → {}",
        plan.hourly_before, plan.hourly_after
    );
    if let Some(monthly) = plan.monthly_after {
        text.push_str(&format!(", of its services {monthly} per month"));
    }
    if let Some(jobs) = plan.jobs_cost {
        text.push_str(&format!(
            ", of its jobs {jobs} for their estimated durations"
        ));
    }
    text
}

fn field(out: &Output, change: &FieldChange) -> String {
    let path = &change.path;
    let (text, mood) = match (&change.before, &change.after) {
        (Some(before), Some(after)) if before == after => (
            format!("  ~ {path}: its value changes, and is not shown"),
            Mood::Busy,
        ),
        (Some(before), Some(after)) => (format!("  ~ {path}: {before} → {after}"), Mood::Busy),
        (None, Some(after)) => (format!("  + {path}: {after}"), Mood::Good),
        (Some(before), None) => (format!("  - {path}: {before}"), Mood::Bad),
        (None, None) => (format!("  ~ {path}"), Mood::Busy),
    };
    out.paint(&text, mood)
}

fn summary(plan: &PlanView) -> String {
    if plan.action == Some(ChangeAction::Destroy) && plan.changes.is_empty() {
        return "deleted".to_owned();
    }
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
        (true, 0) if action(plan) == ChangeAction::Keep => "nothing would change".to_owned(),
        (true, 0) => "nothing that runs would change".to_owned(),
        (true, _) => format!("{without} without a place"),
        (false, 0) => texts.join(", "),
        (false, _) => format!("{}, {without} without a place", texts.join(", ")),
    }
}

fn why(change: &ChangeView) -> String {
    let why = match change.transition {
        None | Some(Transition::InPlace) => change.why.clone(),
        Some(rolled) => format!("{}: {}", rolled.as_str(), change.why),
    };
    let after: Vec<String> = change
        .after
        .iter()
        .map(|p| format!("{} {}", p.task, p.until.reached()))
        .collect();
    match after.is_empty() {
        true => why,
        false => format!("after {}: {why}", after.join(" and ")),
    }
}

fn row(out: &Output, c: &ChangeView) -> [Cell; 7] {
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
            format!("{before} → {after}")
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
        out.cell(why(c), Mood::Plain),
    ]
}
