//! From fields found to values that Loki takes.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;

use regex::{CaptureLocations, Regex};

use super::fields::{Found, Picked};
use super::flags::Flags;
use super::plan::{Choice, Output, Plan};
use super::steps::Scratch;
use crate::model::{Flag, LABEL_VALUE_BYTES_MAX, METADATA_BYTES_MAX, METADATA_PAIRS_MAX, Pair};

/// The metadata name of a cut line's full length in bytes.
pub const TRUNCATED_FROM: &str = "truncated_from";

/// Room that is kept for [`TRUNCATED_FROM`] and the original timestamp, the latter a second time
/// because batch may add it as well.
const RESERVED_PAIRS: usize = 3;
const RESERVED_BYTES: usize = 256;

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

    /// Where the value is in `text`.
    pub(super) fn find(&mut self, text: &str) -> Option<Range<usize>> {
        if self.group == 0 {
            return Some(self.regex.find(text)?.range());
        }
        let group = self.group;
        let (start, end) = self.captures(text)?.get(group)?;
        Some(start..end)
    }

    pub(super) fn captures(&mut self, text: &str) -> Option<&CaptureLocations> {
        self.regex.captures_read(&mut self.locations, text)?;
        Some(&self.locations)
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    pub(super) fn replace_all<'a>(&self, text: &'a str, with: &str) -> Cow<'a, str> {
        self.regex.replace_all(text, with)
    }
}

/// A value of the line.
#[derive(Debug, Clone, Copy)]
struct Value<'a> {
    text: &'a str,
    /// It has surely no byte that is not ASCII.
    ascii: bool,
}

impl Value<'_> {
    const NONE: Self = Self { text: "", ascii: true };
}

/// Where values come from.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    pub(super) text: &'a str,
    pub(super) picked: &'a Picked,
    pub(super) plan: &'a Plan,
}

impl<'a> Fields<'a> {
    /// The value of `output`: of its choices, and of their fields, the first that gives one. Empty
    /// is none. An object or array counts only where `nested` says so, as its raw JSON text.
    #[inline(always)]
    fn value(&self, output: &Output, nested: bool, matchers: &mut [Matcher]) -> Option<Value<'a>> {
        match output.plain {
            Some(slot) => self.field(slot, nested).filter(|value| !value.text.is_empty()),
            None => self.first_value(output, nested, matchers),
        }
    }

    #[inline(always)]
    fn field(&self, slot: usize, nested: bool) -> Option<Value<'a>> {
        let found = self.picked.found[slot].filter(|found| nested || !found.nested)?;
        Some(Value { text: self.picked.get(found, self.text), ascii: found.ascii })
    }

    #[inline(never)]
    fn first_value(
        &self,
        output: &Output,
        nested: bool,
        matchers: &mut [Matcher],
    ) -> Option<Value<'a>> {
        output.choices.iter().find_map(|choice| {
            let value = choice
                .slots
                .iter()
                .find_map(|&slot| self.refine(choice, self.field(slot, nested)?, matchers));
            value.or_else(|| Some(self.word(choice.default.as_ref()?)))
        })
    }

    #[inline]
    fn refine(
        &self,
        choice: &Choice,
        value: Value<'a>,
        matchers: &mut [Matcher],
    ) -> Option<Value<'a>> {
        if value.text.is_empty() {
            return None;
        }
        let mut value = value;
        if let Some(pattern) = choice.pattern {
            value.text = &value.text[matchers[pattern].find(value.text)?];
        }
        if !choice.map.is_empty()
            && let Some(word) = choice.map.get(value.text)
        {
            value = self.word(word);
        }
        Some(value).filter(|value| !value.text.is_empty())
    }

    fn word(&self, word: &Range<usize>) -> Value<'a> {
        Value { text: &self.plan.words[word.clone()], ascii: false }
    }
}

/// What an entry is made of.
#[derive(Debug, Default)]
pub(super) struct Values<'a> {
    /// By position in `Plan::label_names`; empty is absent.
    pub(super) labels: Vec<&'a str>,
    pub(super) metadata: Vec<Pair<'a>>,
    pub(super) metadata_bytes: usize,
}

/// Texts that are not in the line. They are put in place when all of them are written.
#[derive(Debug, Default)]
pub(super) struct Written {
    text: String,
    /// Where each goes, and where its text ends.
    places: Vec<(Slot, usize)>,
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    Label(usize),
    Metadata(usize),
}

impl Written {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.places.clear();
    }

    fn write(&mut self, slot: Slot, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("BUG: a String takes all that is written to it");
        self.places.push((slot, self.text.len()));
    }
}

