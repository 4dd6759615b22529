//! What lines would become, without an agent: for `skald try`, `test` and `suggest`.

use std::sync::Arc;

use super::sources::base;
use crate::batch::Base;
use crate::model::{
    Counts, Entry, FileOffset, Flag, Now, OUTPUTS, Origin, Reason, Stamp, TenantId, UnixNanos,
};
use crate::parse::{Field, Join, Line, Options, Parser, Path, Piece, Plan, Rule, Verdict};
use crate::wire;

/// What became of a line, or of lines that are one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It would be sent.
    Sent(Sent),
    /// It would not, for this reason.
    Dropped(Reason),
    /// It would have to wait for a `limit`.
    Waits,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The time Loki would store.
    pub time: UnixNanos,
    /// Its stream, as Loki writes it.
    pub stream: String,
    /// The labels of its stream, by name.
    pub labels: Vec<(String, String)>,
    /// Its structured metadata.
    pub metadata: Vec<(String, String)>,
    /// The line.
    pub line: String,
    /// Whose it is, where a rule says so.
    pub tenant: Option<String>,
}

/// Reads lines with the rules of a source, as a file's worker does.
#[derive(Debug)]
pub struct Rehearsal {
    plan: Arc<Plan>,
    base: Base,
    parser: Parser,
    stamp: Stamp,
    join: Join,
    at: u64,
}

impl Rehearsal {
    /// `is_file`: lines without a time take that of the line before.
    #[must_use]
    pub fn new(options: &Options, origin: &Origin, is_file: bool) -> Self {
        let plan = Arc::new(Plan::compile(options));
        let base = base(&plan, TenantId::default());
        let mut parser = Parser::new(Arc::clone(&plan), is_file);
        parser.set_origin(origin);
        Self { plan, base, parser, stamp: Stamp::default(), join: Join::default(), at: 0 }
    }

    /// What the next line, without its newline, becomes, and those before it that it ends.
    pub fn line(&mut self, bytes: &[u8], now: Now) -> Vec<(Outcome, Vec<Flag>)> {
        let input = Counts { lines: 1, bytes: bytes.len() as u64 + 1 };
        let line = Line { bytes, truncated_from: None };
        let piece = Piece { line, input, at: FileOffset(self.at) };
        self.at += input.bytes;
        let mut outcomes = vec![];
        loop {
            let Self { plan, base, parser, stamp, join, .. } = self;
            let outcome =
                parser.piece(piece, join, stamp, now, |verdict| outcome(verdict, plan, base));
            if let Some(outcome) = outcome {
                outcomes.push(self.taken(outcome));
                return outcomes;
            }
            let Some(out) = self.join.ended() else { return outcomes };
            outcomes.extend(self.give_up(out, now));
        }
    }

    /// No line follows: what becomes of those that wait for one.
    pub fn end(&mut self, now: Now) -> Vec<(Outcome, Vec<Flag>)> {
        (0..OUTPUTS).filter_map(|out| self.give_up(out, now)).collect()
    }

    fn give_up(&mut self, out: usize, now: Now) -> Option<(Outcome, Vec<Flag>)> {
        let Self { plan, base, parser, stamp, join, .. } = self;
        let outcome =
            parser.unfinished(out, join, stamp, now, |verdict| outcome(verdict, plan, base))?;
        Some(self.taken(outcome))
    }

    fn taken(&mut self, outcome: Outcome) -> (Outcome, Vec<Flag>) {
        self.parser.taken();
        self.join.end();
        (outcome, self.parser.flags().iter().collect())
    }
}

fn outcome(verdict: Verdict<'_>, plan: &Plan, base: &Base) -> Outcome {
    match verdict {
        Verdict::Emit(entry) => Outcome::Sent(sent(&entry, plan, base)),
        Verdict::Drop(reason) => Outcome::Dropped(reason),
        Verdict::NotBefore(_) => Outcome::Waits,
    }
}

