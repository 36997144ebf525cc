//! JSON text to a tree. serde_json says whether the text is JSON; a reader of valid JSON then makes the tree, since serde_json knows neither
//! where a value stands nor how a number was written.

use serde::de::IgnoredAny;

use crate::{
    Problem,
    tree::{Entry, MAX_DEPTH, MAX_NODES, Node, Number, NumberValue, Position, Value},
};

/// The text's one value.
///
/// # Errors
/// What is not JSON, or the bound that the text exceeds.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|e| {
        // serde_json ends its text with the position, which has fields of its own here.
        let at = position(text, e.line(), e.column());
        too_deep(text).map_or_else(|| not_json(&e, at), |at| deep(Some(at)))
    })?;
    Reader {
        text,
        at: 0,
        line: 1,
        column: 1,
        nodes: 0,
    }
    .value(1)
}

/// Where serde_json has stopped: it counts bytes, and none at the start of a line. None: it does not say where.
fn position(text: &str, line: usize, bytes: usize) -> Option<Position> {
    let read = text.split('\n').nth(line.checked_sub(1)?)?.as_bytes();
    let read = String::from_utf8_lossy(read.get(..bytes).unwrap_or(read));
    Some(Position {
        line: line as u64,
        column: read.chars().count().max(1) as u64,
    })
}

fn not_json(error: &serde_json::Error, at: Option<Position>) -> Problem {
    let message = error.to_string();
    problem(
        format!(
            "not valid JSON: {}",
            message.split(" at line ").next().unwrap_or(&message)
        ),
        at,
    )
}

fn deep(at: Option<Position>) -> Problem {
    problem(
        format!("nested more than {MAX_DEPTH} levels deep: a manifest needs about ten"),
        at,
    )
}

/// Where a text that need not be JSON is nested too deep.
fn too_deep(text: &str) -> Option<Position> {
    let (mut line, mut column, mut depth, mut quoted, mut escaped) = (1, 1, 0usize, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '[' | '{' if !quoted && depth == MAX_DEPTH => return Some(Position { line, column }),
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        (line, column) = if c == '\n' {
            (line + 1, 1)
        } else {
            (line, column + 1)
        };
    }
    None
}

fn problem(message: String, at: Option<Position>) -> Problem {
    Problem {
        path: String::new(),
        message,
        line: at.map(|p| p.line),
        column: at.map(|p| p.column),
    }
}

