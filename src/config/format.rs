//! The format of a source's lines: what wraps them, and what is inside.

use super::patterns::pattern;
use super::raw::{Node, Value};
use super::report::Problem;
use super::section::Section;
use super::values::{choice, list};
use crate::parse::{Content, Format, Wrapper};

type Problems = Vec<Problem>;

/// One of the words of a format.
#[derive(Debug, Clone, Copy)]
enum Word {
    Wrapper(Wrapper),
    Json,
    Logfmt,
    Text,
}

/// `json`, `[cri, logfmt]`, `{regex: '…'}`, `[docker, {regex: '…'}]`.
pub(super) fn read(problems: &mut Problems, node: &Node) -> Option<Format> {
    match list(problems, node) {
        [one] => match layer(problems, one)? {
            Layer::Wrapper(wrapper) => Some(Format { wrapper, content: Content::Auto }),
            Layer::Content(content) => Some(Format { wrapper: Wrapper::None, content }),
        },
        [outer, inner] => {
            let (wrapper, content) = (layer(problems, outer)?, layer(problems, inner)?);
            match (wrapper, content) {
                (Layer::Wrapper(wrapper), Layer::Content(content)) => {
                    Some(Format { wrapper, content })
                }
                (Layer::Content(_), _) => refuse(problems, outer, "no wrapper"),
                (_, Layer::Wrapper(_)) => refuse(problems, inner, "not what a service writes"),
            }
        }
        _ => refuse(problems, node, "one or two"),
    }
}

fn refuse<T>(problems: &mut Problems, node: &Node, label: &str) -> Option<T> {
    if !matches!(node.value, Value::Null | Value::Broken) {
        let problem = Problem::error("a format is a wrapper, a content, or both in this order");
        problems.push(problem.at(&node.span, label).hint(
            "wrappers: auto, cri, docker; contents: json, logfmt, text, {regex: …}; \
             both: `[cri, logfmt]`",
        ));
    }
    None
}

enum Layer {
    Wrapper(Wrapper),
    Content(Content),
}

fn layer(problems: &mut Problems, node: &Node) -> Option<Layer> {
    if matches!(node.value, Value::Map(_)) {
        let section = Section::open(problems, "format", &node.span, node)?;
        let node = section.get("regex")?;
        let regex = pattern(problems, node)?;
        if regex.capture_names().flatten().next().is_none() {
            let problem = Problem::error("a format without fields");
            problems.push(
                problem
                    .at(&node.span, "no named group")
                    .hint("name what is a field: `(?P<level>[A-Z]+) (?P<message>.*)`"),
            );
            return None;
        }
        return Some(Layer::Content(Content::Regex(regex)));
    }
    let words = [
        ("auto", Word::Wrapper(Wrapper::Auto)),
        ("json", Word::Json),
        ("logfmt", Word::Logfmt),
        ("cri", Word::Wrapper(Wrapper::Cri)),
        ("docker", Word::Wrapper(Wrapper::Docker)),
        ("text", Word::Text),
    ];
    Some(match choice(problems, node, &words)? {
        Word::Wrapper(wrapper) => Layer::Wrapper(wrapper),
        Word::Json => Layer::Content(Content::Json),
        Word::Logfmt => Layer::Content(Content::Logfmt),
        Word::Text => Layer::Content(Content::Text),
    })
}
