//! YAML text to a tree: the parser's events, with bounds on depth, nodes and aliases. Scalars follow YAML 1.2's core schema, so `yes` and `on`
//! are texts. Merge keys (`<<`) are taken up, because shared blocks are what anchors are for.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span, Tag};

use crate::{
    Problem,
    tree::{Entry, MAX_DEPTH, MAX_NODES, Node, Number, NumberValue, Position, Value},
};

/// The most documents looked at: more than one with content is refused anyway.
const MAX_DOCUMENTS: usize = 100;
/// The most parser events, comments excluded.
const MAX_EVENTS: usize = 4 * MAX_NODES;

/// Every document that is not empty.
///
/// # Errors
/// The first thing the parser can't read, or the bound that the text exceeds.
pub(super) fn read(text: &str) -> Result<Vec<Node>, Problem> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder::default();
    for (seen, next) in Parser::new_from_str_with_options(text, options).enumerate() {
        let (event, span) = next.map_err(|e| unreadable(&e))?;
        if seen > MAX_EVENTS {
            return Err(too_many_nodes(Some(start(&span))));
        }
        builder.take(event, &span)?;
    }
    Ok(builder.documents)
}

/// A container that is not closed yet.
struct Open {
    node: Node,
    anchor: usize,
    /// In a mapping: the key whose value comes next.
    key: Option<(String, Position)>,
    /// Merged entries, which the mapping's own keys override.
    merged: Vec<Entry>,
}

/// What an anchor stands for, and how much of the bounds it uses.
struct Anchored {
    node: Node,
    height: usize,
    count: usize,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    started: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Problem> {
        let at = start(span);
        match event {
            Event::DocumentStart(..) => {
                self.started += 1;
                self.anchors.clear();
                if self.started > MAX_DOCUMENTS {
                    return Err(problem(
                        format!(
                            "more than {MAX_DOCUMENTS} documents in one text: put one manifest in each file"
                        ),
                        Some(at),
                    ));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref())
                    .map_err(|message| problem(message, Some(at)))?;
                let written = if matches!(value, Value::Text(_)) {
                    None
                } else {
                    Some(text.into_owned())
                };
                self.done(Node::new(value, Some(at)), anchor, written, at)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.enter(Value::List(Vec::new()), anchor, at)?
            }
            Event::MappingStart(_, anchor, _) => self.enter(Value::Map(Vec::new()), anchor, at)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(mut open) = self.open.pop() {
                    merge(&mut open);
                    let at = open.node.at.unwrap_or(at);
                    self.nodes = self.nodes.saturating_sub(1);
                    self.done(open.node, open.anchor, None, at)?;
                }
            }
            Event::Alias(id) => self.alias(id, at)?,
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, value: Value, anchor: usize, at: Position) -> Result<(), Problem> {
        if self.key_expected() {
            return Err(problem(
                "a list or a mapping can't be a key: write a text",
                Some(at),
            ));
        }
        self.room(1, 1, at)?;
        self.open.push(Open {
            node: Node::new(value, Some(at)),
            anchor,
            key: None,
            merged: Vec::new(),
        });
        Ok(())
    }

    fn key_expected(&self) -> bool {
        self.open
            .last()
            .is_some_and(|o| matches!(o.node.value, Value::Map(_)) && o.key.is_none())
    }

    /// Takes `count` nodes of `height` levels from the bounds.
    fn room(&mut self, height: usize, count: usize, at: Position) -> Result<(), Problem> {
        if self.open.len() + height > MAX_DEPTH {
            return Err(problem(
                format!("nested more than {MAX_DEPTH} levels deep: a manifest needs about ten"),
                Some(at),
            ));
        }
        self.nodes = self.nodes.saturating_add(count);
        if self.nodes > MAX_NODES {
            Err(too_many_nodes(Some(at)))
        } else {
            Ok(())
        }
    }

