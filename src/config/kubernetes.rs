//! The containers of a node: `kubernetes: {exclude: [{namespace: kube-system}]}`.

use super::options::Pods;
use super::raw::{Node, Value};
use super::report::Problem;
use super::section::Section;
use super::values::{absolute, list, shown, text, wrong};
use crate::discover::check_glob;

type Problems = Vec<Problem>;

/// Where kubelet puts the logs of containers.
const LOGS: &str = "/var/log/pods";

/// Where Docker keeps what these link to.
pub(super) const DOCKER: &str = "/var/lib/docker/containers";

/// Which logs of a node.
pub(super) struct Logs {
    pub(super) globs: Vec<String>,
    pub(super) exclude: Vec<String>,
    pub(super) pods: Pods,
}

pub(super) fn read(problems: &mut Problems, node: &Node) -> Option<Logs> {
    let section = Section::open(problems, "kubernetes", &node.span, node)?;
    let mut logs = LOGS.to_owned();
    section.read(problems, "logs", &mut logs, |problems, node| {
        Some(absolute(problems, node)?.to_string_lossy().trim_end_matches('/').to_owned())
    });
    let mut pods = Pods::default();
    section.read(problems, "node", &mut pods.node, |problems, node| {
        Some(Some(text(problems, node)?.text.clone()))
    });
    let (mut globs, mut exclude) = (vec![], vec![]);
    section.read(problems, "include", &mut globs, |problems, node| patterns(problems, node, &logs));
    if globs.is_empty() {
        globs.push(format!("{logs}/*/*/*.log"));
    }
    section
        .read(problems, "exclude", &mut exclude, |problems, node| patterns(problems, node, &logs));
    Some(Logs { globs, exclude, pods })
}

/// The patterns of the logs of some containers.
fn patterns(problems: &mut Problems, node: &Node, logs: &str) -> Option<Vec<String>> {
    let nodes = list(problems, node);
    let patterns: Vec<Option<String>> =
        nodes.iter().map(|node| pattern(problems, node, logs)).collect();
    patterns.into_iter().collect()
}

fn pattern(problems: &mut Problems, node: &Node, logs: &str) -> Option<String> {
    if !matches!(node.value, Value::Map(_)) {
        let hint = "write `{namespace: dev-*}`, `{pod: web-*}` or `{namespace: a, container: b}`";
        return wrong(problems, node, "containers are named by a map".into(), "no map", hint);
    }
    let section = Section::open(problems, "containers", &node.span, node)?;
    let mut part = |key| match section.get(key) {
        Some(node) => name(problems, node),
        None => Some("*".to_owned()),
    };
    let (namespace, pod, container) = (part("namespace"), part("pod"), part("container"));
    if section.entries().is_empty() {
        let hint = "leave `include` and `exclude` out for all containers";
        return wrong(problems, node, "which containers?".into(), "empty", hint);
    }
    Some(format!("{logs}/{}_{}_*/{}/*.log", namespace?, pod?, container?))
}

/// A name, or a pattern of names.
fn name(problems: &mut Problems, node: &Node) -> Option<String> {
    let text = text(problems, node)?;
    let is_bad = |c: char| matches!(c, '/' | '_') || c.is_whitespace();
    if text.text.is_empty()
        || text.text.contains(is_bad)
        || check_glob(&format!("/{}", text.text)).is_err()
    {
        let hint = "a name of Kubernetes, with `*` for any part of it: `dev-*`";
        let message = format!("`{}` is not the name of such a thing", shown(text));
        return wrong(problems, node, message, "not a name or pattern", hint);
    }
    Some(text.text.clone())
}