impl<'a> Values<'a> {
    /// Takes all outputs of the plan from `fields`. `demoted` are the labels that are metadata.
    pub(super) fn collect(
        &mut self,
        fields: &Fields<'a>,
        demoted: &[bool],
        matchers: &mut [Matcher],
        written: &mut Written,
        flags: &mut Flags,
    ) {
        let (labels, metadata) = fields.plan.outputs.split_at(demoted.len());
        for (output, &demoted) in labels.iter().zip(demoted) {
            let value = fields.value(output, false, matchers).unwrap_or(Value::NONE);
            if demoted {
                self.labels.push("");
                self.add_metadata(&output.name, value, written, flags);
            } else {
                self.labels.push(value.text);
                if !value.ascii || LABEL_VALUE_BYTES_MAX < value.text.len() {
                    self.clean_last_label(written, flags);
                }
            }
        }
        for output in metadata {
            if let Some(value) = fields.value(output, true, matchers) {
                self.add_metadata(&output.name, value, written, flags);
            }
        }
    }

    /// The same, from what steps have made of the fields.
    pub(super) fn collect_made(
        &mut self,
        fields: &Fields<'a>,
        made: &Scratch,
        demoted: &[bool],
        written: &mut Written,
        flags: &mut Flags,
    ) {
        let value = |found: Found| Value {
            text: fields.picked.get(found, fields.text),
            ascii: found.ascii,
        };
        for (idx, output) in fields.plan.outputs.iter().enumerate() {
            // A label of the source is what its rule falls back on.
            let value = made.outputs[idx].map(value).or_else(|| {
                output.choices.iter().find_map(|choice| Some(fields.word(choice.default.as_ref()?)))
            });
            let value = value.unwrap_or(Value::NONE);
            match demoted.get(idx) {
                Some(false) => {
                    self.labels.push(value.text);
                    if !value.ascii || LABEL_VALUE_BYTES_MAX < value.text.len() {
                        self.clean_last_label(written, flags);
                    }
                }
                Some(true) => {
                    self.labels.push("");
                    self.add_metadata(&output.name, value, written, flags);
                }
                None => self.add_metadata(&output.name, value, written, flags),
            }
        }
        for &(name, found) in &made.pairs {
            let name = fields.picked.get(name, fields.text);
            self.add_metadata(name, value(found), written, flags);
        }
    }

    #[cold]
    fn clean_last_label(&mut self, written: &mut Written, flags: &mut Flags) {
        let Some((value, before)) = self.labels.split_last() else { return };
        if let Cow::Owned(cleaned) = clean_label(value) {
            flags.set(Flag::LabelCleaned);
            written.write(Slot::Label(before.len()), format_args!("{cleaned}"));
        }
    }

    /// Adds a pair, if `value` is one and there is room.
    #[inline(always)]
    fn add_metadata(
        &mut self,
        name: &'a str,
        value: Value<'a>,
        written: &mut Written,
        flags: &mut Flags,
    ) {
        if value.text.is_empty() {
            return;
        }
        let bytes = self.metadata_bytes + name.len() + value.text.len();
        if METADATA_PAIRS_MAX - RESERVED_PAIRS == self.metadata.len()
            || METADATA_BYTES_MAX - RESERVED_BYTES < bytes
        {
            flags.set(Flag::MetadataCut);
            return;
        }
        self.metadata_bytes = bytes;
        self.metadata.push(Pair { name, value: value.text });
        if !value.ascii {
            self.clean_last_pair(written);
        }
    }

    #[cold]
    fn clean_last_pair(&mut self, written: &mut Written) {
        let Some((pair, before)) = self.metadata.split_last() else { return };
        if let Cow::Owned(cleaned) = clean(pair.value) {
            written.write(Slot::Metadata(before.len()), format_args!("{cleaned}"));
        }
    }

    /// Adds what the line itself does not say.
    pub(super) fn add_note(
        &mut self,
        name: &'a str,
        note: std::fmt::Arguments<'_>,
        written: &mut Written,
    ) {
        written.write(Slot::Metadata(self.metadata.len()), note);
        self.metadata.push(Pair { name, value: "" });
    }

    /// Puts the texts in place that were `written` meanwhile.
    #[inline]
    pub(super) fn take(&mut self, written: &'a Written) {
        let mut start = 0;
        for &(slot, end) in &written.places {
            let text = &written.text[start..end];
            match slot {
                Slot::Label(idx) => self.labels[idx] = text,
                Slot::Metadata(idx) => self.metadata[idx].value = text,
            }
            start = end;
        }
    }
}

/// `value` as a label: without U+FFFD, which Loki's grammar refuses, and cut to
/// [`LABEL_VALUE_BYTES_MAX`] at a character. Borrowed when nothing was to do.
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
fn clean(value: &str) -> Cow<'_, str> {
    match value.is_ascii() || !value.contains('\u{FFFD}') {
        true => Cow::Borrowed(value),
        false => Cow::Owned(value.replace('\u{FFFD}', " ")),
    }
}
