//! What a formatter may not change of a text: its values, how they are meant, its anchors and its comments. It also lays JSON out anew,
//! character by character, so that nothing of a value changes. It knows no field of a manifest, and must not know how YAML is laid out.

use std::ops::Range;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Tag};

use crate::{
    Format, Invalid, Problem, json, one,
    tree::{MAX_DEPTH, MAX_NODES},
    utf8, yaml,
};

/// How far JSON is indented at each level.
const INDENT: usize = 2;

/// What a YAML text holds, however it is laid out.
#[derive(Debug)]
pub struct Outline {
    parts: Vec<Part>,
    comments: Vec<String>,
}

#[derive(Debug)]
struct Part {
    what: What,
    /// The line where it stands, from 1.
    line: u64,
    /// Of a scalar: its bytes.
    bytes: Option<Range<usize>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Document(String),
    Scalar {
        text: String,
        quotes: Quotes,
        anchor: usize,
        tag: Option<(String, String)>,
    },
    List(usize, Option<(String, String)>),
    Map(usize, Option<(String, String)>),
    End,
    Alias(usize),
}

/// What is around a scalar, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// It may be a number or a truth value.
    Plain,
    /// A text, whichever quotes it has.
    Some,
    /// A text that holds a variable, whose value is put between these quotes later.
    These(ScalarStyle),
}

/// The text without its byte order mark.
///
/// # Errors
/// `Invalid` with the place of the first byte that is no UTF-8.
pub fn text(bytes: &[u8]) -> Result<&str, Invalid> {
    utf8(bytes).map_err(one)
}

// === impl Outline ===

impl Outline {
    /// Reads a text of any number of documents.
    ///
    /// # Errors
    /// `Invalid` with what is no YAML, or the bound that the text exceeds.
    pub fn read(text: &str) -> Result<Self, Invalid> {
        let options = granit_parser::options! {
            emit_comments: true,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        };
        let (mut parts, mut comments) = (Vec::new(), Vec::new());
        for next in Parser::new_from_str_with_options(text, options) {
            let (event, span) = next.map_err(|e| one(yaml::unreadable(&e)))?;
            let line = span.start.line() as u64;
            if parts.len() > 4 * MAX_NODES {
                return Err(one(Problem {
                    path: String::new(),
                    message: format!("more than {MAX_NODES} values: use several files"),
                    line: Some(line),
                    column: None,
                }));
            }
            let mut bytes = None;
            let what = match event {
                Event::Comment(text, _) => {
                    comments.push(text.trim_end().to_owned());
                    continue;
                }
                Event::DocumentStart(_, version) => What::Document(format!("{version:?}")),
                Event::Scalar(text, style, anchor, tag) => {
                    bytes = span.byte_range();
                    What::Scalar {
                        quotes: quotes(&text, style),
                        text: text.into_owned(),
                        anchor,
                        tag: tag.as_deref().map(name),
                    }
                }
                Event::SequenceStart(_, anchor, tag) => {
                    What::List(anchor, tag.as_deref().map(name))
                }
                Event::MappingStart(_, anchor, tag) => What::Map(anchor, tag.as_deref().map(name)),
                Event::SequenceEnd | Event::MappingEnd | Event::DocumentEnd => What::End,
                Event::Alias(anchor) => What::Alias(anchor),
                _ => continue,
            };
            parts.push(Part { what, line, bytes });
        }
        Ok(Self { parts, comments })
    }

    /// The line of the first value that the other text does not have so. Comments that are not the same differ at line 1.
    pub fn difference(&self, other: &Self) -> Option<u64> {
        let unlike = |(own, other): &(&Part, &Part)| own.what != other.what;
        let pairs = || self.parts.iter().zip(&other.parts);
        if let Some((own, _)) = pairs().find(unlike) {
            return Some(own.line);
        }
        if self.parts.len() != other.parts.len() {
            let rest = self.parts.get(other.parts.len()).or(self.parts.last());
            return Some(rest.map_or(1, |part| part.line));
        }
        (self.comments != other.comments).then_some(1)
    }

