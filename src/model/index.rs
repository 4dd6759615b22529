//! Finds what is in a list by something that it holds.

use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Places in a list, by a key that is in the list itself: five bytes a place, where a map would hold
/// the key a second time. Several places may have the same key. The list is not known here: each
/// call gets `key_of`, which looks a key up there.
#[derive(Debug, Default)]
pub struct Index {
    hasher: RandomState,
    places: HashTable<u32>,
}

impl Index {
    /// How many places there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds a place whose key is in the list already.
    ///
    /// # Panics
    /// If the list is longer than `u32` can count.
    pub fn insert<K: Hash>(&mut self, at: usize, key_of: impl Fn(usize) -> K) {
        let hash = |place: &u32| self.hasher.hash_one(key_of(*place as usize));
        let place = u32::try_from(at).expect("BUG: a list of four billion");
        self.places.insert_unique(hash(&place), place, hash);
    }

    /// The places that have this key, in no order.
    pub fn all<K: Hash + Eq>(
        &self,
        key: K,
        key_of: impl Fn(usize) -> K,
    ) -> impl Iterator<Item = usize> {
        let places = self.places.iter_hash(self.hasher.hash_one(&key)).map(|at| *at as usize);
        places.filter(move |at| key_of(*at) == key)
    }

    /// A place that has this key.
    pub fn get<K: Hash + Eq>(&self, key: K, key_of: impl Fn(usize) -> K) -> Option<usize> {
        self.all(key, key_of).next()
    }

    /// Takes a place out that has this key, as it was when it was added. Returns whether it was there.
    pub fn remove<K: Hash>(&mut self, at: usize, key: K) -> bool {
        let hash = self.hasher.hash_one(key);
        let entry = self.places.find_entry(hash, |place| *place as usize == at);
        entry.is_ok_and(|entry| entry.remove().0 as usize == at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It finds what a look at each would find.
        #[test]
        fn every_place_is_found_by_its_key(steps in prop::collection::vec((0usize..40, 0u8..12), 1..400)) {
            let mut list = [None; 40];
            let mut index = Index::default();
            for (at, key) in steps {
                if let Some(old) = list[at].take() {
                    prop_assert!(index.remove(at, Some(old)));
                    prop_assert!(!index.remove(at, Some(old)));
                } else {
                    list[at] = Some(key);
                    index.insert(at, |at| list[at]);
                }
                for key in 0..12 {
                    let mut found: Vec<_> = index.all(Some(key), |at| list[at]).collect();
                    found.sort_unstable();
                    let there: Vec<_> = (0..40).filter(|at| list[*at] == Some(key)).collect();
                    prop_assert_eq!(found, there);
                }
                prop_assert_eq!(index.len(), list.iter().flatten().count());
            }
        }
    }
}
