//! Texts made of fields.

use super::{Run, Source};

/// A compiled template.
#[derive(Debug)]
pub(in crate::parse) struct Template(pub(super) Vec<Part>);

/// A piece of it; the cases are those of `rule::Part`.
#[derive(Debug)]
pub(in crate::parse) enum Part {
    Text(String),
    Field { from: Vec<Source>, default: Option<String> },
}

/// What a template was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// One of its fields at least.
    Field,
    /// What the configuration says alone.
    Default,
    /// None of its fields is there.
    Nothing,
}

impl Template {
    /// Writes it to `out`, and says what of its fields was there.
    pub(super) fn write(&self, run: &Run<'_>, out: &mut String) -> Made {
        let (mut has_fields, mut has_default, mut has_value) = (false, false, false);
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { from, default } => {
                    has_fields = true;
                    let value = from.iter().find_map(|source| run.source(*source));
                    has_value |= value.is_some();
                    has_default |= default.is_some();
                    out.push_str(value.or(default.as_deref()).unwrap_or_default());
                }
            }
        }
        match (has_value, has_default, has_fields) {
            (true, _, _) => Made::Field,
            (false, true, _) | (false, false, false) => Made::Default,
            (false, false, true) => Made::Nothing,
        }
    }
}
