//! The part of a list that is wanted: from where on, in which order, how much.

use std::{cmp::Ordering, num::NonZeroU32};

use super::{Cursor, DEFAULT_LIMIT, Listed, MOST, Page, Sort, SortValue};

/// The part of a list that is wanted.
pub struct Window<T: Listed> {
    /// At least 1.
    pub limit: usize,
    /// None: from the beginning.
    pub cursor: Option<Cursor<T>>,
    /// None: the list's own order.
    pub sort: Option<Sort<T>>,
}

/// A cursor of the same list in another order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cursor \"{cursor}\" is of {of}, and the request asks for {asked}: a cursor goes with its order"
)]
pub struct OrderError {
    cursor: String,
    of: String,
    asked: String,
}

/// Takes in the items of a list in any order, and keeps those of one page.
pub struct Collected<'w, T: Listed> {
    window: &'w Window<T>,
    kept: Vec<(Place<T>, T)>,
}

/// Where an item stands.
struct Place<T: Listed> {
    values: Vec<SortValue>,
    key: T::Key,
}

// === impl Window ===

impl<T: Listed> Window<T> {
    /// What a request asks for. A limit above the most counts as the most.
    pub fn new(limit: Option<NonZeroU32>, cursor: Option<Cursor<T>>) -> Self {
        Self::within(limit, cursor, DEFAULT_LIMIT, MOST)
    }

    /// The same for a list with bounds of its own.
    pub fn within(
        limit: Option<NonZeroU32>,
        cursor: Option<Cursor<T>>,
        default: usize,
        most: usize,
    ) -> Self {
        let asked = limit.map(|limit| usize::try_from(limit.get()).unwrap_or(usize::MAX));
        Self {
            limit: asked.unwrap_or(default).clamp(1, most),
            cursor,
            sort: None,
        }
    }

    /// The same in this order.
    ///
    /// # Errors
    /// When the cursor is of another order.
    pub fn sorted(mut self, sort: Option<Sort<T>>) -> Result<Self, OrderError> {
        if let Some(cursor) = &self.cursor {
            let of = cursor.sorted.as_ref().map(|(sort, _)| sort.clone());
            let asked = sort.as_ref().map(Sort::to_string);
            let fits = |sort: &Sort<T>| {
                let values = cursor.sorted.as_ref().map(|(_, values)| values);
                values.is_some_and(|values| sort.fits(values))
            };
            if of != asked || !sort.as_ref().is_none_or(fits) {
                let told = |sort: Option<String>| match sort {
                    Some(sort) => format!("the list with sort={sort}"),
                    None => "the list in its own order".to_owned(),
                };
                return Err(OrderError {
                    cursor: cursor.to_string(),
                    of: told(of),
                    asked: told(asked),
                });
            }
        }
        self.sort = sort;
        Ok(self)
    }

    /// The whole list.
    pub fn whole() -> Self {
        Self {
            limit: usize::MAX,
            cursor: None,
            sort: None,
        }
    }

    /// Whether an item with this key comes behind the cursor, in the list's own order.
    pub fn admits(&self, key: &T::Key) -> bool {
        self.cursor.as_ref().is_none_or(|cursor| *key > cursor.key)
    }

    /// For the items of a page, as they come.
    pub fn collect(&self) -> Collected<'_, T> {
        Collected {
            window: self,
            kept: Vec::new(),
        }
    }

    fn place(&self, item: &T) -> Place<T> {
        Place {
            values: self
                .sort
                .as_ref()
                .map(|sort| sort.values(item))
                .unwrap_or_default(),
            key: item.key(),
        }
    }

    fn compare(&self, a: (&[SortValue], &T::Key), b: (&[SortValue], &T::Key)) -> Ordering {
        let asked = self.sort.as_ref();
        let asked = asked.map_or(Ordering::Equal, |sort| sort.compare(a.0, b.0));
        asked.then_with(|| a.1.cmp(b.1))
    }
}

// === impl Collected ===

impl<T: Listed> Collected<'_, T> {
    /// The item is kept as long as it may be on the page.
    pub fn add(&mut self, item: T) {
        let place = self.window.place(&item);
        let begins = self.window.cursor.as_ref().map(|cursor| {
            let values = cursor.sorted.as_ref().map(|(_, values)| values.as_slice());
            (values.unwrap_or_default(), &cursor.key)
        });
        let here = (place.values.as_slice(), &place.key);
        if begins.is_some_and(|begins| self.window.compare(here, begins).is_le()) {
            return;
        }
        self.kept.push((place, item));
        // One more than the page tells whether there is another one.
        let most = self.window.limit.saturating_add(1);
        if self.kept.len() >= most.saturating_mul(2).max(MOST) {
            self.sort();
            self.kept.truncate(most);
        }
    }

    /// The page, in order.
    pub fn page(mut self) -> Page<T> {
        self.sort();
        let more = self.kept.len() > self.window.limit;
        self.kept.truncate(self.window.limit);
        let next = self.kept.last().filter(|_| more).map(|(place, _)| Cursor {
            key: place.key.clone(),
            sorted: self
                .window
                .sort
                .as_ref()
                .map(|sort| (sort.to_string(), place.values.clone())),
        });
        Page {
            items: self.kept.into_iter().map(|(_, item)| item).collect(),
            next,
        }
    }

    fn sort(&mut self) {
        let window = self.window;
        self.kept
            .sort_by(|(a, _), (b, _)| window.compare((&a.values, &a.key), (&b.values, &b.key)));
    }
}

impl<T: Listed> Clone for Window<T> {
    fn clone(&self) -> Self {
        Self {
            limit: self.limit,
            cursor: self.cursor.clone(),
            sort: self.sort.clone(),
        }
    }
}
