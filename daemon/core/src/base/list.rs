//! Lists: which items are wanted, in which order, and page by page. Pure: it must not know where items come from, or how a page travels.
//!
//! A page begins behind the key of the last item of the page before it. Keys do not change, so a walk through the pages meets every item
//! that stays exactly once, whatever is added or removed meanwhile, and whether or not the daemon was restarted. In an order that the client
//! asks for, it begins behind what that item was sorted by and its key: every item of which neither changes is met exactly once.

mod choice;
mod selector;
mod sort;
mod window;

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

pub use choice::{Choice, OneOf, UnknownChoice};
pub use selector::{Selector, SelectorError};
pub use sort::{Sort, SortError, SortValue};
pub use window::{Collected, OrderError, Window};

/// Items of a page where the client names no number.
pub const DEFAULT_LIMIT: usize = 500;
/// The most items of a page.
pub const MOST: usize = 1_000;

/// An item of a list.
pub trait Listed {
    /// The name of the list: a cursor of another list is refused.
    const LIST: &'static str;
    /// By what the list can be sorted on request: names of its items' fields. None: its own order is the only one.
    const SORTS: &'static [&'static str] = &[];
    /// What the list is sorted by. No two items share a key, and the key of an item never changes.
    type Key: Ord + Clone + Serialize + DeserializeOwned;

    /// By which the list is ordered. It does not change while the item exists.
    fn key(&self) -> Self::Key;

    /// What it is sorted by where the order is asked for: of one of the fields in `SORTS`.
    fn sort_value(&self, field: &str) -> SortValue {
        let _ = field;
        SortValue::Nothing
    }
}

/// The place behind an item. Opaque to clients.
pub struct Cursor<T: Listed> {
    key: T::Key,
    /// In an order that was asked for: the order, and what the item is sorted by.
    sorted: Option<(String, Vec<SortValue>)>,
}

/// A text that is no cursor of the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{value}\" is no cursor of this list: use the one in the header \"Link\" of the page before"
)]
pub struct CursorError {
    value: String,
}

/// Some items of a list, in its order.
pub struct Page<T: Listed> {
    /// The items of this page, in order.
    pub items: Vec<T>,
    /// Where the next page begins. None: this is the last one.
    pub next: Option<Cursor<T>>,
}

// === impl Cursor ===

impl<T: Listed> Cursor<T> {
    /// The page that begins behind this item.
    pub fn behind(item: &T) -> Self {
        Self {
            key: item.key(),
            sorted: None,
        }
    }

    /// The key of the last item before the page.
    pub fn key(&self) -> &T::Key {
        &self.key
    }
}

impl<T: Listed> Clone for Cursor<T> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            sorted: self.sorted.clone(),
        }
    }
}

impl<T: Listed> fmt::Display for Cursor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.sorted {
            None => serde_json::to_vec(&(T::LIST, &self.key)),
            Some((sort, values)) => serde_json::to_vec(&(T::LIST, &self.key, sort, values)),
        };
        let text = text.map_err(|_| fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(text))
    }
}

impl<T: Listed> fmt::Debug for Cursor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({self})")
    }
}

impl<T: Listed> FromStr for Cursor<T> {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let bad = || CursorError {
            value: text.chars().take(80).collect(),
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?;
        let own: Result<(String, T::Key), _> = serde_json::from_slice(&bytes);
        let (list, key, sorted) = match own {
            Ok((list, key)) => (list, key, None),
            Err(_) => {
                let asked: (String, T::Key, String, Vec<SortValue>) =
                    serde_json::from_slice(&bytes).map_err(|_| bad())?;
                let (list, key, sort, values) = asked;
                (list, key, Some((sort, values)))
            }
        };
        if list == T::LIST {
            Ok(Self { key, sorted })
        } else {
            Err(bad())
        }
    }
}

