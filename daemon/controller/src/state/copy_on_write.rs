//! A map whose readers keep a value as it was while its owner changes it: taking a value is counting one reader more. Used by its owner like any
//! other map. It must not know what it holds.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, btree_map},
    iter,
    ops::RangeBounds,
    sync::Arc,
};

/// Changing a value that somebody else holds makes a copy first. A copy of the map shares all values with it.
#[derive(Debug)]
pub(crate) struct Map<K, V>(BTreeMap<K, Arc<V>>);

type Iter<'a, K, V> =
    iter::Map<btree_map::Iter<'a, K, Arc<V>>, fn((&'a K, &'a Arc<V>)) -> (&'a K, &'a V)>;
type IterMut<'a, K, V> =
    iter::Map<btree_map::IterMut<'a, K, Arc<V>>, fn((&'a K, &'a mut Arc<V>)) -> (&'a K, &'a mut V)>;

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Clone, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Ord, V> Map<K, V> {
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key).map(|value| &**value)
    }

    /// The value as it is now, for a reader.
    pub(crate) fn take_copy(&self, key: &K) -> Option<Arc<V>> {
        self.0.get(key).cloned()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.0.insert(key, Arc::new(value));
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn keys(&self) -> btree_map::Keys<'_, K, Arc<V>> {
        self.0.keys()
    }

    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.0.values().map(|value| &**value)
    }

    pub(crate) fn iter(&self) -> Iter<'_, K, V> {
        self.0.iter().map(|(key, value)| (key, &**value))
    }

    pub(crate) fn range(
        &self,
        range: impl RangeBounds<K>,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0.range(range).map(|(key, value)| (key, &**value))
    }

    /// The same, for readers.
    pub(crate) fn range_copies(
        &self,
        range: impl RangeBounds<K>,
    ) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.0.range(range)
    }
}

impl<K: Ord, V: Clone> Map<K, V> {
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key).map(Arc::make_mut)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key).map(Arc::unwrap_or_clone)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.values_mut().map(Arc::make_mut)
    }

    pub(crate) fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        self.0
            .iter_mut()
            .map(|(key, value)| (key, Arc::make_mut(value)))
    }
}

impl<'a, K: Ord, V> IntoIterator for &'a Map<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;
    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

impl<'a, K: Ord, V: Clone> IntoIterator for &'a mut Map<K, V> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = IterMut<'a, K, V>;
    fn into_iter(self) -> IterMut<'a, K, V> {
        self.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_keeps_what_it_took() {
        let mut map = Map::default();
        map.insert("a", vec![1]);
        let before = map.take_copy(&"a").expect("it is there");
        let at = before.as_ptr();
        map.get_mut(&"a").expect("it is there").push(2);
        assert_eq!((before.len(), map.get("a").map(Vec::len)), (1, Some(2)));
        assert_ne!(map.get("a").map(|v| v.as_ptr()), Some(at));
        let copy = map.clone();
        map.values_mut().for_each(|v| v.push(3));
        assert_eq!(
            (copy.get("a").map(Vec::len), map.remove(&"a")),
            (Some(2), Some(vec![1, 2, 3]))
        );
        assert!(map.is_empty() && !copy.is_empty());
    }
}