    /// `text`, which is a layout of this one, with single quotes where they were around a variable: between double ones, a backslash of
    /// its value would mean something.
    ///
    /// # Errors
    /// `Invalid`, when the text is no YAML.
    pub fn requoted(&self, text: &str) -> Result<String, Invalid> {
        let laid = Self::read(text)?;
        let mut out = text.to_owned();
        for (own, new) in self.parts.iter().zip(&laid.parts).rev() {
            let (What::Scalar { quotes: was, .. }, What::Scalar { quotes: is, .. }) =
                (&own.what, &new.what)
            else {
                continue;
            };
            let single = Quotes::These(ScalarStyle::SingleQuoted);
            let double = Quotes::These(ScalarStyle::DoubleQuoted);
            let range = new
                .bytes
                .clone()
                .filter(|_| *was == single && *is == double);
            let inner = range.clone().and_then(|range| {
                let quoted = text.get(range)?;
                quoted.strip_prefix('"')?.strip_suffix('"')
            });
            if let (Some(range), Some(inner)) = (range, inner) {
                out.replace_range(range, &format!("'{}'", inner.replace('\'', "''")));
            }
        }
        Ok(out)
    }
}

fn quotes(text: &str, style: ScalarStyle) -> Quotes {
    match style {
        ScalarStyle::Plain => Quotes::Plain,
        style if text.contains("${") => Quotes::These(style),
        _ => Quotes::Some,
    }
}

fn name(tag: &Tag) -> (String, String) {
    (tag.handle().to_owned(), tag.suffix().to_owned())
}

/// JSON with one value a line, two spaces a level. Keys, texts and numbers stay as they are written.
///
/// # Errors
/// `Invalid` with what is no JSON, and where.
pub fn json(text: &str) -> Result<String, Invalid> {
    json::read(text).map_err(one)?;
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let mut chars = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', depth * INDENT));
    };
    while let Some(c) = chars.next() {
        if quoted {
            out.push(c);
            quoted = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_whitespace()).is_some() {}
                match chars.next_if(|c| matches!(c, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '"' => {
                out.push(c);
                quoted = true;
            }
            c if c.is_whitespace() => {}
            c => out.push(c),
        }
    }
    out.push('\n');
    Ok(out)
}

/// Whether a text without a name is meant as JSON.
pub fn guess(text: &str) -> Format {
    match text.trim_start().starts_with(['{', '[']) && json::read(text).is_ok() {
        true => Format::Json,
        false => Format::Yaml,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_and_nothing_of_a_value_changes() {
        let text = "{\"a\":1.10,\"b\":[ ],\"c\" : [1, {\"d\\\"[\":\"x:  ,{\"}],\"e\":{\n}}";
        let laid = json(text).unwrap();
        let expected = "{\n  \"a\": 1.10,\n  \"b\": [],\n  \"c\": [\n    1,\n    {\n      \"d\\\"[\": \"x:  ,{\"\n    }\n  ],\n  \"e\": {}\n}\n";
        assert_eq!(laid, expected);
        assert_eq!(json(&laid).unwrap(), laid);
        let wrong = json("{\"a\":\n nothing}").unwrap_err();
        assert_eq!(wrong.problems[0].line, Some(2), "{wrong:?}");
    }

    #[test]
    fn an_outline_sees_what_means_something_and_no_layout() {
        let of = |text: &str| Outline::read(text).unwrap();
        let base = "# top\na: &x [1, 'b']  # end\nc: *x\n";
        let same = "# top\na: &x\n  - 1\n  - \"b\" # end\nc: *x\n";
        assert_eq!(of(base).difference(&of(same)), None);
        for (other, line) in [
            ("# top\na: &x ['1', 'b']  # end\nc: *x\n", Some(2)),
            ("# top\na: &x [1, 'b']  # end\nc: [1, b]\n", Some(3)),
            ("# top\na: &x [1, 'b']\nc: *x\n", Some(1)),
            ("# top\na: &x [1, 'b']  # end\nc: *x\n---\nd: 1\n", Some(4)),
            ("# top\na: &x !!set [1, 'b']  # end\nc: *x\n", Some(2)),
        ] {
            assert_eq!(of(base).difference(&of(other)), line, "{other}");
        }
        assert_eq!(of("a: |\n  x\n").difference(&of("a: |-\n  x\n")), Some(2));
    }

    #[test]
    fn quotes_around_a_variable_stay() {
        let outline = Outline::read("é: 'it''s ${a}'\nb: '${c}'\nd: 'e'\n").unwrap();
        let laid = "é: \"it's ${a}\"\nb: \"${c}\"\nd: \"e\"\n";
        let kept = outline.requoted(laid).unwrap();
        assert_eq!(kept, "é: 'it''s ${a}'\nb: '${c}'\nd: \"e\"\n");
        assert_eq!(outline.difference(&Outline::read(&kept).unwrap()), None);
        assert!(outline.difference(&Outline::read(laid).unwrap()).is_some());
    }
}
