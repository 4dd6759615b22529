//! Takes colours and other commands to a terminal out of a line (ECMA-48).

use memchr::memchr2;

/// Writes `text` to `out` without escape sequences. False, and nothing is written, if it has none.
pub(super) fn strip(text: &str, out: &mut String) -> bool {
    const ESC: u8 = 0x1b;
    // U+009B, the one-character beginning of a sequence, is these two bytes.
    let Some(first) = memchr2(ESC, 0xc2, text.as_bytes()) else { return false };
    if !text[floor(text, first)..].contains(['\x1b', '\u{9b}']) {
        return false;
    }
    out.clear();
    let mut rest = text;
    while let Some(at) = rest.find(['\x1b', '\u{9b}']) {
        out.push_str(&rest[..at]);
        rest = behind(&rest[at..]);
    }
    out.push_str(rest);
    true
}

fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

/// What follows the sequence that `text` begins with.
fn behind(text: &str) -> &str {
    let (head, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    if head == "\u{9b}" {
        return behind_csi(rest);
    }
    match rest.as_bytes().first() {
        Some(b'[') => behind_csi(&rest[1..]),
        // A command to the operating system, such as a title: up to BEL or ESC \.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => match rest.find(['\x07', '\x1b']) {
            Some(end) if rest[end..].starts_with('\x07') => &rest[end + 1..],
            Some(end) if rest[end..].starts_with("\x1b\\") => &rest[end + 2..],
            // It never ends: it is no command.
            _ => rest,
        },
        _ => {
            let rest = rest.trim_start_matches(|c| (' '..='/').contains(&c));
            rest.strip_prefix(|c| ('0'..='~').contains(&c)).unwrap_or(rest)
        }
    }
}

/// Parameters, then one final character.
fn behind_csi(text: &str) -> &str {
    let rest = text.trim_start_matches(|c| (' '..='?').contains(&c));
    match rest.as_bytes().first() {
        Some(b'@'..=b'~') => &rest[1..],
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let mut out = "before".to_owned();
        let seen = strip(text, &mut out).then_some(&*out);
        assert_eq!(seen, expected, "{text:?}");
    }

    #[test]
    fn colours_are_taken_out() {
        check("plain é \u{a0}", None);
        check("\x1b[32mINFO\x1b[0m text", Some("INFO text"));
        check("\x1b[1;38;5;196mred\x1b[m\x1b[K", Some("red"));
        check("\u{9b}31mred\u{9b}m é", Some("red é"));
        check("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", Some("alink"));
        check("\x1b(Ba\x1b7b\x1b=c", Some("abc"));
        check("end\x1b", Some("end"));
        check("end\x1b[", Some("end"));
        check("\x1b]never ends", Some("]never ends"));
    }

    proptest! {
        #[test]
        fn nothing_is_left(text in "(\\x1b|\u{9b}|\\[|[0-9;m]|]|\\x07|é|[ -~]){0,30}") {
            let mut out = String::new();
            if strip(&text, &mut out) {
                let is_clean = !out.contains(['\x1b', '\u{9b}']);
                prop_assert!(is_clean);
                let mut again = String::new();
                prop_assert!(!strip(&out, &mut again));
            }
        }
    }
}
