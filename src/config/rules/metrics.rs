//! Metrics that are made of lines: `metrics: {requests_total: {by: [method]}}`.

use std::collections::HashMap;
use std::ops::Range;

use super::super::names::{is_name, map, sanitised};
use super::super::raw::{Key, Node, Value};
use super::super::report::Problem;
use super::super::section::Section;
use super::super::values::{choice, count, list, short, shown, text, wrong};
use super::conditions::real;
use super::{Named, Use};
use crate::model::{LineMetric, LineMetricKind};
use crate::parse::{Metric, Path};

type Problems = Vec<Problem>;

/// The metrics that rules have named, and where.
pub(in crate::config) type Known = HashMap<String, (LineMetric, Range<usize>)>;

/// Series of one metric, when nothing else is said.
const SERIES_MAX: u32 = 100;

/// Bounds of a histogram when nothing else is said: those of Prometheus's own clients.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What all our own metrics begin with.
const OURS: &str = "skald_";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

pub(super) fn read(
    problems: &mut Problems,
    node: &Node,
    named: &mut Named<'_>,
) -> Option<Vec<Metric>> {
    let entries = map(problems, node)?;
    let mut metrics = vec![];
    for (key, node) in entries {
        let Some(metric) = metric(problems, key, node, named) else { continue };
        let new = (metric.metric.clone(), key.span.clone());
        // A counter `n` is `n_total` on the page.
        let family = key.name.strip_suffix("_total").unwrap_or(&key.name);
        let (known, first) = named.metrics.entry(family.to_owned()).or_insert(new);
        if *known != metric.metric {
            let problem = Problem::error(format!("two metrics are called `{}`", key.name));
            problems.push(
                problem
                    .at(&key.span, "another one of this name")
                    .also(first, "first here")
                    .hint("rules may share a metric, if all they say of it is alike"),
            );
        }
        metrics.push(metric);
    }
    Some(metrics)
}

fn metric(
    problems: &mut Problems,
    key: &Key,
    node: &Node,
    named: &mut Named<'_>,
) -> Option<Metric> {
    let is_named = metric_name(problems, key);
    let section = Section::open(problems, "metrics", &key.span, node)?;
    let mut kind = Kind::Counter;
    section.read(problems, "kind", &mut kind, |problems, node| {
        let words =
            [("counter", Kind::Counter), ("gauge", Kind::Gauge), ("histogram", Kind::Histogram)];
        choice(problems, node, &words)
    });
    let mut value = None;
    section.read(problems, "value", &mut value, |problems, node| {
        named.path(problems, node, Use::Any).map(Some)
    });
    if kind != Kind::Counter && section.get("value").is_none() {
        let problem = Problem::error(format!("`{}` has no `value`", short(&key.name)));
        let hint = "only counters can do without: they count lines; write `value: duration`";
        problems.push(problem.at(&key.span, "of which field?").hint(hint));
    }
    let (mut by, mut bounds) = (vec![], BUCKETS.to_vec());
    section
        .read(problems, "by", &mut by, |problems, node| Some(labels(problems, node, kind, named)));
    section.read(problems, "buckets", &mut bounds, buckets);
    if let Some((buckets, _)) = section.entry("buckets")
        && kind != Kind::Histogram
    {
        let problem = Problem::error("only a histogram has `buckets`");
        problems.push(problem.at(&buckets.span, "for what?").hint("write `kind: histogram`"));
    }
    let mut help = format!("Of the rule {}", key.name);
    section.read(problems, "help", &mut help, |problems, node| {
        Some(text(problems, node)?.text.clone())
    });
    let mut series_max = SERIES_MAX;
    section.read(problems, "series_max", &mut series_max, |problems, node| {
        count(problems, node, 1..=100_000)?.try_into().ok()
    });
    let kind = match kind {
        Kind::Counter => LineMetricKind::Counter,
        Kind::Gauge => LineMetricKind::Gauge,
        Kind::Histogram => LineMetricKind::Histogram(bounds),
    };
    let (labels, by) = by.into_iter().unzip();
    let metric = LineMetric { name: key.name.clone(), help, kind, labels, series_max };
    is_named.then_some(Metric { metric, value, by })
}

fn metric_name(problems: &mut Problems, key: &Key) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':');
    let is_good = key.name.starts_with(is_letter)
        && key.name.chars().all(|c| is_letter(c) || c.is_ascii_digit());
    let label = match key.name.starts_with(OURS) {
        _ if !is_good => "letters, digits, `_` and `:`, and no digit first",
        true => "reserved for our own",
        false => return true,
    };
    let problem = Problem::error(format!("`{}` cannot be a metric", short(&key.name)));
    problems.push(problem.at(&key.span, label).hint("write a name like `requests_total`"));
    false
}

/// The labels of a metric, called like the fields that they have the values of.
fn labels(
    problems: &mut Problems,
    node: &Node,
    kind: Kind,
    named: &mut Named<'_>,
) -> Vec<(String, Path)> {
    let mut labels: Vec<(String, Path)> = vec![];
    for node in list(problems, node) {
        let Some(path) = named.path(problems, node, Use::Value) else { continue };
        let name = path.origin().map_or_else(|| path.0.join("_"), str::to_owned);
        let name = sanitised(&name);
        let shown = match &node.value {
            Value::Text(text) => shown(text),
            Value::Null | Value::List(_) | Value::Map(_) | Value::Broken => String::new(),
        };
        let is_twice = labels.iter().any(|(other, _)| *other == name);
        if is_twice || kind == Kind::Histogram && name == "le" {
            let label = if is_twice { "a second one" } else { "the name of the buckets" };
            let problem = Problem::error(format!("a metric cannot have the label `{name}` so"));
            problems.push(problem.at(&node.span, label).hint("`set` can give it another name"));
        } else if is_name(problems, &name, &shown, &node.span, "label") {
            labels.push((name, path));
        }
    }
    labels
}

fn buckets(problems: &mut Problems, node: &Node) -> Option<Vec<f64>> {
    let bounds: Vec<Option<f64>> =
        list(problems, node).iter().map(|node| real(problems, node)).collect();
    let bounds: Vec<f64> = bounds.into_iter().collect::<Option<_>>()?;
    if bounds.is_empty() || !bounds.is_sorted_by(|a, b| a < b) {
        let hint = "write upper bounds: `[0.1, 1, 10]`";
        return wrong(problems, node, "buckets do not grow".into(), "not in order", hint);
    }
    Some(bounds)
}
