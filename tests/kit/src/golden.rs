//! What must not change unseen: files, and parts of pages, that are as the program makes them. A test that finds another text fails; run once
//! more with `UPDATE=1` it writes the text anew, for review.

use std::{fs, io::ErrorKind};

use anyhow::{Context, Result, bail, ensure};

use crate::pages::{self, Page};

const END: &str = "<!-- /generated -->\n";

fn begin(part: &str) -> String {
    format!("<!-- generated: {part} -->\n")
}

/// The file at this path below the repository's root holds this text.
///
/// # Errors
/// When it holds another, with the first line that differs.
pub fn file(path: &str, text: &str) -> Result<()> {
    let kept = match fs::read_to_string(pages::root().join(path)) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        kept => kept.with_context(|| path.to_owned())?,
    };
    same(path, &kept, text)
}

/// The page has these parts between its markers, and no others. What is outside of them is written by hand.
///
/// # Errors
/// When a part is another, with the first line that differs; when a marker is missing or has no part.
pub fn page(path: &str, parts: &[(&str, String)]) -> Result<()> {
    let page = Page::read(path).with_context(|| path.to_owned())?;
    let wanted = with_parts(&page.text, parts).with_context(|| path.to_owned())?;
    same(path, &page.text, &wanted)
}

fn same(path: &str, kept: &str, wanted: &str) -> Result<()> {
    if kept == wanted {
        return Ok(());
    }
    if std::env::var_os("UPDATE").is_some() {
        return fs::write(pages::root().join(path), wanted).with_context(|| path.to_owned());
    }
    let lines = kept.lines().zip(wanted.lines());
    let same = lines.take_while(|(kept, wanted)| kept == wanted).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(ends)").to_owned();
    bail!(
        "{path}:{}: not as the program makes it; if it should be, run this test with UPDATE=1\n  it has       {}\n  it should be {}",
        same + 1,
        line(kept),
        line(wanted)
    )
}

fn with_parts(text: &str, parts: &[(&str, String)]) -> Result<String> {
    let markers = (
        text.matches("<!-- generated: ").count(),
        text.matches(END).count(),
    );
    ensure!(
        markers == (parts.len(), parts.len()),
        "its markers are {markers:?}, its parts {:?}",
        parts.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    let mut text = text.to_owned();
    for (name, part) in parts {
        let begin = begin(name);
        let at = text
            .find(&begin)
            .with_context(|| format!("the marker {begin:?} is missing"))?;
        let start = at + begin.len();
        let rest = text.get(start..).unwrap_or_default();
        let end = rest
            .find(END)
            .with_context(|| format!("{begin:?} has no end"))?;
        text.replace_range(start..start + end, &format!("\n{}\n\n", part.trim()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_hand_stays() {
        let text = "a\n<!-- generated: b -->\nold\n<!-- /generated -->\nc\n";
        let wanted = "a\n<!-- generated: b -->\n\nnew\n\n<!-- /generated -->\nc\n";
        assert_eq!(
            with_parts(text, &[("b", "new".to_owned())]).unwrap(),
            wanted
        );
        for parts in [vec![], vec![("d", String::new())]] {
            assert!(with_parts(text, &parts).is_err(), "{parts:?}");
        }
    }

    #[test]
    fn the_first_line_that_differs_is_told() {
        let told = same("f", "a\nb\n", "a\nc\n").unwrap_err().to_string();
        assert!(told.starts_with("f:2: "), "{told}");
        assert!(
            told.contains("has       b") && told.contains("should be c"),
            "{told}"
        );
        let told = same("f", "a\n", "a\nc\n").unwrap_err().to_string();
        assert!(told.contains("has       (ends)"), "{told}");
    }
}
