//! From fields found to values that Loki takes.

use std::borrow::Cow;

use regex::{CaptureLocations, Regex};

use super::fields::{Picked, Place, Span};
use super::plan::{Choice, Output, Plan};
use crate::model::LABEL_VALUE_BYTES_MAX;

/// The buffers that values lie in while a line is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buffers<'a> {
    pub(super) text: &'a str,
    pub(super) picked: &'a Picked,
    pub(super) cleaned: &'a str,
    pub(super) words: &'a str,
}

impl<'a> Buffers<'a> {
    #[inline]
    pub(super) fn get(&self, span: Span) -> &'a str {
        match span.place {
            Place::Text => &self.text[span.range()],
            Place::Unescaped => &self.picked.unescaped[span.range()],
            Place::Cleaned => &self.cleaned[span.range()],
            Place::Words => &self.words[span.range()],
        }
    }
}

/// A pattern of the plan with its scratch. Each parser has its own: threads that share a regular
/// expression wait for its caches.
#[derive(Debug)]
pub(super) struct Matcher {
    regex: Regex,
    group: usize,
    locations: CaptureLocations,
}

impl Matcher {
    pub(super) fn all(plan: &Plan) -> Vec<Self> {
        let patterns = plan.patterns.iter();
        patterns
            .map(|pattern| Self {
                regex: pattern.regex.clone(),
                group: pattern.group,
                locations: pattern.regex.capture_locations(),
            })
            .collect()
    }

    fn find(&mut self, span: Span, text: &str) -> Option<Span> {
        let (start, end) = if self.group == 0 {
            let found = self.regex.find(text)?;
            (found.start(), found.end())
        } else {
            self.regex.captures_read(&mut self.locations, text)?;
            self.locations.get(self.group)?
        };
        Some(Span::new(span.place, span.start + start..span.start + end))
    }
}

/// The value of `output`: of its choices, and of their fields, the first that gives one. Empty is
/// none. An object or array counts only where `nested` says so, as its raw JSON text.
pub(super) fn value(
    output: &Output,
    nested: bool,
    buffers: &Buffers<'_>,
    matchers: &mut [Matcher],
) -> Option<Span> {
    output.choices.iter().find_map(|choice| {
        let mut slots = choice.slots.iter();
        let value = slots.find_map(|&slot| {
            let found = buffers.picked.found[slot].filter(|found| nested || !found.nested)?;
            refine(choice, found.span, buffers, matchers)
        });
        value.or(choice.default)
    })
}

#[inline]
fn refine(
    choice: &Choice,
    span: Span,
    buffers: &Buffers<'_>,
    matchers: &mut [Matcher],
) -> Option<Span> {
    if span.is_empty() {
        return None;
    }
    let span = match choice.pattern {
        Some(pattern) => matchers[pattern].find(span, buffers.get(span))?,
        None => span,
    };
    let mapped = match choice.map.is_empty() {
        true => None,
        false => choice.map.get(buffers.get(span)).copied(),
    };
    mapped.or(Some(span)).filter(|span| !span.is_empty())
}

/// `value` as a label: without U+FFFD, which Loki's grammar refuses, and cut to
/// [`LABEL_VALUE_BYTES_MAX`] at a character. Borrowed when nothing was to do.
#[inline]
pub(super) fn clean_label(value: &str) -> Cow<'_, str> {
    if value.len() <= LABEL_VALUE_BYTES_MAX {
        return clean(value);
    }
    // A space is shorter than the U+FFFD it stands for, so cutting again afterwards is needed,
    // and what is behind three times the limit cannot come in.
    let head = &value[..value.floor_char_boundary(LABEL_VALUE_BYTES_MAX * 3)];
    let mut cleaned = clean(head).into_owned();
    cleaned.truncate(cleaned.floor_char_boundary(LABEL_VALUE_BYTES_MAX));
    Cow::Owned(cleaned)
}

/// `value` with a space for each U+FFFD, as Loki itself does it in metadata.
#[inline]
pub(super) fn clean(value: &str) -> Cow<'_, str> {
    match value.is_ascii() || !value.contains('\u{FFFD}') {
        true => Cow::Borrowed(value),
        false => Cow::Owned(value.replace('\u{FFFD}', " ")),
    }
}