impl<'de, T: Listed> Deserialize<'de> for Cursor<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl<T: Listed> JsonSchema for Cursor<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ListCursor".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": "^[-_A-Za-z0-9]+$",
            "description": "Where a page of a list begins, out of the header \"Link\" of the page before it.",
        })
    }
}

// === impl Page ===

impl<T: Listed> Page<T> {
    /// The page of a list whose items come whole and in any order.
    pub fn of(items: impl IntoIterator<Item = T>, window: &Window<T>) -> Self {
        let mut page = window.collect();
        items.into_iter().for_each(|item| page.add(item));
        page.page()
    }

    /// The first items of those that come behind the cursor, in the list's order. It takes one more than the limit, to know whether there is
    /// another page.
    pub fn first(items: impl IntoIterator<Item = T>, limit: usize) -> Self {
        let mut items: Vec<T> = items.into_iter().take(limit.saturating_add(1)).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(Cursor::behind);
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use std::{cmp::Reverse, num::NonZeroU32};

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Thing {
        name: String,
        content: u8,
    }

    impl Listed for Thing {
        const LIST: &'static str = "things";
        const SORTS: &'static [&'static str] = &["name", "content"];
        type Key = String;
        fn key(&self) -> String {
            self.name.clone()
        }
        fn sort_value(&self, field: &str) -> SortValue {
            match field {
                "name" => self.name.as_str().into(),
                _ => u64::from(self.content).into(),
            }
        }
    }

    /// Newest first.
    #[derive(Debug, Clone, PartialEq)]
    struct Moment(u64);

    impl Listed for Moment {
        const LIST: &'static str = "moments";
        type Key = Reverse<u64>;
        fn key(&self) -> Reverse<u64> {
            Reverse(self.0)
        }
    }

    fn thing(name: &str) -> Thing {
        Thing {
            name: name.to_owned(),
            content: 0,
        }
    }