    fn alias(&mut self, id: usize, at: Position) -> Result<(), Problem> {
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(problem(
                "an alias inside its own anchor: a value can't hold itself",
                Some(at),
            ));
        };
        let (node, height, count) = (anchored.node.clone(), anchored.height, anchored.count);
        self.room(height, count, at)?;
        self.nodes = self.nodes.saturating_sub(1);
        self.done(node, 0, None, at)
    }

    /// A node is complete: it becomes a key, a value, an item or a document.
    fn done(
        &mut self,
        node: Node,
        anchor: usize,
        written: Option<String>,
        at: Position,
    ) -> Result<(), Problem> {
        self.room(0, 1, at)?;
        if anchor != 0 {
            let (height, count) = (node.height(), node.count());
            // What anchors keep counts as well, or nested anchors would keep much more than the tree.
            self.room(0, count, at)?;
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    height,
                    count,
                },
            );
        }
        let Some(open) = self.open.last_mut() else {
            if node.value != Value::Null {
                self.documents.push(node);
            }
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(_), Some((key, _))) if key == "<<" => {
                open.merged.extend(mergeable(node, at)?)
            }
            (Value::Map(entries), Some((key, key_at))) => entries.push(Entry {
                key,
                key_at: Some(key_at),
                value: node,
            }),
            (_, None) => open.key = Some((key_text(node, written, at)?, at)),
            _ => {}
        }
        Ok(())
    }
}

fn key_text(node: Node, written: Option<String>, at: Position) -> Result<String, Problem> {
    match (node.value, written) {
        (Value::Text(text), _) => Ok(text),
        (Value::Null, _) => Err(problem(
            "a key is missing: write a text before the colon",
            Some(at),
        )),
        (Value::Number(n), None) => Ok(n.written),
        (Value::Bool(b), None) => Ok(b.to_string()),
        (_, Some(written)) => Ok(written),
        _ => Err(problem(
            "a list or a mapping can't be a key: write a text",
            Some(at),
        )),
    }
}

/// What `<<` may name: a mapping, or a list of them with the first winning.
fn mergeable(node: Node, at: Position) -> Result<Vec<Entry>, Problem> {
    let found = node.describe();
    let wrong = || {
        problem(
            format!(
                "\"<<\" takes over the fields of a mapping or of a list of mappings, found {found}"
            ),
            Some(at),
        )
    };
    match node.value {
        Value::Map(entries) => Ok(entries),
        Value::List(items) => {
            let mut all = Vec::new();
            for item in items {
                let Value::Map(entries) = item.value else {
                    return Err(wrong());
                };
                all.extend(entries);
            }
            Ok(all)
        }
        _ => Err(wrong()),
    }
}

fn merge(open: &mut Open) {
    let Value::Map(entries) = &mut open.node.value else {
        return;
    };
    if open.merged.is_empty() {
        return;
    }
    let mut taken: std::collections::HashSet<String> =
        entries.iter().map(|e| e.key.clone()).collect();
    entries.extend(
        std::mem::take(&mut open.merged)
            .into_iter()
            .filter(|e| taken.insert(e.key.clone())),
    );
}

/// A scalar's meaning. Only plain scalars are anything but text; a tag of the core schema decides for itself.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let core = tag.and_then(Tag::core_suffix);
    match (core, style) {
        (Some("str"), _) => return Ok(Value::Text(text.to_owned())),
        (Some("null" | "bool" | "int" | "float"), _) => {}
        (Some(other), _) => {
            return Err(format!(
                "the tag \"!!{other}\" has no meaning here: use a plain value"
            ));
        }
        (None, _) if tag.is_some_and(|t| !t.suffix().is_empty()) => {
            return Err("a tag has no meaning here: use a plain value".to_owned());
        }
        (None, ScalarStyle::Plain) => {}
        (None, _) => return Ok(Value::Text(text.to_owned())),
    }
    let value = plain(text);
    let fits = match core {
        Some("null") => matches!(value, Value::Null),
        Some("bool") => matches!(value, Value::Bool(_)),
        Some("int") => {
            matches!(&value, Value::Number(n) if !matches!(n.value, NumberValue::Float(_)))
        }
        Some("float") => matches!(value, Value::Number(_)),
        _ => true,
    };
    if fits {
        Ok(value)
    } else {
        Err(format!(
            "\"{}\" is not what its tag says",
            super::tree::short(text)
        ))
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(
            || Value::Text(text.to_owned()),
            |value| {
                Value::Number(Number {
                    value,
                    written: text.to_owned(),
                })
            },
        ),
    }
}