fn sent(entry: &Entry<'_>, plan: &Plan, base: &Base) -> Sent {
    let pairs = entry.metadata.iter();
    let stream = base.label_string(entry.labels);
    Sent {
        time: entry.time,
        labels: wire::label_pairs(&stream),
        stream,
        metadata: pairs.map(|pair| (pair.name.to_owned(), pair.value.to_owned())).collect(),
        line: entry.line.to_owned(),
        tenant: entry.tenant.checked_sub(1).map(|idx| plan.tenants()[idx].clone()),
    }
}

/// What one rule did with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Its place in the list of rules: `3`, or `3 then 1`.
    pub place: String,
    /// Its verb.
    pub verb: &'static str,
    /// What it set, as `label level=warn` or `field took=12`; what it did with the line. Empty when
    /// it did nothing.
    pub did: Vec<String>,
}

/// Reads lines as [`Rehearsal`] does, and says what each rule did: with all rules up to it, and with
/// one less.
#[derive(Debug)]
pub struct Explained {
    places: Vec<(String, &'static str)>,
    /// With no rule, with the first, with the first two, and so on.
    steps: Vec<Rehearsal>,
}

/// What begins the names of metadata that stand for fields.
const FIELD: char = '\u{1}';

impl Explained {
    /// As [`Rehearsal::new`].
    #[must_use]
    pub fn new(options: &Options, origin: &Origin, is_file: bool) -> Self {
        let mut prefixes = vec![(String::new(), "", vec![])];
        add_prefixes(&options.rules, "", &|rules| rules, &mut prefixes);
        let watched = Rule::Metadata(made_fields(&options.rules));
        let rehearse = |rules: &[Rule]| {
            let mut rules = rules.to_vec();
            rules.push(watched.clone());
            Rehearsal::new(&Options { rules, ..options.clone() }, origin, is_file)
        };
        let steps = prefixes.iter().map(|(_, _, rules)| rehearse(rules)).collect();
        let places = prefixes.into_iter().skip(1).map(|(place, verb, _)| (place, verb)).collect();
        Self { places, steps }
    }

