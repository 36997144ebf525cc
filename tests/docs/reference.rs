//! Reference pages: the parts between markers are made of the code. Elsewhere they are written by hand, as every page.

mod cli;
mod manifest;
mod schema;
mod settings;
mod table;

use tradewind_kit::pages::{self, Page};

const END: &str = "<!-- /generated -->\n";

fn begin(part: &str) -> String {
    format!("<!-- generated: {part} -->\n")
}

/// The page with these parts between its markers.
fn with_parts(page: &Page, parts: &[(&str, String)]) -> String {
    let mut text = page.text.clone();
    assert_eq!(
        (
            text.matches("<!-- generated: ").count(),
            text.matches(END).count()
        ),
        (parts.len(), parts.len()),
        "{}: its parts are {:?}",
        page.path.display(),
        parts
            .iter()
            .map(|(name, _)| begin(name))
            .collect::<Vec<_>>()
    );
    for (name, part) in parts {
        let start = text.find(&begin(name)).unwrap_or_else(|| {
            panic!(
                "{}: the marker {:?} is missing",
                page.path.display(),
                begin(name)
            )
        });
        let start = start + begin(name).len();
        let end = start + text[start..].find(END).unwrap();
        text.replace_range(start..end, &format!("\n{}\n\n", part.trim()));
    }
    text
}

/// Fails where a page is not what the code makes of it; with `UPDATE=1` it is written anew.
fn is_current(path: &str, parts: &[(&str, String)]) {
    let page = Page::read(path).unwrap();
    let wanted = with_parts(&page, parts);
    if wanted == page.text {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(pages::root().join(path), wanted).unwrap();
    }
    let mut lines = page.text.lines().zip(wanted.lines()).enumerate();
    let (line, (is, would_be)) = lines.find(|(_, (a, b))| a != b).unwrap_or_default();
    panic!(
        "{path}:{}: the page is out of date: UPDATE=1 cargo test -p tradewind-tests --test docs\n  it has   {is}\n  code has {would_be}",
        line + 1
    );
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
fn what_is_written_by_hand_stays() {
    let page = Page {
        path: "a.md".into(),
        text: "a\n<!-- generated: b -->\nold\n<!-- /generated -->\nc\n".to_owned(),
    };
    let wanted = "a\n<!-- generated: b -->\n\nnew\n\n<!-- /generated -->\nc\n";
    assert_eq!(with_parts(&page, &[("b", "new".to_owned())]), wanted);
}
