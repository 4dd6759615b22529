//! The rules of a source: what is done with its lines.

mod conditions;
mod fields;
mod gone;
mod metrics;
mod templates;
mod timestamp;
mod verbs;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use self::fields::Kind;
use self::gone::Gone;
pub(super) use self::metrics::Known;
use super::names::parse_path;
use super::raw::{Key, Node, Value};
use super::report::Problem;
use super::section::Section;
use super::values::{list, short, wrong};
use super::{keys, names};
use crate::parse::{Content, Path, Rule, TimeRules};

type Problems = Vec<Problem>;

/// What rules may name that is not of the line itself, wherever they stand.
const OF_LINES: [&str; 3] = ["line", "length", "age"];

/// What the rules of a source can know of where its lines come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'n> {
    /// The labels that the source's streams have anyway.
    pub(super) labels: &'n [&'n str],
    /// Names that stand behind a `$`.
    pub(super) origin: &'n [String],
    /// How a line's fields are written.
    pub(super) content: &'n Content,
}

/// `metrics` are those of all sources.
pub(super) fn read(
    problems: &mut Problems,
    node: &Node,
    place: Place<'_>,
    metrics: &mut Known,
    times: &mut TimeRules,
) -> Option<Vec<Rule>> {
    let mut named = Named::new(place, metrics);
    let rules = rules(problems, node, &mut named);
    *times = named.times;
    Some(rules)
}

/// What the rules above have named and made.
struct Named<'n> {
    place: Place<'n>,
    /// Each can have one rule in a list.
    labels: HashMap<String, Range<usize>>,
    metadata: HashMap<String, Range<usize>>,
    time: Option<Range<usize>>,
    times: TimeRules,
    /// The only fields that there are; `None` where any line may have others.
    fields: Option<HashSet<String>>,
    metrics: &'n mut Known,
    /// These rules are for some lines only.
    is_inside: bool,
    /// Nothing gets past this rule.
    end: Option<Range<usize>>,
    /// What the rules above have dropped.
    gone: Gone,
}

/// Where a field stands in a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Its value is taken as it is: a field, or where the line comes from.
    Value,
    /// The same, or the line.
    Text,
    /// The same, or a number that belongs to the line.
    Any,
    /// It is made here.
    Made,
}

impl<'n> Named<'n> {
    fn new(place: Place<'n>, metrics: &'n mut Known) -> Self {
        let fields = match place.content {
            Content::Auto | Content::Json | Content::Logfmt => None,
            Content::Text => Some(HashSet::new()),
            Content::Regex(regex) => {
                Some(regex.capture_names().flatten().map(str::to_owned).collect())
            }
        };
        let (labels, metadata) = (HashMap::new(), HashMap::new());
        Self {
            place,
            labels,
            metadata,
            time: None,
            times: TimeRules::default(),
            fields,
            metrics,
            is_inside: false,
            end: None,
            gone: Gone::default(),
        }
    }

    /// The path that `node` names.
    fn path(&mut self, problems: &mut Problems, node: &Node, of: Use) -> Option<Path> {
        let path = names::field_path(problems, node)?;
        self.check(problems, &path, &node.span, of).then_some(path)
    }

    /// The path that the key of a map names.
    fn key(&mut self, problems: &mut Problems, key: &Key, of: Use) -> Option<Path> {
        self.path(problems, &Node::text(&key.name, key.span.clone()), of)
    }

    /// Whether there can be such a field, and notes that it is made.
    fn check(
        &mut self,
        problems: &mut Problems,
        path: &Path,
        span: &Range<usize>,
        of: Use,
    ) -> bool {
        let shown = short(&path.dotted());
        if let Some(name) = path.origin() {
            return self.check_origin(problems, name, &shown, span, of);
        }
        if of != Use::Made {
            problems.extend(self.gone.check_field(path, span));
        }
        let Some(fields) = &mut self.fields else { return true };
        if of == Use::Made {
            fields.insert(path.dotted());
        } else if !fields.contains(&path.dotted()) {
            let problem = Problem::warning(format!("no line has a field `{shown}`"));
            let hint = match fields.is_empty() {
                true => "lines of this format have no fields; a `regex` rule above can make some",
                false => "the format's pattern has no such group, and no rule above makes it",
            };
            problems.push(problem.at(span, "never there").hint(hint));
        }
        true
    }

