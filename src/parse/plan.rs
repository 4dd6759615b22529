//! Compiles a source's options into what is done for each of its lines.

use std::ops::Range;
use std::time::Duration;

use hashbrown::HashMap;
use jiff::tz::TimeZone;
use regex::Regex;

use super::fields::Wanted;
use super::options::{Content, Field, Format, Missing, Options, Path, Rule, TimeFormat};
use super::redact::Redactor;
use super::rule::Multiline;
use super::steps::{Outputs, Pace, Step, is_plain};
use super::timestamp::{Reading, Times};
use super::values::clean_label;
use super::warning::Warning;
use super::written::Written;
use crate::model::{LABEL_NAMES_MAX, LineMetric, Now};

/// What is done with every line of a source. Compiled once, shared by its [`Parser`]s.
///
/// [`Parser`]: super::Parser
#[derive(Debug)]
pub struct Plan {
    pub(super) format: Format,
    pub(super) line_bytes: usize,
    pub(super) age: Duration,
    pub(super) guard_values: u32,
    pub(super) guard_per: Duration,
    base_labels: Vec<(String, String)>,
    label_names: Vec<String>,
    warnings: Vec<Warning>,

    pub(super) wanted: Wanted,
    pub(super) times: Vec<Time>,
    /// The labels, in the order of `label_names`, then the metadata.
    pub(super) outputs: Vec<Output>,
    pub(super) patterns: Vec<Pattern>,
    /// Targets of `map`, and defaults.
    pub(super) words: String,
    /// What is wanted of where a line comes from: name, and slot.
    pub(super) origin: Vec<(String, usize)>,
    /// The slot of the whole line, if that is wanted as an object.
    pub(super) whole: Option<usize>,
    /// Either of these is wanted.
    pub(super) wants_more: bool,
    /// The pattern of `Content::Regex`, and which of its groups go to which slots.
    pub(super) groups: Option<(usize, Vec<(usize, usize)>)>,
    /// Empty, where rules only name labels, metadata and the time.
    pub(super) steps: Vec<Step>,
    pub(super) places: Outputs,
    pub(super) limits: Vec<Pace>,
    pub(super) redactors: Vec<Redactor>,
    pub(super) strip_ansi: bool,
    pub(super) missing: Option<Missing>,
    pub(super) move_old: bool,
    pub(super) drop_future: bool,
    pub(super) multiline: Option<Multiline>,
    tenants: Vec<String>,
    pub(super) metrics: Vec<LineMetric>,
}

/// A place where the line's time may be.
#[derive(Debug)]
pub(super) struct Time {
    pub(super) slot: usize,
    pub(super) formats: Vec<TimeFormat>,
    /// How it is written, if that is unusual.
    pub(super) written: Option<Written>,
}

impl Time {
    /// What `text` says.
    #[inline]
    pub(super) fn read(&self, times: &mut Times, text: &str, now: Now) -> Option<Reading> {
        match &self.written {
            None => times.read(text, &self.formats),
            Some(written) => written.read(times, text, &self.formats, now),
        }
    }
}

/// A label or metadata pair.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) name: String,
    /// The fields of this name, in the order of the rules: the first that has a value gives it.
    pub(super) choices: Vec<Choice>,
    /// The slot whose value this is, when that is all there is to say, as it mostly is.
    pub(super) plain: Option<usize>,
}

impl Output {
    /// An output to which steps give a value.
    pub(super) fn without_choices(name: String) -> Self {
        Self { name, choices: Vec::new(), plain: None }
    }

    fn new(name: String, choice: Choice) -> Self {
        Self { name, plain: choice.plain(), choices: vec![choice] }
    }

    fn add(&mut self, choice: Choice) {
        self.choices.push(choice);
        self.plain = None;
    }
}

/// One way to a value.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) slots: Vec<usize>,
    /// Index into [`Plan::patterns`].
    pub(super) pattern: Option<usize>,
    /// The places are in [`Plan::words`].
    pub(super) map: HashMap<Box<str>, Range<usize>>,
    pub(super) default: Option<Range<usize>>,
}

