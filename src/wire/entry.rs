//! The hot encoder: a line straight into its stream's bytes, without an object in between.
//! `prost` on `proto/push.proto` is the reference it is tested against.

use crate::model::{Pair, UnixNanos};

/// Field 1, length-delimited.
const FIELD_1: u8 = 0x0a;
/// Field 2, length-delimited.
const FIELD_2: u8 = 0x12;
/// Field 3, length-delimited.
const FIELD_3: u8 = 0x1a;
/// Field 1, varint.
const VARINT_1: u8 = 0x08;
/// Field 2, varint.
const VARINT_2: u8 = 0x10;

/// What goes into one `logproto.Entry`.
#[derive(Debug, Clone, Copy)]
pub struct EntryParts<'a> {
    /// When.
    pub time: UnixNanos,
    /// What.
    pub line: &'a [u8],
    /// Structured metadata.
    pub metadata: &'a [Pair<'a>],
    /// One more pair behind them.
    pub extra: Option<Pair<'a>>,
}

/// The lengths that protobuf wants before the content.
#[derive(Debug, Clone, Copy)]
pub struct EntryLen {
    timestamp: usize,
    body: usize,
}

impl EntryLen {
    /// All bytes that [`append_entry`] will write, tag and length included.
    #[must_use]
    pub fn total(self) -> usize {
        1 + varint_len(self.body as u64) + self.body
    }
}

/// Measures an entry.
#[must_use]
pub fn entry_len(parts: &EntryParts<'_>) -> EntryLen {
    let (seconds, nanos) = split(parts.time);
    let timestamp = varint_field_len(seconds) + varint_field_len(nanos);
    let mut body = 1 + varint_len(timestamp as u64) + timestamp + bytes_field_len(parts.line.len());
    for pair in parts.metadata.iter().chain(&parts.extra) {
        let len = pair_len(*pair);
        body += 1 + varint_len(len as u64) + len;
    }
    EntryLen { timestamp, body }
}

/// Appends an entry as field 2 of `logproto.Stream`. `len` is what [`entry_len`] said of it.
pub fn append_entry(out: &mut Vec<u8>, parts: &EntryParts<'_>, len: EntryLen) {
    let start = out.len();
    out.resize(start + len.total(), 0);
    // A slice of known length, because a vector asks at each byte if it has to grow.
    let mut to = Cursor(&mut out[start..]);
    let (seconds, nanos) = split(parts.time);
    to.byte(FIELD_2);
    to.varint(len.body as u64);
    to.byte(FIELD_1);
    to.varint(len.timestamp as u64);
    to.varint_field(VARINT_1, seconds);
    to.varint_field(VARINT_2, nanos);
    to.bytes_field(FIELD_2, parts.line);
    for pair in parts.metadata.iter().chain(&parts.extra) {
        to.pair(*pair);
    }
    debug_assert!(to.0.is_empty(), "BUG: an entry is shorter than it was measured");
}

/// Where the next bytes go.
struct Cursor<'a>(&'a mut [u8]);

