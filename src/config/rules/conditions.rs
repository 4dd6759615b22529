//! Which lines a rule is for: `{level: debug}`, `{status: {ge: 500}}`, `{not: …}`, `{any: […]}`.

use super::super::options;
use super::super::patterns::pattern;
use super::super::raw::{Key, Node, Value};
use super::super::report::Problem;
use super::super::section::Section;
use super::super::values::{any_text, choice, duration, flag, list, shown, size, text, wrong};
use super::{Named, Use};
use crate::parse::{Condition, Level, Order, Path, Test};

type Problems = Vec<Problem>;

/// All entries of a map hold, each of which is a field with what is asked of it, or `all`, `any` or
/// `not`.
pub(super) fn read(
    problems: &mut Problems,
    node: &Node,
    named: &mut Named<'_>,
) -> Option<Condition> {
    let Value::Map(entries) = &node.value else {
        if !matches!(node.value, Value::Broken) {
            let problem = Problem::error("a condition is a map of fields");
            let hint = "write `{level: debug}`, or `{status: {ge: 500}}`; `{}` is all lines";
            problems.push(problem.at(&node.span, "which lines?").hint(hint));
        }
        return None;
    };
    let conditions: Vec<Option<Condition>> =
        entries.iter().map(|entry| entry_of(problems, entry, named)).collect();
    let mut conditions: Vec<Condition> = conditions.into_iter().collect::<Option<_>>()?;
    Some(match conditions.len() {
        1 => conditions.remove(0),
        _ => Condition::All(conditions),
    })
}

fn entry_of(
    problems: &mut Problems,
    (key, node): &(Key, Node),
    named: &mut Named<'_>,
) -> Option<Condition> {
    match &*key.name {
        "all" => Some(Condition::All(each(problems, node, named)?)),
        "any" => Some(Condition::Any(each(problems, node, named)?)),
        "not" => Some(Condition::Not(Box::new(read(problems, node, named)?))),
        _ => {
            let path = named.key(problems, key, Use::Any)?;
            let asked = field(problems, &path, node)?;
            problems.extend(named.gone.check_test(&asked, &key.span));
            Some(asked)
        }
    }
}

fn each(problems: &mut Problems, node: &Node, named: &mut Named<'_>) -> Option<Vec<Condition>> {
    let nodes = list(problems, node);
    let conditions: Vec<_> = nodes.iter().map(|node| read(problems, node, named)).collect();
    if nodes.is_empty() && matches!(node.value, Value::List(_)) {
        return wrong(problems, node, "an empty list of conditions".into(), "empty", "name one");
    }
    conditions.into_iter().collect()
}

/// What is asked of one field: a value, a list of values, or a map of tests that all hold.
fn field(problems: &mut Problems, path: &Path, node: &Node) -> Option<Condition> {
    let Value::Map(_) = &node.value else {
        return Some(Condition::Field(path.clone(), is(problems, node)?));
    };
    let section = Section::open(problems, "test", &node.span, node)?;
    let mut conditions = vec![];
    for (key, node) in section.entries() {
        let condition = test(problems, path, &key.name, node);
        conditions.push(condition);
    }
    if conditions.is_empty() {
        let hint = "write `{exists: true}`, or a value";
        return wrong(problems, node, "a field of which nothing is asked".into(), "empty", hint);
    }
    let mut conditions: Vec<Condition> = conditions.into_iter().collect::<Option<_>>()?;
    Some(match conditions.len() {
        1 => conditions.remove(0),
        _ => Condition::All(conditions),
    })
}

fn test(problems: &mut Problems, path: &Path, name: &str, node: &Node) -> Option<Condition> {
    let of = |test| Condition::Field(path.clone(), test);
    let order = match name {
        "is" => return is(problems, node).map(of),
        "not" => return Some(Condition::Not(Box::new(of(is(problems, node)?)))),
        "exists" => return Some(of(Test::Exists(flag(problems, node)?))),
        "regex" => return Some(of(Test::Matches(pattern(problems, node)?))),
        "contains" => return Some(of(Test::Contains(text(problems, node)?.text.clone()))),
        "at_least" => return Some(of(Test::AtLeast(level(problems, node)?))),
        "gt" => Order::Gt,
        "ge" => Order::Ge,
        "lt" => Order::Lt,
        "le" => Order::Le,
        // Was reported as an unknown key.
        _ => return None,
    };
    Some(of(Test::Compares(order, number(problems, path, node)?)))
}

/// Values as they are written in the line.
fn is(problems: &mut Problems, node: &Node) -> Option<Test> {
    if matches!(node.value, Value::Null) {
        let hint = "lines without the field: `{exists: false}`";
        return wrong(problems, node, "a field that is nothing".into(), "which value?", hint);
    }
    let texts: Vec<_> = list(problems, node)
        .iter()
        .map(|node| any_text(problems, node).map(|text| text.text.clone()))
        .collect();
    Some(Test::Is(texts.into_iter().collect::<Option<_>>()?))
}

/// A number: of seconds for an age, of bytes for a length, for which units may be written.
fn number(problems: &mut Problems, path: &Path, node: &Node) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 bytes")]
    match path.origin() {
        Some("age") => {
            let range = std::time::Duration::ZERO..=options::days(36_500);
            Some(duration(problems, node, &range)?.as_secs_f64())
        }
        Some("length") => Some(size(problems, node, 0..=1 << 40)? as f64),
        Some("line") => {
            let hint = "its length is `$length`";
            wrong(problems, node, "a line is not a number".into(), "a number", hint)
        }
        _ => real(problems, node),
    }
}

fn level(problems: &mut Problems, node: &Node) -> Option<Level> {
    choice(problems, node, &Level::ALL.map(|level| (level.name(), level)))
}

/// A number with or without a fraction.
pub(super) fn real(problems: &mut Problems, node: &Node) -> Option<f64> {
    let text = text(problems, node)?;
    match text.text.parse::<f64>() {
        Ok(number) if number.is_finite() => Some(number),
        _ => {
            let message = format!("`{}` is not a number", shown(text));
            wrong(problems, node, message, "not a number", "write `500` or `0.25`")
        }
    }
}
