//! Texts of workloads, plugins and other people's manifests on a terminal: what would move the cursor, colour, hide or reorder is shown, not
//! obeyed.

/// Marks that change the direction or the joining of what comes after them, and are not seen themselves (Unicode, "Cf").
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn is_obeyed(c: char) -> bool {
    (c.is_control() && c != '\t') || is_unseen(c)
}

fn escape(text: &str, kept: char) -> String {
    let one = |c: char| {
        if is_obeyed(c) && c != kept {
            c.escape_default().collect()
        } else {
            String::from(c)
        }
    };
    text.chars().map(one).collect()
}

/// For a text on one line.
pub fn tame(text: &str) -> String {
    if text.chars().any(is_obeyed) {
        escape(text, '\t')
    } else {
        text.to_owned()
    }
}

/// For a text that may have several lines, as a cell of a table may.
pub(crate) fn tame_lines(text: &str) -> String {
    if text.chars().any(|c| is_obeyed(c) && c != '\n') {
        escape(text, '\n')
    } else {
        text.to_owned()
    }
}

/// For what is about to be printed: its colours are our own, everything else was put into it.
pub(crate) fn tame_printed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c| is_obeyed(c) && c != '\n') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let length =
            colour(from).unwrap_or_else(|| from.chars().next().map_or(from.len(), char::len_utf8));
        let (special, after) = from.split_at(length);
        out.push_str(&if colour(from).is_some() {
            special.to_owned()
        } else {
            escape(special, '\n')
        });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The length of a sequence that only sets a colour or an attribute (ECMA-48, "SGR"), if the text begins with one.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    parameters
        .get(end..)?
        .starts_with('m')
        .then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_obeyed() {
        assert_eq!(tame("a\u{1b}[2Jb\tc\r"), "a\\u{1b}[2Jb\tc\\r");
        assert_eq!(tame("\u{1b}]0;T\u{7}x\n"), "\\u{1b}]0;T\\u{7}x\\n");
        assert_eq!(tame("eu\u{202e}tsew\u{200b}"), "eu\\u{202e}tsew\\u{200b}");
        assert_eq!(tame_lines("two\nlines\u{9b}m"), "two\nlines\\u{9b}m");
        assert_eq!(
            tame_printed("\u{1b}[1;31mred\u{1b}[0m\n\u{1b}[2J\u{202e}\u{1b}"),
            "\u{1b}[1;31mred\u{1b}[0m\n\\u{1b}[2J\\u{202e}\\u{1b}"
        );
        assert_eq!(tame("Zürich 東京 🙂"), "Zürich 東京 🙂");
    }
}
