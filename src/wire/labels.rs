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

/// The pairs of a string that [`label_string`] has printed.
///
/// # Panics
/// On any other string.
#[must_use]
pub fn label_pairs(labels: &str) -> Vec<(String, String)> {
    let mut rest = labels.trim_start_matches('{');
    let mut pairs = Vec::new();
    while let Some((name, value)) = rest.split_once("=\"") {
        let (value, end) = unquote(value);
        pairs.push((name.to_owned(), value));
        rest = end.trim_start_matches(", ");
    }
    assert!(rest == "}", "BUG: {labels} is no label string of ours");
    pairs
}

/// The value before the closing quote, and what is behind it.
fn unquote(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.chars());
    loop {
        match chars.next().expect("BUG: a value without an end") {
            '"' => return (value, chars.as_str()),
            '\\' => value.push(match chars.next().expect("BUG: an escape of nothing") {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'x' => {
                    let (hex, rest) = chars.as_str().split_at(2);
                    chars = rest.chars();
                    u8::from_str_radix(hex, 16).expect("BUG: an escape without a number").into()
                }
                c => c,
            }),
            c => value.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::receive::Labels;

    proptest! {
        /// Whatever the values, Loki's grammar reads back what was meant; U+FFFD, which it cannot
        /// carry, as a space.
        #[test]
        fn loki_reads_what_was_written(
            pairs in prop::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,8}", prop::collection::vec(
                prop_oneof![any::<char>(), Just('\u{fffd}'), Just('"'), Just('\\'), prop::char::range('\0', ' ')], 1..20,
            ), 1..6),
        ) {
            let pairs: BTreeMap<String, String> =
                pairs.into_iter().map(|(name, value)| (name, value.into_iter().collect())).collect();
            let text = label_string(pairs.iter().map(|(name, value)| (&**name, &**value)));
            let labels = Labels::parse(&text).map_err(|err| TestCaseError::fail(format!("{text}: {err}")))?;
            prop_assert_eq!(labels.len(), pairs.len());
            let own: BTreeMap<String, String> = label_pairs(&text).into_iter().collect();
            let spaced = |value: &String| value.replace('\u{fffd}', " ");
            let want = pairs.iter().map(|(name, value)| (name.clone(), spaced(value)));
            prop_assert_eq!(own, want.collect::<BTreeMap<_, _>>());
            for (name, value) in pairs {
                let read = labels.get(&name).map(str::to_owned);
                prop_assert_eq!(read, Some(value.replace('\u{fffd}', " ")));
            }
        }
    }

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