    fn check_origin(
        &self,
        problems: &mut Problems,
        name: &str,
        shown: &str,
        span: &Range<usize>,
        of: Use,
    ) -> bool {
        let is_line = OF_LINES.contains(&name);
        let kind = name.split_once('.').map_or(name, |(kind, _)| kind);
        let is_one = |other: &String| match other.strip_suffix(".*") {
            Some(of_api) => of_api == kind && kind != name,
            None => other == name,
        };
        let is_known = is_line || self.place.origin.iter().any(is_one);
        let (label, hint) = match of {
            _ if !is_known => {
                let known: Vec<&str> =
                    (self.place.origin.iter().map(String::as_str)).chain(OF_LINES).collect();
                let hint = match keys::nearest(name, &known) {
                    Some(near) => format!("did you mean `${near}`?"),
                    None => format!("there are: ${}", known.join(", $")),
                };
                ("not known of this source", hint)
            }
            Use::Made => ("cannot be changed", "give the field a name of its own".to_owned()),
            Use::Value if is_line => {
                ("not a field", "make one: `set: {name: '{$line}'}`".to_owned())
            }
            Use::Text if is_line && name != "line" => {
                ("a number, not a text", "it can be compared: `{$length: {gt: 16KiB}}`".to_owned())
            }
            Use::Value | Use::Text | Use::Any => return true,
        };
        let problem = Problem::error(format!("`{shown}` cannot stand here"));
        problems.push(problem.at(span, label).hint(hint));
        false
    }

    /// At least one path.
    fn paths(&mut self, problems: &mut Problems, node: &Node, of: Use) -> Option<Vec<Path>> {
        let nodes = list(problems, node);
        if nodes.is_empty() && matches!(node.value, Value::List(_)) {
            let hint = "name at least one field";
            return wrong(problems, node, "an empty list of fields".into(), "empty", hint);
        }
        Some(nodes.iter().filter_map(|node| self.path(problems, node, of)).collect())
    }

    /// Reads rules for some lines only: they may name again what others name.
    fn inside<T>(&mut self, read: impl FnOnce(&mut Named<'_>) -> T) -> T {
        let (labels, metadata) = (HashMap::new(), HashMap::new());
        let mut inside = Named {
            place: self.place,
            labels,
            metadata,
            time: self.time.take(),
            times: std::mem::take(&mut self.times),
            fields: self.fields.take(),
            metrics: self.metrics,
            is_inside: true,
            end: None,
            gone: self.gone.clone(),
        };
        let result = read(&mut inside);
        self.time = inside.time;
        self.times = inside.times;
        self.fields = inside.fields;
        result
    }
}

fn rules(problems: &mut Problems, node: &Node, named: &mut Named<'_>) -> Vec<Rule> {
    list(problems, node).iter().filter_map(|node| rule(problems, node, named)).collect()
}

fn rule(problems: &mut Problems, node: &Node, named: &mut Named<'_>) -> Option<Rule> {
    let section = Section::open(problems, "rules", &node.span, node)?;
    if let Some(end) = named.end.clone() {
        let problem = Problem::warning("a rule that no line reaches");
        problems.push(problem.at(&node.span, "never acts").also(&end, "all lines end here"));
        named.end = None;
    }
    if section.get("when").is_some() {
        return when(problems, &section, named);
    }
    if let [_, (second, _), ..] = section.entries() {
        problems.push(
            Problem::error("two rules in one item")
                .at(&second.span, "a second rule")
                .hint(format!("begin it with a dash of its own: `- {}: …`", short(&second.name))),
        );
        return None;
    }
    let (key, node) = section.entries().first()?;
    let rule = verb(problems, key, node, named)?;
    named.gone.note(&rule, &key.span);
    Some(rule)
}

fn verb(problems: &mut Problems, key: &Key, node: &Node, named: &mut Named<'_>) -> Option<Rule> {
    match &*key.name {
        "label" => Some(Rule::Label(fields::read(problems, node, Kind::Label, named))),
        "metadata" => fields::metadata(problems, node, named),
        "timestamp" => timestamp::read(problems, &key.span, node, named),
        "then" | "else" => {
            let problem = Problem::error(format!("`{}` without `when`", key.name));
            let hint = "write `- when: {level: debug}` and `then: […]` below it";
            problems.push(problem.at(&key.span, "for which lines?").hint(hint));
            None
        }
        verb => verbs::read(problems, verb, key, node, named),
    }
}

/// `when: condition`, `then: rules`, `else: rules`.
fn when(problems: &mut Problems, section: &Section<'_>, named: &mut Named<'_>) -> Option<Rule> {
    for (key, _) in section.entries() {
        let name = &*key.name;
        let is_rule = keys::section("rules").keys.contains(&name);
        if is_rule && !matches!(name, "when" | "then" | "else") {
            let problem = Problem::error(format!("`{name}` beside `when`"));
            let hint = "rules for these lines stand under `then`, others have a dash of their own";
            problems.push(problem.at(&key.span, "a second rule").hint(hint));
        }
    }
    let test = conditions::read(problems, section.get("when")?, named);
    let mut branch = |key| match section.get(key) {
        Some(node) => named.inside(|named| rules(problems, node, named)),
        None => Vec::new(),
    };
    let (then, otherwise) = (branch("then"), branch("else"));
    if section.get("then").is_none() && section.get("else").is_none() {
        let problem = Problem::error("`when` without `then`");
        let hint = "write the rules for these lines below it: `then: [{drop: {}}]`";
        problems.push(problem.at(section.head("when"), "nothing to do").hint(hint));
    }
    let rule = Rule::When { test: test?, then, otherwise };
    named.gone.note(&rule, section.head("when"));
    Some(rule)
}
