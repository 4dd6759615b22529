//! What the YAML parser's complaints mean, and what to do about them.

use std::ops::Range;

use super::report::Problem;

/// The YAML parser stopped at byte `at` and says `info`.
pub(super) fn explain(text: &str, at: usize, info: &str) -> Problem {
    // What is missing at the end is shown behind the last word, not on an empty line.
    let at = if text[at..].trim().is_empty() { text[..at].trim_end().len() } else { at };
    let here = character(text, at);
    if let Some(tab) = indenting_tab(text, at) {
        return Problem::error("a tab in the indentation")
            .at(&(tab..tab + 1), "tab")
            .hint("YAML is indented with spaces only");
    }
    let says = |needle: &str| info.contains(needle);
    if says("recursion limit") {
        too_deep(&here, 255)
    } else if says("unprintable") {
        let found = text[here.clone()].chars().next().map_or(0, u32::from);
        Problem::error(format!("control character U+{found:04X}")).at(&here, "not text")
    } else if says("unknown anchor") {
        Problem::error("an alias of nothing")
            .at(&word(text, at), "a `*` at the start makes this an alias")
            .hint("a pattern that starts with `*` must be quoted: \"*.log\"")
    } else if says("unexpected character") {
        Problem::error("a value cannot start with this character")
            .at(&here, "not here")
            .hint("put the value in quotes: \"@timestamp\"")
    } else if says("simple key expect") {
        Problem::error("a key without `:`")
            .at(&last_line_before(text, at), "a `:` and a value are missing")
            .hint("every line of a map is `key: value`, with a space after the colon")
    } else if says("mapping values are not allowed") {
        Problem::error("a second `:` in a value")
            .at(&here, "not here")
            .hint("put a value that holds `: ` in quotes; or is the line indented too far?")
    } else if says("quoted scalar") {
        Problem::error("a quote that is not closed")
            .at(&here, "the text begins here, or its next line is indented too little")
            .hint("inside '…' a quote is written twice; inside \"…\" it is written \\\"")
    } else if says("flow mapping") || says("flow sequence") || says("placement of ':'") {
        Problem::error("a `{` or `[` that is not closed, or a comma that is missing")
            .at(&here, "noticed here")
    } else if says("did not find expected") {
        Problem::error("a line that fits nothing above it")
            .at(&word(text, at), "its indentation, or what stands before it, is wrong")
            .hint("the keys of one map, and the dashes of one list, start in the same column")
    } else {
        Problem::error(format!("not YAML: {info}")).at(&here, "noticed here")
    }
}

pub(super) fn too_deep(span: &Range<usize>, depth: usize) -> Problem {
    Problem::error("too many levels").at(span, format!("more than {depth} deep"))
}

/// A tab among the blanks at the start of the line of `at`, or of the line before.
fn indenting_tab(text: &str, at: usize) -> Option<usize> {
    let line_start = |end: usize| text[..end].rfind('\n').map_or(0, |newline| newline + 1);
    let this = line_start(at);
    [this, line_start(this.saturating_sub(1))].into_iter().find_map(|start| {
        let line = &text[start..];
        let blanks = line.len() - line.trim_start_matches([' ', '\t']).len();
        Some(start + line[..blanks].find('\t')?)
    })
}

fn character(text: &str, at: usize) -> Range<usize> {
    at..at + text[at..].chars().next().map_or(0, char::len_utf8)
}

fn word(text: &str, at: usize) -> Range<usize> {
    let rest = &text[at..];
    at..at + rest.find(|c: char| c.is_whitespace() || ",]}".contains(c)).unwrap_or(rest.len())
}

fn last_line_before(text: &str, at: usize) -> Range<usize> {
    let before = text[..at].trim_end();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let indent = before[start..].len() - before[start..].trim_start().len();
    start + indent..before.len()
}
