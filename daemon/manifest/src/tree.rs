//! A manifest's text as a tree that forgets nothing an error message may want: positions, the spelling of numbers, repeated keys.
//! Made by `yaml` and `json`; knows no manifest field.

pub(super) use tradewind_core::field::{Path, Step, short};

/// 1-based line and column, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u64,
    pub(super) column: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) at: Option<Position>,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A number and how it was written: `1.10` as an environment variable is not `1.1`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Number {
    pub(super) value: NumberValue,
    pub(super) written: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum NumberValue {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Option<Position>,
    pub(super) value: Node,
}

/// The deepest nesting that is read. Recursion over a tree is bounded by it.
pub(super) const MAX_DEPTH: usize = 64;
/// The most nodes that are read, aliases expanded.
pub(super) const MAX_NODES: usize = 250_000;

// === impl Node ===

impl Node {
    pub(super) fn new(value: Value, at: Option<Position>) -> Self {
        Self { at, value }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|e| e.key == key)
            .map(|e| &e.value)
    }

    /// Where the path's end is written: its key when it is a field, else the value itself; failing that, the nearest thing around it.
    pub(super) fn position(&self, path: &Path) -> Option<Position> {
        let (mut node, mut at) = (self, self.at);
        for step in &path.0 {
            match (&node.value, step) {
                (Value::Map(entries), Step::Key(key)) => {
                    let Some(entry) = entries.iter().find(|e| e.key == *key) else {
                        break;
                    };
                    at = entry.key_at.or(at);
                    node = &entry.value;
                }
                (Value::List(items), Step::Index(i)) => {
                    let Some(item) = items.get(*i) else { break };
                    at = item.at.or(at);
                    node = item;
                }
                _ => break,
            }
        }
        at
    }

    /// Takes out the field at the path's end, or the one whose list holds it. False when nothing is there.
    pub(super) fn remove(&mut self, path: &Path) -> bool {
        let steps = path
            .0
            .iter()
            .rposition(|s| matches!(s, Step::Key(_)))
            .and_then(|last| path.0.get(..=last));
        let Some((Step::Key(field), parents)) = steps.and_then(<[Step]>::split_last) else {
            return false;
        };
        let mut node = self;
        for step in parents {
            let child = match (&mut node.value, step) {
                (Value::Map(entries), Step::Key(key)) => entries
                    .iter_mut()
                    .find(|e| e.key == *key)
                    .map(|e| &mut e.value),
                (Value::List(items), Step::Index(i)) => items.get_mut(*i),
                _ => None,
            };
            let Some(child) = child else { return false };
            node = child;
        }
        let Value::Map(entries) = &mut node.value else {
            return false;
        };
        let before = entries.len();
        entries.retain(|e| e.key != *field);
        entries.len() < before
    }

    /// Levels of nesting, a scalar being one.
    pub(super) fn height(&self) -> usize {
        self.children().map(Node::height).max().unwrap_or(0) + 1
    }

    /// Nodes in all, this one included.
    pub(super) fn count(&self) -> usize {
        self.children().map(Node::count).sum::<usize>() + 1
    }

    fn children(&self) -> impl Iterator<Item = &Node> {
        let items = match &self.value {
            Value::List(items) => items.as_slice(),
            _ => &[],
        };
        items.iter().chain(self.entries().iter().map(|e| &e.value))
    }

    /// The value as a message names it: `the text "x"`, `the number 3`, `a list`.
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(b) => format!("{b}"),
            Value::Number(n) => format!("the number {}", short(&n.written)),
            Value::Text(t) => format!("the text \"{}\"", short(t)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}