    #[test]
    fn a_cursor_is_of_one_list() {
        let cursor = Cursor::behind(&thing("a/b \"ü\""));
        let text = cursor.to_string();
        assert_eq!(text.parse::<Cursor<Thing>>().unwrap().key(), cursor.key());
        assert!(
            text.bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c)),
            "{text}"
        );
        let other = Cursor::behind(&Moment(7)).to_string();
        for bad in ["", "!", "bm9uc2Vuc2U", "%", &other] {
            let error = bad.parse::<Cursor<Thing>>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("\"{bad}\" is no cursor")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_cursor_is_of_one_order() {
        let sort = |text: &str| text.parse::<Sort<Thing>>();
        let window = |sort: Option<&str>, cursor: Option<Cursor<Thing>>| {
            let sort = sort.map(|text| text.parse::<Sort<Thing>>().unwrap());
            Window::new(NonZeroU32::new(1), cursor).sorted(sort)
        };
        let next = |sort: Option<&str>| {
            let window = window(sort, None).unwrap();
            Page::of(["a", "b"].map(thing), &window).next.unwrap()
        };
        assert!(window(Some("-content"), Some(next(Some("-content")))).is_ok());
        for (asked, of) in [
            (Some("content"), Some("-content")),
            (None, Some("content")),
            (Some("content"), None),
        ] {
            assert!(window(asked, Some(next(of))).is_err(), "{asked:?} {of:?}");
        }
        let error = sort("-name,size").unwrap_err().to_string();
        assert!(
            error.contains("by \"size\": its fields for that are name, content"),
            "{error}"
        );
    }

    #[test]
    fn a_limit_is_at_least_one_and_at_most_the_most() {
        let limit = |n| Window::<Thing>::new(NonZeroU32::new(n), None).limit;
        assert_eq!(
            [limit(0), limit(1), limit(1_000), limit(u32::MAX)],
            [DEFAULT_LIMIT, 1, MOST, MOST]
        );
    }

    #[test]
    fn the_last_page_says_so() {
        let all = || ["c", "a", "b"].map(thing);
        let page = Page::of(
            all(),
            &Window {
                limit: 3,
                cursor: None,
                sort: None,
            },
        );
        assert!(page.next.is_none() && page.items == ["a", "b", "c"].map(thing));
        let page = Page::of(
            all(),
            &Window {
                limit: 2,
                cursor: None,
                sort: None,
            },
        );
        let rest = Page::of(
            all(),
            &Window {
                limit: 2,
                cursor: page.next,
                sort: None,
            },
        );
        assert!(rest.next.is_none() && rest.items == [thing("c")]);
    }

    /// What happens to the list between two pages.
    #[derive(Debug, Clone)]
    enum Change {
        Put(String, u8),
        Remove(String),
    }

    fn change() -> impl Strategy<Value = Change> {
        let name = "[a-d]{1,2}";
        prop_oneof![
            (name, any::<u8>()).prop_map(|(n, c)| Change::Put(n, c)),
            name.prop_map(Change::Remove)
        ]
    }

    proptest! {
        /// The law of pages: whatever else comes, goes and changes, what stays as it is comes exactly once, and in order.
        #[test]
        fn a_walk_meets_what_stays_exactly_once(
            start in prop::collection::btree_map("[a-d]{1,2}", any::<u8>(), 0..20),
            changes in prop::collection::vec(prop::collection::vec(change(), 0..4), 0..20),
            limit in 1usize..6,
            sort in prop::option::of(prop::sample::select(vec!["content", "-content", "-content,name", "name"])),
        ) {
            let sort = sort.map(|sort| sort.parse::<Sort<Thing>>().unwrap());
            let own = sort.is_none();
            let mut list = start.clone();
            let mut touched = std::collections::BTreeSet::new();
            let mut changes = changes.into_iter();
            let mut met: Vec<Thing> = Vec::new();
            let mut window = Window { limit, cursor: None, sort: sort.clone() };
            loop {
                let things = list.iter().map(|(name, content)| Thing { name: name.clone(), content: *content });
                let page = Page::of(things, &window);
                prop_assert!(page.items.len() <= limit);
                met.extend(page.items);
                // A restart keeps nothing but the cursor's text.
                let Some(next) = page.next else { break };
                window.cursor = Some(next.to_string().parse().unwrap());
                for change in changes.next().unwrap_or_default() {
                    match change {
                        Change::Put(name, content) => {
                            touched.insert(name.clone());
                            list.insert(name, content);
                        }
                        Change::Remove(name) => {
                            touched.insert(name.clone());
                            list.remove(&name);
                        }
                    }
                }
            }
            prop_assert!(!own || met.is_sorted_by(|a, b| a.name < b.name), "{:?}", met);
            let mut stayed: Vec<Thing> =
                start.into_iter().filter(|(name, _)| !touched.contains(name)).map(|(name, content)| Thing { name, content }).collect();
            let met: Vec<Thing> = met.into_iter().filter(|t| !touched.contains(&t.name)).collect();
            if let Some(sort) = sort {
                stayed.sort_by(|a, b| sort.compare(&sort.values(a), &sort.values(b)).then(a.name.cmp(&b.name)));
            }
            prop_assert_eq!(met, stayed);
        }

        /// What is new comes before a walk that has begun at the newest.
        #[test]
        fn a_walk_from_the_newest_is_not_moved_by_what_comes(kept in 0u64..30, comes in 0u64..9, limit in 1usize..6) {
            let (mut newest, mut met) = (kept, Vec::new());
            let mut window = Window { limit, cursor: None, sort: None };
            loop {
                let page = Page::of((0..newest).map(Moment), &window);
                met.extend(page.items);
                let Some(next) = page.next else { break };
                (window.cursor, newest) = (Some(next), newest + comes);
            }
            prop_assert_eq!(met, (0..kept).rev().map(Moment).collect::<Vec<_>>());
        }
    }
}
