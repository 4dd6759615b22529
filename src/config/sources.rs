//! The sources: where lines are, and how they are read.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::PathBuf;

use regex::Regex;

use super::options::{self, Api, Config, Input, Place, Pods, Source, Start};
use super::patterns::pattern;
use super::raw::{Node, Value};
use super::report::Problem;
use super::section::Section;
use super::values::{absolute, choice, flag, list, relative, shown, text, wrong};
use super::{format, kubernetes, multiline, names, rules};
use crate::discover::{self, DEFAULT_EXCLUDE, DiscoverError};
use crate::model::LABEL_NAMES_MAX;
use crate::parse::Rule;

type Problems = Vec<Problem>;

/// Most sources: a source's number in receipts and checkpoints has 16 bits.
const SOURCES_MAX: usize = 1000;

/// Longest name of a source, in bytes. It is a label of our own metrics.
const NAME_BYTES_MAX: usize = 128;

pub(super) fn read(problems: &mut Problems, top: &Section<'_>, config: &mut Config) {
    let example = "write `sources: [{files: /var/log/app/*.log}]`, or `stdin: true` in a source";
    let Some(node) = top.get("sources") else {
        problems.push(Problem::error("`sources` is missing").hint(example));
        return;
    };
    let nodes = list(problems, node);
    if nodes.is_empty() && !matches!(node.value, Value::Null) {
        let problem = Problem::error("no source").at(&node.span, "empty");
        problems.push(problem.hint(example));
    }
    if SOURCES_MAX < nodes.len() {
        let problem = Problem::error(format!("more than {SOURCES_MAX} sources"));
        problems.push(problem.at(&nodes[SOURCES_MAX].span, "one too many"));
        return;
    }
    let mut seen = Seen::default();
    for node in nodes {
        let Some(section) = Section::open(problems, "sources", &node.span, node) else { continue };
        if let Some(source) = source(problems, &section, &node.span, config, &mut seen) {
            config.sources.push(source);
        }
    }
}

/// An API of Kubernetes, and the node that it is asked for.
type OfNode = (Api, Option<String>);

/// What the sources before had, by place.
#[derive(Default)]
struct Seen {
    names: HashMap<String, Range<usize>>,
    globs: HashMap<String, Range<usize>>,
    stdin: Option<Range<usize>>,
    api: Option<(OfNode, Range<usize>)>,
    metrics: rules::Known,
}

fn source(
    problems: &mut Problems,
    section: &Section<'_>,
    head: &Range<usize>,
    config: &Config,
    seen: &mut Seen,
) -> Option<Source> {
    let input = input(problems, section, head, seen);
    let given = section.get("name").map(|node| name(problems, node, seen));
    let name = given.unwrap_or_else(|| {
        let base = match input.as_ref()? {
            (_, Some(_)) => "kubernetes",
            (Input::Stdin, None) => "stdin",
            (Input::Files { globs, .. }, None) => globs.first()?,
        };
        Some(seen.unused(base, head))
    });
    let mut tenant = config.push.tenant.clone();
    section.read(problems, "tenant", &mut tenant, |problems, node| {
        names::tenant(problems, node).map(Some)
    });
    let mut parse = config.parse_defaults(name.as_deref().unwrap_or_default());
    section.read(problems, "format", &mut parse.format, format::read);
    section.read(problems, "strip_ansi", &mut parse.strip_ansi, flag);
    section.read(problems, "multiline", &mut parse.multiline, multiline::read);
    let mut own = vec![];
    section.read(problems, "labels", &mut own, names::labels);
    for (name, value) in own {
        match parse.labels.iter_mut().find(|(global, _)| *global == name) {
            Some((_, global)) => *global = value,
            None => parse.labels.push((name, value)),
        }
    }
    let (mut place, mut is_stdin) = (Place::default(), false);
    let input = input.map(|(input, pods)| {
        is_stdin = input == Input::Stdin;
        place.pods = pods;
        input
    });
    section.read(problems, "path", &mut place.path, |problems, node| {
        path_pattern(problems, node).map(Some)
    });
    if place.pods.is_some() {
        parse.rules = options::pod_rules();
    }
    let origin = origin_names(&place, is_stdin);
    let labels: Vec<&str> = parse.labels.iter().map(|(name, _)| name.as_str()).collect();
    let names = rules::Place { labels: &labels, origin: &origin, content: &parse.format.content };
    let times = &mut parse.times;
    section.read(problems, "rules", &mut parse.rules, |problems, node| {
        rules::read(problems, node, names, &mut seen.metrics, times)
    });
    let rules_head = section.entry("rules").map_or(head, |(key, _)| &key.span);
    count_labels(problems, &parse.labels, &parse.rules, rules_head);
    let has_rules = section.get("rules").is_some();
    Some(Source { name: name?, tenant, input: input?, place, parse, has_rules })
}

