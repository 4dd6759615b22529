//! From rules to steps.

use super::condition::{Condition, Test};
use super::observe::Observe;
use super::sample::Share;
use super::template::{Part, Template};
use super::{Members, Pace, Source, Step};
use crate::parse::options::{Field, Path, Rule};
use crate::parse::plan::{Compiler, Output};
use crate::parse::redact::Redactor;
use crate::parse::rule;

/// The field that says the level.
const LEVEL: &str = "level";

/// Where a level usually is.
#[must_use]
pub fn level_fields() -> Vec<Path> {
    let names: [&[&str]; 7] = [
        &[LEVEL],
        &["severity"],
        &["levelname"],
        &["lvl"],
        &["log", "level"],
        &["log.level"],
        &["severity_text"],
    ];
    names.iter().map(|names| Path(names.iter().map(|name| (*name).to_owned()).collect())).collect()
}

/// Whether a rule only names labels, metadata or the time: plans of nothing else have no steps.
pub(in crate::parse) fn is_plain(rule: &Rule) -> bool {
    matches!(rule, Rule::Label(_) | Rule::Metadata(_) | Rule::Timestamp { .. })
}

impl Compiler {
    /// The steps of `rules`.
    pub(in crate::parse) fn steps(&mut self, rules: &[Rule]) -> Vec<Step> {
        let mut steps = Vec::new();
        for rule in rules {
            self.step(rule, &mut steps);
        }
        steps
    }

    fn step(&mut self, rule: &Rule, steps: &mut Vec<Step>) {
        match rule {
            Rule::Label(fields) => {
                steps.extend(fields.iter().map(|field| self.take(field, true)));
            }
            Rule::Metadata(fields) => {
                steps.extend(fields.iter().map(|field| self.take(field, false)));
            }
            Rule::Members(members) => {
                steps.extend(members.iter().map(|members| self.members(members)));
            }
            Rule::Timestamp { from, formats } => steps.push(Step::Time(self.times(from, formats))),
            Rule::Set(fields) => steps.extend(fields.iter().map(|(path, template)| {
                let template = self.template(template);
                Step::Set { slot: self.slot(path), template }
            })),
            Rule::Map(fields) => steps.extend(fields.iter().map(|(path, map)| {
                let map = map.iter().map(|(from, to)| (from.as_str().into(), to.as_str().into()));
                Step::Map { slot: self.slot(path), map: map.collect() }
            })),
            Rule::Lowercase(paths) => {
                steps.extend(paths.iter().map(|path| Step::Lowercase { slot: self.slot(path) }));
            }
            Rule::Level { from, numbers } => {
                let from = from.iter().map(|path| self.source(path)).collect();
                let slot = self.slot(&Path(vec![LEVEL.to_owned()]));
                steps.push(Step::Level { from, numbers: *numbers, slot });
            }
            Rule::Redact(redact) => steps.push(self.redact(redact)),
            Rule::Regex(patterns) => steps.extend(patterns.iter().map(|(path, regex)| {
                let groups = self.groups(regex);
                Step::Regex { from: self.source(path), pattern: self.pattern(regex, 0), groups }
            })),
            Rule::Replace(all) => steps.extend(all.iter().map(|replace| Step::Replace {
                field: self.source(&replace.field),
                pattern: self.pattern(&replace.pattern, 0),
                with: replace.with.clone(),
            })),
            Rule::Line(rule::LineForm::Template(template)) => {
                steps.push(Step::Line(self.template(template)));
            }
            Rule::Line(rule::LineForm::Logfmt) => steps.push(Step::Logfmt { slot: self.whole() }),
            Rule::Drop(test) => steps.push(Step::Drop(self.condition(test))),
            Rule::Keep(test) => {
                steps.push(Step::Drop(Condition::Not(Box::new(self.condition(test)))));
            }
            Rule::Sample(sample) => steps.push(self.sample(sample)),
            Rule::Limit(limit) => steps.push(self.limit(limit)),
            Rule::Metrics(metrics) => {
                steps.extend(metrics.iter().map(|metric| self.observe(metric)));
            }
            Rule::Tenant(tenant) => steps.push(self.tenants(tenant)),
            Rule::When { test, then, otherwise } => {
                let test = self.condition(test);
                let (then, otherwise) = (self.steps(then), self.steps(otherwise));
                steps.push(Step::When { test, then, otherwise });
            }
        }
    }

    fn take(&mut self, field: &Field, is_label: bool) -> Step {
        let choice = self.choice(field);
        let outputs = if is_label { &mut self.labels } else { &mut self.metadata };
        if outputs.iter().all(|output| output.name != field.name) {
            outputs.push(Output::without_choices(field.name.clone()));
        }
        let output = self.places.number(&field.name, is_label);
        Step::Take { output, choice, nested: !is_label }
    }

