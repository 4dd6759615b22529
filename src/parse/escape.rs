//! Escapes in JSON strings (RFC 8259, section 7); logfmt writes them alike.

use memchr::memchr;

/// Appends `raw`, the inside of a string, to `out` without its escapes. `None`, and `out` as it
/// was, when an escape is unknown, cut off or half of a surrogate pair: serde_json refuses those.
pub(super) fn unescape(raw: &str, out: &mut String) -> Option<()> {
    let before = out.len();
    let done = unescape_all(raw, out);
    if done.is_none() {
        out.truncate(before);
    }
    done
}

fn unescape_all(mut raw: &str, out: &mut String) -> Option<()> {
    while let Some(backslash) = memchr(b'\\', raw.as_bytes()) {
        out.push_str(&raw[..backslash]);
        let (char, rest) = escape(&raw[backslash + 1..])?;
        out.push(char);
        raw = rest;
    }
    out.push_str(raw);
    Some(())
}

/// The character of the escape that `raw` starts with (behind its backslash), and what follows.
fn escape(raw: &str) -> Option<(char, &str)> {
    let char = match raw.as_bytes().first()? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(&raw[1..]),
        _ => return None,
    };
    Some((char, &raw[1..]))
}

fn unicode(raw: &str) -> Option<(char, &str)> {
    let (first, rest) = hex4(raw)?;
    if !(0xD800..0xDC00).contains(&first) {
        return Some((char::from_u32(first)?, rest));
    }
    let (second, rest) = hex4(rest.strip_prefix("\\u")?)?;
    let low = second.checked_sub(0xDC00).filter(|&low| low < 0x400)?;
    Some((char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + low)?, rest))
}

fn hex4(raw: &str) -> Option<(u32, &str)> {
    let digits = raw.as_bytes().first_chunk::<4>()?;
    let mut value = 0;
    for &digit in digits {
        value = value * 16 + char::from(digit).to_digit(16)?;
    }
    // All four are ASCII, so the cut is on a character boundary.
    Some((value, &raw[4..]))
}