fn number(text: &str) -> Option<NumberValue> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix: &str, radix| {
        digits
            .strip_prefix(prefix)
            .filter(|_| digits == text)
            .map(|d| u64::from_str_radix(d, radix))
    };
    if let Some(value) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return value.ok().map(NumberValue::Unsigned);
    }
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        return Some(NumberValue::Float(if text.starts_with('-') {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        }));
    }
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(NumberValue::Float(f64::NAN));
    }
    let shaped = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits
            .bytes()
            .all(|c| c.is_ascii_digit() || b".eE+-".contains(&c));
    if !shaped {
        return None;
    }
    let whole = text.strip_prefix('+').unwrap_or(text);
    whole
        .parse()
        .map(NumberValue::Unsigned)
        .or_else(|_| whole.parse().map(NumberValue::Signed))
        .or_else(|_| whole.parse().map(NumberValue::Float))
        .ok()
}

/// What the parser can't read, and where.
pub(super) fn unreadable(error: &granit_parser::ScanError) -> Problem {
    problem(syntax(error), Some(position(*error.marker())))
}

/// The parser's own words, with a hint for the mistakes people make most.
fn syntax(error: &granit_parser::ScanError) -> String {
    let info = error.info();
    if info.contains("recursion limit") {
        return format!("nested more than {MAX_DEPTH} levels deep: a manifest needs about ten");
    }
    let hint = if info.to_lowercase().contains("tab") {
        " (indent with spaces)"
    } else {
        ""
    };
    format!("not valid YAML: {info}{hint}")
}

fn too_many_nodes(at: Option<Position>) -> Problem {
    problem(
        format!("more than {MAX_NODES} values, aliases expanded: split the deployment"),
        at,
    )
}

fn start(span: &Span) -> Position {
    position(span.start)
}

fn position(marker: granit_parser::Marker) -> Position {
    Position {
        line: marker.line() as u64,
        column: marker.col() as u64 + 1,
    }
}

fn problem(message: impl Into<String>, at: Option<Position>) -> Problem {
    Problem {
        path: String::new(),
        message: message.into(),
        line: at.map(|p| p.line),
        column: at.map(|p| p.column),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let kinds = |text: &str| match plain(text) {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            _ => "text",
        };
        for (text, kind) in [
            ("~", "null"),
            ("", "null"),
            ("true", "bool"),
            ("yes", "text"),
            ("on", "text"),
            ("1", "number"),
            ("-1", "number"),
            ("1.10", "number"),
            ("1e3", "number"),
            ("0x1f", "number"),
            ("0o17", "number"),
            (".inf", "number"),
            ("1.2.3", "text"),
            ("2026-11-21", "text"),
            ("-", "text"),
            (".", "text"),
            ("500m", "text"),
            ("12:30", "text"),
            ("e1", "text"),
            ("nan", "text"),
        ] {
            assert_eq!(kinds(text), kind, "{text}");
        }
    }

    #[test]
    fn a_mapping_takes_over_the_fields_it_merges_and_its_own_win() {
        let text = "base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\n";
        let trees = read(text).unwrap();
        let own = trees[0].get("own").unwrap();
        let keys: Vec<&str> = own.entries().iter().map(|e| e.key.as_str()).collect();
        assert_eq!(keys, ["y", "x"]);
        assert_eq!(own.get("y").unwrap().describe(), "the number 3");
    }
}
