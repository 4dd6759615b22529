//! Values by a key that is in them.

use std::hash::Hash;

use slab::Slab;

use super::Index;

/// A value that has a key.
pub trait HasKey {
    /// What it is found by.
    type Key: Hash + Eq;

    /// Never changes while the value is among others.
    fn key(&self) -> Self::Key;
}

/// Values that each have another key. There are tables of ten thousands: this one holds a value once
/// and keeps no room for others, where a map may keep as much again.
#[derive(Debug)]
pub struct Keyed<T> {
    values: Slab<T>,
    index: Index,
}

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self { values: Slab::new(), index: Index::default() }
    }
}

impl<T: HasKey> Keyed<T> {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.values.iter().map(|(_, value)| value)
    }

    /// The place of a value, which it keeps.
    pub fn place_of(&self, key: T::Key) -> Option<usize> {
        self.index.get(Some(key), |at| self.values.get(at).map(T::key))
    }

    /// What is at a place.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<&T> {
        self.values.get(place)
    }

    /// The value that has this key.
    #[must_use]
    pub fn get(&self, key: T::Key) -> Option<&T> {
        self.values.get(self.place_of(key)?)
    }

    /// The same, to be changed in all but its key.
    pub fn get_mut(&mut self, key: T::Key) -> Option<&mut T> {
        self.values.get_mut(self.place_of(key)?)
    }

    /// Adds a value, in place of the one that has its key. Returns its place.
    pub fn insert(&mut self, value: T) -> usize {
        if let Some(place) = self.place_of(value.key()) {
            self.values[place] = value;
            return place;
        }
        let place = self.values.insert(value);
        let values = &self.values;
        self.index.insert(place, |at| values.get(at).map(T::key));
        place
    }

    /// Takes out the value that has this key.
    pub fn remove(&mut self, key: T::Key) -> Option<T> {
        let place = self.place_of(key)?;
        let value = self.values.remove(place);
        self.index.remove(place, Some(value.key()));
        Some(value)
    }

    /// Keeps those that are `wanted`.
    pub fn retain(&mut self, mut wanted: impl FnMut(&mut T) -> bool) {
        let index = &mut self.index;
        self.values.retain(|place, value| {
            let stays = wanted(value);
            if !stays {
                index.remove(place, Some(value.key()));
            }
            stays
        });
    }
}

impl<T: HasKey> IntoIterator for Keyed<T> {
    type Item = T;
    type IntoIter = std::iter::Map<slab::IntoIter<T>, fn((usize, T)) -> T>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter().map(|(_, value)| value)
    }
}

impl<T: HasKey> Extend<T> for Keyed<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            self.insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl HasKey for (u8, char) {
        type Key = u8;

        fn key(&self) -> u8 {
            self.0
        }
    }

    #[test]
    fn a_value_is_found_by_what_is_in_it() {
        let mut values = Keyed::default();
        values.extend([(1, 'a'), (2, 'b'), (3, 'c')]);
        let place = values.insert((2, 'B'));
        assert_eq!((values.place_of(2), values.at(place)), (Some(place), Some(&(2, 'B'))));
        assert_eq!(values.remove(1), Some((1, 'a')));
        assert_eq!((values.remove(1), values.get(1)), (None, None));
        values.insert((4, 'd'));
        values.get_mut(4).expect("it is there").1 = 'D';
        values.retain(|value| value.0 != 3);
        assert_eq!((values.get(3), values.get(4)), (None, Some(&(4, 'D'))));
        assert_eq!(values.index.len(), 2, "what is gone takes no room");
        let mut left: Vec<_> = values.into_iter().collect();
        left.sort_unstable();
        assert_eq!(left, [(2, 'B'), (4, 'D')]);
    }
}