impl Seen {
    /// Patterns of a source. What it excludes is left to those that follow.
    fn claim<'a>(
        &mut self,
        problems: &mut Problems,
        globs: impl Iterator<Item = (&'a String, &'a Range<usize>)>,
        exclude: &[String],
    ) {
        let mut own = HashMap::new();
        for (glob, span) in globs {
            let first = self.globs.get(glob).cloned();
            if let Some(first) = own.insert(glob.clone(), span.clone()).or(first) {
                problems.push(
                    Problem::warning("a pattern that is there already")
                        .at(span, "never matches here")
                        .also(&first, "a file belongs to the first source that matches it"),
                );
            }
        }
        if exclude.is_empty() {
            self.globs.extend(own);
        }
    }

    fn unused(&mut self, base: &str, head: &Range<usize>) -> String {
        let numbered = (2_u32..).map(|n| format!("{base} ({n})"));
        let name = std::iter::once(base.to_owned())
            .chain(numbered)
            .find(|name| !self.names.contains_key(name))
            .expect("BUG: numbers end");
        self.names.insert(name.clone(), head.clone());
        name
    }
}

fn name(problems: &mut Problems, node: &Node, seen: &mut Seen) -> Option<String> {
    let text = text(problems, node)?;
    if NAME_BYTES_MAX < text.text.len() || text.text.chars().any(char::is_control) {
        let label = format!("over {NAME_BYTES_MAX} bytes, or with control characters");
        let message = format!("`{}` is not a name for a source", shown(text));
        return wrong(problems, node, message, &label, "a word is best: it is a metric's label");
    }
    if let Some(first) = seen.names.insert(text.text.clone(), node.span.clone()) {
        let problem = Problem::error(format!("two sources are called `{}`", shown(text)));
        problems.push(problem.at(&node.span, "again here").also(&first, "first here"));
    }
    Some(text.text.clone())
}

fn input(
    problems: &mut Problems,
    section: &Section<'_>,
    head: &Range<usize>,
    seen: &mut Seen,
) -> Option<(Input, Option<Pods>)> {
    let files = section.get("files");
    let stdin = section.get("stdin").map(|node| flag(problems, node));
    if let Some(node) = section.get("kubernetes") {
        return kubernetes_input(problems, section, node, seen);
    }
    match (files, stdin) {
        (_, Some(None)) => None,
        (Some(_), Some(Some(true))) => {
            problems.push(
                Problem::error("a source with both `files` and `stdin`")
                    .at(section.head("stdin"), "one too many")
                    .also(section.head("files"), "the other one")
                    .hint("make two sources of it"),
            );
            None
        }
        (None, Some(Some(true))) => Some((stdin_input(problems, section, seen)?, None)),
        (Some(node), _) => Some((files_input(problems, section, node, seen)?, None)),
        (None, _) => {
            let problem = Problem::error("a source without `files`, `stdin` or `kubernetes`");
            let hint = "write `files: /var/log/app/*.log`, `stdin: true`, or `kubernetes: {}`";
            problems.push(problem.at(head, "nothing to read").hint(hint));
            None
        }
    }
}

