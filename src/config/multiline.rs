//! Which lines are one entry: `python`, `[java, go]`, `{first: '^\d{4}-'}`.

use std::time::Duration;

use super::patterns::pattern;
use super::raw::{Node, Value};
use super::report::Problem;
use super::section::Section;
use super::values::{choice, count, duration, list, wrong};
use crate::parse::{Grouping, Multiline, Trace};

type Problems = Vec<Problem>;

/// How long a line waits for the next one of its entry, when nothing else is said.
const WAIT: Duration = Duration::from_secs(1);

/// How many lines an entry has, when nothing else is said.
const LINES_MAX: u32 = 500;

pub(super) fn read(problems: &mut Problems, node: &Node) -> Option<Option<Multiline>> {
    if !matches!(node.value, Value::Map(_)) {
        let how = Grouping::Traces(traces(problems, node)?);
        return Some(Some(Multiline { how, wait: WAIT, lines_max: LINES_MAX }));
    }
    let section = Section::open(problems, "multiline", &node.span, node)?;
    let ways = ["first", "continuation", "traces"].map(|key| section.entry(key));
    let (way, node_of) = match &*ways.into_iter().flatten().collect::<Vec<_>>() {
        [(key, node)] => (&*key.name, node),
        [] => {
            let hint = "write `{first: '^[0-9]{4}-'}`, `{continuation: '^\\s'}` or `python`";
            let message = "`multiline` does not say which lines are one entry".into();
            return wrong(problems, node, message, "which lines?", hint);
        }
        [(first, _), (second, _), ..] => {
            let problem = Problem::error(format!("`{}` beside `{}`", second.name, first.name));
            problems.push(
                problem
                    .at(&second.span, "a second way")
                    .also(&first.span, "the first")
                    .hint("one of them says which lines are one entry"),
            );
            return None;
        }
    };
    let how = match way {
        "first" => pattern(problems, node_of).map(Grouping::First),
        "continuation" => pattern(problems, node_of).map(Grouping::Continuation),
        _ => traces(problems, node_of).map(Grouping::Traces),
    };
    let (mut wait, mut lines_max) = (WAIT, LINES_MAX);
    section.read(problems, "wait", &mut wait, |problems, node| {
        duration(problems, node, &(Duration::from_millis(10)..=Duration::from_secs(60)))
    });
    section.read(problems, "lines_max", &mut lines_max, |problems, node| {
        count(problems, node, 2..=100_000)?.try_into().ok()
    });
    Some(Some(Multiline { how: how?, wait, lines_max }))
}

fn traces(problems: &mut Problems, node: &Node) -> Option<Vec<Trace>> {
    let words = [
        ("python", Trace::Python),
        ("java", Trace::Java),
        ("go", Trace::Go),
        ("node", Trace::Node),
    ];
    let nodes = list(problems, node);
    if nodes.is_empty() && matches!(node.value, Value::List(_)) {
        let hint = "name one of python, java, go, node";
        return wrong(problems, node, "an empty list of languages".into(), "empty", hint);
    }
    nodes.iter().map(|node| choice(problems, node, &words)).collect()
}
