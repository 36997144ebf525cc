//! A document as a tree that others are laid over, by the rule of JSON Merge Patch (RFC 7396): what the overlay has wins, mappings are
//! merged by key, `null` deletes, and a list is replaced whole. It knows no field but those that name a document.

use std::collections::BTreeMap;

use crate::{
    Format, Invalid,
    tree::{Entry, Node, Path, Position, Value},
    whole_tree,
};

/// A document before it is typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree(Node);

impl Tree {
    /// Reads one document.
    ///
    /// # Errors
    /// `Invalid` for what can't be read, and for keys that repeat.
    pub fn read(text: &[u8], format: Format) -> Result<Self, Invalid> {
        whole_tree(text, format).map(Self)
    }

    /// The name that the document gives itself.
    pub fn name(&self) -> Option<&str> {
        self.metadata("name")
    }

    /// The namespace that the document names.
    pub fn namespace(&self) -> Option<&str> {
        self.metadata("namespace")
    }

    fn metadata(&self, field: &str) -> Option<&str> {
        match &self.0.get("metadata")?.get(field)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The manifest inside a view of a deployment, as `get` prints it. None: it is no such view.
    pub fn manifest_of_view(&self) -> Option<Self> {
        let is_manifest = self.0.get("apiVersion").is_some() || self.0.get("kind").is_some();
        let inner = self.0.get("manifest").filter(|_| !is_manifest)?;
        matches!(inner.value, Value::Map(_)).then(|| Self(inner.clone()))
    }

    /// Lays another document over this one.
    pub fn lay_over(&mut self, overlay: &Self) {
        merge(&mut self.0, &overlay.0);
    }

    /// The document as YAML on one line. Numbers stay as they were written.
    pub fn text(&self) -> String {
        let mut out = String::new();
        write(&self.0, &mut out);
        out
    }

    /// Where each field was written: line and column, from 1.
    pub fn places(&self) -> BTreeMap<String, (u64, u64)> {
        let mut places = BTreeMap::new();
        gather(&self.0, &Path::default(), &mut places);
        if let Some(at) = self.0.at {
            places.insert(String::new(), (at.line, at.column));
        }
        places
    }
}

fn merge(base: &mut Node, overlay: &Node) {
    let Value::Map(changes) = &overlay.value else {
        *base = overlay.clone();
        return;
    };
    if !matches!(base.value, Value::Map(_)) {
        *base = Node::new(Value::Map(Vec::new()), overlay.at);
    }
    let Value::Map(entries) = &mut base.value else {
        return;
    };
    for change in changes {
        if change.value.value == Value::Null {
            entries.retain(|e| e.key != change.key);
            continue;
        }
        match entries.iter_mut().find(|e| e.key == change.key) {
            Some(entry) => merge(&mut entry.value, &change.value),
            None => {
                // What it deletes inside is not there.
                let mut value = Node::new(Value::Null, change.value.at);
                merge(&mut value, &change.value);
                entries.push(Entry {
                    value,
                    ..change.clone()
                });
            }
        }
    }
}

fn write(node: &Node, out: &mut String) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.written),
        Value::Text(text) => quote(text, out),
        Value::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                write(item, out);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (i, entry) in entries.iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                quote(&entry.key, out);
                out.push_str(": ");
                write(&entry.value, out);
            }
            out.push('}');
        }
    }
}

/// A quoted text, as both YAML and JSON read it.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control()
                || matches!(
                    c,
                    '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}'..='\u{ffff}'
                ) =>
            {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn gather(node: &Node, at: &Path, places: &mut BTreeMap<String, (u64, u64)>) {
    let children: Vec<(Path, Option<Position>, &Node)> = match &node.value {
        Value::Map(entries) => entries
            .iter()
            .map(|e| (at.clone().key(&e.key), e.key_at.or(e.value.at), &e.value))
            .collect(),
        Value::List(items) => items
            .iter()
            .enumerate()
            .map(|(i, item)| (at.clone().index(i), item.at, item))
            .collect(),
        _ => Vec::new(),
    };
    for (path, position, child) in children {
        if let Some(Position { line, column }) = position {
            places.insert(path.to_string(), (line, column));
        }
        gather(child, &path, places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Tree {
        Tree::read(text.as_bytes(), Format::Yaml).unwrap()
    }

    #[test]
    fn an_overlay_wins_field_by_field() {
        for (base, overlay, merged) in [
            (
                "{a: 1, b: {c: 2, d: 3}}",
                "{b: {c: 4}}",
                r#"{"a": 1, "b": {"c": 4, "d": 3}}"#,
            ),
            ("{a: [1, 2]}", "{a: [3]}", r#"{"a": [3]}"#),
            ("{a: 1, b: 2}", "{a: null}", r#"{"b": 2}"#),
            (
                "{a: 1}",
                "{b: {c: null, d: {e: null}}}",
                r#"{"a": 1, "b": {"d": {}}}"#,
            ),
            ("{a: {b: 1}}", "{a: x}", r#"{"a": "x"}"#),
            ("{a: x}", "{a: {b: 1}}", r#"{"a": {"b": 1}}"#),
            (
                "{v: 1.10, w: 0x1f}",
                "{t: \"q\\\"\\n\"}",
                r#"{"v": 1.10, "w": 0x1f, "t": "q\"\u000a"}"#,
            ),
        ] {
            let mut base = tree(base);
            base.lay_over(&tree(overlay));
            assert_eq!(base.text(), merged);
            assert_eq!(
                tree(&base.text()).text(),
                merged,
                "it is read as it is written"
            );
        }
    }

    #[test]
    fn fields_know_their_places() {
        let tree = tree("spec:\n  services:\n    web: {ports: [{a: 1}]}\n");
        let places = tree.places();
        assert_eq!(places["spec.services.web"], (3, 5));
        assert_eq!(places["spec.services.web.ports[0].a"], (3, 20));
    }

    #[test]
    fn a_view_holds_a_manifest() {
        let view = tree(
            "status: running\nmanifest: {apiVersion: a, metadata: {name: web, namespace: team}}\n",
        );
        let inner = view.manifest_of_view().unwrap();
        assert_eq!(
            (inner.name(), inner.namespace()),
            (Some("web"), Some("team"))
        );
        assert!(tree("{kind: x, manifest: {}}").manifest_of_view().is_none());
    }
}
