//! The events reference, made of the reasons that the daemon knows.

use tradewind_core::event::Reason;

use super::table::{code, meaning, table};

pub(super) fn parts() -> Vec<(&'static str, String)> {
    let rows = Reason::ALL
        .iter()
        .map(|reason| [code(reason), meaning(reason.meaning()).0]);
    vec![("reasons", table(["reason", "what has happened"], rows))]
}