    fn redact(&mut self, redact: &rule::Redact) -> Step {
        self.redactors.push(Redactor::new(redact));
        let places = redact.places.iter().map(|path| self.source(path)).collect();
        Step::Redact { redactor: self.redactors.len() - 1, places }
    }

    fn limit(&mut self, limit: &rule::Limit) -> Step {
        self.limits.push(Pace::new(limit));
        let by = limit.by.as_ref().map(|path| self.source(path));
        Step::Limit { pace: self.limits.len() - 1, by, wait: limit.wait }
    }

    fn observe(&mut self, metric: &rule::Metric) -> Step {
        self.metrics.push(metric.metric.clone());
        let value = metric.value.as_ref().map(|path| self.source(path));
        let by = metric.by.iter().map(|path| self.source(path)).collect();
        Step::Observe(Observe { metric: self.metrics.len() - 1, value, by })
    }

    fn tenants(&mut self, rule: &rule::Tenant) -> Step {
        let map = rule.map.iter().map(|(from, to)| (from.as_str().into(), self.tenant(to)));
        let map = map.collect();
        let default = rule.default.as_ref().map(|to| self.tenant(to));
        let slot = rule.from.as_ref().map(|path| self.slot(path));
        Step::Tenant { slot, map, default }
    }

    /// The number of a tenant for `Entry::tenant`.
    fn tenant(&mut self, name: &str) -> usize {
        let known = self.tenants.iter().position(|other| other == name);
        1 + known.unwrap_or_else(|| {
            self.tenants.push(name.to_owned());
            self.tenants.len() - 1
        })
    }

    fn members(&mut self, members: &rule::Members) -> Step {
        let named = members.of.iter().map(|name| format!("{name}_")).collect::<String>();
        let slot = match &*members.of {
            [] => self.whole(),
            of => self.slot(&Path(of.to_vec())),
        };
        let (prefix, suffix) = (members.prefix.clone(), members.suffix.clone());
        Step::Members { slot, members: Members { prefix, suffix, named } }
    }

    fn source(&mut self, path: &Path) -> Source {
        match path.origin() {
            Some("line") => Source::Line,
            Some("length") => Source::Length,
            Some("age") => Source::Age,
            _ => Source::Slot(self.slot(path)),
        }
    }

    fn template(&mut self, template: &rule::Template) -> Template {
        let parts = template.0.iter().map(|part| match part {
            rule::Part::Text(text) => Part::Text(text.clone()),
            rule::Part::Field { from, default } => Part::Field {
                from: from.iter().map(|path| self.source(path)).collect(),
                default: default.clone(),
            },
        });
        Template(parts.collect())
    }

    fn condition(&mut self, condition: &rule::Condition) -> Condition {
        match condition {
            rule::Condition::All(all) => {
                Condition::All(all.iter().map(|one| self.condition(one)).collect())
            }
            rule::Condition::Any(any) => {
                Condition::Any(any.iter().map(|one| self.condition(one)).collect())
            }
            rule::Condition::Not(not) => Condition::Not(Box::new(self.condition(not))),
            rule::Condition::Field(path, test) => {
                let source = self.source(path);
                Condition::Field(source, self.test(test))
            }
        }
    }

    fn test(&mut self, test: &rule::Test) -> Test {
        match test {
            rule::Test::Exists(wanted) => Test::Exists(*wanted),
            rule::Test::Is(texts) => {
                Test::Is(texts.iter().map(|text| text.as_str().into()).collect())
            }
            rule::Test::Compares(order, bound) => Test::Compares(*order, *bound),
            rule::Test::Matches(regex) => Test::Matches(self.pattern(regex, 0)),
            rule::Test::AtLeast(level) => Test::AtLeast(*level),
            rule::Test::Contains(part) => Test::Contains(part.as_str().into()),
        }
    }

    /// Lines that say to be errors, or worse.
    fn errors(&mut self) -> Condition {
        let is_error = |path: &Path| {
            let test = Test::AtLeast(rule::Level::Error);
            Condition::Field(self.source(path), test)
        };
        Condition::Any(level_fields().iter().map(is_error).collect())
    }

    fn sample(&mut self, sample: &rule::Sample) -> Step {
        let always = match &sample.always {
            Some(condition) => self.condition(condition),
            None => self.errors(),
        };
        let by = sample.by.as_ref().map(|path| self.source(path));
        Step::Sample(Share::new(sample.rate, by, always))
    }
}