/// The logs of a node's containers: files, at places that are known.
fn kubernetes_input(
    problems: &mut Problems,
    section: &Section<'_>,
    node: &Node,
    seen: &mut Seen,
) -> Option<(Input, Option<Pods>)> {
    for key in ["files", "stdin"] {
        if let Some((other, _)) = section.entry(key) {
            problems.push(
                Problem::error(format!("a source with both `{key}` and `kubernetes`"))
                    .at(&other.span, "one too many")
                    .also(section.head("kubernetes"), "the other one")
                    .hint("make two sources of it"),
            );
            return None;
        }
    }
    let logs = kubernetes::read(problems, node)?;
    if let Some(api) = &logs.pods.api {
        let own = (api.clone(), logs.pods.node.clone());
        let head = section.head("kubernetes");
        match &seen.api {
            Some((other, first)) if *other != own => problems.push(
                Problem::error("two APIs of Kubernetes")
                    .at(head, "another one, or another node")
                    .also(first, "the first")
                    .hint("all sources with `api` say the same of it, and the same `node`"),
            ),
            Some(_) => {}
            None => seen.api = Some((own, head.clone())),
        }
    }
    let (mut exclude, start, mut symlink_roots) = of_files(problems, section);
    exclude.extend(logs.exclude);
    let head = section.head("kubernetes");
    seen.claim(problems, logs.globs.iter().map(|glob| (glob, head)), &exclude);
    symlink_roots.push(kubernetes::DOCKER.into());
    let input = Input::Files { globs: logs.globs, exclude, start, symlink_roots };
    Some((input, Some(logs.pods)))
}

/// What rules can know of where a line comes from.
fn origin_names(place: &Place, is_stdin: bool) -> Vec<String> {
    let mut names = vec!["stream"];
    if !is_stdin {
        names.push("filename");
    }
    if place.pods.is_some() {
        names.extend(["namespace", "pod", "uid", "container", "restart", "node"]);
    }
    if place.pods.as_ref().is_some_and(|pods| pods.api.is_some()) {
        names.extend(["owner", "owner_kind", "pod_label.*", "pod_annotation.*", "node_label.*"]);
    }
    names.extend(place.path.iter().flat_map(|path| path.capture_names().flatten()));
    names.into_iter().map(str::to_owned).collect()
}

/// A pattern over the paths of files, whose groups have names that are not taken.
fn path_pattern(problems: &mut Problems, node: &Node) -> Option<Regex> {
    const TAKEN: [&str; 11] = [
        "stream",
        "filename",
        "namespace",
        "pod",
        "uid",
        "container",
        "restart",
        "node",
        "line",
        "length",
        "age",
    ];
    let regex = pattern(problems, node)?;
    let names: Vec<&str> = regex.capture_names().flatten().collect();
    if let Some(name) = names.iter().find(|name| TAKEN.contains(name)) {
        let message = format!("`{name}` is something else already");
        return wrong(problems, node, message, "a taken name", "give the group another name");
    }
    if names.is_empty() {
        let hint = "name what rules want to know: `^/var/log/(?P<app>[^/]+)/`, then `label: $app`";
        return wrong(problems, node, "a `path` that names nothing".into(), "no group", hint);
    }
    Some(regex)
}

fn stdin_input(problems: &mut Problems, section: &Section<'_>, seen: &mut Seen) -> Option<Input> {
    for key in ["exclude", "start", "symlink_roots", "path"] {
        if section.get(key).is_some() {
            let problem = Problem::error(format!("`{key}` with `stdin`"));
            problems.push(problem.at(section.head(key), "only for `files`"));
        }
    }
    let here = section.head("stdin");
    if let Some(first) = seen.stdin.replace(here.clone()) {
        problems.push(
            Problem::error("two sources read standard input")
                .at(here, "again here")
                .also(&first, "first here"),
        );
        return None;
    }
    Some(Input::Stdin)
}

