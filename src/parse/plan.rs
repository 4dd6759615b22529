//! Compiles a source's options into what is done for each of its lines.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use hashbrown::HashMap;
use regex::Regex;

use super::fields::Wanted;
use super::options::{Field, Format, Options, Path, Rule, TimeFormat};
use super::values::clean_label;
use crate::model::LABEL_NAMES_MAX;

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
}

/// Something in a source's rules that works, but maybe not as meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The label is one too many for Loki and becomes structured metadata.
    LabelBecomesMetadata {
        /// The label.
        name: String,
    },
    /// The name is a label already; its metadata rule does nothing.
    MetadataIsLabel {
        /// The name.
        name: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LabelBecomesMetadata { name } => write!(
                f,
                "label `{name}` becomes structured metadata: Loki takes at most \
                 {LABEL_NAMES_MAX} labels a stream"
            ),
            Self::MetadataIsLabel { name } => {
                write!(f, "`{name}` is a label; the metadata rule of that name does nothing")
            }
        }
    }
}

/// A place where the line's time may be.
#[derive(Debug)]
pub(super) struct Time {
    pub(super) slot: usize,
    pub(super) formats: Vec<TimeFormat>,
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
        let mut compiler = Compiler::new(options.format);
        compiler.rules(options);
        compiler.base_labels(&options.labels);
        compiler.limit_labels();
        compiler.drop_shadowed();
        let label_names = compiler.labels.iter().map(|output| output.name.clone()).collect();
        let mut outputs = compiler.labels;
        outputs.append(&mut compiler.metadata);
        Self {
            format: options.format,
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
        }
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

    /// What the author of the rules should know.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

struct Compiler {
    /// Logfmt has no nesting: the name of a field is its whole path.
    flat: bool,
    wanted: Wanted,
    times: Vec<Time>,
    base: Vec<(String, String)>,
    labels: Vec<Output>,
    metadata: Vec<Output>,
    patterns: Vec<Pattern>,
    words: String,
    warnings: Vec<Warning>,
}

impl Compiler {
    fn new(format: Format) -> Self {
        Self {
            flat: format == Format::Logfmt,
            wanted: Wanted::new(),
            times: Vec::new(),
            base: Vec::new(),
            labels: Vec::new(),
            metadata: Vec::new(),
            patterns: Vec::new(),
            words: String::new(),
            warnings: Vec::new(),
        }
    }

    fn rules(&mut self, options: &Options) {
        for rule in &options.rules {
            match rule {
                Rule::Label(fields) => {
                    for field in fields {
                        let choice = self.choice(field);
                        add_choice(&mut self.labels, &field.name, choice);
                    }
                }
                Rule::Metadata(fields) => {
                    for field in fields {
                        let choice = self.choice(field);
                        add_choice(&mut self.metadata, &field.name, choice);
                    }
                }
                Rule::Timestamp { from, formats } => {
                    for path in from {
                        let slot = self.slot(path);
                        self.times.push(Time { slot, formats: formats.clone() });
                    }
                }
            }
        }
    }

    fn choice(&mut self, field: &Field) -> Choice {
        let slots = field.from.iter().map(|path| self.slot(path)).collect();
        let pattern = field.regex.as_ref().map(|regex| {
            let group = group_of(regex, &field.name);
            self.patterns.push(Pattern { regex: regex.clone(), group });
            self.patterns.len() - 1
        });
        let map =
            field.map.iter().map(|(from, to)| (from.as_str().into(), self.word(to))).collect();
        let default = field.default.as_ref().filter(|default| !default.is_empty());
        let default = default.map(|default| self.word(default));
        Choice { slots, pattern, map, default }
    }

    fn slot(&mut self, path: &Path) -> usize {
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
