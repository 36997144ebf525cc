//! Tokens as text.

use tradewind_api::{TokenView, WhoAmI};
use tradewind_core::{identity::TokenState, units::Instant};

use crate::output::{Mood, Output};

fn at(instant: Option<Instant>, otherwise: &str) -> String {
    instant.map_or_else(|| otherwise.to_owned(), |at| at.to_string())
}

pub(crate) fn list(out: &Output, tokens: &[TokenView]) -> String {
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
            out.cell(at(t.expires_at, "never"), Mood::Plain),
            out.cell(at(t.last_used, "-"), Mood::Plain),
            out.cell(t.created_at, Mood::Plain),
            out.cell(&t.created_by, Mood::Plain),
        ]
    });
    out.table(
        [
            "NAME",
            "ROLE",
            "NAMESPACES",
            "STATE",
            "EXPIRES",
            "LAST USED",
            "CREATED",
            "BY",
        ],
        rows,
    )
}

pub(crate) fn line(token: &TokenView) -> String {
    let until = token
        .expires_at
        .map(|at| format!(", until {at}"))
        .unwrap_or_default();
    format!(
        "token \"{}\": {} of {}{until}",
        token.name, token.role, token.namespaces
    )
}

pub(crate) fn who(who: &WhoAmI) -> String {
    let until = who
        .expires_at
        .map(|at| format!(", until {at}"))
        .unwrap_or_default();
    let certificate = who
        .certificate_ends
        .map(|at| format!("\nthe daemon's certificate ends at {at}"))
        .unwrap_or_default();
    format!(
        "{}: {} of {}{until}{certificate}",
        who.actor, who.role, who.namespaces
    )
}
