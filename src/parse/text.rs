//! From bytes to text that Loki takes: valid UTF-8, without a CR, within the limit.

use super::flags::Flags;
use super::parser::Line;
use crate::model::Flag;

/// A line as text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    /// The line's length in bytes when it was cut, here or before.
    pub(super) truncated_from: Option<u64>,
}

/// Reads `line` as text of at most `bytes_max` bytes. `lossy` is scratch for lines that are not
/// UTF-8.
#[inline(always)]
pub(super) fn read<'a>(
    line: Line<'a>,
    bytes_max: usize,
    lossy: &'a mut String,
    flags: &mut Flags,
) -> Text<'a> {
    let Line { bytes, truncated_from } = line;
    let is_whole = truncated_from.is_none() && bytes.len() <= bytes_max;
    if is_whole
        && bytes.last() != Some(&b'\r')
        && let Ok(text) = simdutf8::basic::from_utf8(bytes)
    {
        return Text { text, truncated_from };
    }
    read_odd(line, bytes_max, lossy, flags)
}

fn read_odd<'a>(
    line: Line<'a>,
    bytes_max: usize,
    lossy: &'a mut String,
    flags: &mut Flags,
) -> Text<'a> {
    let mut bytes = line.bytes;
    let mut truncated_from = line.truncated_from;
    // The CR before the newline: where a line was cut, its end was never seen.
    if let (None, [head @ .., b'\r']) = (truncated_from, bytes) {
        bytes = head;
    }
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if let Some((head, [_, ..])) = bytes.split_at_checked(bytes_max) {
        bytes = head;
        truncated_from = truncated_from.or(Some(len));
    }
    if truncated_from.is_some() {
        bytes = &bytes[..bytes.len() - unfinished(bytes)];
    }
    let text = match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => {
            flags.set(Flag::InvalidUtf8);
            if replace_invalid(bytes, bytes_max, lossy) {
                truncated_from = truncated_from.or(Some(len));
            }
            lossy
        }
    };
    if truncated_from.is_some() {
        flags.set(Flag::Truncated);
    }
    Text { text, truncated_from }
}

/// How many bytes at the end are the beginning of a character that was cut.
fn unfinished(bytes: &[u8]) -> usize {
    for (back, &byte) in (1..4).zip(bytes.iter().rev()) {
        let len = match byte {
            0x80..=0xBF => continue,
            0xF0.. => 4,
            0xE0.. => 3,
            0xC0.. => 2,
            _ => 1,
        };
        return if back < len { back } else { 0 };
    }
    0
}

/// Writes `bytes` to `out` with U+FFFD for what is not UTF-8. A U+FFFD is longer than what it
/// stands for; true when that made `out` so long that it was cut.
fn replace_invalid(bytes: &[u8], bytes_max: usize, out: &mut String) -> bool {
    out.clear();
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            out.push('\u{FFFD}');
        }
        if out.len() > bytes_max {
            out.truncate(out.floor_char_boundary(bytes_max));
            return true;
        }
    }
    false
}
