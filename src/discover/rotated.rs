//! Names that rotation gives: `app.log` becomes `app.log.1`, `app.log-20261125.gz`, `app-17.log`.
//!
//! A file that was rotated out of its glob while nobody looked is found by its name. The grammar is
//! generous, because a name only makes a candidate: who may be read is decided by what is known of
//! the stem, see `app::Finder`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// What stands between a name and what rotation has added to it.
const SEPARATORS: &[u8] = b".-_~";

/// Marks without a number.
const WORDS: [&[u8]; 7] = [b"old", b"bak", b"backup", b"orig", b"prev", b"previous", b"rotated"];

/// The longest word in a mark with a number: `Nov`, `g17`, `UTC`.
const LETTERS_MAX: usize = 3;

/// What rotation appends for compressed files that can be read.
const COMPRESSED: &[u8] = b".gz";

/// The names that a file may have had before it was rotated to `name`, likeliest first: those to
/// which something was appended, the shortest first. With `inside`, also those into which it was
/// put before the extension.
pub(super) fn stems(name: &OsStr, inside: bool) -> impl Iterator<Item = OsString> {
    let name = uncompressed(name).as_bytes().to_vec();
    let appended: Vec<usize> = marks(&name).collect();
    let extension = name.iter().rposition(|byte| *byte == b'.').filter(|at| inside && 0 < *at);
    let put_inside: Vec<usize> =
        extension.map(|at| marks(&name[..at]).collect()).unwrap_or_default();
    let stem = move |at: usize, from: usize| {
        OsString::from_vec([&name[..at], name.get(from..).unwrap_or_default()].concat())
    };
    let ends = appended.into_iter().map(|at| (at, usize::MAX));
    let insides = put_inside.into_iter().filter_map(move |at| Some((at, extension?)));
    ends.chain(insides).map(move |(at, from)| stem(at, from))
}

/// A name without the ending of a compressed file.
pub(super) fn uncompressed(name: &OsStr) -> &OsStr {
    let bytes = name.as_bytes();
    OsStr::from_bytes(bytes.strip_suffix(COMPRESSED).unwrap_or(bytes))
}

/// Where a separator stands that has nothing but a rotation's mark behind it.
fn marks(name: &[u8]) -> impl Iterator<Item = usize> {
    let separators = name.iter().enumerate().filter(|(_, byte)| SEPARATORS.contains(byte));
    let marked = separators.filter(|(at, _)| 0 < *at && is_mark(&name[at + 1..]));
    marked.map(|(at, _)| at)
}

fn is_mark(rest: &[u8]) -> bool {
    if WORDS.contains(&rest) {
        return true;
    }
    let word = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_~:+".contains(byte);
    let mut words = rest.split(|byte| !byte.is_ascii_alphabetic());
    rest.get(word).is_some_and(u8::is_ascii_digit)
        && rest.iter().all(is_allowed)
        && words.all(|word| word.len() <= LETTERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_names_lead_to_their_stems() {
        for (name, expected) in [
            ("app.log.1", "app.log"),
            ("app.log.1.gz", "app.log"),
            ("app.log.old", "app.log"),
            ("app.log-20261125", "app.log"),
            ("app.log-20261125-101010.gz", "app.log"),
            ("app.log.2026-11-25T10:20:05Z", "app.log app.log.2026 app.log.2026-11"),
            ("0.log.20261125-101010", "0.log 0.log.20261125"),
            ("app.log.g17", "app.log"),
            ("app-17.log", "app app.log"),
            ("app.2026-11-25.log", "app app.2026 app.2026-11"),
            ("app.log", ""),
            ("app.log.conf", ""),
            ("app.log.lock", ""),
            (".1", ""),
        ] {
            let found: Vec<_> =
                stems(OsStr::new(name), true).map(|stem| stem.into_string().unwrap()).collect();
            let found: Vec<&str> = found.iter().map(String::as_str).take(3).collect();
            assert!(found.join(" ").starts_with(expected), "{name}: {found:?}");
            if expected.is_empty() {
                assert!(found.is_empty(), "{name}: {found:?}");
            }
        }
        assert_eq!(stems(OsStr::new("app-17.log"), false).count(), 1);
    }
}