fn files_input(
    problems: &mut Problems,
    section: &Section<'_>,
    files: &Node,
    seen: &mut Seen,
) -> Option<Input> {
    let nodes = list(problems, files);
    if nodes.is_empty() && !matches!(files.value, Value::Null) {
        let problem = Problem::error("`files` without a pattern").at(&files.span, "empty");
        problems.push(problem.hint("write `files: /var/log/app/*.log`"));
    }
    let mut globs = vec![];
    for node in nodes {
        let Some(glob) = glob(problems, node, discover::check_glob) else { continue };
        globs.push((glob, &node.span));
    }
    let (exclude, start, symlink_roots) = of_files(problems, section);
    seen.claim(problems, globs.iter().map(|(glob, span)| (glob, *span)), &exclude);
    let globs: Vec<String> = globs.into_iter().map(|(glob, _)| glob).collect();
    (!globs.is_empty()).then_some(Input::Files { globs, exclude, start, symlink_roots })
}

/// Which files are left out, where they are read from, and where links may lead.
fn of_files(problems: &mut Problems, section: &Section<'_>) -> (Vec<String>, Start, Vec<PathBuf>) {
    let mut exclude = vec![];
    section.read(problems, "exclude", &mut exclude, |problems, node| {
        let nodes = list(problems, node);
        Some(
            nodes.iter().filter_map(|node| glob(problems, node, discover::check_exclude)).collect(),
        )
    });
    let mut start = Start::Beginning;
    section.read(problems, "start", &mut start, |problems, node| {
        choice(problems, node, &[("beginning", Start::Beginning), ("end", Start::End)])
    });
    let mut symlink_roots = vec![];
    section.read(problems, "symlink_roots", &mut symlink_roots, |problems, node| {
        let nodes = list(problems, node);
        Some(nodes.iter().filter_map(|node| absolute(problems, node)).collect())
    });
    (exclude, start, symlink_roots)
}

/// What `check` of discovery says about a pattern.
fn glob(
    problems: &mut Problems,
    node: &Node,
    check: fn(&str) -> Result<(), DiscoverError>,
) -> Option<String> {
    let text = text(problems, node)?;
    let (label, hint) = match check(&text.text) {
        Ok(()) => return Some(text.text.clone()),
        Err(DiscoverError::Relative { .. }) => return relative(problems, node, text),
        Err(DiscoverError::Syntax { source, .. }) => (
            source.kind().to_string().split(" (").next().unwrap_or_default().to_owned(),
            "`*` is any name, `**` any folders, `{a,b}` either, `[ab]` one of them".to_owned(),
        ),
        Err(DiscoverError::NoName { .. }) => (
            "names no file".to_owned(),
            "write the names of files too: `/var/log/*.log`".to_owned(),
        ),
        Err(DiscoverError::NeverRead { .. }) => (
            "compressed or temporary files".to_owned(),
            format!("never read, whatever the pattern: {}", DEFAULT_EXCLUDE.join(", ")),
        ),
    };
    wrong(problems, node, format!("`{}` is not a pattern of files", shown(text)), &label, hint)
}

/// More labels than Loki takes.
fn count_labels(
    problems: &mut Problems,
    labels: &[(String, String)],
    rules: &[Rule],
    head: &Range<usize>,
) {
    let mut names: BTreeSet<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
    add_labels(rules, &mut names);
    if LABEL_NAMES_MAX < names.len() {
        problems.push(
            Problem::warning(format!("{} labels on the streams of one source", names.len()))
                .at(head, format!("Loki takes {LABEL_NAMES_MAX} by default"))
                .hint("the last ones are sent as structured metadata"),
        );
    }
}

fn add_labels<'r>(rules: &'r [Rule], names: &mut BTreeSet<&'r str>) {
    for rule in rules {
        if let Rule::Label(fields) = rule {
            names.extend(fields.iter().map(|field| field.name.as_str()));
        } else if let Rule::When { then, otherwise, .. } = rule {
            add_labels(then, names);
            add_labels(otherwise, names);
        }
    }
}
