//! Texts with places for fields: `{method} {url} took {duration:-?} s`.

use super::super::raw::{Node, Text};
use super::super::report::Problem;
use super::super::values::{shown, text};
use super::{Named, Use, parse_path};
use crate::parse::{Part, Path, Template};

type Problems = Vec<Problem>;

/// `{a.b}` is a field, `{a,b}` the first of two that is there, `{a:-x}` one with a default, `{{` a
/// brace.
pub(super) fn read(
    problems: &mut Problems,
    node: &Node,
    named: &mut Named<'_>,
) -> Option<Template> {
    let written = text(problems, node)?;
    let (mut parts, mut literal) = (vec![], String::new());
    let mut rest = &*written.text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let (brace, behind) = rest[at..].split_at(1);
        if let Some(behind) = behind.strip_prefix(brace) {
            literal.push_str(brace);
            rest = behind;
            continue;
        }
        let place = written.text.len() - rest.len() + at;
        let end = if brace == "{" { behind.find('}') } else { None };
        let Some(end) = end else {
            return refuse(problems, node, written, place..place + 1, "a brace alone");
        };
        if !literal.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut literal)));
        }
        let inside = place + 1..place + 1 + end;
        match field(&behind[..end]) {
            Ok((from, default)) => {
                let span = span(node, written, inside);
                if !from.iter().all(|path| named.check(problems, path, &span, Use::Text)) {
                    return None;
                }
                parts.push(Part::Field { from, default });
            }
            Err(label) => return refuse(problems, node, written, inside, label),
        }
        rest = &behind[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Some(Template(parts))
}

/// What stands between braces.
fn field(inside: &str) -> Result<(Vec<Path>, Option<String>), &'static str> {
    let (names, default) = match inside.split_once(":-") {
        Some((names, default)) => (names, Some(default.to_owned())),
        None => (inside, None),
    };
    let paths = names.split(',').map(|name| parse_path(name.trim()));
    Ok((paths.collect::<Result<_, _>>()?, default))
}

fn refuse<T>(
    problems: &mut Problems,
    node: &Node,
    written: &Text,
    place: std::ops::Range<usize>,
    label: &str,
) -> Option<T> {
    let problem = Problem::error(format!("`{}` is not a template", shown(written)));
    let hint = "a field is written `{name}`, one with a default `{name:-none}`, a brace `{{`";
    problems.push(problem.at(&span(node, written, place), label).hint(hint));
    None
}

/// Where bytes of a value stand in the file, as far as that is known.
fn span(node: &Node, written: &Text, place: std::ops::Range<usize>) -> std::ops::Range<usize> {
    match written.verbatim {
        Some(start) => start + place.start..start + place.end,
        None => node.span.clone(),
    }
}
