//! Takes a line out of what a container runtime wrapped it in.

use memchr::memchr;

use super::fields::{Picked, Wanted};
use super::json;
use super::options::{Path, Wrapper};
use super::timestamp::{Reading, Times};
use crate::model::OUTPUTS;

/// The line of the service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inner<'a> {
    pub(super) text: &'a str,
    /// When the runtime read it; `None` when it was not wrapped.
    pub(super) time: Option<Reading>,
    /// The format demands a wrapper, and there is none.
    pub(super) unfit: bool,
    /// What the wrapper says of it.
    pub(super) tag: Option<Tag>,
    /// Which output it is of: 0 is stdout, 1 is stderr.
    pub(super) out: Option<usize>,
}

/// Which part of a line this is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tag {
    /// 0 is stdout, 1 is stderr.
    pub(super) out: usize,
    /// The line ends here.
    pub(super) is_last: bool,
    /// Bytes of the wrapper before `text`, which goes to the end, where it was not unescaped.
    pub(super) before: Option<usize>,
}

/// The names of the outputs in wrappers.
pub(super) const OUTPUT_NAMES: [&str; OUTPUTS] = ["stdout", "stderr"];

/// The scratch for docker's wrapper.
#[derive(Debug)]
pub(super) struct Unwrapper {
    wanted: Wanted,
    picker: json::Picker,
    picked: Picked,
    times: Times,
}

const LOG: usize = 0;
const STREAM: usize = 1;
const TIME: usize = 2;

impl Unwrapper {
    pub(super) fn new() -> Self {
        let mut wanted = Wanted::new();
        for (slot, name) in [(LOG, "log"), (STREAM, "stream"), (TIME, "time")] {
            let got = wanted.slot(&Path(vec![name.to_owned()]));
            assert_eq!(got, slot, "BUG: slots are given in order");
        }
        Self { wanted, picker: json::Picker::new(), picked: Picked::default(), times: Times::new() }
    }

    /// The service's line in `text`, or the part of it that is there.
    #[inline]
    pub(super) fn unwrap<'a>(&'a mut self, text: &'a str, wrapper: Wrapper) -> Inner<'a> {
        let bare = Inner { text, time: None, unfit: false, tag: None, out: None };
        let unfit = Inner { unfit: true, ..bare };
        match wrapper {
            Wrapper::None => bare,
            Wrapper::Cri => cri(text, &mut self.times).unwrap_or(unfit),
            Wrapper::Docker => self.docker(text).unwrap_or(unfit),
            Wrapper::Auto if text.starts_with("{\"log\":\"") => self.docker(text).unwrap_or(bare),
            Wrapper::Auto => cri(text, &mut self.times).unwrap_or(bare),
        }
    }

    /// `{"log":"…\n","stream":"stdout","time":"…"}`, in any order.
    #[inline(never)]
    fn docker<'a>(&'a mut self, text: &'a str) -> Option<Inner<'a>> {
        if !self.picker.pick(text, &self.wanted, &mut self.picked) {
            return None;
        }
        let stream = self.picked.scalar(STREAM, text)?;
        let out = OUTPUT_NAMES.iter().position(|name| *name == stream);
        let time = wrapper_time(self.picked.scalar(TIME, text)?, &mut self.times)?;
        let log = self.picked.scalar(LOG, text)?;
        // Docker keeps the newline in the value, and with a terminal the CR before it. It splits
        // lines at 16 KiB: then there is none.
        let whole = log.strip_suffix('\n').map(|log| log.strip_suffix('\r').unwrap_or(log));
        let tag = out.map(|out| Tag { out, is_last: whole.is_some(), before: None });
        Some(Inner { text: whole.unwrap_or(log), time: Some(time), unfit: false, tag, out })
    }
}

/// `2026-11-22T10:20:05.123456789Z stdout F …`: time, output, `P`artial or `F`ull with more tags
/// behind colons, the line.
#[inline(never)]
fn cri<'a>(text: &'a str, times: &mut Times) -> Option<Inner<'a>> {
    if !text.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let (time, rest) = text.split_at_checked(memchr(b' ', text.as_bytes())?)?;
    let time = wrapper_time(time, times)?;
    let (out, rest) = match rest.strip_prefix(" stdout ") {
        Some(rest) => (0, rest),
        None => (1, rest.strip_prefix(" stderr ")?),
    };
    let is_last = matches!(rest.as_bytes(), [b'F', ..]);
    // Most have no more tags. A runtime that writes an empty line may leave out the last space.
    let tags_len = match rest.as_bytes() {
        [b'P' | b'F', b' ', ..] => 1,
        [b'P' | b'F', b':', ..] => memchr(b' ', rest.as_bytes()).unwrap_or(rest.len()),
        [b'P' | b'F'] => 1,
        _ => return None,
    };
    let (tags, inner) = rest.split_at_checked(tags_len)?;
    if !tags.is_ascii() {
        return None;
    }
    let inner = inner.strip_prefix(' ').unwrap_or(inner);
    let before = Some(text.len() - inner.len());
    let tag = Some(Tag { out, is_last, before });
    Some(Inner { text: inner, time: Some(time), unfit: false, tag, out: Some(out) })
}

/// Runtimes write RFC 3339 with `T` and a zone, nothing near it.
fn wrapper_time(text: &str, times: &mut Times) -> Option<Reading> {
    let zoned =
        text.ends_with('Z') || matches!(text.as_bytes(), [.., b'+' | b'-', _, _, b':', _, _]);
    if !zoned || text.as_bytes().get(10) != Some(&b'T') {
        return None;
    }
    times.rfc3339(text.as_bytes())
}
