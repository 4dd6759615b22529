//! Where lines come from.

/// Names and values of where the lines of a file come from (`filename`, `pod`, …), which rules call
/// `$filename`, `$pod`. They are not of the line, and no line can forge them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin(Box<[(Box<str>, Box<str>)]>);

impl Origin {
    /// The value of `name`, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl<N: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(N, V)> for Origin {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
