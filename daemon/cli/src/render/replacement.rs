//! What would move to where it costs less, and why the rest stays.

use tradewind_api::ReplacementsView;

use crate::output::{Mood::*, Output};

pub(crate) fn report(out: &Output, view: &ReplacementsView) -> String {
    if view.services.is_empty() {
        return "no service runs undisturbed".to_owned();
    }
    let rows = view.services.iter().map(|s| {
        let (verdict, mood) = if s.moves {
            ("moves", Good)
        } else {
            ("stays", Plain)
        };
        [
            out.cell(verdict, mood),
            out.cell(
                format!("{}/{}/{}", s.namespace, s.deployment, s.task),
                Plain,
            ),
            out.cell(s.from.join(", "), Plain),
            out.cell(
                if s.moving == 0 {
                    "-".to_owned()
                } else {
                    s.to.join(", ")
                },
                Plain,
            ),
            out.cell(s.saving_per_hour, Plain),
            out.cell(s.migration_cost, Plain),
            out.cell(&s.stays, Plain),
        ]
    });
    out.table(
        [
            "",
            "SERVICE",
            "FROM",
            "TO",
            "SAVES PER HOUR",
            "MOVING COSTS",
            "WHY IT STAYS",
        ],
        rows,
    )
}
