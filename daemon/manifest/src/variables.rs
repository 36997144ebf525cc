//! Variables in a text, replaced before it is read: `${name}`, `${name:-default}`, and `$${` for a plain `${`. What a variable is worth is
//! the caller's to know; what the text means, nobody knows here.

use std::collections::BTreeMap;

use crate::{
    Format, Invalid, Problem, one,
    tree::{Node, Value, short},
    whole_tree,
};

/// The comment at the top of a text that asks for its variables to be replaced.
pub const HEADER: &str = "# tradewind: variables";

/// Whether a text asks for its variables to be replaced: one of the comments before its first value is [`HEADER`].
pub fn asked_for(text: &str) -> bool {
    text.lines()
        .map(|line| line.trim_start_matches('\u{feff}').trim_end())
        .take_while(|line| line.is_empty() || line.starts_with('#') || *line == "---")
        .any(|line| line == HEADER)
}

/// Whether this can be a variable's name: letters, digits, `_`, `-` and `.`, a letter or `_` first.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// The text with its variables replaced. Positions of lines stay, since no value has a line break.
///
/// # Errors
/// Every variable without a value, and everything behind `${` that is no variable, each with its place.
pub fn replace(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, Invalid> {
    let mut out = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = from.get(2..).unwrap_or_default();
            continue;
        }
        out.push_str(before);
        let inner = from.get(2..).unwrap_or_default();
        let end = inner
            .find(['}', '\n'])
            .filter(|end| inner.as_bytes().get(*end) == Some(&b'}'));
        let offset = text.len() - from.len();
        let Some((whole, after)) =
            end.and_then(|end| Some((inner.get(..end)?, inner.get(end + 1..)?)))
        else {
            problems.push(at_offset(
                text,
                offset,
                "\"${\" has no \"}\" on its line: write \"$${\" for a plain \"${\"".to_owned(),
            ));
            out.push_str("${");
            rest = inner;
            continue;
        };
        let (name, default) = match whole.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (whole, None),
        };
        match value(name).or_else(|| default.map(str::to_owned)) {
            _ if !is_name(name) => problems.push(at_offset(text, offset, format!(
                "\"${{{}}}\" is no variable: write \"$${{\" for a plain \"${{\"", short(whole)
            ))),
            Some(value) => out.push_str(&value),
            None => problems.push(at_offset(text, offset, format!(
                "the variable \"{}\" has no value: give it one, or a default as ${{{0}:-DEFAULT}}", short(name)
            ))),
        }
        rest = after;
    }
    out.push_str(rest);
    if problems.is_empty() {
        Ok(out)
    } else {
        problems.truncate(crate::MOST);
        Err(Invalid { problems })
    }
}

/// The variables of a file of values: a mapping of plain values, as they are written. A mapping inside gives `outer.inner`.
///
/// # Errors
/// What is no such mapping, no name, or of several lines.
pub fn values(text: &[u8], format: Format) -> Result<BTreeMap<String, String>, Invalid> {
    let tree = whole_tree(text, format)?;
    let mut values = BTreeMap::new();
    gather(&tree, "", &mut values).map_err(one)?;
    Ok(values)
}

fn gather(node: &Node, outer: &str, values: &mut BTreeMap<String, String>) -> Result<(), Problem> {
    let Value::Map(entries) = &node.value else {
        return Err(wrong(
            node,
            outer,
            "a file of values is a mapping of names and plain values",
        ));
    };
    for entry in entries {
        let name = if outer.is_empty() {
            entry.key.clone()
        } else {
            format!("{outer}.{}", entry.key)
        };
        if !is_name(&name) {
            return Err(wrong(
                &entry.value,
                &name,
                "a name has letters, digits, _, - and ., a letter or _ first",
            ));
        }
        let value = match &entry.value.value {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.written.clone(),
            Value::Bool(value) => value.to_string(),
            Value::Null => String::new(),
            Value::Map(_) => {
                gather(&entry.value, &name, values)?;
                continue;
            }
            Value::List(_) => {
                return Err(wrong(
                    &entry.value,
                    &name,
                    "a variable's value is a text, a number or a flag, and not a list",
                ));
            }
        };
        if value.contains(['\n', '\r']) {
            return Err(wrong(&entry.value, &name, "a variable's value is one line"));
        }
        values.insert(name, value);
    }
    Ok(())
}

fn wrong(node: &Node, path: &str, message: &str) -> Problem {
    Problem {
        path: path.to_owned(),
        message: message.to_owned(),
        line: node.at.map(|p| p.line),
        column: node.at.map(|p| p.column),
    }
}

fn at_offset(text: &str, offset: usize, message: String) -> Problem {
    let before = text.get(..offset).unwrap_or_default();
    let last = before.rsplit('\n').next().unwrap_or_default();
    Problem {
        path: String::new(),
        message,
        line: Some(before.matches('\n').count() as u64 + 1),
        column: Some(last.chars().count() as u64 + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<String, Vec<(String, u64, u64)>> {
        let value = |name: &str| match name {
            "tag" => Some("1.10".to_owned()),
            "db.host" => Some("h".to_owned()),
            _ => None,
        };
        replace(text, value).map_err(|e| {
            e.problems
                .into_iter()
                .map(|p| (p.message, p.line.unwrap(), p.column.unwrap()))
                .collect()
        })
    }

    #[test]
    fn variables_are_replaced_and_nothing_else() {
        for (text, expected) in [
            ("image: a:${tag}", "image: a:1.10"),
            ("${db.host}${tag:-x}${none:-x y}${none:-}", "h1.10x y"),
            ("$HOME $$ $(pwd) ${tag}$", "$HOME $$ $(pwd) 1.10$"),
            ("$${tag} $${a[@]} $$${tag}", "${tag} ${a[@]} $${tag}"),
        ] {
            assert_eq!(with(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_has_no_value_is_named_with_its_place() {
        let problems = with("a: 1\nä: ${missing} ${a b} ${open\n").unwrap_err();
        let places: Vec<(u64, u64)> = problems.iter().map(|p| (p.1, p.2)).collect();
        assert_eq!(places, [(2, 4), (2, 15), (2, 22)], "{problems:?}");
        assert!(
            problems[0].0.contains("\"missing\" has no value")
                && problems[0].0.contains("${missing:-DEFAULT}"),
            "{problems:?}"
        );
        assert!(problems[1].0.contains("${a b}"), "{problems:?}");
    }

    #[test]
    fn values_are_as_they_are_written() {
        let read = values(
            b"tag: 1.10\nflag: true\nnone:\ndb: {host: h, port: 0x1f}\n",
            Format::Yaml,
        )
        .unwrap();
        let read: Vec<(&str, &str)> = read.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            read,
            [
                ("db.host", "h"),
                ("db.port", "0x1f"),
                ("flag", "true"),
                ("none", ""),
                ("tag", "1.10")
            ]
        );
        for text in ["- a", "a: [1]", "a b: 1", "a: |\n  x\n  y\n"] {
            assert!(values(text.as_bytes(), Format::Yaml).is_err(), "{text}");
        }
    }

    #[test]
    fn a_text_asks_at_its_top() {
        assert!(asked_for("# tradewind: variables\na: 1"));
        assert!(asked_for("---\n# other\n\n# tradewind: variables\na: 1"));
        assert!(!asked_for("a: 1\n# tradewind: variables\n"));
    }
}
