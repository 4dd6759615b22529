//! Files of `skald test`: sample lines and what rules should make of them.

use std::ops::Range;
use std::path::PathBuf;

use super::keys;
use super::load::{self, Tree};
use super::names::map;
use super::raw::Node;
use super::report::{Problem, Report};
use super::section::Section;
use super::values::{absolute, any_text, file, list, string, text, wrong};
use crate::model::{Reason, UnixNanos};

type Problems = Vec<Problem>;

/// A file of cases.
#[derive(Debug, Clone)]
pub struct Cases {
    /// The configuration, as it is named; the default rules apply without one.
    pub config: Option<PathBuf>,
    /// Whose rules; the first source's without it.
    pub source: Option<String>,
    /// The path of the file that the lines are of.
    pub file: Option<PathBuf>,
    /// What the clock shows; `None` is what it does show.
    pub now: Option<UnixNanos>,
    /// The cases, in their order.
    pub cases: Vec<Case>,
}

/// Some lines, and what should become of them.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is called.
    pub name: String,
    /// The line of the file in which it begins.
    pub at: usize,
    /// The lines.
    pub input: Vec<String>,
    /// What becomes of them, in order.
    pub expect: Vec<Expected>,
}

/// What should become of a line. What is not named may be anything.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// It is not sent, for this reason.
    pub dropped: Option<Reason>,
    /// Labels of its stream.
    pub labels: Vec<(String, String)>,
    /// Structured metadata.
    pub metadata: Vec<(String, String)>,
    /// Names of labels and metadata that are not there.
    pub absent: Vec<String>,
    /// The line.
    pub line: Option<String>,
    /// The time.
    pub time: Option<UnixNanos>,
    /// The tenant, if a rule names it.
    pub tenant: Option<String>,
}

/// Reads a file of cases that was read into `bytes`. `name` is for messages. The cases are there if
/// there is no mistake.
#[must_use]
pub fn load_cases(bytes: &[u8], name: &str) -> (Option<Cases>, Report) {
    let tree = match load::tree(bytes, name, "it needs `cases` with `input` and `expect`") {
        Ok(tree) => tree,
        Err(report) => return (None, report),
    };
    let Tree { text, root, mut problems } = tree;
    let cases = read(&mut problems, &root, text);
    let report = Report::new(name, text, vec![], problems);
    (cases.filter(|_| report.errors() == 0), report)
}

fn read(problems: &mut Problems, root: &Node, text: &str) -> Option<Cases> {
    let top = Section::open(problems, keys::CASES, &root.span, root)?;
    let mut all = Cases { config: None, source: None, file: None, now: None, cases: vec![] };
    top.read(problems, "config", &mut all.config, |problems, node| file(problems, node).map(Some));
    top.read(problems, "source", &mut all.source, |problems, node| {
        string(problems, node).map(Some)
    });
    top.read(problems, "file", &mut all.file, |problems, node| absolute(problems, node).map(Some));
    top.read(problems, "now", &mut all.now, |problems, node| time(problems, node).map(Some));
    let Some(node) = top.get("cases") else {
        let hint = "write `cases: [{name: …, input: …, expect: …}]`";
        problems.push(Problem::error("`cases` is missing").hint(hint));
        return None;
    };
    for node in list(problems, node) {
        all.cases.extend(case(problems, node, text));
    }
    Some(all)
}

fn case(problems: &mut Problems, node: &Node, text: &str) -> Option<Case> {
    let section = Section::open(problems, "case", &node.span, node)?;
    let missing = |problems: &mut Problems, key: &str, hint: &str| {
        let problem = Problem::error(format!("a case without `{key}`"));
        problems.push(problem.at(head(&section, node), "of this one").hint(hint));
    };
    let name = match section.get("name") {
        Some(node) => string(problems, node)?,
        None => {
            missing(problems, "name", "write what is to be shown: `name: errors keep their trace`");
            return None;
        }
    };
    let Some(input) = section.get("input") else {
        missing(problems, "input", "write a line, a list of lines, or a block of them");
        return None;
    };
    let lines = lines(problems, input)?;
    let Some(expect) = section.get("expect") else {
        missing(
            problems,
            "expect",
            "write `expect: {labels: {level: error}}`, or `[]` for nothing",
        );
        return None;
    };
    let expect: Vec<Option<Expected>> =
        list(problems, expect).iter().map(|node| expected(problems, node)).collect();
    let at = text[..node.span.start].matches('\n').count() + 1;
    Some(Case { name, at, input: lines, expect: expect.into_iter().collect::<Option<_>>()? })
}

fn head<'n>(section: &Section<'n>, node: &'n Node) -> &'n Range<usize> {
    section.entries().first().map_or(&node.span, |(key, _)| &key.span)
}

/// A text of many lines is as many lines.
fn lines(problems: &mut Problems, node: &Node) -> Option<Vec<String>> {
    let texts: Vec<Option<String>> = list(problems, node)
        .iter()
        .map(|node| any_text(problems, node).map(|text| text.text.clone()))
        .collect();
    let texts: Vec<String> = texts.into_iter().collect::<Option<_>>()?;
    let lines = |text: &String| -> Vec<String> {
        text.strip_suffix('\n').unwrap_or(text).split('\n').map(str::to_owned).collect()
    };
    Some(texts.iter().flat_map(lines).collect())
}

fn expected(problems: &mut Problems, node: &Node) -> Option<Expected> {
    let section = Section::open(problems, "expect", &node.span, node)?;
    let mut all = Expected::default();
    section.read(problems, "dropped", &mut all.dropped, |problems, node| {
        let words = Reason::ALL.map(|reason| (reason.name(), Some(reason)));
        super::values::choice(problems, node, &words)
    });
    section.read(problems, "labels", &mut all.labels, pairs);
    section.read(problems, "metadata", &mut all.metadata, pairs);
    section.read(problems, "absent", &mut all.absent, |problems, node| {
        let names: Vec<Option<String>> =
            list(problems, node).iter().map(|node| string(problems, node)).collect();
        names.into_iter().collect()
    });
    section.read(problems, "line", &mut all.line, |problems, node| {
        let text = any_text(problems, node)?;
        Some(Some(text.text.strip_suffix('\n').unwrap_or(&text.text).to_owned()))
    });
    section.read(problems, "time", &mut all.time, |problems, node| time(problems, node).map(Some));
    section.read(problems, "tenant", &mut all.tenant, |problems, node| {
        string(problems, node).map(Some)
    });
    if let Some((first, _)) = section.entries().iter().find(|(key, _)| key.name != "dropped")
        && all.dropped.is_some()
    {
        let problem = Problem::error("a line that is dropped has nothing else");
        problems.push(problem.at(&first.span, "never there").hint("leave one of them out"));
    }
    Some(all)
}

fn pairs(problems: &mut Problems, node: &Node) -> Option<Vec<(String, String)>> {
    let pairs: Vec<Option<(String, String)>> = map(problems, node)?
        .iter()
        .map(|(key, node)| Some((key.name.clone(), any_text(problems, node)?.text.clone())))
        .collect();
    pairs.into_iter().collect()
}

fn time(problems: &mut Problems, node: &Node) -> Option<UnixNanos> {
    let written = text(problems, node)?;
    let parsed: Result<jiff::Timestamp, _> = written.text.parse();
    let nanos = parsed.ok().and_then(|time| i64::try_from(time.as_nanosecond()).ok());
    nanos.map(UnixNanos).or_else(|| {
        let message = format!("`{}` is not a time", super::values::shown(written));
        wrong(problems, node, message, "not RFC 3339", "write `2026-11-22T10:20:05Z`")
    })
}
