//! The verbs beyond labels, metadata and time.

use super::super::names::{self, map};
use super::super::patterns::pattern;
use super::super::raw::{Key, Node, Value};
use super::super::report::Problem;
use super::super::section::Section;
use super::super::values::{any_text, choice, count, list, shown, text, wrong};
use super::conditions::{self, real};
use super::fields::replacements;
use super::{Named, Use, metrics, templates};
use crate::parse::{
    Limit, LineForm, Numbers, Part, Path, Private, Redact, Replace, Rule, Sample, Template, Tenant,
    level_fields,
};

type Problems = Vec<Problem>;

pub(super) fn read(
    problems: &mut Problems,
    verb: &str,
    key: &Key,
    node: &Node,
    named: &mut Named<'_>,
) -> Option<Rule> {
    match verb {
        "set" => by_field(problems, node, named, Use::Made, templates::read).map(Rule::Set),
        "map" => {
            let read = |problems: &mut Problems, node: &Node, _: &mut Named<'_>| {
                replacements(problems, node)
            };
            by_field(problems, node, named, Use::Value, read).map(Rule::Map)
        }
        "lowercase" => named.paths(problems, node, Use::Value).map(Rule::Lowercase),
        "regex" => by_field(problems, node, named, Use::Text, groups).map(Rule::Regex),
        "replace" => {
            let all = by_field(problems, node, named, Use::Text, replace)?;
            let with = |(field, (pattern, with))| Replace { field, pattern, with };
            Some(Rule::Replace(all.into_iter().map(with).collect()))
        }
        "level" => level(problems, key, node, named),
        "redact" => redact(problems, key, node, named).map(Rule::Redact),
        "line" => line(problems, node, named).map(Rule::Line),
        "drop" => {
            let test = conditions::read(problems, node, named)?;
            if matches!(&node.value, Value::Map(entries) if entries.is_empty()) {
                named.end = Some(key.span.clone());
            }
            Some(Rule::Drop(test))
        }
        "keep" => conditions::read(problems, node, named).map(Rule::Keep),
        "sample" => sample(problems, key, node, named).map(Rule::Sample),
        "tenant" => tenant(problems, key, node, named).map(Rule::Tenant),
        "metrics" => metrics::read(problems, node, named).map(Rule::Metrics),
        "limit" => limit(problems, key, node, named).map(Rule::Limit),
        // Was reported as an unknown key.
        _ => None,
    }
}

/// A map whose keys are fields. A field that is made is known only behind its own value.
fn by_field<T>(
    problems: &mut Problems,
    node: &Node,
    named: &mut Named<'_>,
    of: Use,
    mut read: impl FnMut(&mut Problems, &Node, &mut Named<'_>) -> Option<T>,
) -> Option<Vec<(Path, T)>> {
    let entries = map(problems, node)?;
    if entries.is_empty() {
        let hint = "write `{field: …}`";
        return wrong(problems, node, "a rule without a field".into(), "empty", hint);
    }
    let mut all = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let value = read(problems, node, named);
        let path = named.key(problems, key, of);
        all.extend(path.zip(value));
    }
    Some(all)
}

/// A pattern whose named groups become fields.
fn groups(problems: &mut Problems, node: &Node, named: &mut Named<'_>) -> Option<regex::Regex> {
    let regex = pattern(problems, node)?;
    let names: Vec<&str> = regex.capture_names().flatten().collect();
    if names.is_empty() {
        let hint = "name what becomes a field: `took (?P<took>[0-9.]+) s`";
        let message = "a `regex` rule that makes no field".into();
        return wrong(problems, node, message, "no named group", hint);
    }
    for name in names {
        named.check(problems, &Path(vec![name.to_owned()]), &node.span, Use::Made);
    }
    Some(regex)
}

fn replace(
    problems: &mut Problems,
    node: &Node,
    _: &mut Named<'_>,
) -> Option<(regex::Regex, String)> {
    let section = Section::open(problems, "replace", &node.span, node)?;
    let Some(found) = section.get("pattern") else {
        let hint = "write `{pattern: '[0-9]+', with: N}`";
        return wrong(problems, node, "`replace` without `pattern`".into(), "what?", hint);
    };
    let regex = pattern(problems, found);
    let mut with = String::new();
    section.read(problems, "with", &mut with, |problems, node| {
        Some(any_text(problems, node)?.text.clone())
    });
    Some((regex?, with))
}

