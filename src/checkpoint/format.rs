//! The bytes of the state file.
//!
//! ```text
//! skald checkpoint 1 lines=2 crc32=8c3f02d1
//! 5b0e7c11 {"file":{"path":"/var/log/a.log","source":"veogen",…}}
//! 90ab31ff {"demoted":{"source":"veogen","label":"user_id","values_max":500}}
//! ```
//!
//! Each line carries the CRC-32 of its own text, so that damage costs only the files on the
//! damaged lines. The header keeps this form in every version, so that an older agent can tell a
//! newer file from a damaged one.

use std::borrow::{Borrow, Cow};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Demoted, SavedFile, State};
use crate::model::{FileOffset, Fingerprint, Identity, Mark, OUTPUTS, Stamp, UnixNanos};

/// The version of the format that this build writes, and the only one it reads.
pub const VERSION: u32 = 1;

const MAGIC: &str = "skald checkpoint ";

/// How many damaged lines are described one by one; the rest is only counted.
const DAMAGE_SHOWN_MAX: usize = 10;

/// A file that is sound, but not of this [`VERSION`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OtherVersion(pub(super) u32);

/// About how many bytes are given to the disk at once: a state of many files is never whole in
/// memory.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// Hands the whole state file to `put`, piece by piece.
pub(super) fn encode<E>(
    files: impl ExactSizeIterator<Item: Borrow<SavedFile>>,
    demoted: &[Demoted],
    mut put: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut bytes = Vec::with_capacity(PIECE_BYTES.min(320 * (files.len() + 1)));
    let lines = files.len() + demoted.len();
    let header = format!("{MAGIC}{VERSION} lines={lines}");
    let crc = crc32fast::hash(header.as_bytes());
    writeln!(bytes, "{header} crc32={crc:08x}").expect("BUG: a Vec takes every byte");
    for file in files {
        if PIECE_BYTES <= bytes.len() {
            put(&bytes)?;
            bytes.clear();
        }
        append_line(&mut bytes, |bytes| append_file(bytes, file.borrow()));
    }
    for demoted in demoted {
        append_line(&mut bytes, |bytes| append_json(bytes, &Line::Demoted(demoted.into())));
    }
    put(&bytes)
}

fn append_line(out: &mut Vec<u8>, append: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(b"00000000 ");
    let json = out.len();
    append(out);
    let mut crc = crc32fast::hash(&out[json..]);
    for digit in out[start..start + 8].iter_mut().rev() {
        *digit = b"0123456789abcdef"[(crc & 0xf) as usize];
        crc >>= 4;
    }
    out.push(b'\n');
}

fn append_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("BUG: numbers and text are always JSON");
}

