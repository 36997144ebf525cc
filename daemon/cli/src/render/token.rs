//! Tokens as text.

use tradewind_api::{TokenView, WhoAmI};
use tradewind_core::identity::TokenState;

use super::dash;
use crate::output::{Column, Mood, Output, Table};

pub(crate) fn table(out: &Output, tokens: &[TokenView]) -> Table {
    let rows = tokens.iter().map(|t| {
        let mood = if t.state == TokenState::Active {
            Mood::Good
        } else {
            Mood::Plain
        };
        [
            out.cell(&t.name, Mood::Plain),
            out.cell(t.role, Mood::Plain),
            out.cell(&t.namespaces, Mood::Plain),
            out.cell(t.state.as_str(), mood),
            t.expires_at
                .map_or_else(|| out.cell("never", Mood::Plain), |at| out.due(at)),
            t.last_used.map_or_else(|| dash(out), |at| out.ago(at)),
            out.ago(t.created_at),
            out.cell(&t.created_by, Mood::Plain),
        ]
    });
    let columns = [
        Column::new("NAME").key(),
        Column::new("ROLE"),
        Column::new("NAMESPACES").spare(),
        Column::new("STATE").key(),
        Column::new("EXPIRES"),
        Column::new("LAST USED"),
        Column::new("CREATED").wide(),
        Column::new("BY").wide(),
    ];
    Table::new(columns, rows)
        .named(tokens.iter().map(|t| t.name.to_string()))
        .or("no tokens")
}

pub(crate) fn line(out: &Output, token: &TokenView) -> String {
    let until = token
        .expires_at
        .map(|at| format!(", until {}", out.at(at)))
        .unwrap_or_default();
    format!(
        "token \"{}\": {} of {}{until}",
        token.name, token.role, token.namespaces
    )
}

pub(crate) fn who(out: &Output, who: &WhoAmI) -> String {
    let until = who
        .expires_at
        .map(|at| format!(", until {}", out.at(at)))
        .unwrap_or_default();
    let certificate = who
        .certificate_ends
        .map(|at| format!("\nthe daemon's certificate ends at {}", out.at(at)))
        .unwrap_or_default();
    format!(
        "{}: {} of {}{until}{certificate}",
        who.actor, who.role, who.namespaces
    )
}
