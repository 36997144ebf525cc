//! What would move to where it costs less, and why the rest stays.

use tradewind_api::ReplacementsView;

use crate::output::{Column, Mood::*, Output, Table};

pub(crate) fn table(out: &Output, view: &ReplacementsView) -> Table {
    let service =
        |s: &tradewind_api::ReplacementView| format!("{}/{}/{}", s.namespace, s.deployment, s.task);
    let rows = view.items.iter().map(|s| {
        let (verdict, mood) = if s.moves {
            ("moves", Good)
        } else {
            ("stays", Plain)
        };
        let to = if s.moving == 0 {
            "-".to_owned()
        } else {
            s.to.join(", ")
        };
        [
            out.cell(service(s), Plain),
            out.cell(verdict, mood),
            out.cell(s.from.join(", "), Plain),
            out.cell(to, Plain),
            out.rate(s.saving_per_hour),
            out.money(s.migration_cost),
            out.cell(&s.stays, Plain),
        ]
    });
    let columns = [
        Column::new("SERVICE").key(),
        Column::new("VERDICT").key(),
        Column::new("FROM").spare(),
        Column::new("TO"),
        Column::new("SAVES").right(),
        Column::new("MOVING COSTS").right().spare(),
        Column::new("WHY IT STAYS").sentence().filled(),
    ];
    Table::new(columns, rows)
        .named(view.items.iter().map(service))
        .or("no service runs undisturbed")
}
