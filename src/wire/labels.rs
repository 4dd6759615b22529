//! The label string of a stream, in the form Loki itself prints.
//!
//! Contract section 3: names sorted, `", "` between pairs, values double-quoted with the escapes
//! that PromQL's lexer takes (JSON's are not valid there). Values come clean from `parse`; what
//! could still make the string unparsable is replaced here, because one bad label string makes
//! Loki refuse a whole request.

use std::fmt::Write as _;

/// Prints `pairs` as `{a="b", c="d"}`. Pairs with an empty value are left out; of two pairs with
/// the same name the later wins.
#[must_use]
pub fn label_string<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut sorted: Vec<(&str, &str)> = pairs.into_iter().collect();
    // Stable, so that of equal names the later stays behind the earlier.
    sorted.sort_by_key(|(name, _)| *name);
    let mut out = String::from("{");
    for (idx, (name, value)) in sorted.iter().enumerate() {
        let overruled = sorted.get(idx + 1).is_some_and(|(next, _)| next == name);
        if value.is_empty() || overruled {
            continue;
        }
        if out.len() > 1 {
            out.push_str(", ");
        }
        out.push_str(name);
        out.push('=');
        quote(&mut out, value);
    }
    out.push('}');
    out
}

/// Appends `value` as a Go string literal.
fn quote(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Loki's lexer takes U+FFFD for invalid UTF-8, in any spelling.
            '\u{fffd}' => out.push(' '),
            c if c < ' ' || c == '\x7f' => {
                write!(out, "\\x{:02x}", u32::from(c)).expect("BUG: writing to a String failed");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_printed_as_loki_prints_them() {
        let check = |pairs: &[(&str, &str)], expected: &str| {
            assert_eq!(label_string(pairs.iter().copied()), expected);
        };
        check(&[], "{}");
        check(&[("b", "2"), ("a", "1")], r#"{a="1", b="2"}"#);
        check(&[("a", ""), ("b", "2")], r#"{b="2"}"#);
        check(&[("a", "old"), ("b", "2"), ("a", "new")], r#"{a="new", b="2"}"#);
        check(&[("a", "old"), ("a", "")], "{}");
        check(&[("a", "q\"u\\o/te'")], r#"{a="q\"u\\o/te'"}"#);
        check(&[("a", "\0\u{1}\n\r\t\x7f")], r#"{a="\x00\x01\n\r\t\x7f"}"#);
        check(&[("a", "é\u{fffd}\u{feff}")], "{a=\"é \u{feff}\"}");
    }
}
