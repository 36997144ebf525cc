//! Decisions: who decided what, against which alternatives, and what was excluded.

use tradewind_api::{DecisionView, QuoteView, RankedOffer, TaskReason};
use tradewind_core::names::InstanceName;

use super::{dash, known, micros, place};
use crate::output::{Cell, Column, Mood::*, Output, Table, counted, short};

pub(crate) fn table(out: &Output, items: &[DecisionView]) -> Table {
    let rows = items.iter().map(|d| {
        let mut who: Vec<String> = d
            .tasks
            .iter()
            .map(|t| format!("{}/{}", t.deployment, t.task))
            .collect();
        who.dedup();
        [
            out.cell(&d.id, Plain),
            out.ago(d.at),
            out.cell(&d.policy.instance, Plain),
            out.cell(d.policy.component.short(), Plain),
            out.count(d.batch.into()),
            out.cell(micros(d.took_micros), Plain)
                .key(d.took_micros as f64),
            out.cell(who.join(","), Plain),
        ]
    });
    let columns = [
        Column::new("ID").key(),
        Column::new("MADE"),
        Column::new("POLICY"),
        Column::new("DIGEST").wide(),
        Column::new("BATCH").right().wide(),
        Column::new("TOOK").right().spare(),
        Column::new("TASKS").sentence(),
    ];
    Table::new(columns, rows)
        .named(items.iter().map(|d| d.id.to_string()))
        .or("no decisions")
}

pub(crate) fn one(out: &Output, decision: &DecisionView) -> String {
    let mut parts = vec![head(out, decision)];
    parts.extend(
        decision
            .tasks
            .iter()
            .map(|t| format!("{}/{}\n{}", t.namespace, t.deployment, reason(out, t))),
    );
    parts.join("\n\n")
}

/// Who decided, when, on which request.
pub(crate) fn head(out: &Output, d: &DecisionView) -> String {
    let mut lines = vec![
        format!("{} at {}", d.id, out.at(d.at)),
        format!("policy {}", d.policy),
        format!(
            "request {}, seed {}, {} in the batch, {}",
            d.request.short(),
            d.seed,
            counted(d.batch, "task", "tasks"),
            micros(d.took_micros)
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
    let mut lines = vec![format!(
        "{}: {}",
        task.task,
        counted(task.candidates, "candidate", "candidates")
    )];
    if !rows.is_empty() {
        lines.push(out.table(
            [
                Column::new(""),
                Column::new("PLACE").key(),
                Column::new("SIZE"),
                Column::new("OFFER").wide(),
                Column::new("REPLICAS").right(),
                Column::new("C").right().key(),
                Column::new("PER HOUR").right(),
                Column::new("SCORE").right().spare(),
                Column::new("QUOTED").right().spare(),
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

fn row(out: &Output, chosen: bool, o: &RankedOffer) -> [Cell; 9] {
    let mood = if chosen { Good } else { Plain };
    [
        out.cell(if chosen { "*" } else { "" }, mood),
        out.cell(place(&o.provider, &o.region), mood),
        out.cell(&o.size, Plain),
        out.cell(&o.offer, Plain),
        if chosen {
            out.count(o.replicas.into())
        } else {
            dash(out)
        },
        out.money(o.cost),
        out.money(o.hourly),
        known(out, o.score),
        o.quote
            .as_ref()
            .map_or_else(|| dash(out), |quote| out.cell(quoted(quote), Plain)),
    ]
}

fn quoted(quote: &QuoteView) -> String {
    let stale = if quote.stale { " (stale)" } else { "" };
    format!("{} ago{stale}", short(quote.age))
}

/// Reasons, each with how many offers it excluded.
pub(crate) fn excluded<'a>(reasons: impl Iterator<Item = (&'a str, u32)>) -> Option<String> {
    let texts: Vec<String> = reasons
        .map(|(reason, offers)| format!("{reason} ({offers})"))
        .collect();
    (!texts.is_empty()).then(|| format!("excluded: {}", texts.join(", ")))
}