impl Choice {
    fn plain(&self) -> Option<usize> {
        let is_plain = self.pattern.is_none() && self.map.is_empty() && self.default.is_none();
        match *self.slots {
            [slot] if is_plain => Some(slot),
            _ => None,
        }
    }
}

/// A regular expression and the group that is the value; 0 is the whole match.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) regex: Regex,
    pub(super) group: usize,
}

impl Plan {
    /// Compiles `options`. Nothing in them is refused: what Loki would not take is changed, and
    /// told by [`Plan::warnings`].
    #[must_use]
    pub fn compile(options: &Options) -> Self {
        let mut compiler = Compiler::new(&options.format);
        compiler.zone.clone_from(&options.times.zone);
        let steps = match options.rules.iter().all(is_plain) {
            true => {
                compiler.rules(options);
                Vec::new()
            }
            false => compiler.steps(&options.rules),
        };
        let groups = match &options.format.content {
            Content::Regex(regex) => Some((compiler.pattern(regex, 0), compiler.groups(regex))),
            Content::Auto | Content::Json | Content::Logfmt | Content::Text => None,
        };
        compiler.base_labels(&options.labels);
        compiler.limit_labels();
        compiler.drop_shadowed();
        compiler.resolve();
        let label_names = compiler.labels.iter().map(|output| output.name.clone()).collect();
        let mut outputs = compiler.labels;
        outputs.append(&mut compiler.metadata);
        Self {
            format: options.format.clone(),
            line_bytes: usize::try_from(options.line_bytes).unwrap_or(usize::MAX),
            age: options.age,
            guard_values: options.guard_values,
            guard_per: options.guard_per,
            base_labels: compiler.base,
            label_names,
            warnings: compiler.warnings,
            wanted: compiler.wanted,
            times: compiler.times,
            outputs,
            patterns: compiler.patterns,
            words: compiler.words,
            wants_more: !compiler.origin.is_empty() || compiler.whole.is_some(),
            origin: compiler.origin,
            whole: compiler.whole,
            groups,
            steps,
            places: compiler.places,
            limits: compiler.limits,
            redactors: compiler.redactors,
            strip_ansi: options.strip_ansi,
            missing: options.times.missing,
            move_old: options.times.move_old,
            drop_future: options.times.drop_future,
            multiline: options.multiline.clone(),
            tenants: compiler.tenants,
            metrics: compiler.metrics,
        }
    }

    /// Whether a label or metadata pair of this name is one of the rules.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.outputs.iter().any(|output| output.name == name)
            || self.base_labels.iter().any(|(label, _)| label == name)
    }

    /// The labels that every stream of the source has, sorted by name, clean for Loki. None of
    /// them is in [`Plan::label_names`]: a base label that a rule sets too is that rule's default.
    /// Maybe empty.
    #[must_use]
    pub fn base_labels(&self) -> &[(String, String)] {
        &self.base_labels
    }

    /// The names of [`Entry::labels`](crate::model::Entry::labels), each once.
    #[must_use]
    pub fn label_names(&self) -> &[String] {
        &self.label_names
    }

    /// Whether rules ask where lines come from.
    #[must_use]
    pub fn wants_origin(&self) -> bool {
        !self.origin.is_empty()
    }

    /// Whether rules ask for a name of where lines come from that begins so.
    #[must_use]
    pub fn asks_for(&self, prefix: &str) -> bool {
        self.origin.iter().any(|(name, _)| name.starts_with(prefix))
    }

    /// The metrics that rules make.
    #[must_use]
    pub fn metrics(&self) -> &[LineMetric] {
        &self.metrics
    }

    /// The tenants that rules name.
    #[must_use]
    pub fn tenants(&self) -> &[String] {
        &self.tenants
    }

    /// How long lines wait for those that follow in the same entry, if they do.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.multiline.as_ref().map(|multiline| multiline.wait)
    }

    /// What the author of the rules should know.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

