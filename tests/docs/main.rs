//! The pages say what is so: links lead somewhere, examples can be used, and reference pages are those of the code. Needs no daemon.
//! `UPDATE=1` writes the generated parts of pages anew.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that can't go on fails"
)]

mod blocks;
mod commands;
mod links;
mod reference;
mod shell;

use tradewind_kit::pages::{self, Page};

fn every_page() -> Vec<Page> {
    let pages = pages::all().unwrap();
    assert!(pages.len() > 40, "pages are missing: {}", pages.len());
    pages
}

/// Fails with all that was found, one a line, each with its place.
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn at(page: &Page, line: usize, message: impl std::fmt::Display) -> String {
    format!("{}:{line}: {message}", page.path.display())
}
