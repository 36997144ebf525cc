//! What the code says of itself, kept as text: reference pages whose parts between markers are made of the code, and the help of every command.

mod cli;
mod events;
mod manifest;
mod schema;
mod settings;
mod table;

use tradewind_kit::golden;

fn is_current(path: &str, parts: &[(&str, String)]) {
    golden::page(path, parts).unwrap();
}

#[test]
fn the_manifest_reference_is_current() {
    is_current("daemon/docs/manifest-reference.md", &manifest::parts());
}

#[test]
fn the_settings_reference_is_current() {
    is_current("daemon/docs/settings-reference.md", &settings::parts());
}

#[test]
fn the_command_line_reference_is_current() {
    is_current("daemon/docs/cli-reference.md", &cli::parts());
}

#[test]
fn the_events_reference_is_current() {
    is_current("daemon/docs/events-reference.md", &events::parts());
}

#[test]
fn the_help_of_every_command_is_as_kept() {
    golden::file("tests/golden/help.txt", &cli::help()).unwrap();
}
