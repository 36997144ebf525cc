//! JSON text to a tree: serde_json reads the values, and a second look at the (then valid) text finds where each one stands.

use std::{cell::Cell, fmt};

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::{
    parse::Problem,
    tree::{Entry, MAX_DEPTH, MAX_NODES, Node, Number, NumberValue, Position, Value},
};

/// The text's one value.
///
/// # Errors
/// What is not JSON, or the bound that the text exceeds.
pub(super) fn read(text: &str) -> Result<Node, Problem> {
    let budget = Budget { nodes: Cell::new(0), depth: Cell::new(0) };
    let mut reader = serde_json::Deserializer::from_str(text);
    let tree = Seed(&budget).deserialize(&mut reader).and_then(|tree| reader.end().map(|()| tree));
    let mut tree = tree.map_err(|e| {
        // serde_json ends its text with the position, which has fields of its own here.
        let message = e.to_string();
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        let message = if e.is_data() {
            message
        } else if message.contains("recursion limit") {
            too_deep()
        } else {
            format!("not valid JSON: {message}")
        };
        let known = e.line() > 0;
        Problem { path: String::new(), message, line: known.then_some(e.line() as u64), column: known.then_some(e.column() as u64) }
    })?;
    let mut places = Places { chars: text.chars(), line: 1, column: 0, last: None };
    place(&mut tree, &mut places);
    Ok(tree)
}

fn too_deep() -> String {
    format!("nested more than {MAX_DEPTH} levels deep: a manifest needs about ten")
}

struct Budget {
    nodes: Cell<usize>,
    depth: Cell<usize>,
}

struct Seed<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;
    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.0.nodes.set(self.0.nodes.get() + 1);
        if self.0.nodes.get() > MAX_NODES {
            return Err(de::Error::custom(format!("more than {MAX_NODES} values: split the deployment")));
        }
        deserializer.deserialize_any(self)
    }
}

impl Seed<'_> {
    fn deeper<E: de::Error>(&self) -> Result<(), E> {
        self.0.depth.set(self.0.depth.get() + 1);
        if self.0.depth.get() > MAX_DEPTH { Err(E::custom(too_deep())) } else { Ok(()) }
    }

    fn back(&self) {
        self.0.depth.set(self.0.depth.get().saturating_sub(1));
    }
}

fn number(value: NumberValue, written: impl fmt::Display) -> Node {
    Node::new(Value::Number(Number { value, written: written.to_string() }), None)
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::new(Value::Null, None))
    }
    fn visit_bool<E>(self, v: bool) -> Result<Node, E> {
        Ok(Node::new(Value::Bool(v), None))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Node, E> {
        Ok(number(NumberValue::Unsigned(v), v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Node, E> {
        Ok(number(NumberValue::Signed(v), v))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Node, E> {
        Ok(number(NumberValue::Float(v), v))
    }
    fn visit_str<E>(self, v: &str) -> Result<Node, E> {
        Ok(Node::new(Value::Text(v.to_owned()), None))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Seed(self.0))? {
            items.push(item);
        }
        self.back();
        Ok(Node::new(Value::List(items), None))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        self.deeper()?;
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Seed(self.0))?;
            entries.push(Entry { key, key_at: None, value });
        }
        self.back();
        Ok(Node::new(Value::Map(entries), None))
    }
}

/// Where the keys and values of a valid JSON text begin, in the order of the text.
struct Places<'a> {
    chars: std::str::Chars<'a>,
    line: u64,
    column: u64,
    /// A character that ended a number or a word and belongs to what follows.
    last: Option<char>,
}

impl Places<'_> {
    fn step(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        if c == '\n' {
            self.line += 1;
            self.column = 0;
        } else {
            self.column += 1;
        }
        Some(c)
    }

    fn skip_text(&mut self) {
        while let Some(c) = self.step() {
            match c {
                '"' => return,
                '\\' => {
                    self.step();
                }
                _ => {}
            }
        }
    }
}

impl Iterator for Places<'_> {
    type Item = Position;
    fn next(&mut self) -> Option<Position> {
        loop {
            let c = match self.last.take() {
                Some(c) => c,
                None => self.step()?,
            };
            let here = Position { line: self.line, column: self.column };
            match c {
                '{' | '[' => return Some(here),
                '"' => {
                    self.skip_text();
                    return Some(here);
                }
                '}' | ']' | ',' | ':' => {}
                c if c.is_whitespace() => {}
                _ => {
                    while let Some(c) = self.step() {
                        if matches!(c, '}' | ']' | ',') || c.is_whitespace() {
                            self.last = Some(c);
                            break;
                        }
                    }
                    return Some(here);
                }
            }
        }
    }
}

fn place(node: &mut Node, places: &mut Places<'_>) {
    node.at = places.next();
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| place(item, places)),
        Value::Map(entries) => {
            for entry in entries {
                entry.key_at = places.next();
                place(&mut entry.value, places);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let tree = read("{\"a\": [1, {\"b\\\"\": true}],\n \"c\": null}").unwrap();
        let at = |node: &Node| node.at.map(|p| (p.line, p.column));
        let Value::List(items) = &tree.get("a").unwrap().value else { panic!("a list") };
        assert_eq!(items.iter().map(at).collect::<Vec<_>>(), [Some((1, 8)), Some((1, 11))]);
        assert_eq!(at(items[1].get("b\"").unwrap()), Some((1, 19)));
        let c = &tree.entries()[1];
        assert_eq!((c.key_at.map(|p| (p.line, p.column)), at(&c.value)), (Some((2, 2)), Some((2, 7))));
    }
}
