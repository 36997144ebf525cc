//! Decisions: who decided what, against which alternatives, and what was excluded.

use tradewind_api::{DecisionView, QuoteView, RankedOffer, TaskReason};
use tradewind_core::names::InstanceName;

use super::{age, known, place};
use crate::output::{Mood::*, Output};

pub(crate) fn list(out: &Output, items: &[DecisionView]) -> String {
    if items.is_empty() {
        return "no decisions".to_owned();
    }
    let rows = items.iter().map(|d| {
        let mut who: Vec<String> = d
            .tasks
            .iter()
            .map(|t| format!("{}/{}", t.deployment, t.task))
            .collect();
        who.dedup();
        [
            out.cell(&d.id, Plain),
            out.cell(d.at, Plain),
            out.cell(&d.policy.instance, Plain),
            out.cell(d.policy.component.short(), Plain),
            out.cell(d.batch, Plain),
            out.cell(format!("{} µs", d.took_micros), Plain),
            out.cell(who.join(","), Plain),
        ]
    });
    out.table(
        ["ID", "AT", "POLICY", "DIGEST", "BATCH", "TOOK", "TASKS"],
        rows,
    )
}

pub(crate) fn one(out: &Output, decision: &DecisionView) -> String {
    let mut parts = vec![head(decision)];
    parts.extend(
        decision
            .tasks
            .iter()
            .map(|t| format!("{}/{}\n{}", t.namespace, t.deployment, reason(out, t))),
    );
    parts.join("\n\n")
}

/// Who decided, when, on which request.
pub(crate) fn head(d: &DecisionView) -> String {
    let mut lines = vec![
        format!("{} at {}", d.id, d.at),
        format!("policy {}", d.policy),
        format!(
            "request {}, seed {}, {} tasks in the batch, {} µs",
            d.request.short(),
            d.seed,
            d.batch,
            d.took_micros
        ),
    ];
    lines.extend(
        d.fallback
            .as_ref()
            .map(|why| format!("the built-in order decided, because of {why}")),
    );
    lines.extend(d.certificate.map(|c| c.to_string()));
    lines.extend(unanswered(&d.unanswered));
    if !d.note.is_empty() {
        lines.push(d.note.clone());
    }
    lines.join("\n")
}

/// Whose offers a decision was made without, because they had not answered yet.
pub(crate) fn unanswered(providers: &[InstanceName]) -> Option<String> {
    let names: Vec<String> = providers.iter().map(|p| format!("\"{p}\"")).collect();
    let told = match names.as_slice() {
        [] => return None,
        [one] => format!("provider {one} had"),
        several => format!("providers {} had", several.join(", ")),
    };
    Some(format!(
        "decided while {told} not answered yet (controller.offers-patience); what is new is looked at once more when that is there"
    ))
}

/// The offers of one task, the choice marked, and what excluded the others.
pub(crate) fn reason(out: &Output, task: &TaskReason) -> String {
    let chosen = task.chosen.iter().map(|o| (true, o));
    let rows: Vec<_> = chosen
        .chain(task.alternatives.iter().map(|o| (false, o)))
        .map(|(is, offer)| row(out, is, offer))
        .collect();
    let mut lines = vec![format!("{}: {} candidates", task.task, task.candidates)];
    if !rows.is_empty() {
        lines.push(out.table(
            [
                "", "PLACE", "SIZE", "OFFER", "REPLICAS", "C", "PER HOUR", "SCORE", "QUOTED",
            ],
            rows,
        ));
    }
    if let Some(unplaced) = &task.unplaced {
        lines.push(format!("not placed: {unplaced}"));
    }
    let reasons = task.excluded.iter().map(|e| (e.reason.as_str(), e.offers));
    lines.extend(excluded(reasons));
    lines.join("\n")
}

fn row(out: &Output, chosen: bool, o: &RankedOffer) -> [comfy_table::Cell; 9] {
    let mood = if chosen { Good } else { Plain };
    [
        out.cell(if chosen { "*" } else { "" }, mood),
        out.cell(place(&o.provider, &o.region), mood),
        out.cell(&o.size, Plain),
        out.cell(&o.offer, Plain),
        out.cell(
            if chosen {
                o.replicas.to_string()
            } else {
                "-".to_owned()
            },
            Plain,
        ),
        out.cell(o.cost, Plain),
        out.cell(o.hourly, Plain),
        out.cell(known(o.score), Plain),
        out.cell(
            o.quote.as_ref().map_or_else(|| "-".to_owned(), quoted),
            Plain,
        ),
    ]
}

fn quoted(quote: &QuoteView) -> String {
    let stale = if quote.stale { " (stale)" } else { "" };
    format!("{}{stale}", age(quote.age))
}

/// Reasons, each with how many offers it excluded.
pub(crate) fn excluded<'a>(reasons: impl Iterator<Item = (&'a str, u32)>) -> Option<String> {
    let texts: Vec<String> = reasons
        .map(|(reason, offers)| format!("{reason} ({offers})"))
        .collect();
    (!texts.is_empty()).then(|| format!("excluded: {}", texts.join(", ")))
}
