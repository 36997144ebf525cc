//! One text with several documents: where each begins and ends. It reads lines, and must not know what a document holds.

/// A document of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The line of the whole text where the document begins, from 1.
    pub line: u64,
    /// The document, behind as many empty lines as there are lines before it: a position in it is a position in the whole text.
    pub text: String,
}

/// The documents of a YAML text that are not empty. A line that begins with `---` begins one, and `...` ends one: neither can stand in a
/// value, whose lines are indented.
pub fn split(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut open = Open::default();
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        let begins = is_marker(line, "---");
        if begins && open.has_content {
            parts.extend(std::mem::take(&mut open).close());
        }
        if open.text.is_empty() {
            open.line = number;
        }
        open.text.push_str(line);
        open.has_content |= has_content(line);
        if is_marker(line, "...") {
            parts.extend(std::mem::take(&mut open).close());
        }
    }
    parts.extend(open.close());
    parts
}

#[derive(Default)]
struct Open {
    line: u64,
    text: String,
    has_content: bool,
}

impl Open {
    fn close(self) -> Option<Part> {
        let before = usize::try_from(self.line.saturating_sub(1)).unwrap_or(0);
        self.has_content.then(|| Part {
            line: self.line,
            text: "\n".repeat(before) + &self.text,
        })
    }
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.trim_start_matches('\u{feff}')
        .strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// Whether a line is more than a comment, a directive or a marker.
fn has_content(line: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}');
    let rest = match is_marker(line, "---") || is_marker(line, "...") {
        true => line.get(3..).unwrap_or_default(),
        false if line.starts_with('%') => "",
        false => line,
    };
    let rest = rest.trim();
    !rest.is_empty() && !rest.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, parse};

    #[test]
    fn documents_keep_their_lines() {
        let of = |text: &str| -> Vec<(u64, String)> {
            split(text)
                .into_iter()
                .map(|p| (p.line, p.text.trim().to_owned()))
                .collect()
        };
        for (text, parts) in [
            ("", vec![]),
            ("# nothing\n---\n# here\n", vec![]),
            ("a: 1\n", vec![(1, "a: 1")]),
            ("a: 1\n---\nb: 2\n", vec![(1, "a: 1"), (2, "---\nb: 2")]),
            (
                "---\na: 1\n---\n---\nb: 2",
                vec![(1, "---\na: 1"), (3, "---\n---\nb: 2")],
            ),
            (
                "%YAML 1.2\n---\na: 1\n...\n%YAML 1.2\n---\nb: 2\n",
                vec![
                    (1, "%YAML 1.2\n---\na: 1\n..."),
                    (5, "%YAML 1.2\n---\nb: 2"),
                ],
            ),
            (
                "--- {a: 1}\n--- # note\nb: |\n  ---\n  ...\n---x: 1\n",
                vec![
                    (1, "--- {a: 1}"),
                    (2, "--- # note\nb: |\n  ---\n  ...\n---x: 1"),
                ],
            ),
        ] {
            let parts: Vec<(u64, String)> =
                parts.into_iter().map(|(n, t)| (n, t.to_owned())).collect();
            assert_eq!(of(text), parts, "{text:?}");
        }
    }

    #[test]
    fn a_problem_of_the_second_document_has_its_line_in_the_whole_text() {
        let text =
            "apiVersion: tradewind.dev/v1\n---\napiVersion: tradewind.dev/v1\nkind: Nonsense\n";
        let parts = split(text);
        let refused = parse(parts[1].text.as_bytes(), Format::Yaml).unwrap_err();
        let kind = refused.problems.iter().find(|p| p.path == "kind").unwrap();
        assert_eq!((kind.line, kind.column), (Some(4), Some(1)));
    }
}