fn line(problems: &mut Problems, node: &Node, named: &mut Named<'_>) -> Option<LineForm> {
    if text(problems, node)?.text == "logfmt" {
        return Some(LineForm::Logfmt);
    }
    let template = templates::read(problems, node, named)?;
    if !template.0.iter().any(|part| matches!(part, Part::Field { .. })) {
        let Template(_) = template;
        let message =
            format!("`{}` sends the same text for each line", shown(text(problems, node)?));
        let hint = "write `line: '{message}'` to send a field, or `line: logfmt`";
        return wrong(problems, node, message, "no field in it", hint);
    }
    Some(LineForm::Template(template))
}

fn sample(
    problems: &mut Problems,
    key: &Key,
    node: &Node,
    named: &mut Named<'_>,
) -> Option<Sample> {
    if !matches!(node.value, Value::Map(_)) {
        return Some(Sample { rate: rate(problems, node)?, by: None, always: None });
    }
    let section = Section::open(problems, "sample", &key.span, node)?;
    let Some(of) = section.get("rate") else {
        let problem = Problem::error("`sample` without `rate`");
        problems.push(problem.at(&key.span, "how many?").hint("write `sample: {rate: 0.1}`"));
        return None;
    };
    let rate = rate(problems, of);
    let (mut by, mut always) = (None, None);
    section.read(problems, "by", &mut by, |problems, node| {
        named.path(problems, node, Use::Text).map(Some)
    });
    section.read(problems, "always", &mut always, |problems, node| {
        conditions::read(problems, node, named).map(Some)
    });
    Some(Sample { rate: rate?, by, always })
}

fn rate(problems: &mut Problems, node: &Node) -> Option<f64> {
    let rate = real(problems, node)?;
    if !(0.0..=1.0).contains(&rate) {
        let message = format!("{rate} is not a share");
        return wrong(problems, node, message, "between 0 and 1", "a tenth is written `0.1`");
    }
    Some(rate)
}

fn limit(problems: &mut Problems, key: &Key, node: &Node, named: &mut Named<'_>) -> Option<Limit> {
    let section = Section::open(problems, "limit", &key.span, node)?;
    let Some(of) = section.get("lines_per_second") else {
        let problem = Problem::error("`limit` without `lines_per_second`");
        let hint = "write `limit: {lines_per_second: 100}`";
        problems.push(problem.at(&key.span, "how many?").hint(hint));
        return None;
    };
    let lines_per_second = pace(problems, of);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a pace is over 0, and casts of floats end at the largest number"
    )]
    let mut burst = lines_per_second.map_or(1, |lines| lines.ceil() as u32).max(1);
    section.read(problems, "burst", &mut burst, |problems, node| {
        count(problems, node, 1..=u64::from(u32::MAX))?.try_into().ok()
    });
    let (mut by, mut wait) = (None, false);
    section.read(problems, "by", &mut by, |problems, node| {
        named.path(problems, node, Use::Text).map(Some)
    });
    section.read(problems, "over", &mut wait, |problems, node| {
        choice(problems, node, &[("drop", false), ("wait", true)])
    });
    Some(Limit { lines_per_second: lines_per_second?, burst, by, wait })
}

/// Which fields may say the level.
fn level(problems: &mut Problems, key: &Key, node: &Node, named: &mut Named<'_>) -> Option<Rule> {
    named.check(problems, &Path(vec!["level".to_owned()]), &key.span, Use::Made);
    let mut numbers = Numbers::Auto;
    if !matches!(node.value, Value::Map(_)) {
        return Some(Rule::Level { from: named.paths(problems, node, Use::Text)?, numbers });
    }
    let section = Section::open(problems, "level", &key.span, node)?;
    let mut from = level_fields();
    section
        .read(problems, "from", &mut from, |problems, node| named.paths(problems, node, Use::Text));
    section.read(problems, "numbers", &mut numbers, |problems, node| {
        let words = [
            ("auto", Numbers::Auto),
            ("syslog", Numbers::Syslog),
            ("pino", Numbers::Pino),
            ("python", Numbers::Python),
            ("otel", Numbers::Otel),
        ];
        choice(problems, node, &words)
    });
    Some(Rule::Level { from, numbers })
}

