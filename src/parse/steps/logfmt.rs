//! A JSON object as `key=value` pairs.

use super::members::text;
use crate::parse::escape::unescape;
use crate::parse::json::members;

/// Writes the members of `object` to `out`, in their order. False when it is no object, or an empty
/// one.
pub(super) fn write(object: &str, out: &mut String) -> bool {
    let (mut key, mut value) = (String::new(), String::new());
    let before = out.len();
    let is_whole = members(object, |member| {
        key.clear();
        value.clear();
        if unescape(member.name, &mut key).is_none() {
            return;
        }
        if let Some(text) = text(&member, &mut value) {
            if before < out.len() {
                out.push(' ');
            }
            write_pair(&key, text, out);
        }
    });
    is_whole && before < out.len()
}

fn write_pair(key: &str, value: &str, out: &mut String) {
    // Nothing that would end a key.
    out.extend(key.chars().map(|c| if c <= ' ' || matches!(c, '=' | '"') { '_' } else { c }));
    out.push('=');
    if !value.chars().any(|c| c <= ' ' || matches!(c, '=' | '"' | '\\' | '\u{7f}')) {
        return out.push_str(value);
    }
    out.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.extend(['\u{FFFD}']),
            c => out.push(c),
        }
    }
    out.push('"');
}
