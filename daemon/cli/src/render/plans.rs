//! Stored plans: the list, and one with what it rests on.

use tradewind_api::{Adds, PlanSummary, Quote, StoredPlanView, command};
use tradewind_core::plan::stored::PlanStatus;

use super::{money, plan};
use crate::output::{
    Cell, Column,
    Mood::{self, *},
    Output, Table,
};

pub(crate) fn table(out: &Output, plans: &[PlanSummary]) -> Table {
    let rows = plans.iter().map(|p| {
        [
            out.cell(&p.namespace, Plain),
            out.cell(&p.id, Plain),
            out.cell(&p.deployment, Plain),
            out.cell(p.status, mood(p.status)),
            out.cell(&p.author, Plain),
            out.cell(
                format!("{} -> {}", money(p.hourly_before), money(p.hourly_after)),
                Plain,
            )
            .key(p.hourly_after.0 as f64),
            out.ago(p.created_at),
            out.due(p.expires_at),
        ]
    });
    let several = out.tells_namespace(plans.iter().map(|p| p.namespace.as_str()));
    let columns = [
        Column::new("NAMESPACE").key().shown_if(several),
        Column::new("PLAN").key(),
        Column::new("DEPLOYMENT").key(),
        Column::new("STATUS").key(),
        Column::new("AUTHOR").spare(),
        Column::new("PER HOUR").right(),
        Column::new("MADE").spare(),
        Column::new("EXPIRES"),
    ];
    Table::new(columns, rows)
        .named(plans.iter().map(|p| out.name(&p.namespace, &p.id)))
        .or("no plans")
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
        s.id,
        s.author,
        out.at(s.created_at),
        s.status,
        out.at(s.expires_at)
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
        parts.push(format!(
            "{word} by {} at {}{comment}",
            review.by,
            out.at(review.at)
        ));
    } else if s.approval_required && s.status == PlanStatus::Pending {
        parts.push(format!(
            "waits for somebody else's {}",
            command(&s.namespace, &format!("plan approve {}", s.id))
        ));
    }
    if let Some(applied) = &view.applied {
        parts.push(format!(
            "applied by {} at {} as generation {}",
            applied.by,
            out.at(applied.at),
            applied.generation
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
            [
                Column::new("QUOTE").key(),
                Column::new("PRICE").right(),
                Column::new("ADDS").right(),
                Column::new("CAPACITY").right(),
                Column::new("SOURCE").spare(),
                Column::new("QUOTED"),
            ],
            rows,
        ));
    }
    parts.join("\n")
}

fn quote(out: &Output, q: &Quote) -> [Cell; 6] {
    let Adds { replicas, .. } = q.adds;
    [
        out.cell(place(q), Plain),
        out.money(q.price),
        out.cell(replicas, Plain),
        out.cell(
            q.capacity.map_or_else(|| "-".to_owned(), |n| n.to_string()),
            Plain,
        ),
        out.cell(&q.source, Plain),
        out.ago(q.quoted_at),
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