/// What is taken out, and of what.
fn redact(
    problems: &mut Problems,
    key: &Key,
    node: &Node,
    named: &mut Named<'_>,
) -> Option<Redact> {
    let is_long = matches!(&node.value, Value::Map(entries) if entries.iter().all(|(key, _)| key.name != "pattern"));
    if !is_long {
        let what = privates(problems, node)?;
        return Some(Redact { what, with: None, places: vec![], hash: None });
    }
    let section = Section::open(problems, "redact", &key.span, node)?;
    let Some(what) = section.get("what") else {
        let problem = Problem::error("`redact` does not say what");
        let hint = "write `redact: [email, card]`, or `redact: {what: email, in: message}`";
        problems.push(problem.at(&key.span, "take out what?").hint(hint));
        return None;
    };
    let what = privates(problems, what);
    let (mut places, mut with, mut hash) = (vec![], None, None);
    section
        .read(problems, "in", &mut places, |problems, node| named.paths(problems, node, Use::Text));
    section.read(problems, "with", &mut with, |problems, node| {
        let with = text(problems, node)?;
        if with.text.contains(['"', '\\', '<', '>']) || with.text.contains(char::is_control) {
            let hint = "it stands between `<` and `>`, also inside of JSON";
            let message = format!("`{}` cannot stand in for what is taken out", shown(with));
            return wrong(problems, node, message, "no quotes, backslashes, < or >", hint);
        }
        Some(Some(with.text.clone()))
    });
    section.read(problems, "hash_secret", &mut hash, |problems, node| {
        let key = text(problems, node)?;
        if key.text.len() < HASH_KEY_BYTES_MIN {
            let hint = "a key that can be guessed hides nothing: `openssl rand -hex 32`";
            let message = "the key of a hash is too short".into();
            let label = format!("under {HASH_KEY_BYTES_MIN} bytes");
            return wrong(problems, node, message, &label, hint);
        }
        Some(Some(key.text.clone().into()))
    });
    Some(Redact { what: what?, with, places, hash })
}

/// Shortest key of a hash, in bytes.
const HASH_KEY_BYTES_MIN: usize = 16;

fn privates(problems: &mut Problems, node: &Node) -> Option<Vec<Private>> {
    let nodes = list(problems, node);
    if nodes.is_empty() && matches!(node.value, Value::List(_)) {
        let hint = "name one of email, bearer, card, ip, or write `{pattern: …}`";
        return wrong(problems, node, "nothing to take out".into(), "empty", hint);
    }
    let all: Vec<Option<Private>> = nodes.iter().map(|node| private(problems, node)).collect();
    all.into_iter().collect()
}

fn private(problems: &mut Problems, node: &Node) -> Option<Private> {
    if matches!(node.value, Value::Map(_)) {
        let section = Section::open(problems, "private", &node.span, node)?;
        let Some(found) = section.get("pattern") else {
            let hint = "write `{pattern: 'password=(\\S+)'}`";
            return wrong(problems, node, "a map without `pattern`".into(), "what?", hint);
        };
        return pattern(problems, found).map(Private::Pattern);
    }
    let words = [
        ("email", Private::Email),
        ("bearer", Private::Bearer),
        ("card", Private::Card),
        ("ip", Private::Ip),
    ];
    choice(problems, node, &words)
}

/// One tenant, or which of some by the value of a field.
fn tenant(
    problems: &mut Problems,
    key: &Key,
    node: &Node,
    named: &mut Named<'_>,
) -> Option<Tenant> {
    if !matches!(node.value, Value::Map(_)) {
        let default = Some(names::tenant(problems, node)?);
        return Some(Tenant { from: None, map: vec![], default });
    }
    let section = Section::open(problems, "tenant", &key.span, node)?;
    let (Some(from), Some(of)) = (section.get("from"), section.get("map")) else {
        let problem = Problem::error("`tenant` does not name all tenants there can be");
        let hint = "write `tenant: {from: org, map: {acme: team-a}}`, or `tenant: team-a`";
        problems.push(problem.at(&key.span, "`from` and `map` belong together").hint(hint));
        return None;
    };
    let from = named.path(problems, from, Use::Value);
    let entries = map(problems, of)?;
    let mut of_values = vec![];
    for (key, node) in entries {
        of_values.extend(names::tenant(problems, node).map(|tenant| (key.name.clone(), tenant)));
    }
    let mut default = None;
    section.read(problems, "default", &mut default, |problems, node| {
        names::tenant(problems, node).map(Some)
    });
    Some(Tenant { from: Some(from?), map: of_values, default })
}

/// Lines a second: from one a day to more than any agent reads.
fn pace(problems: &mut Problems, node: &Node) -> Option<f64> {
    let pace = real(problems, node)?;
    if !(1.0 / 86_400.0..=1e9).contains(&pace) {
        let message = format!("{pace} lines a second are no limit");
        let hint = "to drop all lines write `drop: {}`, for no limit leave the rule out";
        return wrong(problems, node, message, "from one a day to a billion a second", hint);
    }
    Some(pace)
}
