//! The memory of the demo: bounded, the oldest entries go.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Most entries.
const CAPACITY: usize = 1_000;

/// A map that forgets its oldest entries.
pub(super) struct Shelf<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Copy + Eq + Hash, V> Shelf<K, V> {
    /// Puts an entry in under a new key, the oldest out.
    pub(super) fn put(&mut self, key: K, value: V) {
        self.entries.insert(key, value);
        self.order.push_back(key);
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    /// The entry of a key.
    pub(super) fn find(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    /// Takes an entry out.
    pub(super) fn take(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shelf_forgets_the_oldest_and_stays_bounded() {
        let mut shelf = Shelf::default();
        for key in 0..=CAPACITY {
            shelf.put(key, ());
        }
        assert!(shelf.find(&0).is_none());
        assert!(shelf.find(&CAPACITY).is_some());
        // What was taken out still counts until it is old, so the order cannot outgrow the bound.
        for key in 0..3 * CAPACITY {
            shelf.put(key, ());
            shelf.take(&key);
        }
        assert!(shelf.order.len() <= CAPACITY);
    }
}
