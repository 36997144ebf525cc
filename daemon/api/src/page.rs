//! A page of a list: the one form in which the API answers every list. It must not know what is listed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tradewind_core::store::Revision;

/// A page of a list: its items, where the next page begins, and what the list says beside its items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
#[serde(rename_all = "camelCase")]
pub struct Page<T, Beside = Nothing> {
    /// The items of this page, in the list's order.
    pub items: Vec<T>,
    /// The `cursor` of the next page. Absent: this is the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The last change that the items reflect for certain: who follows the events, or watches the list, `after` it misses nothing. Absent:
    /// the list is of what no revision counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// What the list says beside its items.
    #[serde(flatten)]
    pub beside: Beside,
}

/// The list says nothing beside its items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nothing {}

// === impl Page ===

impl<T, Beside> Page<T, Beside> {
    /// A list on one page.
    pub fn new(items: Vec<T>, beside: Beside) -> Self {
        Self {
            items,
            next: None,
            revision: None,
            beside,
        }
    }

    /// Takes in the page behind this one. What the list says beside its items stays as it was said first, and so does the revision: nothing
    /// that a follower needs came before it.
    pub fn join(&mut self, next: Self) {
        self.items.extend(next.items);
        self.next = next.next;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Reasons {
        reasons: Vec<u64>,
    }

    #[test]
    fn what_a_list_says_beside_its_items_stands_beside_them() {
        let text = json!({"items": [1, 2], "next": "bmV3", "revision": 7, "reasons": [3]});
        let mut page: Page<u64, Reasons> = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&page).unwrap(), text);
        page.join(Page {
            revision: Some(Revision(9)),
            ..Page::new(vec![4], Reasons { reasons: vec![] })
        });
        assert_eq!(
            serde_json::to_value(&page).unwrap(),
            json!({"items": [1, 2, 4], "revision": 7, "reasons": [3]})
        );
        let plain: Page<u64> = serde_json::from_value(json!({"items": []})).unwrap();
        assert_eq!(serde_json::to_value(&plain).unwrap(), json!({"items": []}));
    }
}
