//! As much of XML as answers of AWS need: elements by their names, lists by their items. Nothing here knows an operation.

/// What stands between the first of these tags and its end, of nested ones the outer end.
pub(super) fn inside(xml: &str, name: &str) -> String {
    range(xml, name)
        .and_then(|(from, to)| xml.get(from..to))
        .unwrap_or_default()
        .to_owned()
}

/// Where that is.
pub(super) fn range(xml: &str, name: &str) -> Option<(usize, usize)> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let from = xml.find(&open)? + open.len();
    let (mut depth, mut at) = (1, from);
    loop {
        let rest = xml.get(at..)?;
        let (ends, begins) = (rest.find(&close)?, rest.find(&open));
        match begins.filter(|begins| *begins < ends) {
            Some(begins) => (depth, at) = (depth + 1, at + begins + open.len()),
            None if depth == 1 => return Some((from, at + ends)),
            None => (depth, at) = (depth - 1, at + ends + close.len()),
        }
    }
}

/// The text of the first of these elements.
pub(super) fn text(xml: &str, name: &str) -> String {
    inside(xml, name).trim().to_owned()
}

/// The items of a list, as EC2 writes them.
pub(super) fn items(xml: &str, list: &str) -> Vec<String> {
    each(&inside(xml, list), "item")
}

/// The members of the first list, as Elastic Load Balancing writes them.
pub(super) fn members(xml: &str) -> Vec<String> {
    each(xml, "member")
}

fn each(mut xml: &str, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((from, to)) = range(xml, name) {
        found.extend(xml.get(from..to).map(str::to_owned));
        xml = xml
            .get(to..)
            .and_then(|rest| rest.split_once('>'))
            .map_or("", |(_, rest)| rest);
    }
    found
}

/// The same text with every item of a list for which `keep` is false left out, and the others as `keep` has changed them.
pub(super) fn edit(
    xml: &str,
    list: &str,
    item: &str,
    mut keep: impl FnMut(&mut String) -> bool,
) -> String {
    let Some((from, to)) = range(xml, list) else {
        return xml.to_owned();
    };
    let (Some(before), Some(content), Some(after)) =
        (xml.get(..from), xml.get(from..to), xml.get(to..))
    else {
        return xml.to_owned();
    };
    let mut kept = each(content, item);
    kept.retain_mut(&mut keep);
    let items: String = kept
        .iter()
        .map(|content| format!("<{item}>{content}</{item}>"))
        .collect();
    format!("{before}{items}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_items_belong_to_their_lists() {
        let xml = "<r><set><item><id>1</id><in><item>x</item></in></item><item><id>2</id></item></set><other/></r>";
        let ids: Vec<String> = items(xml, "set")
            .iter()
            .map(|item| text(item, "id"))
            .collect();
        assert_eq!(ids, ["1", "2"]);
        assert_eq!(
            edit(xml, "set", "item", |item| item.contains("<id>2")),
            "<r><set><item><id>2</id></item></set><other/></r>"
        );
        assert_eq!(text(xml, "none"), "");
    }
}