#[derive(Debug)]
pub(super) struct Compiler {
    /// There is no nesting: the name of a field is its whole path.
    flat: bool,
    wanted: Wanted,
    pub(super) times: Vec<Time>,
    base: Vec<(String, String)>,
    pub(super) labels: Vec<Output>,
    pub(super) metadata: Vec<Output>,
    patterns: Vec<Pattern>,
    words: String,
    warnings: Vec<Warning>,
    origin: Vec<(String, usize)>,
    whole: Option<usize>,
    pub(super) places: Outputs,
    pub(super) limits: Vec<Pace>,
    zone: Option<TimeZone>,
    pub(super) redactors: Vec<Redactor>,
    pub(super) tenants: Vec<String>,
    pub(super) metrics: Vec<LineMetric>,
}

impl Compiler {
    fn new(format: &Format) -> Self {
        Self {
            flat: matches!(format.content, Content::Logfmt | Content::Regex(_)),
            wanted: Wanted::new(),
            times: Vec::new(),
            base: Vec::new(),
            labels: Vec::new(),
            metadata: Vec::new(),
            patterns: Vec::new(),
            words: String::new(),
            warnings: Vec::new(),
            origin: Vec::new(),
            whole: None,
            places: Outputs::default(),
            limits: Vec::new(),
            redactors: Vec::new(),
            zone: None,
            tenants: Vec::new(),
            metrics: Vec::new(),
        }
    }

    /// Rules that only name labels, metadata and the time.
    fn rules(&mut self, options: &Options) {
        for rule in &options.rules {
            if let Rule::Label(fields) = rule {
                for field in fields {
                    let choice = self.choice(field);
                    add_choice(&mut self.labels, &field.name, choice);
                }
            } else if let Rule::Metadata(fields) = rule {
                for field in fields {
                    let choice = self.choice(field);
                    add_choice(&mut self.metadata, &field.name, choice);
                }
            } else if let Rule::Timestamp { from, formats } = rule {
                self.times(from, formats);
            }
        }
    }

    /// Where the time may be: the new part of `times`.
    pub(super) fn times(&mut self, from: &[Path], formats: &[TimeFormat]) -> Range<usize> {
        let start = self.times.len();
        for path in from {
            let slot = self.slot(path);
            let written = Written::of(formats, self.zone.as_ref());
            self.times.push(Time { slot, formats: formats.to_vec(), written });
        }
        start..self.times.len()
    }

    pub(super) fn choice(&mut self, field: &Field) -> Choice {
        let slots = field.from.iter().map(|path| self.slot(path)).collect();
        let pattern = field.regex.as_ref();
        let pattern = pattern.map(|regex| self.pattern(regex, group_of(regex, &field.name)));
        let map =
            field.map.iter().map(|(from, to)| (from.as_str().into(), self.word(to))).collect();
        let default = field.default.as_ref().filter(|default| !default.is_empty());
        let default = default.map(|default| self.word(default));
        Choice { slots, pattern, map, default }
    }

    /// The number of a pattern and the `group` of it that is a value.
    pub(super) fn pattern(&mut self, regex: &Regex, group: usize) -> usize {
        self.patterns.push(Pattern { regex: regex.clone(), group });
        self.patterns.len() - 1
    }

    /// The named groups of a pattern, and the slots of the fields that they make.
    pub(super) fn groups(&mut self, regex: &Regex) -> Vec<(usize, usize)> {
        let names = regex.capture_names().enumerate();
        let names = names.filter_map(|(group, name)| Some((group, name?.to_owned())));
        names.map(|(group, name)| (group, self.slot(&Path(vec![name])))).collect()
    }

    /// The slot of the whole line.
    pub(super) fn whole(&mut self) -> usize {
        *self.whole.get_or_insert_with(|| self.wanted.more())
    }

    /// Of all names it is known now what they are.
    fn resolve(&mut self) {
        let Self { labels, metadata, places, .. } = self;
        places.resolve(|name, is_label| {
            let all = labels.iter().chain(&*metadata);
            let place = all.clone().position(|output| output.name == name)?;
            (is_label || labels.len() <= place).then_some(place)
        });
    }