    /// What each rule did with the entries that `line` ends; `None` is the end of all lines.
    pub fn line(&mut self, line: Option<&[u8]>, now: Now) -> Vec<Vec<Effect>> {
        let read = |step: &mut Rehearsal| match line {
            Some(bytes) => step.line(bytes, now),
            None => step.end(now),
        };
        let all: Vec<_> = self.steps.iter_mut().map(read).collect();
        let entries = all.iter().map(Vec::len).min().unwrap_or_default();
        let effects = |entry: usize| {
            let pairs = all.iter().zip(&all[1..]).zip(&self.places);
            pairs
                .map(|((before, after), (place, verb))| Effect {
                    place: place.clone(),
                    verb,
                    did: difference(&before[entry].0, &after[entry].0),
                })
                .collect()
        };
        (0..entries).map(effects).collect()
    }
}

type Prefix = (String, &'static str, Vec<Rule>);

/// The rules up to each rule, and up to each rule inside of one. `around` puts a list of rules into
/// the rules that stand around it.
fn add_prefixes(
    rules: &[Rule],
    inside: &str,
    around: &dyn Fn(Vec<Rule>) -> Vec<Rule>,
    prefixes: &mut Vec<Prefix>,
) {
    for (idx, rule) in rules.iter().enumerate() {
        let place = format!("{inside}{}", idx + 1);
        if let Rule::When { test, then, otherwise } = rule {
            let branch = |then: Vec<Rule>, otherwise: Vec<Rule>| {
                let when = Rule::When { test: test.clone(), then, otherwise };
                around([&rules[..idx], &[when]].concat())
            };
            let inside = format!("{place} then ");
            add_prefixes(then, &inside, &|then| branch(then, vec![]), prefixes);
            let inside = format!("{place} else ");
            add_prefixes(otherwise, &inside, &|other| branch(then.clone(), other), prefixes);
        } else {
            prefixes.push((place, verb(rule), around(rules[..=idx].to_vec())));
        }
    }
}

/// The fields that rules make or change, to be seen as metadata.
fn made_fields(rules: &[Rule]) -> Vec<Field> {
    let mut paths: Vec<Path> = vec![];
    add_made(rules, &mut paths);
    let mut fields: Vec<Field> = vec![];
    for path in paths {
        let name = format!("{FIELD}{}", path.dotted());
        if fields.iter().all(|field| field.name != name) {
            let (regex, map, default) = (None, vec![], None);
            fields.push(Field { name, from: vec![path], regex, map, default });
        }
    }
    fields
}

fn add_made(rules: &[Rule], paths: &mut Vec<Path>) {
    for rule in rules {
        match rule {
            Rule::Set(fields) => paths.extend(fields.iter().map(|(path, _)| path.clone())),
            Rule::Map(fields) => paths.extend(fields.iter().map(|(path, _)| path.clone())),
            Rule::Lowercase(fields) => paths.extend(fields.iter().cloned()),
            Rule::Level { .. } => paths.push(Path(vec!["level".to_owned()])),
            Rule::Regex(patterns) => {
                let names = patterns.iter().flat_map(|(_, regex)| regex.capture_names().flatten());
                paths.extend(names.map(|name| Path(vec![name.to_owned()])));
            }
            Rule::Replace(all) => {
                let fields = all.iter().map(|replace| &replace.field);
                paths.extend(fields.filter(|path| path.origin().is_none()).cloned());
            }
            Rule::When { then, otherwise, .. } => {
                add_made(then, paths);
                add_made(otherwise, paths);
            }
            Rule::Label(_)
            | Rule::Metadata(_)
            | Rule::Members(_)
            | Rule::Timestamp { .. }
            | Rule::Redact(_)
            | Rule::Line(_)
            | Rule::Drop(_)
            | Rule::Keep(_)
            | Rule::Sample(_)
            | Rule::Limit(_)
            | Rule::Tenant(_)
            | Rule::Metrics(_) => {}
        }
    }
}

fn verb(rule: &Rule) -> &'static str {
    match rule {
        Rule::Label(_) => "label",
        Rule::Metadata(_) | Rule::Members(_) => "metadata",
        Rule::Timestamp { .. } => "timestamp",
        Rule::Set(_) => "set",
        Rule::Map(_) => "map",
        Rule::Lowercase(_) => "lowercase",
        Rule::Level { .. } => "level",
        Rule::Redact(_) => "redact",
        Rule::Regex(_) => "regex",
        Rule::Replace(_) => "replace",
        Rule::Line(_) => "line",
        Rule::Drop(_) => "drop",
        Rule::Keep(_) => "keep",
        Rule::Sample(_) => "sample",
        Rule::Limit(_) => "limit",
        Rule::Tenant(_) => "tenant",
        Rule::Metrics(_) => "metrics",
        Rule::When { .. } => "when",
    }
}

fn difference(before: &Outcome, after: &Outcome) -> Vec<String> {
    let (before, after) = match (before, after) {
        (Outcome::Sent(before), Outcome::Sent(after)) => (before, after),
        (Outcome::Sent(_), Outcome::Dropped(reason)) => {
            return vec![format!("dropped: {}", reason.name())];
        }
        (Outcome::Sent(_), Outcome::Waits) => return vec!["waits".to_owned()],
        (Outcome::Dropped(_) | Outcome::Waits, _) => return vec![],
    };
    let mut did = vec![];
    pairs_changed("label", &before.labels, &after.labels, &mut did);
    pairs_changed("metadata", &before.metadata, &after.metadata, &mut did);
    if before.time != after.time {
        did.push(format!("time {}", after.time));
    }
    if before.tenant != after.tenant {
        did.push(format!("tenant {}", after.tenant.as_deref().unwrap_or("of the source")));
    }
    if before.line != after.line {
        did.push(format!("line {}", after.line));
    }
    did
}

fn pairs_changed(
    kind: &str,
    before: &[(String, String)],
    after: &[(String, String)],
    did: &mut Vec<String>,
) {
    for (name, value) in after {
        if !before.iter().any(|(other, old)| other == name && old == value) {
            did.push(match name.strip_prefix(FIELD) {
                Some(field) => format!("field {field}={value}"),
                None => format!("{kind} {name}={value}"),
            });
        }
    }
}
