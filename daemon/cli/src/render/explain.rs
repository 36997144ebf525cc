//! Decisions looked at again: replayed, and explained.

use tradewind_api::{ExplainView, Flip, OfferPlace, TaskExplanation};
use tradewind_core::{
    replay::{ReplayView, ReplayedPlace},
    units::MicroUsd,
};

use super::{age, known, place};
use crate::output::{Mood::*, Output};

pub(crate) fn replay(out: &Output, replay: &ReplayView) -> String {
    let mut lines = vec![format!(
        "{} at {}, made by {}",
        replay.decision, replay.at, replay.recorded_policy
    )];
    if replay.same_policy {
        lines.push("replayed by the same version".to_owned());
    } else {
        lines.push(format!("replayed by {}", replay.replayed_policy));
    }
    match &replay.first_difference {
        None if replay.identical => lines.push(format!(
            "identical, bit for bit: answer {}",
            replay.recorded_answer.short()
        )),
        None => lines.push("the answers differ".to_owned()),
        Some(difference) => lines.push(format!("first difference: {difference}")),
    }
    lines.extend(
        replay
            .refused
            .as_ref()
            .map(|rule| format!("the new answer would be refused: {rule}")),
    );
    if !replay.tasks.is_empty() {
        let rows = replay.tasks.iter().map(|t| {
            [
                out.cell(format!("{}/{}", t.deployment, t.task), Plain),
                out.cell(places(&t.recorded), Plain),
                out.cell(places(&t.replayed), Busy),
            ]
        });
        lines.push(out.table(["TASK", "RECORDED", "REPLAYED"], rows));
    }
    if !replay.identical {
        lines.push(change("cost", replay.recorded_cost, replay.replayed_cost));
        lines.push(change(
            "per hour",
            replay.recorded_hourly,
            replay.replayed_hourly,
        ));
    }
    lines.join("\n")
}

fn places(places: &[ReplayedPlace]) -> String {
    let texts: Vec<String> = places
        .iter()
        .map(|p| {
            format!(
                "{} x {} ({})",
                p.replicas,
                place(&p.provider, &p.region),
                p.offer
            )
        })
        .collect();
    if texts.is_empty() {
        "nowhere".to_owned()
    } else {
        texts.join(", ")
    }
}

fn change(what: &str, before: MicroUsd, after: MicroUsd) -> String {
    let difference = MicroUsd(before.0.abs_diff(after.0));
    match before.cmp(&after) {
        std::cmp::Ordering::Equal => format!("{what}: {before}, the same"),
        std::cmp::Ordering::Less => format!("{what}: {before} -> {after}, {difference} more"),
        std::cmp::Ordering::Greater => format!("{what}: {before} -> {after}, {difference} less"),
    }
}

pub(crate) fn explain(out: &Output, view: &ExplainView) -> String {
    if view.tasks.is_empty() {
        return format!(
            "nothing has been decided about {}/{} that is kept",
            view.namespace, view.name
        );
    }
    view.tasks
        .iter()
        .map(|t| task(out, t))
        .collect::<Vec<_>>()
        .join("\n\n")
}

fn task(out: &Output, task: &TaskExplanation) -> String {
    let mut parts = vec![format!(
        "{}: {} replicas, {} at {} by {}",
        task.task, task.replicas, task.decision, task.at, task.policy
    )];
    parts.push(candidates(out, task));
    if let Some(more) = more(task.candidates.len(), task.candidates_in_all) {
        parts.push(format!("and {more} more candidates"));
    }
    if !task.excluded.is_empty() {
        let rows = task.excluded.iter().map(|e| {
            [
                out.cell(place(&e.place.provider, &e.place.region), Plain),
                out.cell(&e.place.offer, Plain),
                out.cell(&e.reason, Plain),
                out.cell(e.value.as_deref().unwrap_or("-"), Plain),
            ]
        });
        parts.push(out.table(["EXCLUDED", "OFFER", "BECAUSE", "IT HAS"], rows));
        parts.extend(
            more(task.excluded.len(), task.excluded_in_all)
                .map(|more| format!("and {more} more excluded")),
        );
    }
    if !task.flips.is_empty() {
        let lines: Vec<String> = task
            .flips
            .iter()
            .map(|f| format!("  {}", flip(f)))
            .collect();
        parts.push(format!(
            "the answer would be another:\n{}",
            lines.join("\n")
        ));
    }
    if !task.note.is_empty() {
        parts.push(task.note.clone());
    }
    parts.join("\n")
}

fn more(shown: usize, in_all: u32) -> Option<u32> {
    let more = in_all.saturating_sub(u32::try_from(shown).unwrap_or(u32::MAX));
    (more > 0).then_some(more)
}

fn candidates(out: &Output, task: &TaskExplanation) -> String {
    if task.candidates.is_empty() {
        return "no candidates".to_owned();
    }
    let rows = task.candidates.iter().map(|c| {
        let stale = if c.quote.stale { " (stale)" } else { "" };
        [
            out.cell(if c.replicas > 0 { "*" } else { "" }, Good),
            out.cell(
                place(&c.place.provider, &c.place.region),
                if c.replicas > 0 { Good } else { Plain },
            ),
            out.cell(&c.place.offer, Plain),
            out.cell(
                if c.replicas > 0 {
                    c.replicas.to_string()
                } else {
                    "-".to_owned()
                },
                Plain,
            ),
            out.cell(known(c.score), Plain),
            out.cell(c.cost, Plain),
            out.cell(c.expected_cost, Plain),
            out.cell(c.hourly, Plain),
            out.cell(c.price, Plain),
            out.cell(format!("{}{stale}", age(c.quote.age)), Plain),
        ]
    });
    out.table(
        [
            "",
            "PLACE",
            "OFFER",
            "REPLICAS",
            "SCORE",
            "C",
            "EXPECTED C",
            "PER HOUR",
            "PRICE",
            "QUOTED",
        ],
        rows,
    )
}

fn name(p: &OfferPlace) -> String {
    format!("{} {}", place(&p.provider, &p.region), p.offer)
}

fn flip(flip: &Flip) -> String {
    match flip {
        Flip::Cheaper {
            place,
            price,
            flips_at: Some(at),
        } => format!("{} at {at} or below (now {price})", name(place)),
        Flip::Cheaper {
            place,
            price,
            flips_at: None,
        } => format!("{}: at no price (now {price})", name(place)),
        Flip::Dearer {
            place,
            price,
            flips_at: Some(at),
            ..
        } => format!("{} at {at} or above (now {price})", name(place)),
        Flip::Dearer {
            place,
            price,
            flips_at: None,
            tried,
        } => format!("{}: at no price up to {tried} (now {price})", name(place)),
        Flip::Fuller {
            place,
            capacity,
            flips_at,
        } => {
            let now = capacity.map_or_else(|| "no known limit".to_owned(), |n| n.to_string());
            match flips_at {
                Some(at) => format!("{} with room for {at} or fewer (now {now})", name(place)),
                None => format!(
                    "{}: with no capacity (now {now}), it runs there already",
                    name(place)
                ),
            }
        }
    }
}
