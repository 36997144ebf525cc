//! Lines of output that come in pieces. A piece bears flags on the host's side; the contract's record of a line has a text alone, so there the
//! flags travel as marks in it. It must not know where output comes from.

use crate::{
    base::units::Instant,
    spec::workload::{LogLine, Restart},
};

/// A text that ends so goes on in the next piece of its stream. The ellipsis is for people, the invisible joiner tells it from one that a
/// program wrote.
const GOES_ON: &str = "…\u{2060}";
/// A text that begins so goes on from the piece before.
const CONTINUES: &str = "\u{2060}…";
/// A text that begins so is the first of a run: its number, `@`, its begin in milliseconds, and a joiner follow. Without number and time it
/// marks nothing, and tells a program's own text of this form from a mark.
const RESTARTED: &str = "\u{2060}↻";
const JOINER: char = '\u{2060}';
/// How long an unfinished line is waited for, in milliseconds, before it is given as it is to who follows.
pub const UNFINISHED: u64 = 1_000;

/// The contract's form of a piece: its flags as marks.
pub fn marked(text: &str, continues: bool, partial: bool) -> String {
    let (begin, end) = (
        if continues { CONTINUES } else { "" },
        if partial { GOES_ON } else { "" },
    );
    format!("{begin}{text}{end}")
}

/// A line of the contract with its marks as flags: whether it continues the one before, whether it goes on, and the text without them.
pub fn unmarked(text: String) -> (bool, bool, String) {
    let (continues, rest) = text
        .strip_prefix(CONTINUES)
        .map_or((false, text.as_str()), |rest| (true, rest));
    let (partial, rest) = rest
        .strip_suffix(GOES_ON)
        .map_or((false, rest), |rest| (true, rest));
    if continues || partial {
        (continues, partial, rest.to_owned())
    } else {
        (false, false, text)
    }
}

/// The contract's form of a line that may be the first of a run.
pub fn with_restart(text: String, restart: Option<Restart>) -> String {
    match restart {
        Some(Restart { run, at }) => format!("{RESTARTED}{run}@{}{JOINER}{text}", at.0),
        None if text.starts_with(RESTARTED) => format!("{RESTARTED}{JOINER}{text}"),
        None => text,
    }
}

/// A line of the contract with that mark as a field, and the text without it.
pub fn without_restart(text: String) -> (Option<Restart>, String) {
    let inner = text.strip_prefix(RESTARTED);
    let Some((mark, rest)) = inner.and_then(|inner| inner.split_once(JOINER)) else {
        return (None, text);
    };
    let restart = mark.split_once('@').and_then(|(run, at)| {
        Some(Restart {
            run: run.parse().ok()?,
            at: Instant(at.parse().ok()?),
        })
    });
    match restart {
        None if !mark.is_empty() => (None, text),
        restart => (restart, rest.to_owned()),
    }
}

/// A line for people: an ellipsis where it was cut.
pub fn shown(line: &LogLine) -> String {
    let mark = |cut: bool| if cut { "…" } else { "" };
    format!(
        "{}{}{}",
        mark(line.continues),
        line.text,
        mark(line.partial)
    )
}

/// How many of these bytes don't end inside a character: all, or up to three less. Bytes that are no UTF-8 at all count as whole.
pub fn whole_characters(bytes: &[u8]) -> usize {
    for (back, byte) in (1..=3).zip(bytes.iter().rev()) {
        let needs = match byte {
            // Inside a character.
            0x80..=0xBF => continue,
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 1,
        };
        return if needs > back {
            bytes.len() - back
        } else {
            bytes.len()
        };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_piece_never_ends_inside_a_character() {
        for (bytes, whole) in [
            (&b""[..], 0),
            (b"a", 1),
            ("é".as_bytes(), 2),
            (b"x\xc3", 1),
            (b"x\xe2\x80", 1),
            (b"\xf0\x9f\x98", 0),
            (b"\xff\xfe", 2),
            (b"\x80\x80\x80\x80", 4),
        ] {
            assert_eq!(whole_characters(bytes), whole, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_of_any_text_come_together_again(text in "\\PC{0,40}", at in 0usize..200) {
            let bytes = text.as_bytes();
            let cut = at.min(bytes.len());
            let whole = whole_characters(&bytes[..cut]);
            prop_assert!(cut - whole < 4 && text.is_char_boundary(whole));
        }

        #[test]
        fn marks_come_back_as_flags(text in "\\PC{0,40}", continues: bool, partial: bool) {
            let wanted = (continues, partial, text.clone());
            prop_assert_eq!(unmarked(marked(&text, continues, partial)), wanted);
        }

        #[test]
        fn a_restart_comes_back_and_no_program_can_tell_one(
            text in "(\u{2060}↻)?[0-9]{0,2}(@|\u{2060})?\\PC{0,20}",
            restart in proptest::option::of((1u32..9, 0u64..u64::MAX)),
        ) {
            let restart = restart.map(|(run, at)| Restart { run, at: Instant(at) });
            prop_assert_eq!(without_restart(with_restart(text.clone(), restart)), (restart, text));
        }
    }
}
