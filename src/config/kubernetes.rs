//! The containers of a node: `kubernetes: {exclude: [{namespace: kube-system}]}`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::annotations::Annotation;
use super::options::{Api, Pods};
use super::raw::{Node, Value};
use super::report::Problem;
use super::section::Section;
use super::values::{absolute, choice, duration, list, shown, text, wrong};
use crate::discover::check_glob;

type Problems = Vec<Problem>;

/// Where kubelet puts the logs of containers.
const LOGS: &str = "/var/log/pods";

/// Where Docker keeps what these link to.
pub(super) const DOCKER: &str = "/var/lib/docker/containers";

/// The server as pods know it, and what they find of their account.
const SERVER: &str = "https://kubernetes.default.svc";
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How long the first line of a pod waits for the API, when nothing else is said.
const WAIT: Duration = Duration::from_secs(5);
const WAITS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(300);

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
    section.read(problems, "api", &mut pods.api, |problems, node| Some(Some(api(problems, node)?)));
    if let (Some((key, _)), None) = (section.entry("api"), &pods.node) {
        problems.push(
            Problem::error("`api` needs the name of the node")
                .at(&key.span, "only this node's pods are asked for")
                .hint("write `node: ${NODE_NAME}`, with the downward API's `spec.nodeName` in it"),
        );
    }
    let (mut globs, mut exclude) = (vec![], vec![]);
    section.read(problems, "include", &mut globs, |problems, node| patterns(problems, node, &logs));
    if globs.is_empty() {
        globs.push(format!("{logs}/*/*/*.log"));
    }
    section
        .read(problems, "exclude", &mut exclude, |problems, node| patterns(problems, node, &logs));
    Some(Logs { globs, exclude, pods })
}

/// `api: {}`, for a pod that runs under a service account.
fn api(problems: &mut Problems, node: &Node) -> Option<Api> {
    let section = Section::open(problems, "api", &node.span, node)?;
    let mut api = Api {
        url: SERVER.to_owned(),
        token_file: PathBuf::from(format!("{ACCOUNT}/token")),
        ca_file: PathBuf::from(format!("{ACCOUNT}/ca.crt")),
        wait: WAIT,
        annotations: vec![],
    };
    section.read(problems, "url", &mut api.url, url);
    section.read(problems, "token_file", &mut api.token_file, absolute);
    section.read(problems, "ca_file", &mut api.ca_file, absolute);
    section
        .read(problems, "wait", &mut api.wait, |problems, node| duration(problems, node, &WAITS));
    section.read(problems, "annotations", &mut api.annotations, |problems, node| {
        let nodes = list(problems, node);
        nodes.iter().map(|node| choice(problems, node, &Annotation::ALL)).collect()
    });
    Some(api)
}

fn url(problems: &mut Problems, node: &Node) -> Option<String> {
    let text = text(problems, node)?;
    let host = ["https://", "http://"].iter().find_map(|scheme| text.text.strip_prefix(scheme));
    let is_bad = |c: char| c.is_whitespace() || matches!(c, '@' | '?' | '#');
    if host.is_some_and(|host| !host.is_empty() && !host.contains(is_bad)) {
        return Some(text.text.trim_end_matches('/').to_owned());
    }
    let message = format!("`{}` is not the address of a server", shown(text));
    let hint = "write `https://kubernetes.default.svc`, or leave it out";
    wrong(problems, node, message, "no address", hint)
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