impl Cursor<'_> {
    #[inline]
    fn take(&mut self, len: usize) -> &mut [u8] {
        let (head, tail) = std::mem::take(&mut self.0).split_at_mut(len);
        self.0 = tail;
        head
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.take(1)[0] = byte;
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        // Seconds of our time, and most nanoseconds, take five bytes.
        if value >> 28 != 0 && value >> 35 == 0 {
            let bytes = [0, 7, 14, 21, 28].map(|shift| (value >> shift & 0x7f) as u8 | 0x80);
            let to = self.take(5);
            to.copy_from_slice(&bytes);
            to[4] &= 0x7f;
            return;
        }
        while 0x7f < value {
            self.byte((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.byte((value & 0x7f) as u8);
    }

    /// proto3 leaves out zeros and empty strings.
    #[inline]
    fn varint_field(&mut self, tag: u8, value: u64) {
        if value != 0 {
            self.byte(tag);
            self.varint(value);
        }
    }

    #[inline]
    fn pair(&mut self, pair: Pair<'_>) {
        let (name, value) = (pair.name.as_bytes(), pair.value.as_bytes());
        let len = pair_len(pair);
        self.byte(FIELD_3);
        self.varint(len as u64);
        if name.is_empty() || value.is_empty() || 0x7f < len {
            self.bytes_field(FIELD_1, name);
            self.bytes_field(FIELD_2, value);
            return;
        }
        // Each length takes a byte.
        let ([name_len, ..], [value_len, ..]) =
            (name.len().to_le_bytes(), value.len().to_le_bytes());
        let (head, tail) = self.take(len).split_at_mut(2 + name.len());
        head[0] = FIELD_1;
        head[1] = name_len;
        head[2..].copy_from_slice(name);
        tail[0] = FIELD_2;
        tail[1] = value_len;
        tail[2..].copy_from_slice(value);
    }

    #[inline]
    fn bytes_field(&mut self, tag: u8, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.byte(tag);
            self.varint(bytes.len() as u64);
            self.take(bytes.len()).copy_from_slice(bytes);
        }
    }
}

/// Bytes of a stream in a request, tag and length included, of which `entries` are entries.
#[must_use]
pub fn stream_len(labels: &str, entries: usize) -> usize {
    let body = bytes_field_len(labels.len()) + entries;
    1 + varint_len(body as u64) + body
}

/// Appends a stream as field 1 of `logproto.PushRequest`; `entries` is what [`append_entry`] made.
pub fn append_stream(out: &mut Vec<u8>, labels: &str, entries: &[u8]) {
    append_stream_head(out, labels, entries.len());
    out.extend_from_slice(entries);
}

/// Appends what stands before the entries of a stream, which are `entries` bytes.
pub fn append_stream_head(out: &mut Vec<u8>, labels: &str, entries: usize) {
    out.push(FIELD_1);
    append_varint(out, (bytes_field_len(labels.len()) + entries) as u64);
    append_bytes_field(out, FIELD_1, labels.as_bytes());
}

fn pair_len(pair: Pair<'_>) -> usize {
    bytes_field_len(pair.name.len()) + bytes_field_len(pair.value.len())
}

/// Seconds and nanoseconds as protobuf writes them: negative numbers as 64-bit two's complement.
fn split(time: UnixNanos) -> (u64, u64) {
    let seconds = time.0.div_euclid(1_000_000_000);
    let nanos = time.0.rem_euclid(1_000_000_000);
    (seconds.cast_unsigned(), nanos.cast_unsigned())
}

/// proto3 leaves out zeros and empty strings.
fn varint_field_len(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value) }
}

fn bytes_field_len(len: usize) -> usize {
    if len == 0 { 0 } else { 1 + varint_len(len as u64) + len }
}

fn append_bytes_field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.push(tag);
        append_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

#[inline]
fn varint_len(value: u64) -> usize {
    // 7 bits a byte; 0 takes one byte as well.
    if value <= 0x7f { 1 } else { (64 - value.leading_zeros() as usize).div_ceil(7) }
}

pub(super) fn append_varint(out: &mut Vec<u8>, mut value: u64) {
    while 0x7f < value {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::wire::push;

    fn reference(labels: &str, entries: &[Sample]) -> Vec<u8> {
        let entries = entries
            .iter()
            .map(|(time, line, metadata)| push::Entry {
                timestamp: Some(push::Timestamp {
                    seconds: time.div_euclid(1_000_000_000),
                    nanos: i32::try_from(time.rem_euclid(1_000_000_000)).unwrap(),
                }),
                line: line.clone(),
                structured_metadata: metadata
                    .iter()
                    .map(|(name, value)| push::LabelPair {
                        name: name.clone(),
                        value: value.clone(),
                    })
                    .collect(),
            })
            .collect();
        let stream = push::Stream { labels: labels.to_owned(), entries };
        push::PushRequest { streams: vec![stream] }.encode_to_vec()
    }

    type Sample = (i64, Vec<u8>, Vec<(String, String)>);

    proptest! {
        #[test]
        fn the_hot_encoder_writes_what_prost_writes(
            labels in ".{0,200}",
            entries in prop::collection::vec(
                (
                    prop_oneof![any::<i64>(), Just(0), Just(1_000_000_000), 0i64..2_000_000_000],
                    prop::collection::vec(any::<u8>(), 0..300),
                    prop::collection::vec((".{0,20}", ".{0,150}"), 0..5),
                ),
                0..6,
            ),
        ) {
            let mut bytes = Vec::new();
            for (time, line, metadata) in &entries {
                let pairs: Vec<Pair<'_>> =
                    metadata.iter().map(|(name, value)| Pair { name, value }).collect();
                // The last pair goes as the extra one, which must make no difference.
                let (extra, pairs) = match pairs.split_last() {
                    Some((last, rest)) => (Some(*last), rest),
                    None => (None, &pairs[..]),
                };
                let parts = EntryParts { time: UnixNanos(*time), line, metadata: pairs, extra };
                let before = bytes.len();
                let len = entry_len(&parts);
                append_entry(&mut bytes, &parts, len);
                prop_assert_eq!(bytes.len() - before, len.total());
            }
            let mut request = Vec::new();
            append_stream(&mut request, &labels, &bytes);
            prop_assert_eq!(request.len(), stream_len(&labels, bytes.len()));
            prop_assert_eq!(request, reference(&labels, &entries));
        }
    }
}