/// A [`Line::File`], by hand, which takes half the time: with thousands of files that grow, saving
/// is a fifth of all that is done.
fn append_file(out: &mut Vec<u8>, file: &SavedFile) {
    let SavedFile { path, stem, source, identity, head, mark, size, seen, rotated, former } = file;
    out.extend_from_slice(br#"{"file":{"path":"#);
    append_path(out, path);
    out.extend_from_slice(br#","source":"#);
    append_json(out, &**source);
    append_number(out, r#","device":"#, identity.device);
    append_number(out, r#","inode":"#, identity.inode);
    append_time(out, r#","birth":"#, identity.birth.get());
    append_hash(out, r#","head":["#, *head);
    append_number(out, r#","offset":"#, mark.offset.0);
    append_hash(out, r#","tail":["#, mark.tail);
    append_time(out, r#","last_raw":"#, mark.stamp.last_raw.get());
    append_number(out, r#","repeats":"#, mark.stamp.repeats);
    let held = mark.held.offsets().map(|held| held.map(|offset| offset.0));
    if held.iter().any(Option::is_some) {
        out.extend_from_slice(br#","held":"#);
        append_json(out, &held);
    }
    append_number(out, r#","seen":"#, seen.0);
    out.extend_from_slice(if *rotated { br#","rotated":true"# } else { br#","rotated":false"# });
    if stem != path {
        out.extend_from_slice(br#","stem":"#);
        append_path(out, stem);
    }
    append_number(out, r#","size":"#, *size);
    out.extend_from_slice(if *former { br#","former":true}}"# } else { b"}}" });
}

fn append_number(out: &mut Vec<u8>, name: &str, value: impl itoa::Integer) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn append_time(out: &mut Vec<u8>, name: &str, time: Option<UnixNanos>) {
    match time {
        Some(time) => append_number(out, name, time.0),
        None => {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"null");
        }
    }
}

fn append_hash(out: &mut Vec<u8>, name: &str, hash: Fingerprint) {
    append_number(out, name, hash.len);
    append_number(out, ",", hash.hash);
    out.push(b']');
}

fn append_path(out: &mut Vec<u8>, path: &Path) {
    let bytes = path.as_os_str().as_bytes();
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if bytes.iter().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
    } else {
        append_json(out, &PathText::from(path));
    }
}

/// Reads back what can be trusted, and says what cannot.
pub(super) fn decode(bytes: &[u8]) -> Result<(State, Vec<String>), OtherVersion> {
    let mut state = State::default();
    let mut damage = Damage::default();
    let mut lines = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|&byte| byte == b'\n');
    let header = lines.next().and_then(header);
    match header {
        Some((version, _)) if version != VERSION => return Err(OtherVersion(version)),
        Some(_) => {}
        None => damage.note("the first line is damaged".to_owned()),
    }
    let mut count = 0;
    for (line, number) in lines.zip(2..) {
        count += 1;
        match parse_line(line) {
            Some(Line::File(file)) => state.files.push(file.into()),
            Some(Line::Demoted(demoted)) => state.demoted.push(demoted.into()),
            None => damage.note(format!("line {number} is damaged")),
        }
    }
    if let Some((_, expected)) = header
        && count != expected
    {
        damage.note(format!("{count} lines where {expected} were written"));
    }
    Ok((state, damage.finish()))
}

/// The version and the number of lines that follow.
fn header(line: &[u8]) -> Option<(u32, u64)> {
    let (text, crc) = std::str::from_utf8(line).ok()?.rsplit_once(" crc32=")?;
    if parse_crc(crc.as_bytes())? != crc32fast::hash(text.as_bytes()) {
        return None;
    }
    let (version, rest) = text.strip_prefix(MAGIC)?.split_once(' ')?;
    // What another version says after its number is not ours to understand.
    let lines = rest.strip_prefix("lines=").and_then(|lines| lines.parse().ok());
    Some((version.parse().ok()?, lines.unwrap_or(0)))
}

fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    let (crc, json) = line.split_at_checked(9)?;
    if parse_crc(crc.strip_suffix(b" ")?)? != crc32fast::hash(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// Exactly what [`encode`] writes: eight lower-case digits.
fn parse_crc(hex: &[u8]) -> Option<u32> {
    let is_ours = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if hex.len() != 8 || !hex.iter().all(is_ours) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}

#[derive(Default)]
struct Damage {
    shown: Vec<String>,
    more: usize,
}

impl Damage {
    fn note(&mut self, what: String) {
        if self.shown.len() < DAMAGE_SHOWN_MAX {
            self.shown.push(what);
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.shown.push(format!("and {} more", self.more));
        }
        self.shown
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    #[serde(skip_serializing)]
    #[serde(borrow)]
    File(FileLine<'a>),
    #[serde(borrow)]
    Demoted(DemotedLine<'a>),
}

/// Written by [`append_file`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLine<'a> {
    #[serde(borrow)]
    path: PathText<'a>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    device: u64,
    inode: u64,
    birth: Option<i64>,
    head: (u16, u64),
    offset: u64,
    tail: (u16, u64),
    last_raw: Option<i64>,
    repeats: u32,
    /// Parts before the offset that are not settled, on stdout and stderr.
    #[serde(default)]
    held: [Option<u64>; OUTPUTS],
    seen: i64,
    rotated: bool,
    /// Left out where it is the path.
    #[serde(borrow, default)]
    stem: Option<PathText<'a>>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    former: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DemotedLine<'a> {
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    label: Cow<'a, str>,
    values_max: u32,
}

/// A path as text, or as a list of bytes where it is not UTF-8.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PathText<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

impl<'a> From<&'a Path> for PathText<'a> {
    fn from(path: &'a Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(Cow::Borrowed(text)),
            None => Self::Bytes(Cow::Borrowed(path.as_os_str().as_bytes())),
        }
    }
}

impl From<PathText<'_>> for PathBuf {
    fn from(path: PathText<'_>) -> Self {
        match path {
            PathText::Text(text) => Self::from(OsStr::new(text.as_ref())),
            PathText::Bytes(bytes) => std::ffi::OsString::from_vec(bytes.into_owned()).into(),
        }
    }
}

impl From<FileLine<'_>> for SavedFile {
    fn from(line: FileLine<'_>) -> Self {
        let fingerprint = |(len, hash)| Fingerprint { len, hash };
        let stamp = Stamp { last_raw: line.last_raw.map(UnixNanos).into(), repeats: line.repeats };
        let path: Arc<Path> = PathBuf::from(line.path).into();
        let stem = line.stem.map_or_else(|| Arc::clone(&path), |stem| PathBuf::from(stem).into());
        Self {
            path,
            stem,
            source: line.source.into(),
            identity: Identity {
                device: line.device,
                inode: line.inode,
                birth: line.birth.map(UnixNanos).into(),
            },
            head: fingerprint(line.head),
            mark: Mark {
                offset: FileOffset(line.offset),
                stamp,
                tail: fingerprint(line.tail),
                held: line.held.map(|held| held.map(FileOffset)).into(),
            },
            size: line.size,
            seen: UnixNanos(line.seen),
            rotated: line.rotated,
            former: line.former,
        }
    }
}

impl<'a> From<&'a Demoted> for DemotedLine<'a> {
    fn from(demoted: &'a Demoted) -> Self {
        let Demoted { source, label, values_max } = demoted;
        Self { source: Cow::Borrowed(source), label: Cow::Borrowed(label), values_max: *values_max }
    }
}

impl From<DemotedLine<'_>> for Demoted {
    fn from(line: DemotedLine<'_>) -> Self {
        Self {
            source: line.source.into_owned(),
            label: line.label.into_owned(),
            values_max: line.values_max,
        }
    }
}
