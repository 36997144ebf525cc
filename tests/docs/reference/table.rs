//! Tables and paragraphs in Markdown.

pub(super) use tradewind_kit::pages::{code, table};

/// Columns of a line of prose.
const WIDTH: usize = 120;

/// What a comment says, and the default that its last sentence names: `Default: X`.
pub(super) fn meaning(comment: &str) -> (String, Option<String>) {
    let comment = comment.split_whitespace().collect::<Vec<_>>().join(" ");
    match comment.rsplit_once("Default: ") {
        Some((meaning, default)) => {
            let default = default.trim_end_matches('.').to_owned();
            (sentence(meaning), Some(default))
        }
        None => (sentence(&comment), None),
    }
}

/// With a full stop, which comments on the command line do without.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim();
    match text.ends_with('.') || text.is_empty() {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}

pub(super) fn lowered(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // An abbreviation stays as it is.
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().to_string() + chars.as_str()
        }
        _ => text.to_owned(),
    }
}

/// In lines of bounded length, code kept in one piece.
pub(super) fn paragraph(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    let mut word = String::new();
    for part in text.split(' ') {
        if !word.is_empty() {
            word.push(' ');
        }
        word.push_str(part);
        if word.matches('`').count() % 2 == 1 {
            continue;
        }
        let length = word.chars().count();
        if width + 1 + length > WIDTH && width > 0 {
            lines.push('\n');
            width = 0;
        }
        if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(&word);
        width += length;
        word.clear();
    }
    lines + &word + "\n"
}

#[test]
fn comments_name_their_default_last() {
    assert_eq!(
        meaning("The most\n items. Default: all"),
        ("The most items.".to_owned(), Some("all".to_owned()))
    );
    assert_eq!(meaning("A name."), ("A name.".to_owned(), None));
}

#[test]
fn code_is_not_broken() {
    let text = format!("{} `a b`", "x".repeat(WIDTH - 3));
    assert_eq!(
        paragraph(&text),
        format!("{}\n`a b`\n", "x".repeat(WIDTH - 3))
    );
}
