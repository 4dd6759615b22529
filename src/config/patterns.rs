//! Regular expressions.

use regex::Regex;

use super::raw::Node;
use super::report::Problem;
use super::values::{shown, text};

/// A regular expression, compiled.
pub(super) fn pattern(problems: &mut Vec<Problem>, node: &Node) -> Option<Regex> {
    let text = text(problems, node)?;
    let err = match Regex::new(&text.text) {
        Ok(regex) => return Some(regex),
        Err(err) => err.to_string(),
    };
    let label = err.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let inside = text.verbatim.and_then(|start| Some(start + caret(&err, &text.text)?));
    let span = inside.map_or_else(|| node.span.clone(), |at| at..at + 1);
    let message = format!("`{}` is not a regular expression", shown(text));
    problems.push(Problem::error(message).at(&span, label));
    None
}

/// Where in a one-line pattern the regex crate's message puts its caret, in bytes.
fn caret(message: &str, pattern: &str) -> Option<usize> {
    let mut lines = message.lines().skip_while(|line| line.trim() != pattern.trim());
    let shown = lines.next()?;
    let column = lines.next()?.find('^')?.checked_sub(shown.find(pattern)?)?;
    let (at, found) = pattern.char_indices().nth(column)?;
    (found.len_utf8() == 1).then_some(at)
}
