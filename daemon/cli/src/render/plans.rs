//! Stored plans: the list, and one with what it rests on.

use tradewind_api::{Adds, PlanSummary, Quote, StoredPlanView, command};
use tradewind_core::plan::stored::PlanStatus;

use super::plan;
use crate::output::{
    Mood::{self, *},
    Output,
};

pub(crate) fn list(out: &Output, plans: &[PlanSummary]) -> String {
    if plans.is_empty() {
        return "no plans".to_owned();
    }
    let rows = plans.iter().map(|p| {
        [
            out.cell(&p.id, Plain),
            out.cell(format!("{}/{}", p.namespace, p.deployment), Plain),
            out.cell(p.status, mood(p.status)),
            out.cell(&p.author, Plain),
            out.cell(format!("{} -> {}", p.hourly_before, p.hourly_after), Plain),
            out.cell(p.created_at, Plain),
            out.cell(p.expires_at, Plain),
        ]
    });
    out.table(
        [
            "PLAN",
            "DEPLOYMENT",
            "STATUS",
            "AUTHOR",
            "PER HOUR",
            "MADE",
            "EXPIRES",
        ],
        rows,
    )
}

pub(crate) fn one(out: &Output, view: &StoredPlanView) -> String {
    let s = &view.summary;
    let what = if s.deletes {
        "plan to delete, "
    } else {
        "plan "
    };
    let mut parts = vec![format!(
        "{what}\"{}\" by {} at {}: {}, expires at {}",
        s.id, s.author, s.created_at, s.status, s.expires_at
    )];
    if let Some(review) = &view.review {
        let word = if review.approved {
            "approved"
        } else {
            "rejected"
        };
        let comment = if review.comment.is_empty() {
            String::new()
        } else {
            format!(": {}", review.comment)
        };
        parts.push(format!("{word} by {} at {}{comment}", review.by, review.at));
    } else if s.approval_required && s.status == PlanStatus::Pending {
        parts.push(format!(
            "waits for somebody else's {}",
            command(&s.namespace, &format!("plan approve {}", s.id))
        ));
    }
    if let Some(applied) = &view.applied {
        parts.push(format!(
            "applied by {} at {} as generation {}",
            applied.by, applied.at, applied.generation
        ));
    }
    parts.push(plan::plan(out, &view.plan));
    parts.push(match view.basis.generation {
        0 => "made for a deployment that does not exist yet".to_owned(),
        n => format!("made at generation {n}"),
    });
    if !view.basis.quotes.is_empty() {
        let rows = view.basis.quotes.iter().map(|q| quote(out, q));
        parts.push(out.table(
            ["QUOTE", "PRICE", "ADDS", "CAPACITY", "SOURCE", "QUOTED"],
            rows,
        ));
    }
    parts.join("\n")
}

fn quote(out: &Output, q: &Quote) -> [comfy_table::Cell; 6] {
    let Adds { replicas, .. } = q.adds;
    [
        out.cell(place(q), Plain),
        out.cell(q.price, Plain),
        out.cell(replicas, Plain),
        out.cell(
            q.capacity.map_or_else(|| "-".to_owned(), |n| n.to_string()),
            Plain,
        ),
        out.cell(&q.source, Plain),
        out.cell(q.quoted_at, Plain),
    ]
}

fn mood(status: PlanStatus) -> Mood {
    match status {
        PlanStatus::Pending => Busy,
        PlanStatus::Approved | PlanStatus::Applied => Good,
        PlanStatus::Rejected => Bad,
        PlanStatus::Expired => Plain,
    }
}

/// `provider/region/size`, as far as it has them.
fn place(q: &Quote) -> String {
    let parts = [q.provider.as_str(), &q.region, &q.size];
    let named: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
    named.join("/")
}
