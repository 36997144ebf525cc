//! Text that comes from a plugin. It is untrusted.

/// The most characters of a text that are kept.
const LONGEST_LINE: usize = 4096;

/// Caps a guest's text and makes its control characters harmless.
pub(crate) fn tame(text: &str) -> String {
    // Most texts are names: short, and plain.
    if text.len() <= LONGEST_LINE && text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut out: String = text
        .chars()
        .take(LONGEST_LINE)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if out.len() < text.len() && text.chars().nth(LONGEST_LINE).is_some() {
        out.push('…');
    }
    out
}
