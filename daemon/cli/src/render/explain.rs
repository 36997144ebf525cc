//! Decisions looked at again: replayed, and explained.

use tradewind_api::{ExplainView, Flip, OfferPlace, TaskExplanation};
use tradewind_core::{
    replay::{ReplayView, ReplayedPlace},
    units::MicroUsd,
};

use super::{dash, known, money, place, replicas};
use crate::output::{Column, Mood::*, Output, counted, short};

pub(crate) fn replay(out: &Output, replay: &ReplayView) -> String {
    let mut lines = vec![format!(
        "{} at {}, made by {}",
        replay.decision,
        out.at(replay.at),
        replay.recorded_policy
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
    let difference = money(MicroUsd(before.0.abs_diff(after.0)));
    let order = before.cmp(&after);
    let (before, after) = (money(before), money(after));
    match order {
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
        "{}: {}, {} at {} by {}",
        task.task,
        replicas(task.replicas),
        task.decision,
        out.at(task.at),
        task.policy
    )];
    parts.push(candidates(out, task));
    if let Some(more) = more(task.candidates.len(), task.candidates_in_all) {
        parts.push(format!(
            "and {} more",
            counted(more, "candidate", "candidates")
        ));
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
        parts.push(out.table(
            [
                Column::new("EXCLUDED").key(),
                Column::new("OFFER"),
                Column::new("BECAUSE").sentence(),
                Column::new("IT HAS").spare(),
            ],
            rows,
        ));
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
            if c.replicas > 0 {
                out.count(c.replicas.into())
            } else {
                dash(out)
            },
            known(out, c.score),
            out.money(c.cost),
            out.money(c.expected_cost),
            out.money(c.hourly),
            out.money(c.price),
            out.cell(format!("{} ago{stale}", short(c.quote.age)), Plain),
        ]
    });
    out.table(
        [
            Column::new(""),
            Column::new("PLACE").key(),
            Column::new("OFFER"),
            Column::new("REPLICAS").right(),
            Column::new("SCORE").right().spare(),
            Column::new("C").right().key(),
            // What is expected to be lost is told where something is.
            Column::new("EXPECTED C").right().shown_if(
                task.candidates
                    .iter()
                    .any(|c| money(c.expected_cost) != money(c.cost)),
            ),
            Column::new("PER HOUR").right(),
            Column::new("PRICE").right(),
            Column::new("QUOTED").right().spare(),
        ],
        rows,
    )
}

fn name(p: &OfferPlace) -> String {
    format!("{} {}", place(&p.provider, &p.region), p.offer)
}

/// The price below which, or above which, the answer is another. The least step that is counted says less than the price beside it does.
fn limit(word: &str, at: MicroUsd, beside: MicroUsd, or: &str) -> String {
    let (exact, rounded) = (money(at), money(beside));
    if rounded == beside.to_string() && exact != at.to_string() {
        format!("{word} {rounded}")
    } else {
        format!("at {exact} {or}")
    }
}

fn flip(flip: &Flip) -> String {
    match flip {
        Flip::Cheaper {
            place,
            price,
            flips_at: Some(at),
        } => {
            let beside = MicroUsd(at.0.saturating_add(1));
            let limit = limit("below", *at, beside, "or below");
            format!("{} {limit} (now {})", name(place), money(*price))
        }
        Flip::Cheaper {
            place,
            price,
            flips_at: None,
        } => format!("{}: at no price (now {})", name(place), money(*price)),
        Flip::Dearer {
            place,
            price,
            flips_at: Some(at),
            ..
        } => {
            let beside = MicroUsd(at.0.saturating_sub(1));
            let limit = limit("above", *at, beside, "or above");
            format!("{} {limit} (now {})", name(place), money(*price))
        }
        Flip::Dearer {
            place,
            price,
            flips_at: None,
            tried,
        } => format!(
            "{}: at no price up to {} (now {})",
            name(place),
            money(*tried),
            money(*price)
        ),
        Flip::Fuller {
            place,
            capacity,
            flips_at,
        } => {
            let now = capacity.map_or_else(|| "no known limit".to_owned(), |n| n.to_string());
            match flips_at {
                Some(0) => format!("{} without room (now {now})", name(place)),
                Some(at) => format!(
                    "{} with room for {} or fewer (now {now})",
                    name(place),
                    replicas(*at)
                ),
                None => format!(
                    "{}: with no capacity (now {now}), it runs there already",
                    name(place)
                ),
            }
        }
    }
}