    pub(super) fn slot(&mut self, path: &Path) -> usize {
        if let Some(name) = path.origin() {
            if let Some((_, slot)) = self.origin.iter().find(|(other, _)| other == name) {
                return *slot;
            }
            let slot = self.wanted.more();
            self.origin.push((name.to_owned(), slot));
            return slot;
        }
        let path = &unquoted(path);
        if self.flat {
            return self.wanted.slot(&Path(vec![path.0.join(".")]));
        }
        self.wanted.slot(path)
    }

    fn word(&mut self, word: &str) -> Range<usize> {
        let start = self.words.len();
        self.words.push_str(word);
        start..self.words.len()
    }

    /// A base label that a rule sets too becomes the last choice of that rule; the others are kept.
    fn base_labels(&mut self, labels: &[(String, String)]) {
        for (name, value) in labels {
            if self.labels.iter().any(|output| output.name == *name) {
                let choice = self.constant(value);
                add_choice(&mut self.labels, name, choice);
            } else {
                self.base.retain(|(other, _)| other != name);
                self.base.push((name.clone(), clean_label(value).into_owned()));
            }
        }
    }

    fn constant(&mut self, value: &str) -> Choice {
        let default = Some(self.word(value));
        Choice { slots: Vec::new(), pattern: None, map: HashMap::new(), default }
    }

    /// Makes metadata of what is over [`LABEL_NAMES_MAX`], the last first, those of rules before
    /// those of the base.
    fn limit_labels(&mut self) {
        let mut moved = Vec::new();
        while LABEL_NAMES_MAX < self.counted() {
            let last = self.labels.iter().rposition(|output| output.name != SERVICE_NAME);
            let output = if let Some(idx) = last {
                self.labels.remove(idx)
            } else {
                let idx = self.base.iter().rposition(|(name, _)| name != SERVICE_NAME);
                let (name, value) = self.base.remove(idx.expect("BUG: some label was counted"));
                Output::new(name, self.constant(&value))
            };
            moved.push(output);
        }
        for output in moved {
            let name = output.name.clone();
            self.metadata.retain(|other| other.name != name);
            self.metadata.insert(0, output);
            self.warnings.push(Warning::LabelBecomesMetadata { name });
        }
        self.base.sort();
    }

    /// How many labels Loki counts.
    fn counted(&self) -> usize {
        let base = self.base.iter().map(|(name, _)| name);
        let rules = self.labels.iter().map(|output| &output.name);
        base.chain(rules).filter(|name| *name != SERVICE_NAME).count()
    }

    fn drop_shadowed(&mut self) {
        let Self { base, labels, metadata, warnings, .. } = self;
        metadata.retain(|output| {
            let name = &output.name;
            let is_label = labels.iter().any(|label| label.name == *name)
                || base.iter().any(|(label, _)| label == name);
            if is_label {
                warnings.push(Warning::MetadataIsLabel { name: name.clone() });
            }
            !is_label
        });
    }
}

/// `$$name` is the field `$name`.
fn unquoted(path: &Path) -> Path {
    let mut path = path.clone();
    if let [name] = &mut *path.0
        && name.starts_with("$$")
    {
        name.remove(0);
    }
    path
}

/// Loki adds this label itself and does not count it.
const SERVICE_NAME: &str = "service_name";

fn add_choice(outputs: &mut Vec<Output>, name: &str, choice: Choice) {
    match outputs.iter_mut().find(|output| output.name == name) {
        Some(output) => output.add(choice),
        None => outputs.push(Output::new(name.to_owned(), choice)),
    }
}

/// The group named like the field, else the first named, else the first, else the whole match.
fn group_of(regex: &Regex, name: &str) -> usize {
    let names = || regex.capture_names().enumerate();
    let same = names().find(|(_, group)| *group == Some(name));
    let named = || names().find(|(_, group)| group.is_some());
    same.or_else(named).map_or_else(|| usize::from(regex.captures_len() > 1), |(idx, _)| idx)
}