/// Reads a text that is valid JSON.
struct Reader<'a> {
    text: &'a str,
    /// The next byte.
    at: usize,
    /// Where the next character stands.
    line: u64,
    column: u64,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn step(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        if c == '\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else {
            self.column += 1;
        }
        Some(c)
    }

    /// Skips what stands between values, the given mark included, and says where the next one begins.
    fn skip(&mut self, mark: char) -> Position {
        while self.peek().is_some_and(|c| c.is_whitespace() || c == mark) {
            self.step();
        }
        Position {
            line: self.line,
            column: self.column,
        }
    }

    /// The text between the present place and the next.
    fn take(&mut self, mut goes_on: impl FnMut(char) -> bool) -> &'a str {
        let from = self.at;
        while self.peek().is_some_and(&mut goes_on) {
            self.step();
        }
        self.text.get(from..self.at).unwrap_or_default()
    }

    fn value(&mut self, depth: usize) -> Result<Node, Problem> {
        let at = self.skip(',');
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(problem(
                format!("more than {MAX_NODES} values: split the deployment"),
                Some(at),
            ));
        }
        let nested = matches!(self.peek(), Some('{' | '['));
        if nested && depth > MAX_DEPTH {
            return Err(deep(Some(at)));
        }
        let value = match self.peek() {
            Some('{') => self.map(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Value::Text(self.string(at)?),
            _ => match self.take(|c| !matches!(c, ',' | ']' | '}') && !c.is_whitespace()) {
                "null" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                written => Value::Number(number(written)),
            },
        };
        Ok(Node::new(value, Some(at)))
    }

    fn list(&mut self, depth: usize) -> Result<Value, Problem> {
        self.step();
        let mut items = Vec::new();
        loop {
            self.skip(',');
            if self.ends(']') {
                return Ok(Value::List(items));
            }
            items.push(self.value(depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Problem> {
        self.step();
        let mut entries = Vec::new();
        loop {
            let key_at = self.skip(',');
            if self.ends('}') {
                return Ok(Value::Map(entries));
            }
            let key = self.string(key_at)?;
            self.skip(':');
            entries.push(Entry {
                key,
                key_at: Some(key_at),
                value: self.value(depth + 1)?,
            });
        }
    }

    /// Whether the list or mapping ends here; its end is passed then. The end of the text counts, so that no text is read for ever.
    fn ends(&mut self, mark: char) -> bool {
        let ends = self.peek().is_none_or(|c| c == mark);
        if ends {
            self.step();
        }
        ends
    }

    fn string(&mut self, at: Position) -> Result<String, Problem> {
        let from = self.at;
        self.step();
        let (mut escaped, mut open) = (false, true);
        self.take(|c| {
            let goes_on = open;
            open = escaped || c != '"';
            escaped = !escaped && c == '\\';
            goes_on
        });
        // Escapes are serde_json's business: one of half a character is found here.
        serde_json::from_str(self.text.get(from..self.at).unwrap_or_default())
            .map_err(|e| not_json(&e, Some(at)))
    }
}

fn number(written: &str) -> Number {
    let value = written.parse().map(NumberValue::Unsigned);
    let value = value.or_else(|_| written.parse().map(NumberValue::Signed));
    let value = value
        .or_else(|_| written.parse().map(NumberValue::Float))
        .unwrap_or(NumberValue::Float(f64::NAN));
    Number {
        value,
        written: written.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let tree = read("{\"a\": [1, {\"b\\\"\": true}],\n \"c\": null}").unwrap();
        let at = |node: &Node| node.at.map(|p| (p.line, p.column));
        let Value::List(items) = &tree.get("a").unwrap().value else {
            panic!("a list")
        };
        assert_eq!(
            items.iter().map(at).collect::<Vec<_>>(),
            [Some((1, 8)), Some((1, 11))]
        );
        assert_eq!(at(items[1].get("b\"").unwrap()), Some((1, 19)));
        let c = &tree.entries()[1];
        assert_eq!(
            (c.key_at.map(|p| (p.line, p.column)), at(&c.value)),
            (Some((2, 2)), Some((2, 7)))
        );
    }
    #[test]
    fn numbers_keep_their_digits_and_texts_their_characters() {
        let tree = read("{\"n\": [123456789012345678901, 1.10, 1e400, -0, 18446744073709551615], \"t\": \"a\\\"]\\u00e9\\ud83d\\ude00\", \"e\": \"\\\\\", \"l\": [ ], \"m\": {}}").unwrap();
        let Value::List(items) = &tree.get("n").unwrap().value else {
            panic!("a list")
        };
        let written: Vec<_> = items
            .iter()
            .map(|n| {
                if let Value::Number(n) = &n.value {
                    n.written.as_str()
                } else {
                    ""
                }
            })
            .collect();
        assert_eq!(
            written,
            [
                "123456789012345678901",
                "1.10",
                "1e400",
                "-0",
                "18446744073709551615"
            ]
        );
        assert_eq!(
            tree.get("t").unwrap().value,
            Value::Text("a\"]é😀".to_owned())
        );
        assert_eq!(tree.get("e").unwrap().value, Value::Text("\\".to_owned()));
        assert_eq!(tree.get("l").unwrap().value, Value::List(Vec::new()));
        assert_eq!(tree.get("m").unwrap().value, Value::Map(Vec::new()));
    }

    #[test]
    fn what_is_not_json_or_too_deep_is_refused_with_its_place() {
        for (text, says) in [
            ("{\"a\": 01}", "not valid JSON"),
            ("{\"a\": [1,]}", "not valid JSON"),
            ("{\"a\": 1} x", "not valid JSON"),
            ("{\"a\":\n \"\\ud800\"}", "not valid JSON"),
            ("{\"a\": .inf}", "not valid JSON"),
        ] {
            let told = read(text).unwrap_err();
            assert!(
                told.message.contains(says) && told.line.is_some(),
                "{text}: {told:?}"
            );
        }
        let unended =
            read(&format!("{{\"a\": \"[\\\"[\", \"b\": {}", "[".repeat(100))).unwrap_err();
        assert!(unended.message.contains("levels deep"), "{unended:?}");
        let deep = format!(
            "{}1{}",
            "[".repeat(MAX_DEPTH + 1),
            "]".repeat(MAX_DEPTH + 1)
        );
        let told = read(&deep).unwrap_err();
        assert_eq!(
            (told.line, told.column),
            (Some(1), Some(MAX_DEPTH as u64 + 1)),
            "{told:?}"
        );
        assert!(read(&deep[1..deep.len() - 1]).is_ok());
    }
}
