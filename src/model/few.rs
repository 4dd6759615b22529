//! A list of mostly one.

/// Values in the order they came. A single one takes no memory of its own: there are tables of
/// thousands of such lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Few<T> {
    /// A single one.
    One(T),
    /// None, or several.
    Many(Box<[T]>),
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl<T> Few<T> {
    /// All of them.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    /// Adds one at the end.
    pub fn push(&mut self, value: T) {
        *self = match std::mem::take(self) {
            Self::Many(many) if many.is_empty() => Self::One(value),
            few @ (Self::One(_) | Self::Many(_)) => few.into_iter().chain([value]).collect(),
        };
    }

    /// Keeps those that are `wanted`.
    pub fn retain(&mut self, wanted: impl FnMut(&T) -> bool) {
        *self = std::mem::take(self).into_iter().filter(wanted).collect();
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many.into_vec(),
        }
        .into_iter()
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut values: Vec<T> = values.into_iter().collect();
        match values.pop() {
            Some(one) if values.is_empty() => Self::One(one),
            last => Self::Many(values.into_iter().chain(last).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_in_order() {
        let mut few = Few::default();
        for value in 1..=4 {
            few.push(value);
            assert_eq!(few.as_slice(), (1..=value).collect::<Vec<_>>());
        }
        few.retain(|value| value % 2 == 0);
        assert_eq!(few.as_slice(), [2, 4]);
        few.retain(|value| *value == 4);
        assert_eq!(few, Few::One(4));
        few.retain(|_| false);
        assert_eq!(few, Few::default());
        assert_eq!(size_of::<Few<usize>>(), 16);
    }
}
